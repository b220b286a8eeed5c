"""Workers: programs that tell of every step, looks that are always answered, and no process that is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from perdure import Location, Payload, PersistentRepr, Storage, _failpoints, load_backend
from perdure_scenarios.crew import Crew, Gone, Worker, worker_command
from perdure_scenarios.killing import kill_at, kill_at_failpoint, with_failpoints_counted
from perdure_scenarios.tasks import (
    Completed,
    Finished,
    Look,
    Opened,
    OpeningFailed,
    Run,
    Seen,
    Words,
    encoded,
    noted,
    observations,
    report_of,
    task_of,
)
from perdure_scenarios.worker import Looking
from perdure_tck.outcomes import Answers
from perdure_tck.scenario_text import parse
from perdure_tck.stage import KitFault

PLAIN = Words("plain_files:backend")
THREE_WRITES = parse("# Three.\nrules J-01\n\nwrite p 1 -> ok\nwrite p 2..3 -> ok\nwrite q 1 -> ok\n", "three")


@pytest.fixture(autouse=True)
def _plain_files_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def alive(pid: int) -> bool:
    """Whether a process is there that still does something; one that only its parent has not noticed is dead."""
    try:
        status = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def line(persistence_id: str, number: int) -> bytes:
    import msgspec

    return msgspec.json.encode(PersistentRepr(persistence_id, number, Payload(1, "", b"x"))) + b"\n"


def test_a_program_is_carried_out_and_every_step_is_told(tmp_path: Path) -> None:
    done = with_failpoints_counted(Words("sqlite"), Run(program=THREE_WRITES, directory=str(tmp_path)))
    assert [type(report).__name__ for report in done.reports] == [
        *("Ready", "Opening", "Opened"),
        *("Invoked", "Completed") * 3,
        *("Closing", "Closed", "Finished"),
    ]
    assert [observation.outcome for observation in observations(THREE_WRITES, done.reports)] == [Answers((False,))] * 3
    assert (done.exit, done.struck) == (0, False)


def test_a_program_may_end_without_closing_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    run = Run(program=THREE_WRITES, directory=str(tmp_path), namespace="other", close=False)
    assert with_failpoints_counted(Words("sqlite"), run).exit == 0
    assert {path.name for path in tmp_path.iterdir()} == {"other.db", "other.db-wal", "other.db-shm"}
    with Crew(Words("sqlite"), 1, limit_s=120) as crew:
        seen = crew.look(Look(directory=str(tmp_path), persistence_ids=("p",), namespace="other"))
    assert isinstance(seen, Seen)
    assert [event.sequence_nr for event in seen.sights[0].events] == [1, 2, 3]


def test_text_that_is_not_unicode_arrives_as_it_is() -> None:
    program = parse('# Odd.\nrules J-25\n\nwrite p 1 payload_manifest="\\ud800" -> rejected\n', "odd")
    run = Run(program=program, directory="/somewhere")
    assert task_of(encoded(run)) == run
    assert report_of(encoded(Completed(1, 5, Answers((True,))))) == Completed(1, 5, Answers((True,)))


def test_an_opening_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    done = with_failpoints_counted(PLAIN, Run(program=THREE_WRITES, directory=str(tmp_path)))
    failure = done.reports[-1]
    assert isinstance(failure, OpeningFailed)
    assert (failure.failure.error, failure.failure.known) == ("OpenFailed", True)


def test_a_backend_that_cannot_be_loaded_is_a_fault_of_its_words(tmp_path: Path) -> None:
    with pytest.raises(KitFault, match="nosuch"):
        with_failpoints_counted(Words("nosuch"), Run(program=THREE_WRITES, directory=str(tmp_path)))
    with pytest.raises(KitFault, match="nosuch"), Crew(Words("nosuch"), 1) as crew:
        crew.look(Look(directory=str(tmp_path), persistence_ids=()))


def test_a_look_shows_events_highest_number_and_all_snapshots_and_can_write_more(tmp_path: Path) -> None:
    text = "# S.\nrules J-01\n\nwrite p 1..3 -> ok\nsave snapshot p 1 -> ok\nsave snapshot p 3 -> ok\n"
    text += "delete p ..1 -> ok\n"
    with_failpoints_counted(Words("sqlite"), Run(program=parse(text, "s"), directory=str(tmp_path)))
    with Crew(Words("sqlite"), 1, limit_s=120) as crew:
        seen = crew.look(Look(directory=str(tmp_path), persistence_ids=("p", "nobody"), write_more=True, page_size=2))
    assert isinstance(seen, Seen)
    assert seen.failure is None
    sight, nobody = seen.sights
    assert [event.sequence_nr for event in sight.events] == [2, 3]
    assert [snapshot.metadata.sequence_nr for snapshot in sight.snapshots] == [3, 1]
    assert (sight.highest_sequence_nr, nobody.highest_sequence_nr, nobody.events) == (3, 0, ())
    assert [(more.sequence_nr, more.failure) for more in seen.more] == [(4, None), (1, None)]
    assert [event.sequence_nr for event in seen.sights_again[0].events] == [2, 3, 4]


def test_a_closed_directory_like_one_that_was_opened_before_is_not_opened_again(tmp_path: Path) -> None:
    opened: list[str] = []
    sqlite = load_backend("sqlite")

    @asynccontextmanager
    async def counted(location: Location) -> AsyncIterator[Storage]:
        opened.append(Path(str(location.directory)).name)
        async with sqlite.open(location) as storage:
            yield storage

    async def looks() -> list[Seen]:
        return [
            await looking.look(Look(directory=str(tmp_path / room), persistence_ids=ids, write_more=True))
            for room, ids in (("a", ("p",)), ("b", ("p",)), ("c", ("p", "q")))
        ]

    for room in "abc":
        (tmp_path / room).mkdir()
    with (tmp_path / "notes").open("w+b") as notes:
        looking = Looking(msgspec.structs.replace(sqlite, open=counted), notes.fileno())
        first, second, other = asyncio.run(looks())
        assert noted(notes.fileno()) == "close again"
    assert opened == ["a", "a", "b", "c", "c"]
    assert first == second
    assert [len(sight.events) for sight in (*second.sights_again, *other.sights_again)] == [1, 1, 1]


def test_what_fails_in_a_look_is_part_of_the_answer(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(line("unreadable", 1) + line("unreadable", 2) + line("p", 1))
    with Crew(PLAIN, 1, limit_s=120) as crew:
        seen = crew.look(Look(directory=str(tmp_path), persistence_ids=("unreadable", "p")))
        (tmp_path / "refuse").touch()
        refused = crew.look(Look(directory=str(tmp_path), persistence_ids=("p",)))
    assert isinstance(seen, Seen)
    damaged, sound = seen.sights
    assert [event.sequence_nr for event in damaged.events] == [1]
    assert [(one.during, one.error, one.known) for one in damaged.failures] == [("replay", "Unreadable", True)]
    assert (len(sound.events), sound.failures) == (1, ())
    assert isinstance(refused, Seen)
    assert refused.failure is not None
    assert (refused.failure.during, refused.failure.error) == ("open", "OpenFailed")


def test_a_worker_that_dies_is_replaced_and_the_others_are_answered(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(line("p", 1))
    ids = ["p", "die", "p", "p", "die", "p"]
    looks = [Look(directory=str(tmp_path), persistence_ids=(one,)) for one in ids]
    with Crew(PLAIN, 2, limit_s=120) as crew:
        answers = [(look.persistence_ids[0], answer) for look, answer in crew.look_at(looks)]
    assert sorted(name for name, _ in answers) == sorted(ids)
    for name, answer in answers:
        assert isinstance(answer, Seen if name == "p" else Gone)
    gone = next(answer for _, answer in answers if isinstance(answer, Gone))
    assert (gone.how, gone.exit, gone.during) == ("died", 7, "look")


def test_a_worker_that_hangs_is_killed_when_its_time_is_up_and_replaced(tmp_path: Path) -> None:
    with Crew(PLAIN, 1, limit_s=1) as crew:
        hung = crew.look(Look(directory=str(tmp_path), persistence_ids=("hang",)))
        crew._limit_s = 120  # the next one is not to be hurried on a busy machine
        seen = crew.look(Look(directory=str(tmp_path), persistence_ids=("p",)))
    assert isinstance(hung, Gone)
    assert (hung.how, hung.exit) == ("silent", -9)
    assert isinstance(seen, Seen)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(line("p", 1) + line("q", 1))
    looks = [Look(directory=str(tmp_path), persistence_ids=("p",)) for _ in range(6)]
    with Crew(PLAIN, 2, limit_s=120) as crew:
        for _ in crew.look_at(looks):
            break
        seen = crew.look(Look(directory=str(tmp_path), persistence_ids=("q",)))
    assert isinstance(seen, Seen)
    assert seen.sights[0].persistence_id == "q"


def test_no_process_is_left_when_the_parent_raises(tmp_path: Path) -> None:
    def looks() -> Iterator[Look]:
        yield Look(directory=str(tmp_path), persistence_ids=("hang",))
        raise KeyboardInterrupt

    with Crew(PLAIN, 2, limit_s=120) as crew:
        assert isinstance(crew.look(Look(directory=str(tmp_path), persistence_ids=("fork",))), Seen)
        workers = [post.worker.pid for post in crew._posts]
        with pytest.raises(KeyboardInterrupt):
            list(crew.look_at(looks()))
    child = int((tmp_path / "pid").read_text())
    assert not any(alive(pid) for pid in [*workers, child])


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="NOT RUN: a Python with pidfd_open is needed")
def test_a_worker_dies_with_its_parent() -> None:
    """The parent's end of a pipe is all that tells it; here it is closed while the parent lives."""
    worker = Worker(lambda pipes: worker_command(PLAIN, pipes))
    try:
        end = os.pidfd_open(worker.pid)
        os.close(worker._lifeline)
        worker._lifeline = os.open(os.devnull, os.O_RDONLY)
        import select

        assert select.select([end], [], [], 60)[0]
        os.close(end)
    finally:
        assert worker.end() == -9


