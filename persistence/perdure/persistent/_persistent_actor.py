"""An actor whose state is the sum of its events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .._arguments import MAX_SEQUENCE_NR, check_persistence_id
from .._events import AtomicWrite, PersistentRepr, SnapshotMetadata, SnapshotSelectionCriteria, WriteRejected
from ..actors import Actor, ActorRef, Unhandled
from ..actors._actor import resolve
from ..errors import InitializationFailed, RecoveryFailed, StashOverflow
from ._overflow import DiscardToDeadLetters, ReplyToSender, StashOverflowStrategy, ThrowOverflow
from ._protocol import (
    FAILURES,
    DeleteMessagesFailure,
    DeleteMessagesSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotSuccess,
    Recovery,
    RecoveryCompleted,
    SaveSnapshotFailure,
    SaveSnapshotSuccess,
)
from ._recovery import HandlerFailed, Recoverer
from ._writer import Invocation, Writer

if TYPE_CHECKING:
    from asyncio import Future

    from ..actors._cell import Cell

log = logging.getLogger("perdure.persistent")

Event = TypeVar("Event")
Handler = Callable[[Event], object]


class PersistentActor(Actor):
    """Give it a `persistence_id`, and write `receive_command` and `receive_recover`.

    When it starts, it is offered its latest snapshot, then every later event, then `RecoveryCompleted`; commands wait
    until then. In a command, `persist` an event and change the state in its handler: that runs when the event is
    stored, and no other command is received before it. All handlers and hooks may be `async`.

    A rejected event (`on_persist_rejected`) has used its number, and the actor goes on. After a failure or an unknown
    outcome (`on_persist_failure`) the actor stops, because it can no longer know what is stored; the next incarnation
    recovers what really is. Put it below a `BackoffSupervisor`.
    """

    persistence_id: str = ""
    """Unique among the living actors of all systems that share the journal. An attribute or a property."""

    journal_backend: str = ""
    """The name of the storage that keeps the events: one of `storages` of the system, or "" for its default."""

    snapshot_backend: str | None = None
    """The name of the storage that keeps the snapshots; None: the same as `journal_backend`."""

    recovery: Recovery = Recovery()
    snapshot_is_optional: bool = False
    """Replay all events if no snapshot can be read. Recovery still fails if some of these events were deleted."""

    internal_stash_capacity: int | None = None
    """How many messages may wait while this actor persists or recovers; None: no limit."""

    stash_overflow_strategy: ClassVar[StashOverflowStrategy] = ThrowOverflow()

    _sequence_nr = 0
    _last_sequence_nr = 0
    _stashing = 0
    _unanswered = 0
    _recovering = True
    _overflowed = False
    _writer: Writer
    _writer_type: ClassVar[type[Writer]] = Writer
    _recoverer_type: ClassVar[type[Recoverer]] = Recoverer

    def receive_command(self, message: object) -> object:
        """Called for each message when recovery has completed."""
        return self.unhandled(message)

    def receive_recover(self, message: object) -> object:
        """Called for the `SnapshotOffer`, the events, and `RecoveryCompleted`. Only changes the state."""
        return self.unhandled(message)

    def receive(self, message: object) -> object:
        return self.receive_command(message)

    # -- persisting

    def persist(self, event: Event, handler: Handler[Event] | None = None) -> None:
        """Store an event, then call `handler(event)`. Commands wait until that has returned."""
        self._persist_one("persist", event, handler, True)

    def persist_async(self, event: Event, handler: Handler[Event] | None = None) -> None:
        """The same, but commands are received meanwhile. Handlers are called in the order of the calls."""
        self._persist_one("persist_async", event, handler, False)

    def persist_all(
        self,
        events: Iterable[Event],
        handler: Handler[Event] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> None:
        """Store several events, all or none, then call the handler for each, then `on_complete`."""
        self._persist_all("persist_all", list(events), handler, True)
        if on_complete is not None:
            self.defer(None, lambda _: on_complete())

    def persist_all_async(
        self,
        events: Iterable[Event],
        handler: Handler[Event] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> None:
        """The same, but commands are received meanwhile."""
        self._persist_all("persist_all_async", list(events), handler, False)
        if on_complete is not None:
            self.defer_async(None, lambda _: on_complete())

    def defer(self, value: Event, handler: Handler[Event]) -> None:
        """Call `handler(value)` when everything persisted so far has been handled; at once if nothing is pending.

        Nothing is stored. Commands wait for it. It is never called if one of those writes fails, and is if it is
        rejected.
        """
        self._defer("defer", value, handler, True)

    def defer_async(self, value: Event, handler: Handler[Event]) -> None:
        """The same, but commands are received meanwhile."""
        self._defer("defer_async", value, handler, False)

    # -- snapshots and deletion: each is answered by a message to this actor

    def save_snapshot(self, snapshot: object) -> None:
        """Save the state after the last event that was handled. Answered by `SaveSnapshotSuccess` or `...Failure`."""
        metadata = SnapshotMetadata(self.persistence_id, self._last_sequence_nr)
        try:
            payload = self._persistence.codec.serialization.to_payload(snapshot)
        except Exception as error:
            self.ref.tell(SaveSnapshotFailure(metadata, error), self.ref)
            return
        saving = self._snapshots.start(lambda store: store.save(metadata, payload))
        self._report(saving, SaveSnapshotSuccess(metadata), partial(SaveSnapshotFailure, metadata))

    def delete_snapshot(self, sequence_nr: int) -> None:
        metadata = SnapshotMetadata(self.persistence_id, sequence_nr)
        deleting = self._snapshots.start(lambda store: store.delete(metadata))
        self._report(deleting, DeleteSnapshotSuccess(metadata), partial(DeleteSnapshotFailure, metadata))

    def delete_snapshots(self, criteria: SnapshotSelectionCriteria) -> None:
        persistence_id = self.persistence_id
        deleting = self._snapshots.start(lambda store: store.delete_matching(persistence_id, criteria))
        self._report(deleting, DeleteSnapshotsSuccess(criteria), partial(DeleteSnapshotsFailure, criteria))

    def delete_messages(self, to_sequence_nr: int = MAX_SEQUENCE_NR) -> None:
        """Delete the events up to a number; the largest number stands for the last event that was handled.

        A number above that is refused without asking the journal.
        """
        to = self._last_sequence_nr if to_sequence_nr == MAX_SEQUENCE_NR else to_sequence_nr
        if to > self._last_sequence_nr:
            cause = ValueError(f"to_sequence_nr {to} is above {self._last_sequence_nr}, the last event of this actor")
            self.ref.tell(DeleteMessagesFailure(to, cause), self.ref)
            return
        deleting = self._journal.delete(self.persistence_id, to)
        self._report(deleting, DeleteMessagesSuccess(to), partial(DeleteMessagesFailure, to))

    # -- hooks

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> object:
        """The event was refused and its handler is not called. Unless overridden, logs an error."""
        log.error("%r: event %s was rejected: %s", self.persistence_id, sequence_nr, reason)
        return None

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> object:
        """The event was not stored, or it is unknown whether it was; the actor stops after this hook."""
        log.error("%r: event %s was not acknowledged: %r", self.persistence_id, sequence_nr, error, exc_info=error)
        return None

    def on_recovery_failure(self, error: Exception, event: object | None) -> object:
        """Recovery failed, at this event if one is given; the actor stops after this hook."""
        log.error("%r: recovery failed: %r", self.persistence_id, error, exc_info=error)
        return None

    def unhandled(self, message: object) -> Unhandled:
        if isinstance(message, FAILURES):
            log.warning("%r: %r", self.persistence_id, message)
        return super().unhandled(message)

    # -- where it stands

    @property
    def is_recovering(self) -> bool:
        """True until the last event was replayed; false in the handler of `RecoveryCompleted`."""
        return self._recovering

    @property
    def last_sequence_nr(self) -> int:
        """Of the last event that was replayed or handled."""
        return self._last_sequence_nr

    @property
    def snapshot_sequence_nr(self) -> int:
        """The number that `save_snapshot` would use now."""
        return self._last_sequence_nr

    # -- how persisting works

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        if self._recovering:
            raise _persisting_too_early(operation)
        self._sequence_nr += 1
        cell = self._cell
        invocation = Invocation(event, self._sequence_nr, handler, cell.sender, stashing)
        self._unanswered += 1
        self._stashing += stashing
        try:
            payload, manifest, tags = self._encode(event)
            write = AtomicWrite(
                (PersistentRepr(self._pid, self._sequence_nr, payload, manifest, self._writer.uuid, 0, tags),)
            )
        except Exception as error:
            invocation.outcome = _unwritable(error)
            self._writer.add(invocation)
        else:
            self._writer.write(write, [invocation])

    def _persist_all(self, operation: str, events: list[Any], handler: Handler[Any] | None, stashing: bool) -> None:
        if self._recovering:
            raise _persisting_too_early(operation)
        if not events:
            return
        first = self._sequence_nr + 1
        self._sequence_nr += len(events)
        sender = self._cell.sender
        invocations = [
            Invocation(event, number, handler, sender, stashing) for number, event in enumerate(events, first)
        ]
        self._unanswered += len(events)
        self._stashing += len(events) if stashing else 0
        try:
            write = AtomicWrite(tuple(self._repr(number, event) for number, event in enumerate(events, first)))
        except Exception as error:
            for invocation in invocations:
                invocation.outcome = _unwritable(error)
                self._writer.add(invocation)
        else:
            self._writer.write(write, invocations)

    def _repr(self, sequence_nr: int, event: object) -> PersistentRepr:
        payload, manifest, tags = self._encode(event)
        return PersistentRepr(self._pid, sequence_nr, payload, manifest, self._writer.uuid, 0, tags)

    def _defer(self, operation: str, value: Any, handler: Handler[Any], stashing: bool) -> None:
        if self._recovering:
            raise _persisting_too_early(operation)
        invocation = Invocation(value, 0, handler, self._cell.sender, stashing)
        if self._unanswered == 0:
            result = handler(value)
            if result is None or not hasattr(result, "__await__"):
                return
            invocation = Invocation(result, 0, _itself, self._cell.sender, True)  # awaited before the next command
        self._unanswered += 1
        self._stashing += invocation.stashing
        self._writer.add(invocation)

    def _answered(self, invocation: Invocation) -> object:
        """The turn of one event, or of what was deferred. Called by the cell, before any further command."""
        self._unanswered -= 1
        self._stashing -= invocation.stashing
        self._cell.sender = invocation.sender
        outcome, sequence_nr = invocation.outcome, invocation.sequence_nr
        if sequence_nr:
            if isinstance(outcome, BaseException):
                return self._persist_failed(outcome, invocation)
            self._last_sequence_nr = sequence_nr
            if outcome is not None:
                return self.on_persist_rejected(outcome.reason, invocation.event, sequence_nr)
        return invocation.handler(invocation.event) if invocation.handler is not None else None

    def _persist_failed(self, error: BaseException, invocation: Invocation) -> object:
        result = None
        try:
            result = self.on_persist_failure(error, invocation.event, invocation.sequence_nr)
        finally:
            self._cell.stop()
        return result

    def _after(self) -> None:
        """After each command and each handler, however it ended: send what it persisted, and hold commands back."""
        if self._writer.gathered:
            self._writer.flush()
        self._cell.held = self._stashing > 0

    def _report(self, work: Future[None], success: object, failure: Callable[[Exception], object]) -> None:
        ref = self.ref

        def tell(done: Future[None]) -> None:
            if done.cancelled():
                ref.tell(failure(RuntimeError("cancelled: the system is closing")), ref)
                return
            error = done.exception()
            ref.tell(success if error is None else failure(_as_exception(error)), ref)

        work.add_done_callback(tell)

    # -- life

    def _attach(self, cell: Cell) -> None:
        from ._system import ActorSystem

        super()._attach(cell)
        system = cell.runtime
        if not isinstance(system, ActorSystem):
            raise InitializationFailed(f"{cell.ref.path} is persistent and needs an ActorSystem with a storage")
        persistence_id = self.persistence_id
        if not persistence_id:
            raise InitializationFailed(f"{cell.ref.path}: {type(self).__name__} has no persistence_id")
        check_persistence_id(persistence_id)
        self._pid = persistence_id
        self._persistence = system.persistence
        snapshot_backend = self.journal_backend if self.snapshot_backend is None else self.snapshot_backend
        self._journal = self._persistence.journal(self.journal_backend)
        self._snapshots = self._persistence.snapshots(snapshot_backend)
        self._encode = self._persistence.codec.encode
        self._writer = self._writer_type(self._journal, persistence_id, self._persistence.new_writer_uuid(), cell.post)
        cell.capacity = self.internal_stash_capacity
        cell.on_overflow = self._overflow

    async def _start(self, error: BaseException | None) -> None:
        await super()._start(error)
        self._cell.interruptible = True
        async with self._journal.permits:
            if await self._recover():
                self._cell.interruptible = False
                self._cell.sender = None
                self._recovered()
                await resolve(self.receive_recover(RecoveryCompleted()))

    async def _recover(self) -> bool:
        """Whether it succeeded. If not, the hook was called and the actor is about to stop."""
        persistence = self._persistence
        recoverer = self._recoverer_type(
            self._pid,
            self.recovery,
            self._journal,
            self._snapshots,
            persistence.settings,
            persistence.codec,
            snapshot_is_optional=self.snapshot_is_optional,
            handle=self.receive_recover,
            moved_to=self._moved_to,
        )
        try:
            self._sequence_nr = await recoverer.run(self._writer)
        except HandlerFailed as failed:
            await self._recovery_failed(failed.error, failed.event)
            return False
        except Exception as error:
            await self._recovery_failed(error, None)
            return False
        self._recovering = False
        self._last_sequence_nr = self._sequence_nr
        cell = self._cell
        cell.answer, cell.after = self._answered, self._after
        return True

    def _recovered(self) -> None:
        """For what is built on this: after the last event and before `RecoveryCompleted`."""

    def _soon(self, function: Callable[[], object]) -> None:
        """Call a function between messages, also while commands are held back."""
        self._unanswered += 1
        self._cell.post([Invocation(None, 0, lambda _: function(), None, False)])

    async def _recovery_failed(self, error: Exception, event: object | None) -> None:
        self._cell.interruptible = False
        reason = error if isinstance(error, RecoveryFailed) else RecoveryFailed(self._pid, str(error))
        if reason is not error:
            reason.__cause__ = error
        try:
            await resolve(self.on_recovery_failure(reason, event))
        finally:
            self._cell.stop()

    def _moved_to(self, sequence_nr: int) -> None:
        self._last_sequence_nr = sequence_nr

    def _detach(self) -> None:
        self._recovering = True  # whoever still holds this instance can persist nothing with it
        if hasattr(self, "_writer"):
            self._writer.detach()

    def _overflow(self, message: object, sender: ActorRef | None) -> None:
        strategy = self.stash_overflow_strategy
        cell = self._cell
        if isinstance(strategy, ReplyToSender):
            if sender is not None and sender is not cell.ref:  # what it told itself has no room for an answer either
                sender.tell(strategy.response, cell.ref)
            return
        cell._dead(message, sender)
        if not isinstance(strategy, DiscardToDeadLetters) and not self._overflowed:
            self._overflowed = True
            assert cell.capacity is not None
            cell.fail(StashOverflow(cell.ref.path, cell.capacity))


def _itself(value: object) -> object:
    return value


def _persisting_too_early(operation: str) -> RuntimeError:
    return RuntimeError(f"{operation}() is not allowed during recovery or after a stop; persist in a command")


def _unwritable(error: Exception) -> WriteRejected:
    return WriteRejected(f"the event cannot be made a payload: {error!r}")


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
