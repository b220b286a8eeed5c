"""Sweeps from end to end, on small programs: right stores are clean, wrong settings and broken stores are not.

The whole table of animals is made by `perdure zoo`, and every setting of SQLite by `tox -e durability`; here are a few.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from perdure import Claims, load_backend
from perdure_scenarios.looking import words_of
from perdure_scenarios.recording._refusal import REFUSE, refusal
from perdure_scenarios.sweeps import Sweep, sweeping
from perdure_tck.conformance import Conformance
from perdure_tck.engine import Request, conduct
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.scenario_text import parse
from perdure_tck.sweep import Ask, ProofError, Swept
from perdure_tck.verdict import Word

needs_ptrace = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")

TWO = "rules D-01\nwrite p 1\nwrite p 2..3\n\n"
KILLS = parse(f"{TWO}kill at every io", "kills")
CUTS = parse(f"{TWO}power cut at every io", "cuts")


def claims_of(words: str, changed: Mapping[str, Any]) -> Claims:
    chosen = words_of(words)
    return msgspec.structs.replace(load_backend(chosen.name, chosen.settings).claims, **changed)


def swept(words: str, program: Program, keep: Path | None = None, **claims: Any) -> Swept:
    ask = Ask(words=words, claims=claims_of(words, claims), keep=keep, states_max=60, runs_max=6)
    with Sweep(ask, crew_size=2) as sweep:
        return sweep.sweep(program, lambda *_: None)


def rules_of(found: Swept) -> set[str]:
    return {rule for witness in found.witnesses for rule in witness.rules}


def sqlite(**settings: str) -> str:
    return " ".join(["sqlite", *(f"--setting {shlex.quote(f'{name}={value}')}" for name, value in settings.items())])


# ------------------------------------------------------------------------------------------------------ right stores


@needs_ptrace
@pytest.mark.parametrize("words", ["files", "sqlite", sqlite(journal_mode="TRUNCATE")])
def test_a_store_that_syncs_as_it_should_is_clean(words: str) -> None:
    for program, count in ((KILLS, "kills_inside"), (CUTS, "power_cuts_inside")):
        found = swept(words, program)
        assert rules_of(found) == set()
        assert found.coverage[count] > 0
        assert not found.unproven
        assert not found.not_run
    assert found.measures["power cut"].broken == 0


@needs_ptrace
def test_a_second_kill_and_a_write_afterwards_are_part_of_it() -> None:
    found = swept("files", KILLS)
    assert found.coverage["recoveries"] > 0
    assert found.coverage["kills_in_recovery"] > 0
    assert found.coverage["writes_after"] == found.coverage["kills"]


@needs_ptrace
def test_a_backend_that_changes_no_file_is_not_struck() -> None:
    found = swept("memory", KILLS)
    assert found.untouched
    assert not found.coverage


# ------------------------------------------------------------------------------------------------------ wrong settings


@needs_ptrace
def test_normal_loses_acknowledged_events_to_a_power_cut_and_none_to_a_kill() -> None:
    words = sqlite(synchronous="NORMAL")
    assert rules_of(swept(words, KILLS, power_durable="yes")) == set()
    found = swept(words, CUTS, power_durable="yes")
    assert rules_of(found) == {"D-10", "J-31"}
    assert {*found.measures["power cut"].patterns} <= {"suffix", "whole"}


@needs_ptrace
def test_delete_rolls_the_last_commit_back_where_the_unlinking_was_not_synced() -> None:
    found = swept(sqlite(journal_mode="DELETE"), CUTS, power_durable="yes")
    (witness,) = found.witnesses
    assert witness.struck is not None
    assert witness.struck.model == "ext4; lost: unlink of perdure.db-journal"
    assert witness.struck.moment.startswith("after unlink of perdure.db-journal, before ")
    assert "journal_mode DELETE" in witness.struck.settings
    assert found.measures["power cut"].lost_max == 1


@needs_ptrace
def test_off_loses_what_was_acknowledged() -> None:
    assert "D-10" in rules_of(swept(sqlite(synchronous="OFF"), CUTS, power_durable="yes"))


@needs_ptrace
def test_what_is_not_claimed_is_measured_and_no_witness_is_made_of_it(tmp_path: Path) -> None:
    found = swept(sqlite(synchronous="NORMAL"), CUTS, keep=tmp_path)
    assert "D-10" not in rules_of(found)
    assert found.measures["power cut"].broken > 0
    assert "always a suffix" in found.measures["power cut"].told()
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------ calls that fail, and damage


@needs_ptrace
@pytest.mark.parametrize(
    ("hazard", "count"),
    [
        ("fail every io with failed sync", "failures"),
        ("fail every io with short write", "failures"),
        ("disk full at every byte", "disks_full"),
        ("damage every file", "damages"),
    ],
)
def test_a_right_store_tells_the_truth_when_calls_fail(hazard: str, count: str) -> None:
    found = swept("files", parse(f"rules D-15\nwrite p 1\n\n{hazard}", "troubled"))
    assert rules_of(found) == set()
    assert found.coverage[count] > 0


@needs_ptrace
def test_a_disk_that_lies_is_measured_and_not_judged() -> None:
    found = swept("files", parse(f"{TWO}fail every io with lying sync", "lied"))
    assert rules_of(found) == set()
    (remark,) = found.remarks
    assert remark.startswith("a disk that lies about one sync, measured and not judged: ")
    assert "states broke it" in remark


# ------------------------------------------------------------------------------------------------------- broken stores


@needs_ptrace
@pytest.mark.parametrize(
    ("animal", "text", "rule"),
    [
        ("acknowledged_in_the_buffer", f"{TWO}kill at every io", "D-01"),
        ("sync_of_another_file", f"{TWO}power cut at every io", "D-10"),
        ("damage_wipes_the_history", f"{TWO}damage every file", "D-16"),
    ],
)
def test_a_broken_store_falls_on_the_rule_that_names_its_mistake(animal: str, text: str, rule: str) -> None:
    assert rule in rules_of(swept(f"perdure_zoo.files:CAGES.{animal}", parse(text, "struck")))


# --------------------------------------------------------------------------------------------------------- kept proofs


@needs_ptrace
def test_a_state_that_broke_a_rule_is_kept_and_judged_again(tmp_path: Path) -> None:
    found = swept("perdure_zoo.files:CAGES.acknowledged_in_the_buffer", KILLS, keep=tmp_path)
    witness = found.witnesses[0]
    assert witness.struck is not None
    directory = Path(witness.struck.directory)
    assert {path.name for path in directory.iterdir()} == {"README", "files", "history.jsonl", "proof.json"}
    again = sweeping.again(directory)
    assert again.rules == witness.rules
    assert witness.struck.moment in again.lines[0]
    assert sweeping.again(directory) == again


@needs_ptrace
def test_a_proof_that_is_not_whole_says_what_is_missing(tmp_path: Path) -> None:
    found = swept("perdure_zoo.files:CAGES.acknowledged_in_the_buffer", KILLS, keep=tmp_path)
    assert found.witnesses[0].struck is not None
    directory = Path(found.witnesses[0].struck.directory)
    text = (directory / "proof.json").read_text()
    for broken, said in (
        (text[:99], "proof.json cannot be read"),
        (text.replace('"format": 1', '"format": 9'), "has format 9"),
    ):
        (directory / "proof.json").write_text(broken)
        with pytest.raises(ProofError, match=said):
            sweeping.again(directory)
    (directory / "proof.json").unlink()
    with pytest.raises(ProofError, match=r"proof.json cannot be read: No such file"):
        sweeping.again(directory)


# ------------------------------------------------------------------------------------------------- a whole run, refusal


def judged(name: str, *rules: str, programs: tuple[str, ...], conformance: Conformance | None = None) -> Any:
    chosen = [program for program in installed_programs() if program.name in programs]
    request = Request(
        programs=chosen,
        rules=rules,
        conformance=conformance or Conformance(),
        today=datetime.date(2026, 1, 1),
        chosen_by=name,
    )
    return conduct(load_backend(name), request)


def test_memory_is_excused_from_what_it_does_not_claim_and_nothing_else() -> None:
    run = judged("memory", "D-01", "D-14", programs=("first_write_of_an_empty_store", "disk_is_full_at_every_byte"))
    if refusal():
        pytest.skip(f"NOT RUN: {refusal()}")
    assert {result.id: result.word for result in run.rules} == {"D-01": Word.UNSUPPORTED, "D-14": Word.UNSUPPORTED}
    claiming = Conformance(claims={"kill_durable": True})
    run = judged("memory", "D-01", programs=("first_write_of_an_empty_store",), conformance=claiming)
    assert [result.word for result in run.rules] == [Word.UNPROVEN]
    assert "nothing could be struck" in run.rules[0].reason


@needs_ptrace
def test_a_run_tells_what_it_struck() -> None:
    run = judged("files", "D-02", programs=("batch_after_batch", "batch_of_several_pages"))
    (result,) = run.rules
    assert result.word is Word.CONFORMS
    assert result.coverage["batches_struck"] >= result.floor["batches_struck"]
    assert run.footer.struck.counts["kills"] > 0
    assert "power_cuts" not in run.footer.struck.counts  # the rule does not need them
    assert run.footer.struck.states >= run.footer.struck.counts["kills"]
    pace = run.footer.struck.paces["kill"]
    assert pace.states == run.footer.struck.states
    assert 0 < pace.opened < pace.states
    assert 0 < pace.seconds <= run.footer.struck.seconds


def test_where_nothing_can_be_recorded_workers_are_killed_and_the_rest_is_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REFUSE, "ptrace,fuse")
    both = parse(f"{TWO}kill at every io\npower cut at every io", "both")
    found = swept("files", both)
    assert found.coverage["kills"] > 0
    assert rules_of(found) == set()
    assert "power_cuts" not in found.coverage
    assert found.not_run.keys() == {"power cut"}
    assert "ptrace is refused" in found.not_run["power cut"]
    assert "ptrace is refused" in found.unrecorded
    run = judged("files", "D-10", programs=("first_write_of_an_empty_store",))
    assert [result.word for result in run.rules] == [Word.NOT_RUN]
    assert "ptrace is refused" in run.rules[0].reason


# ------------------------------------------------------------------------------------------------------ nothing is left


@needs_ptrace
def test_a_sweep_that_is_interrupted_leaves_no_process_and_no_directory() -> None:
    def interrupt(done: int, _known: int, _what: str) -> None:
        if done:
            raise KeyboardInterrupt

    workers: list[int] = []
    rooms: list[Path] = []

    def interrupted() -> None:
        with Sweep(Ask(words="files", claims=claims_of("files", {})), crew_size=2) as sweep:
            workers.extend(sweep.workers())
            rooms.append(sweep.rooms())
            assert rooms[0].is_dir()
            sweep.sweep(CUTS, interrupt)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not rooms[0].exists()
    assert len(workers) == 2
    assert not [pid for pid in workers if is_a_worker(pid)]


def is_a_worker(pid: int) -> bool:
    """Whether a process is still what it was; its number may be another's by now."""
    try:
        return b"perdure_scenarios.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
