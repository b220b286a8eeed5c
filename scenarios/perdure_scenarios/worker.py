"""A worker: a process that opens a backend, does what it is told through one pipe, and tells through another.

Started by `crew.py` or `recording/` as `python -m perdure_scenarios.worker`. A look at a directory is answered again
and again; a program is carried out once, since its end is the end of the process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    Backend,
    Location,
    NoJournal,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotSelectionCriteria,
    Storage,
    _failpoints,
    load_backend,
)
from perdure.errors import PerdureError
from perdure_tck.outcomes import AnyOutcome
from perdure_tck.program import Step
from perdure_tck.runner import Limits, execute
from perdure_tck.stage import KitFault, ManualClock, Stage

from .scratch import digest_of_directory
from .submission import die_with_parent, submit
from .tasks import (
    Closed,
    Closing,
    ClosingFailed,
    Completed,
    Failure,
    Finished,
    Invoked,
    Look,
    Moment,
    More,
    NotReady,
    Opened,
    Opening,
    OpeningFailed,
    Ready,
    Report,
    Run,
    Seen,
    Sight,
    begins_with,
    encoded,
    note,
    task_of,
)

Result = TypeVar("Result")

KNOWN_MAX = 10_000
"""How many closed directories a worker remembers the look of."""


class Mouth:
    """The pipe to the parent. What is said is in it before `say` returns, whatever becomes of this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._run: Run | None = None

    def say(self, report: Report) -> None:
        rest = memoryview(encoded(report))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        run = self._run
        if run and run.die_at and begins_with(report, run.program) == run.die_at.begun:
            signal.setitimer(signal.ITIMER_REAL, max(run.die_at.delay_s, 1e-6))  # nothing catches SIGALRM

    def tells_of(self, run: Run) -> None:
        """From now on it is this program that is told of; the process ends itself when the program says so."""
        self._run = run

    def invoked(self, program: str, number: int, step: Step, at_ns: int) -> None:
        self.say(Invoked(number, at_ns))

    def completed(self, program: str, number: int, step: Step, outcome: AnyOutcome, at_ns: int) -> None:
        self.say(Completed(number, at_ns, outcome))


class Place(Stage):
    """A stage in a directory that somebody else owns."""

    def __init__(self, backend: Backend, run: Run) -> None:
        super().__init__(backend, run.page_size, open_limit_s=run.operation_limit_s)
        self.directory.rmdir()
        self.directory = Path(run.directory)
        self._namespace = run.namespace

    async def storage(self, client: str = "") -> Storage:
        return await super().storage(client if "@" in client else f"{client}@{self._namespace}")

    def close(self) -> None:
        try:
            self.run(self._close_handles())
        finally:
            self._thread.stop()


def carry_out(run: Run, backend: Backend, mouth: Mouth) -> None:
    """Run the program and tell of it. Nothing is closed at the end unless that was asked for."""
    stage = Place(backend, run)
    mouth.tells_of(run)
    mouth.say(Opening())
    try:
        stage.open()
    except KitFault as fault:
        mouth.say(OpeningFailed(failure_of("open", fault.__cause__ or fault)))
        return
    mouth.say(Opened())
    execute(run.program, stage, Limits(run.operation_limit_s), mouth)  # type: ignore[arg-type]  # a recorder to a pipe
    if run.close:
        _close(stage, mouth)
    mouth.say(Finished(_failpoints.passed()))


def _close(stage: Place, mouth: Mouth) -> None:
    mouth.say(Closing())
    try:
        stage.close()
    except Exception as error:
        mouth.say(ClosingFailed(failure_of("close", error)))
    else:
        mouth.say(Closed())


def failure_of(during: str, error: BaseException) -> Failure:
    return Failure(during, type(error).__name__, str(error), isinstance(error, PerdureError))


class Looking:
    """Looks at one directory after the other. `notes` is where it notes what it is doing.

    What a directory shows depends on its files alone. So one that is closed and equal to one that was opened before is
    not opened once more: most states that are recovered and written to end as one of a few.
    """

    def __init__(self, backend: Backend, notes: int) -> None:
        self._backend, self._notes = backend, notes
        self._known: dict[bytes, tuple[Sight, ...]] = {}
        self._moment: Moment = "open"

    async def look(self, task: Look) -> Seen:
        """Everything that can be seen, and what failed. Whatever a backend raises is part of the answer."""
        sights: tuple[Sight, ...] = ()
        more: tuple[More, ...] = ()
        try:
            self._enter("open")
            async with self._backend.open(_location(task)) as storage:
                self._enter("look")
                sights = await _sights(task, storage)
                if task.write_more:
                    self._enter("write")
                    more = tuple([await _write_one(sight, storage) for sight in sights])
                self._enter("close")
            return Seen(sights, more, await self._again(task) if task.write_more else ())
        except BaseException as error:
            return Seen(sights, more, (), failure_of(self._moment, error))

    async def _again(self, task: Look) -> tuple[Sight, ...]:
        key = _closed_state(task)
        if key in self._known:
            return self._known[key]
        self._enter("reopen")
        async with self._backend.open(_location(task)) as storage:
            self._enter("look again")
            again = await _sights(task, storage)
            self._enter("close again")
        if key and len(self._known) < KNOWN_MAX:
            self._known[key] = again
        return again

    def _enter(self, moment: Moment) -> None:
        self._moment = moment
        note(self._notes, moment)