@pytest.mark.parametrize("told", [0, 1, 2])
def test_what_was_told_before_a_kill_is_there_after_it(told: int, tmp_path: Path) -> None:
    writes = "".join(f"write p {n} -> ok\n" for n in range(1, 50))
    program = parse(f"# Many.\nrules J-01\n\n{writes}write hang 1 -> ok\n", "many")
    killed = kill_at(PLAIN, Run(program=program, directory=str(tmp_path)), after_told=told, delay_s=0.002 * told)
    assert killed.struck
    assert any(isinstance(report, Opened) for report in killed.reports)
    acknowledged = len(observations(program, killed.reports))
    assert told <= acknowledged <= 49
    with Crew(PLAIN, 1, limit_s=120) as crew:
        seen = crew.look(Look(directory=str(tmp_path), persistence_ids=("p",)))
    assert isinstance(seen, Seen)
    assert acknowledged <= len(seen.sights[0].events) <= acknowledged + 1


def test_a_worker_that_ends_before_the_moment_of_its_kill_was_not_struck(tmp_path: Path) -> None:
    killed = kill_at(PLAIN, Run(program=THREE_WRITES, directory=str(tmp_path)), after_told=99)
    assert (killed.struck, killed.exit) == (False, 0)


def test_every_failpoint_is_named_by_a_run_and_can_be_killed_at(tmp_path: Path) -> None:
    run = Run(program=THREE_WRITES, directory=str(tmp_path / "all"))
    Path(run.directory).mkdir()
    finished = with_failpoints_counted(PLAIN, run).reports[-1]
    assert finished == Finished({"before the write": 3, "between write and sync": 3})
    killed = kill_at_failpoint(PLAIN, Run(program=THREE_WRITES, directory=str(tmp_path)), "between write and sync", 2)
    assert killed.struck
    assert len(observations(THREE_WRITES, killed.reports)) == 1
    assert (tmp_path / "events").read_bytes().count(b"\n") == 3


def test_a_failpoint_does_nothing_in_a_process_that_was_not_started_for_it() -> None:
    _failpoints.failpoint("anywhere")
    assert _failpoints.passed() == {}
