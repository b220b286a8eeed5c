"""The runner: carries a program out on a stage, one operation after the other, and records what it observes.

It calls backends through the public contracts only, turns exceptions and answers into outcomes, and judges nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from perdure import MAX_SEQUENCE_NR, PersistentRepr, SelectedSnapshot, Storage, WriteRejected
from perdure.errors import SequenceConflict, Unreadable, WriteFailed

from .history import Execution, Observation, Recorder
from .leftovers import LEFTOVERS, Leftovers
from .model import START_OF_CLOCK
from .operations import (
    ACTOR_OPERATIONS,
    JOURNAL_OPERATIONS,
    SNAPSHOT_OPERATIONS,
    AnyOperation,
    Clock,
    Close,
    Crash,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Reopen,
    Replay,
    SaveSnapshot,
    Take,
    Write,
)
from .outcomes import (
    Answers,
    AnyOutcome,
    Conflict,
    Damaged,
    Done,
    Events,
    Failed,
    Invalid,
    Loaded,
    Malformed,
    NoAnswer,
    Number,
    Raised,
)
from .program import Program, Step
from .readers import Readers
from .stage import ManualClock, Silent, Stage
from .troupe import Troupe

IMPATIENT_AFTER = 2
IMPATIENCE = 20
LEAST_S = 0.25


class Limits:
    """How long an operation may take. A kind that gave no answer twice gets a twentieth from then on, or `LEAST_S`.

    Without that, a backend that never answers would take minutes to be told so for every rule. It cannot turn a run
    red, since the kind was silent twice by then, at full length; but it may add a rule on a very busy machine.
    """

    def __init__(self, operation_limit_s: float) -> None:
        self._limit_s = operation_limit_s
        self._silences: Counter[str] = Counter()

    def of(self, kind: str) -> float:
        if self._silences.get(kind, 0) < IMPATIENT_AFTER:
            return self._limit_s
        return max(self._limit_s / IMPATIENCE, min(self._limit_s, LEAST_S))

    def silent(self, kind: str) -> None:
        self._silences[kind] += 1


Due = Callable[[Sequence[Observation]], int]
"""How many items the next step has to wait for, by what was observed until then."""


def _whatever_is_asked(_observations: Sequence[Observation]) -> int:
    return MAX_SEQUENCE_NR


def execute(
    program: Program,
    stage: Stage,
    limits: Limits,
    recorder: Recorder | None = None,
    due: Due = _whatever_is_asked,
    prefix: str = "",
) -> Execution:
    """Run a program to its end, or to the first operation that gives no answer.

    `prefix` is that of the program's ids: what queries give of other programs is passed over.

    Raises `KitFault` if the location cannot be opened in the first place. Opening it again, or a second time, is an
    operation like any other: if that fails, the backend failed.
    """
    observations: list[Observation] = []
    stage.open()
    try:
        stage.run(_play(program, stage, limits, observations, recorder, due, Readers(prefix)))
    except Silent as silence:
        seen = tuple(observations)  # a loop that was blocked may still wake up and add to the list
        if len(seen) == len(program.steps):
            return Execution(seen)  # the last answer came just while it was given up
        return Execution((*seen, _missing(program, len(seen) + 1, silence, limits, recorder)), str(silence))
    return Execution(tuple(observations))


def _missing(program: Program, number: int, silence: Silent, limits: Limits, recorder: Recorder | None) -> Observation:
    """The answer that did not come."""
    step = program.steps[number - 1]
    limits.silent(step.operation.kind)
    outcome = NoAnswer(silence.limit_s)
    if recorder:
        recorder.completed(program.name, number, step, outcome, time.monotonic_ns())
    return Observation(number, step, outcome)


async def _play(
    program: Program,
    stage: Stage,
    limits: Limits,
    observations: list[Observation],
    recorder: Recorder | None,
    due: Due,
    readers: Readers,
) -> None:
    stage.clock.now = START_OF_CLOCK
    troupe = Troupe(stage.backend.actor_runtime)
    left = Leftovers(stage.directory) if program.private and LEFTOVERS in program.rules else None
    due_now = partial(due, observations)
    for number, step in enumerate(program.steps, 1):
        limit_s = limits.of(step.operation.kind)
        stage.pulse.begin(limit_s)
        if recorder:
            recorder.invoked(program.name, number, step, time.monotonic_ns())
        storage = stage.opened(step.client) if type(step.operation) in _OF_STORAGE else None
        outcome = await outcome_of(
            answer(step.operation, number, storage, stage.clock)
            if storage is not None
            else _answered(step, number, stage, limit_s, readers, troupe, due_now)
        )
        if left is not None:
            outcome = await left.after(step, outcome, bool(readers))
        if stage.pulse.given_up:
            return  # an answer that comes too late is none, and nobody waits for the next one
        if recorder:
            recorder.completed(program.name, number, step, outcome, time.monotonic_ns())
        observations.append(Observation(number, step, outcome))
    if troupe:
        stage.pulse.begin(limits.of(Crash.kind))
        await troupe.crash_all()
    if readers:
        stage.pulse.begin(limits.of(Close.kind))
        await readers.close_all()
    stage.pulse.end()


_OF_STORAGE = frozenset((*JOURNAL_OPERATIONS, *SNAPSHOT_OPERATIONS, Clock))
"""Operations that ask nothing but an open storage: most of all, so they take the shortest way to it."""


async def _answered(
    step: Step, number: int, stage: Stage, limit_s: float, readers: Readers, troupe: Troupe, due: Callable[[], int]
) -> AnyOutcome:
    """What comes of one operation of a sequential program."""
    if isinstance(step.operation, Reopen):
        await troupe.crash_all()
        await stage.reopen()
        return Done()
    if isinstance(step.operation, Take):
        return await readers.take(step, due())
    if isinstance(step.operation, Close):
        return await readers.close(step)
    storage = stage.opened(step.client)
    if storage is None:
        storage = await stage.storage(step.client)
        stage.pulse.begin(limit_s)  # again, since opening the handle took a limit of its own
    if isinstance(step.operation, ACTOR_OPERATIONS):
        return await troupe.play(step, number, storage)
    if isinstance(step.operation, Query):
        return await readers.open(step, storage.queries)
    return await answer(step.operation, number, storage, stage.clock)


async def outcome_of(answered: Awaitable[AnyOutcome]) -> AnyOutcome:
    """The outcome, whatever is raised instead of an answer."""
    try:
        return await answered
    except SequenceConflict:
        return Conflict()
    except WriteFailed as error:
        return Failed(_said(error))
    except Unreadable as error:
        return Damaged(_said(error))
    except ValueError as error:
        return Invalid(_said(error))
    except (asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling():
            raise  # that was us: the operation is overdue
        return Raised(type(error).__name__, _said(error))
    except Exception as error:
        return Raised(type(error).__name__, _said(error))


def _said(error: BaseException) -> str:
    """The first line of a message, with characters that would act on a terminal or break a file as their escapes."""
    line = str(error).partition("\n")[0]
    return line if line.isprintable() else repr(line)[1:-1]


async def all_of(events: AsyncIterator[PersistentRepr]) -> list[PersistentRepr]:
    return [event async for event in events]


async def answer(
    operation: AnyOperation,
    number: int,
    storage: Storage,
    clock: ManualClock,
    read: Callable[[AsyncIterator[PersistentRepr]], Awaitable[list[PersistentRepr]]] = all_of,
) -> AnyOutcome:
    """Carry one operation out. `read` is how whoever replays takes the events."""
    journal, snapshots = storage.journal, storage.snapshots
    match operation:
        case Write():
            writes = [batch.atomic_write(number) for batch in operation.batches]
            return _answers(await journal.write_messages(writes), len(writes))
        case Replay():
            window = operation.from_sequence_nr, operation.to_sequence_nr, operation.max_count
            return _events(await read(journal.replay_messages(operation.persistence_id, *window)))
        case Highest():
            return _number(await journal.read_highest_sequence_nr(operation.persistence_id, operation.hint))
        case Delete():
            await journal.delete_messages_to(operation.persistence_id, operation.to_sequence_nr)
        case SaveSnapshot():
            await snapshots.save(operation.metadata(), operation.payload(number))
        case LoadSnapshot():
            return _loaded(await snapshots.load(operation.persistence_id, operation.bounds.criteria()))
        case DeleteSnapshot():
            await snapshots.delete(operation.metadata())
        case DeleteSnapshots():
            await snapshots.delete_matching(operation.persistence_id, operation.bounds.criteria())
        case Clock():
            clock.now = operation.now
    return Done()


def _answers(answer: Sequence[WriteRejected | None], expected: int) -> AnyOutcome:
    if not isinstance(answer, Sequence) or len(answer) != expected:
        return Malformed(f"{_short(answer)} to a call of {expected} AtomicWrites")
    if not all(entry is None or isinstance(entry, WriteRejected) for entry in answer):
        return Malformed(f"{_short(answer)}, which is not made of None and WriteRejected")
    return Answers(tuple([entry is not None for entry in answer]))


def _events(answer: Sequence[PersistentRepr]) -> AnyOutcome:
    wrong = [event for event in answer if not isinstance(event, PersistentRepr)]
    return Malformed(f"{_short(wrong[0])} among the events") if wrong else Events(tuple(answer))


def _number(answer: int) -> AnyOutcome:
    return Number(answer) if type(answer) is int else Malformed(_short(answer))


def _loaded(answer: SelectedSnapshot | None) -> AnyOutcome:
    return Loaded(answer) if answer is None or isinstance(answer, SelectedSnapshot) else Malformed(_short(answer))


def _short(answer: object) -> str:
    shown = repr(answer)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
