"""The only way from actors to a backend: breakers, recovery permits, and the writes that nobody has an answer to yet.

A write that takes longer than its time is answered as unknown, and goes on. It is not cancelled, because then nobody
could tell when it is over. Whoever recovers the same persistence id waits for it first (`quiet`): then what the journal
holds is final, and the highest number read afterwards counts everything that may be stored. Should a journal bring a
write to light still later, its numbers are taken by then, and one of the two writers gets a `SequenceConflict`. (J-16)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from .._events import AtomicWrite, WriteRejected
from .._journal import Journal
from .._snapshots import SnapshotStore
from ..errors import SequenceConflict, Unreadable
from ._breaker import Breaker
from ._settings import PersistenceSettings

Value = TypeVar("Value")
Answers = Sequence[WriteRejected | None]


class Lane(Protocol):
    """Who writes events of one persistence id, one call after the other."""

    persistence_id: str

    @property
    def busy(self) -> bool: ...
    def answered(self, answer: Answers | BaseException, overdue: bool = False) -> None: ...
    def over(self) -> None:
        """The call that was answered as timed out has come to its end."""


class Tasks:
    """Every task that persistence started. Closing waits for them, then cancels those that take too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
        task = self.loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def start_write(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The same for work that calls `ended` itself as its last step: a callback for each write would cost much."""
        task = self.loop.create_task(work)
        self._running.add(task)
        return task

    def ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)

    async def close(self, timeout_s: float) -> None:
        try:
            while self._running:
                ended, late = await asyncio.wait(self._running, timeout=timeout_s)
                self._running -= ended
                if late:
                    break
        finally:  # also when whoever closes is cancelled: nothing is left behind
            for task in self._running:
                task.cancel()
            while self._running:
                ended, _ = await asyncio.wait(self._running)
                self._running -= ended


async def guarded(breaker: Breaker, call: Callable[[], Awaitable[Value]]) -> Value:
    """One call through a breaker. A call that takes too long is cancelled."""
    refusal = breaker.enter()
    if refusal is not None:
        raise refusal
    try:
        async with asyncio.timeout(breaker.call_timeout_s):
            value = await call()
    except asyncio.CancelledError:
        breaker.abandoned()
        raise
    except (ValueError, Unreadable, NotImplementedError):
        breaker.succeeded()  # an answer, though none that the caller likes
        raise
    except BaseException as error:
        breaker.failed(error)
        raise
    breaker.succeeded()
    return value


class JournalPort:
    """One journal, as all actors of a system see it."""

    def __init__(self, name: str, journal: Journal, settings: PersistenceSettings, tasks: Tasks) -> None:
        self.name = name
        self.journal = journal
        self.breaker = Breaker(f"journal {name!r}", settings.journal_breaker, tasks.loop.time)
        self.permits = asyncio.Semaphore(settings.concurrent_recoveries_max)
        self._tasks = tasks
        self._loop = tasks.loop
        self._lanes: dict[str, set[Lane]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._deadlines: dict[Lane, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def write(self, lane: Lane, writes: Sequence[AtomicWrite]) -> None:
        """Begin a write; `lane.answered` is called once, later. A lane has one write at a time."""
        refusal = self.breaker.enter()
        if refusal is not None:
            self._loop.call_soon(lane.answered, refusal)
            return
        deadline = self._loop.time() + self.breaker.call_timeout_s
        self._deadlines[lane] = deadline
        self._tasks.start_write(self._call(lane, writes))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)

    async def _call(self, lane: Lane, writes: Sequence[AtomicWrite]) -> None:
        answer: Answers | BaseException
        try:
            answer = await self.journal.write_messages(writes)
            if len(answer) != len(writes):
                answer = RuntimeError(f"journal {self.name!r} gave {len(answer)} answers to {len(writes)} writes")
        except Exception as error:
            answer = error
        except GeneratorExit:  # left behind with its loop: nobody is there to be told
            raise
        except BaseException as error:
            self._ended(lane, error)
            raise
        self._ended(lane, answer)

    def _ended(self, lane: Lane, answer: Answers | BaseException) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.ended(task)
        if self._deadlines.pop(lane, None) is None:
            lane.over()  # it was answered when its time was over
            return
        if not isinstance(answer, BaseException) or isinstance(answer, SequenceConflict | ValueError):
            self.breaker.succeeded()
        elif isinstance(answer, asyncio.CancelledError):
            self.breaker.abandoned()
        else:
            self.breaker.failed(answer)
        lane.answered(answer)

    def _expire(self) -> None:
        """Deadlines are in order, since all calls have the same time."""
        self._timer = None
        now = self._loop.time()
        for lane, deadline in list(self._deadlines.items()):
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._expire)
                return
            del self._deadlines[lane]
            error = TimeoutError(f"journal {self.name!r} did not answer a write within {self.breaker.call_timeout_s} s")
            self.breaker.failed(error)
            lane.answered(error, True)

    def join(self, lane: Lane) -> None:
        self._lanes.setdefault(lane.persistence_id, set()).add(lane)

    def settled(self, lane: Lane, stays: bool) -> None:
        """Nothing of this lane is under way; `stays` says whether its actor goes on."""
        if not stays:
            lanes = self._lanes.get(lane.persistence_id, set())
            lanes.discard(lane)
            if not lanes:
                self._lanes.pop(lane.persistence_id, None)
        if self._waiting:
            for waiter in self._waiting.pop(lane.persistence_id, ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def quiet(self, persistence_id: str, own: Lane) -> None:
        """Return when no other incarnation of this id has a write whose outcome may still change."""
        while any(lane.busy for lane in self._lanes.get(persistence_id, ()) if lane is not own):
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.setdefault(persistence_id, []).append(waiter)
            await waiter

    async def highest(self, persistence_id: str, hint: int) -> int:
        return await guarded(self.breaker, lambda: self.journal.read_highest_sequence_nr(persistence_id, hint))

    def delete(self, persistence_id: str, to_sequence_nr: int) -> asyncio.Task[None]:
        journal = self.journal
        return self._tasks.start(
            guarded(self.breaker, lambda: journal.delete_messages_to(persistence_id, to_sequence_nr))
        )


class SnapshotPort:
    """One snapshot store, as all actors of a system see it."""

    def __init__(self, name: str, snapshots: SnapshotStore, settings: PersistenceSettings, tasks: Tasks) -> None:
        self.name = name
        self.snapshots = snapshots
        self.breaker = Breaker(f"snapshot store {name!r}", settings.snapshot_breaker, tasks.loop.time)
        self._tasks = tasks

    async def call(self, operation: Callable[[SnapshotStore], Awaitable[Value]]) -> Value:
        return await guarded(self.breaker, lambda: operation(self.snapshots))

    def start(self, operation: Callable[[SnapshotStore], Awaitable[Value]]) -> asyncio.Task[Value]:
        return self._tasks.start(self.call(operation))
