"""What cannot be recorded is struck at failpoints and by chance, on a forgetful disk for the power, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from perdure import Claims
from perdure_scenarios import forgetful
from perdure_scenarios.forgetful import ForgetfulDisk
from perdure_scenarios.killing import Attended, kill_during
from perdure_scenarios.recording._refusal import REFUSE, refusal
from perdure_scenarios.sweeps import Sweep
from perdure_scenarios.tasks import Instant, Run, Words, begun, observations, under_way
from perdure_tck.rules import rule
from perdure_tck.scenario_text import parse
from perdure_tck.sweep import Ask, Swept
from perdure_tck.swept import struck_in, word_of_sweeps
from perdure_tck.verdict import Word

needs_ptrace = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")
needs_fuse = pytest.mark.skipif(bool(forgetful.refusal()), reason=f"NOT RUN: {forgetful.refusal()}")

TWO = "rules D-01\nwrite p 1\nwrite p 2..3\n\n"
KILLS = parse(f"{TWO}kill at every io", "kills")
CUTS = parse(f"{TWO}power cut at every io", "cuts")
DURABLE = Claims(survives_close=True, kill_durable=True, power_durable="yes")
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _backends_of_this_folder_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def swept(words: str, text: str, keep: Path | None = None) -> Swept:
    with Sweep(Ask(words=words, claims=DURABLE, keep=keep), crew_size=2) as sweep:
        return sweep.sweep(parse(f"{TWO}{text}", "struck"), lambda *_: None)


def rules_of(found: Swept) -> set[str]:
    return {one for witness in found.witnesses for one in witness.rules}


def word(id: str, found: Swept) -> tuple[Word, str]:
    return word_of_sweeps(rule(id), DURABLE, [found], found.coverage, 0, None)


# ------------------------------------------------------------------------------------------------------------ kills


def test_a_backend_is_killed_at_its_failpoints_and_by_chance_where_nothing_can_be_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REFUSE, "ptrace")
    found = swept("mapped_files:backend", "kill at every io")
    assert rules_of(found) == set()
    assert found.coverage["kills_at_failpoints"] > 0
    assert found.coverage["kills_by_chance"] > 0
    assert found.coverage["kills_inside"] > 0
    assert found.coverage["recoveries"] > 0
    told = struck_in([found])
    assert told is not None
    (remark,) = told.remarks
    assert remark.startswith("ptrace is refused by PERDURE_REFUSE; struck without a recording instead: ")
    assert f"{found.coverage['kills_by_chance']} kills at moments by chance" in remark
    assert f"{found.coverage['kills_at_failpoints']} kills at failpoints" in remark


def test_a_kill_by_chance_finds_what_was_acknowledged_in_a_buffer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(REFUSE, "ptrace")
    found = swept("perdure_zoo.files:CAGES.acknowledged_in_the_buffer", "kill at every io", tmp_path)
    assert "D-01" in rules_of(found)
    struck = found.witnesses[0].struck
    assert struck is not None
    assert "had begun" in struck.moment or "at failpoint" in struck.moment
    assert Path(struck.directory, "proof.json").is_file()


def test_a_worker_ends_itself_within_the_step_that_was_meant(tmp_path: Path) -> None:
    program = parse("rules J-01\nwrite p 1\nwrite hang 1\nwrite p 2\n", "three")
    run = Run(program=program, directory=str(tmp_path))
    killed = kill_during(Words("plain_files:backend"), run, Instant(2, 0.001))
    assert killed.struck
    assert len(observations(program, killed.reports)) == 1
    assert begun(killed.reports, program) == under_way(killed.reports) == 2


def test_what_comes_to_its_end_first_was_not_struck(tmp_path: Path) -> None:
    run = Run(program=KILLS, directory=str(tmp_path))
    assert not kill_during(Words("plain_files:backend"), run, Instant(2, 30.0)).struck


def test_a_sweep_that_struck_nothing_proves_nothing() -> None:
    nothing = Swept(program="kills", unrecorded="ptrace is refused", coverage={})
    assert word("D-01", nothing) == (Word.UNPROVEN, "not exercised enough: kills 0 of 40, kills_inside 0 of 10")


def test_what_is_lacking_for_another_hazard_is_no_excuse() -> None:
    found = Swept(program="both", not_run={"power cut": "FUSE is refused"}, coverage={"kills": 40})
    assert word("D-01", found) == (Word.UNPROVEN, "not exercised enough: kills_inside 0 of 10")
    assert word("D-10", found)[0] is Word.NOT_RUN


def test_what_conforms_without_a_recording_says_so() -> None:
    found = Swept(program="kills", unrecorded="ptrace is refused", coverage={"kills": 40, "kills_inside": 10})
    assert word("D-01", found) == (Word.CONFORMS, "1 sweep, not recorded: struck at moments by chance")


def test_a_backend_that_fails_unharmed_is_not_struck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REFUSE, "ptrace")
    with Sweep(Ask(words="plain_files:backend", claims=DURABLE), crew_size=1) as sweep:
        found = sweep.sweep(
            parse("rules D-01\nwrite p 1\ndelete p ..1\n\nkill at every io", "failing"), lambda *_: None
        )
    assert "fails unharmed: step 2" in found.unproven
    assert not found.coverage


# ------------------------------------------------------------------------------------------------- memory maps, power


@needs_ptrace
@needs_fuse
def test_a_backend_that_syncs_its_map_keeps_everything() -> None:
    found = swept("mapped_files:backend", "power cut at every io")
    assert rules_of(found) == set()
    assert found.unrecorded == "it cannot be recorded: events.map is mapped to be changed in memory, and is synced"
    assert found.coverage["power_cuts_by_chance"] == found.coverage["power_cuts"] > 0
    assert found.coverage["power_cuts_inside"] > 0
    assert not found.not_run


@needs_ptrace
@needs_fuse
def test_a_backend_that_answers_before_its_map_is_synced_loses_what_was_acknowledged(tmp_path: Path) -> None:
    found = swept("mapped_files:forgetful", "power cut at every io", tmp_path)
    assert "D-10" in rules_of(found)
    struck = found.witnesses[0].struck
    assert struck is not None
    assert "on a forgetful disk" in struck.model
    assert found.measures["power cut"].lost_max > 0


@needs_fuse
def test_a_store_that_syncs_too_late_is_found_without_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REFUSE, "ptrace")
    assert "D-10" in rules_of(swept("perdure_zoo.files:CAGES.nothing_is_synced", "power cut at every io"))


def test_without_a_forgetful_disk_the_power_is_not_run_and_both_mechanisms_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REFUSE, "ptrace,fuse")
    found = swept("mapped_files:backend", "power cut at every io\nfail every io with EIO\ndisk full at every byte")
    assert found.not_run == {
        "fail": "ptrace is refused by PERDURE_REFUSE; without a recording no call can be made to fail",
        "disk full": "ptrace is refused by PERDURE_REFUSE; without a recording no call can be made to fail",
        "power cut": "ptrace is refused by PERDURE_REFUSE, and the forgetful disk is refused: FUSE is refused by "
        "PERDURE_REFUSE",
    }
    assert not found.coverage
    told, reason = word("D-10", found)
    assert told is Word.NOT_RUN
    assert "ptrace is refused" in reason
    assert "FUSE is refused" in reason
    assert word("D-15", found)[0] is Word.NOT_RUN


def test_damage_needs_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REFUSE, "ptrace")
    with Sweep(Ask(words="mapped_files:backend", claims=DURABLE, operation_limit_s=5.0), crew_size=2) as sweep:
        found = sweep.sweep(parse("rules D-16\nwrite p 1\n\ndamage every file", "damaged"), lambda *_: None)
    assert found.coverage["damages"] > 30


@needs_fuse
def test_survivors_are_what_a_power_cut_leaves(tmp_path: Path) -> None:
    place, seen = tmp_path / "disk", tmp_path / "seen"
    place.mkdir()
    seen.mkdir()
    with ForgetfulDisk(place) as disk:
        (place / "folder").mkdir()
        disk.sync_all()
        for number in range(8):
            (place / "folder" / f"file-{number}").write_bytes(bytes(1000))
        disk.survivors([(seen, "half", 3)])
        disk.power_cut("half", 3)
        disk.remount()
        left = {file.name: file.read_bytes() for file in (place / "folder").iterdir()}
    assert left
    assert {file.name: file.read_bytes() for file in (seen / "folder").iterdir()} == left


def test_an_attended_worker_comes_to_instants_and_to_its_end(tmp_path: Path) -> None:
    run = Run(program=KILLS, directory=str(tmp_path))
    with Attended(Words("plain_files:backend"), run, 60.0) as worker:
        assert worker.come_to(Instant(0, 0.0))
        assert begun(worker.told(), KILLS) >= 0
        assert not worker.come_to(Instant(3, 60.0))
        assert len(observations(KILLS, worker.told())) == 2
