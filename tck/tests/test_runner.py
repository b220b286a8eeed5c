"""The runner and its stage: whatever a backend does becomes an outcome, takes its limit at most, and leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from perdure import Backend, Claims, Location, PersistentRepr, Storage, WriteRejected
from perdure.errors import SequenceConflict, Unreadable, WriteFailed
from perdure_memory import MemoryJournal, MemorySnapshotStore, World
from perdure_memory import backend as memory
from perdure_tck.history import Recorder, completion_of, read_history
from perdure_tck.outcomes import AnyOutcome, Conflict, Damaged, Failed, Invalid, Malformed, NoAnswer, Raised
from perdure_tck.runner import IMPATIENCE, LEAST_S, Limits, execute
from perdure_tck.scenario_text import parse
from perdure_tck.stage import KitFault, Stage

LIMIT_S = 0.2
"""For operations that are meant to run into it; all others get seconds."""


def backend_of(journal: type[MemoryJournal], snapshots: type[MemorySnapshotStore] = MemorySnapshotStore) -> Backend:
    """A backend in memory with another journal or snapshot store; each location object has a world of its own."""
    worlds: dict[int, tuple[Location, World]] = {}

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        _, world = worlds.setdefault(id(location), (location, World()))
        yield Storage(journal(world.events, location.clock, 1), snapshots(world.snapshots, location.clock))

    return Backend("odd", open_it, Claims(survives_close=True, shared=True))


def outcomes(backend: Backend, text: str, limits: Limits | None = None) -> list[AnyOutcome]:
    stage = Stage(backend)
    try:
        execution = execute(parse(f"rules J-01\n{text}", "by_hand"), stage, limits or Limits(5.0))
    finally:
        stage.close()
    return [one.outcome for one in execution.observations]


# ----------------------------------------------------------------------------------------- exceptions become outcomes


def raising(error: BaseException) -> Backend:
    class Raising(MemoryJournal):
        async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
            raise error

        async def replay_messages(self, *window: object) -> AsyncIterator[PersistentRepr]:
            async for event in super().replay_messages(*window):
                yield event
            raise error

    return backend_of(Raising)


EXCEPTIONS = [
    (SequenceConflict("p", 1, 2), Conflict(), "failed"),
    (WriteFailed("disk full"), Failed("disk full"), "failed"),
    (Unreadable("event", "p", 1, "torn"), Damaged("event 1 of 'p' cannot be read: torn"), "failed"),
    (ValueError("limit"), Invalid("limit"), "failed"),
    (OSError("no space"), Raised("OSError", "no space"), "unknown"),
    (KeyError("p"), Raised("KeyError", "'p'"), "unknown"),
    (TimeoutError(), Raised("TimeoutError", ""), "unknown"),
    (NotImplementedError("later"), Raised("NotImplementedError", "later"), "unknown"),
    (asyncio.CancelledError("mine"), Raised("CancelledError", "mine"), "unknown"),
    (SystemExit(3), Raised("SystemExit", "3"), "unknown"),
    (KeyboardInterrupt(), Raised("KeyboardInterrupt", ""), "unknown"),
    (RuntimeError("first line\nsecond"), Raised("RuntimeError", "first line"), "unknown"),
    (RuntimeError("\x1b[31mred \ud83d"), Raised("RuntimeError", r"\x1b[31mred \ud83d"), "unknown"),
]


@pytest.mark.parametrize(("error", "outcome", "completion"), EXCEPTIONS, ids=lambda value: type(value).__name__)
def test_an_exception_becomes_an_outcome(error: BaseException, outcome: AnyOutcome, completion: str) -> None:
    found = outcomes(raising(error), "highest p\nwrite p 1\nreplay p\ndelete p ..1")
    assert found[0] == found[2] == outcome
    assert len(found) == 4
    assert completion_of(outcome) == completion


# --------------------------------------------------------------------------------------------------- malformed answers


class AnswersWith(MemoryJournal):
    """Answers a write of two AtomicWrites, and a question for the highest number, with what it is told."""

    answer: object = None

    async def write_messages(self, writes: object) -> Sequence[WriteRejected | None]:
        return self.answer

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        return self.answer


def answering(given: object) -> Backend:
    return backend_of(type("Answering", (AnswersWith,), {"answer": given}))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "answered None to a call of 2 AtomicWrites"),
        ([], "answered [] to a call of 2 AtomicWrites"),
        ([None], "answered [None] to a call of 2 AtomicWrites"),
        ([None] * 3, "answered [None, None, None] to a call of 2 AtomicWrites"),
        ([None, True], "answered [None, True], which is not made of None and WriteRejected"),
        ([None, "x" * 100], "…"),
        ({1, 2}, "to a call of 2 AtomicWrites"),
    ],
)
def test_an_answer_to_a_write_that_is_none_is_malformed(answer: object, told: str) -> None:
    (found,) = outcomes(answering(answer), "write p 1, 2")
    assert isinstance(found, Malformed)
    assert told in str(found)
    assert completion_of(found) == "unknown"


@pytest.mark.parametrize("answer", [None, "5", 5.0, True, [5]])
def test_a_highest_number_that_is_no_number_is_malformed(answer: object) -> None:
    assert outcomes(answering(answer), "highest p") == [Malformed(repr(answer))]


def test_an_event_that_is_none_and_a_snapshot_that_is_none_are_malformed() -> None:
    class OddEvents(MemoryJournal):
        async def replay_messages(self, *window: object) -> AsyncIterator[PersistentRepr]:
            yield "event"

    class OddSnapshots(MemorySnapshotStore):
        async def load(self, *args: object) -> object:
            return "snapshot"

    found = outcomes(backend_of(OddEvents, OddSnapshots), "replay p\nload snapshot p")
    assert found == [Malformed("'event' among the events"), Malformed("'snapshot'")]


# -------------------------------------------------------------------------------------------------------- no answer


class Silent(MemoryJournal):
    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        await asyncio.Event().wait()
        return 0


class Stubborn(MemoryJournal):
    """Swallows the cancellation and goes on as if nothing had been."""

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 0


@pytest.mark.parametrize("journal", [Silent, Stubborn])
def test_an_operation_that_never_answers_is_cut_at_its_limit(journal: type[MemoryJournal]) -> None:
    begun = time.monotonic()
    found = outcomes(backend_of(journal), "write p 1\nhighest p\nwrite p 2", Limits(LIMIT_S))
    assert [str(one) for one in found] == ["ok", f"no answer in {LIMIT_S:g} s"]
    assert completion_of(found[1]) == "unknown"
    assert time.monotonic() - begun < 5.0


@pytest.fixture
def blocking() -> Iterator[Backend]:
    """A backend whose `highest` blocks the whole event loop, until the test is over."""
    over = threading.Event()

    class Blocking(MemoryJournal):
        async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
            over.wait(60)
            return 0

    yield backend_of(Blocking)
    over.set()
    for thread in stage_threads():
        thread.join(10)
    assert stage_threads() == []


def stage_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "perdure-stage"]


def test_an_operation_that_blocks_the_loop_is_cut_too(blocking: Backend) -> None:
    stage = Stage(blocking)
    execution = execute(parse("rules J-01\nwrite p 1\nhighest p", "x"), stage, Limits(LIMIT_S))
    assert execution.observations[-1].outcome == NoAnswer(LIMIT_S)
    assert execution.ended_early == f"no answer in {LIMIT_S:g} s"
    with pytest.raises(KitFault, match="closing odd gave no answer"):
        stage.close()
    assert not stage.directory.exists()


def test_patience_ends_after_two_silences_of_a_kind() -> None:
    limit_s = LEAST_S * 1.5
    limits = Limits(limit_s)
    found = [outcomes(backend_of(Silent), "highest p", limits)[0] for _ in range(3)]
    assert found == [NoAnswer(limit_s), NoAnswer(limit_s), NoAnswer(LEAST_S)]
    assert limits.of("write") == limit_s


@pytest.mark.parametrize(("limit_s", "impatient_s"), [(100.0, 100.0 / IMPATIENCE), (1.0, LEAST_S), (0.1, 0.1)])
def test_impatience_has_an_end(limit_s: float, impatient_s: float) -> None:
    limits = Limits(limit_s)
    for _ in range(2):
        assert limits.of("highest") == limit_s
        limits.silent("highest")
    assert limits.of("highest") == impatient_s


def test_the_limit_is_for_each_operation_and_not_for_the_program() -> None:
    class Slow(MemoryJournal):
        async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
            await asyncio.sleep(LIMIT_S)
            return 0

    found = outcomes(backend_of(Slow), "highest p\n" * 4, Limits(3 * LIMIT_S))
    assert list(map(str, found)) == ["0"] * 4


# ------------------------------------------------------------------------------------------- opening, closing, handles


def broken_open(kind: str) -> Callable[[Location], object]:
    @asynccontextmanager
    async def raises(_: Location) -> AsyncIterator[Storage]:
        raise OSError("no such server")
        yield Storage()

    @asynccontextmanager
    async def hangs(_: Location) -> AsyncIterator[Storage]:
        await asyncio.Event().wait()
        yield Storage()

    @asynccontextmanager
    async def raises_at_the_end(_: Location) -> AsyncIterator[Storage]:
        yield Storage()
        raise OSError("no longer there")

    @asynccontextmanager
    async def hangs_at_the_end(_: Location) -> AsyncIterator[Storage]:
        yield Storage()
        await asyncio.Event().wait()

    async def no_context(_: Location) -> AsyncIterator[Storage]:
        yield Storage()

    return {one.__name__: one for one in (raises, hangs, raises_at_the_end, hangs_at_the_end, no_context)}[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raises", "opening odd raised OSError: no such server"),
        ("hangs", "opening odd gave no answer in 0.05 s"),
        ("no_context", "opening odd raised TypeError: 'async_generator' object does not support"),
    ],
)
def test_a_location_that_cannot_be_opened_is_a_fault_of_the_kit(kind: str, message: str) -> None:
    stage = Stage(Backend("odd", broken_open(kind)), open_limit_s=0.05)
    with pytest.raises(KitFault, match=message):
        stage.open()
    if kind == "hangs":
        with pytest.raises(KitFault):
            stage.close()
    else:
        stage.close()
    assert_nothing_is_left(stage)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raises_at_the_end", "closing odd raised OSError: no longer there"),
        ("hangs_at_the_end", "closing odd gave no answer in 0.05 s"),
    ],
)
def test_a_location_that_cannot_be_closed_is_a_fault_of_the_kit(kind: str, message: str) -> None:
    stage = Stage(Backend("odd", broken_open(kind)), open_limit_s=0.05)
    stage.open()
    with pytest.raises(KitFault, match=message):
        stage.close()
    assert_nothing_is_left(stage)


def assert_nothing_is_left(stage: Stage) -> None:
    assert not stage.directory.exists()
    assert stage_threads() == []


def test_nothing_is_left_after_closing() -> None:
    stage = Stage(memory)
    stage.open()
    assert stage.directory.is_dir()
    assert len(stage_threads()) == 1
    stage.close()
    assert_nothing_is_left(stage)


def test_a_reopening_that_fails_is_an_outcome_and_no_fault() -> None:
    openings = iter([True, False, True])

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        if not next(openings):
            raise OSError("locked")
        async with memory.open(location) as storage:
            yield storage

    found = outcomes(Backend("odd", open_it), "write p 1\nreopen\nhighest p")
    assert list(map(str, found)) == ["ok", "raised OSError: locked", "1"]


def test_a_context_is_left_by_the_task_that_entered_it() -> None:
    tasks: list[tuple[object, object]] = []

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        entered = asyncio.current_task()
        async with memory.open(location) as storage, asyncio.timeout(60):  # a timeout insists on its task
            yield storage
        tasks.append((entered, asyncio.current_task()))

    found = outcomes(Backend("odd", open_it), "write p 1\na: highest p\nreopen\na: highest p")
    assert list(map(str, found)) == ["ok", "1", "ok", "1"]
    assert len(tasks) == 4
    assert all(entered is left for entered, left in tasks)


def test_each_client_has_a_handle_and_each_namespace_a_location() -> None:
    opened: list[Location] = []

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        opened.append(location)
        async with memory.open(location) as storage:
            yield storage

    found = outcomes(Backend("odd", open_it), "write p 1\na: highest p\na: highest p\nb@other: highest p")
    assert list(map(str, found)) == ["ok", "1", "1", "0"]
    assert [location.namespace for location in opened] == ["perdure", "perdure", "other"]
    assert opened[0] is opened[1]


def test_the_clock_of_a_program_reaches_the_backend() -> None:
    found = outcomes(memory, "clock 77\nsave snapshot p 1\nload snapshot p")
    assert str(found[2]) == "1 at 77"


# ------------------------------------------------------------------------------------------------------- the history


def test_a_history_is_written_while_it_happens(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "history.jsonl"
    stage = Stage(backend_of(Silent))
    with Recorder(path) as recorder:
        execute(parse("rules J-01\nwrite p 1\na: highest p", "by_hand"), stage, Limits(LIMIT_S), recorder)
    stage.close()
    entries = list(read_history(path.read_bytes().splitlines()))
    assert [(type(entry).__name__, entry.number, entry.client) for entry in entries] == [
        ("Invoked", 1, ""),
        ("Completed", 1, ""),
        ("Invoked", 2, "a"),
        ("Completed", 2, "a"),
    ]
    assert [entry.completion for entry in entries[1::2]] == ["ok", "unknown"]
    assert [entry.at_ns for entry in entries] == sorted(entry.at_ns for entry in entries)
    assert {entry.program for entry in entries} == {"by_hand"}