def _closed_state(task: Look) -> bytes:
    """What decides on what a second look shows: the files, and what is asked of them. Empty where an image cannot hold
    what is there."""
    asked = msgspec.structs.replace(task, directory="")
    try:
        return digest_of_directory(task.directory) + encoded(asked)
    except (OSError, ValueError):
        return b""


def _location(task: Look) -> Location:
    """The clock stands still, so that what a worker writes is the same in each run."""
    location = Location(directory=Path(task.directory), namespace=task.namespace, clock=ManualClock())
    return location if task.page_size is None else msgspec.structs.replace(location, page_size=task.page_size)


async def _sights(task: Look, storage: Storage) -> tuple[Sight, ...]:
    return tuple([await _sight(persistence_id, storage) for persistence_id in task.persistence_ids])


async def _sight(persistence_id: str, storage: Storage) -> Sight:
    """What is there of one id. A failure of one operation does not keep the others from being seen."""
    failures: list[Failure] = []
    events: list[PersistentRepr] = []
    snapshots: list[SelectedSnapshot] = []
    highest: int | None = None
    if not isinstance(storage.journal, NoJournal):
        await _tried("replay", _replay(persistence_id, storage, events), failures)
        highest = await _tried("highest", storage.journal.read_highest_sequence_nr(persistence_id), failures)
    await _tried("snapshots", _load_all(persistence_id, storage, snapshots), failures)
    return Sight(persistence_id, tuple(events), highest, tuple(snapshots), tuple(failures))


async def _tried(during: str, work: Awaitable[Result], failures: list[Failure]) -> Result | None:
    try:
        return await work
    except BaseException as error:
        failures.append(failure_of(during, error))
        return None


async def _replay(persistence_id: str, storage: Storage, events: list[PersistentRepr]) -> None:
    async for event in storage.journal.replay_messages(persistence_id):
        events.append(event)


async def _load_all(persistence_id: str, storage: Storage, snapshots: list[SelectedSnapshot]) -> None:
    """Every snapshot, by asking for one below the last. A store that gives one above the bound ends it."""
    bound = MAX_SEQUENCE_NR
    while bound >= 0:
        selected = await storage.snapshots.load(persistence_id, SnapshotSelectionCriteria(max_sequence_nr=bound))
        if selected is None:
            return
        snapshots.append(selected)
        if selected.metadata.sequence_nr > bound:
            return
        bound = selected.metadata.sequence_nr - 1


async def _write_one(sight: Sight, storage: Storage) -> More:
    """One more event above everything that was seen; none where nobody could say what is above."""
    if sight.highest_sequence_nr is None:
        return More(sight.persistence_id, 0, Failure("write", "", "the highest number is not known"))
    number = max(sight.highest_sequence_nr, *(event.sequence_nr for event in sight.events), 0) + 1
    payload = Payload(4, "", f"{number} of {sight.persistence_id} after the fault".encode(errors="replace"))
    write = AtomicWrite((PersistentRepr(sight.persistence_id, number, payload),))
    failures: list[Failure] = []
    answers = await _tried("write", storage.journal.write_messages([write]), failures)
    rejected = answers is not None and any(answer is not None for answer in answers)
    return More(sight.persistence_id, number, failures[0] if failures else None, rejected)


def serve(requests: BinaryIO, backend: Backend, mouth: Mouth, notes: int) -> None:
    """Answer looks until the parent closes the pipe. One event loop for all: making one costs more than a look."""
    looking = Looking(backend, notes)
    with asyncio.Runner() as runner:
        for line in requests:
            task = task_of(line)
            if isinstance(task, Run):
                carry_out(task, backend, mouth)
                return
            mouth.say(runner.run(looking.look(task)))


def _watch_the_parent(lifeline: int) -> None:
    """End this process and its group when the parent has gone: its end of the pipe is closed then, however it went."""

    def wait() -> None:
        os.read(lifeline, 1)
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, name="perdure-lifeline", daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """Arguments: the descriptors of three pipes and a file, a submission or "", the backend's name, its settings."""
    requests, reports, lifeline, notes = (int(argument) for argument in arguments[:4])
    submission, name, settings = arguments[4], arguments[5], arguments[6:]
    keep_to_ourselves(requests, reports, lifeline, notes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent that is interrupted, and that ends us
    if submission:
        die_with_parent(submission)
    else:
        _watch_the_parent(lifeline)
    mouth = Mouth(reports)
    try:
        backend = load_backend(name, dict(setting.split("=", 1) for setting in settings))
    except Exception as error:
        mouth.say(NotReady(str(error)))
        return
    if submission:
        submit(submission)
    attend(requests, backend, mouth, notes)


def keep_to_ourselves(*descriptors: int) -> None:
    """Processes that the backend starts must not keep the pipes open."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(os.close, descriptor))


def attend(requests: int, backend: Backend, mouth: Mouth, notes: int) -> None:
    """Say that the backend is loaded, and do what is asked until there is no more."""
    gc.freeze()  # what is loaded stays, and is many times what a look makes
    mouth.say(Ready())
    with os.fdopen(requests, "rb") as lines:
        serve(lines, backend, mouth, notes)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # what the backend left open is left as it is, and threads that hang do not matter
