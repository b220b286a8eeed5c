"""Event sourcing as two pure functions: what a command leads to, and what an event makes of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import msgspec

from .._arguments import check_number, check_persistence_id
from .._events import SnapshotSelectionCriteria
from ..actors._actor import resolve
from ._persistent_actor import PersistentActor
from ._protocol import (
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
    SnapshotOffer,
)
from .effects import Effect

Command = TypeVar("Command")
Event = TypeVar("Event")
State = TypeVar("State")

_ANSWERS = (
    SaveSnapshotSuccess,
    SaveSnapshotFailure,
    DeleteMessagesSuccess,
    DeleteMessagesFailure,
    DeleteSnapshotSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotsFailure,
)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot after every so many events, of which the newest `keep` stay.

    With `delete_events`, the events that the oldest kept snapshot stands for are deleted once a snapshot is saved,
    always before the snapshots: whatever happens in between, what is left is enough to recover.
    """

    snapshot_every: int
    keep: int = 2
    delete_events: bool = False

    def __post_init__(self) -> None:
        check_number("snapshot_every", self.snapshot_every, 1, 2**31)
        check_number("keep", self.keep, 1, 2**31)

    def due(self, before: int, after: int) -> bool:
        """Whether the numbers from one to the other pass a multiple."""
        return after // self.snapshot_every > before // self.snapshot_every

    def obsolete(self, sequence_nr: int) -> int:
        """What a snapshot at this number makes superfluous: everything up to the number returned; 0 for nothing."""
        return max(0, sequence_nr - self.keep * self.snapshot_every)


@dataclass(frozen=True, kw_only=True)
class EventSourcedBehavior(Generic[Command, Event, State]):
    """Spawn it by `system.spawn(behavior.actor)`.

    `on_command(state, command)` returns an `Effect` and changes nothing. `on_event(state, event)` returns the next
    state; it is called for new events and in recovery alike, so it must depend on nothing else. The state is never
    changed in place.
    """

    persistence_id: str
    empty_state: State
    on_command: Callable[[State, Command], Effect[Event, State]]
    on_event: Callable[[State, Event], State]
    on_recovery_completed: Callable[[State], object] | None = None
    retention: Retention | None = None
    recovery: Recovery = field(default_factory=Recovery)
    snapshot_is_optional: bool = False
    journal_backend: str = ""
    snapshot_backend: str | None = None

    def __post_init__(self) -> None:
        check_persistence_id(self.persistence_id)

    def actor(self) -> BehaviorActor[Command, Event, State]:
        """A new incarnation: what `spawn` takes."""
        return BehaviorActor(self)


class BehaviorActor(PersistentActor, Generic[Command, Event, State]):
    """Runs an `EventSourcedBehavior`."""

    def __init__(self, behavior: EventSourcedBehavior[Command, Event, State]) -> None:
        self.persistence_id = behavior.persistence_id
        self.journal_backend = behavior.journal_backend
        self.snapshot_backend = behavior.snapshot_backend
        self.recovery = behavior.recovery
        self.snapshot_is_optional = behavior.snapshot_is_optional
        self._behavior = behavior
        self._state = behavior.empty_state

    def receive_recover(self, message: object) -> object:
        if isinstance(message, SnapshotOffer):
            self._state = cast(State, message.snapshot)
        elif isinstance(message, RecoveryCompleted):
            completed = self._behavior.on_recovery_completed
            return completed(self._state) if completed is not None else None
        else:
            self._apply(cast(Event, message))
        return None

    def receive_command(self, message: object) -> object:
        if isinstance(message, _ANSWERS):
            return self._clean_up(message)
        effect = self._behavior.on_command(self._state, cast(Command, message))
        if effect.kind == "persist" and effect.events:
            self._persist(effect)
            return None
        if effect.kind == "stash":
            self.stash()
        elif effect.kind == "unhandled":
            return self.unhandled(message)
        return self._perform(effect)

    def _persist(self, effect: Effect[Event, State]) -> None:
        """The last event's handler does what follows, so a rejection leaves it out."""
        before = self.last_sequence_nr
        last = len(effect.events)
        done = 0

        def handler(event: Event) -> object:
            nonlocal done
            self._apply(event)
            done += 1
            return self._all_persisted(before, effect) if done == last else None

        self.persist_all(effect.events, handler)

    def _all_persisted(self, before: int, effect: Effect[Event, State]) -> object:
        retention = self._behavior.retention
        if retention is not None and retention.due(before, self.last_sequence_nr):
            self.save_snapshot(self._state)
        return self._perform(effect)

    def _apply(self, event: Event) -> None:
        self._state = self._behavior.on_event(self._state, event)

    def _perform(self, effect: Effect[Event, State]) -> object:
        for at, (what, argument) in enumerate(effect.after):
            result = self._perform_one(what, argument)
            if hasattr(result, "__await__"):
                return self._perform_rest(result, effect.after[at + 1 :])
        return None

    async def _perform_rest(self, first: Any, rest: tuple[tuple[str, Any], ...]) -> None:
        await first
        for what, argument in rest:
            await resolve(self._perform_one(what, argument))

    def _perform_one(self, what: str, argument: Any) -> object:
        if what == "run":
            result: object = argument(self._state)
            return result
        if what == "reply":
            self.reply(argument(self._state))
        elif what == "unstash_all":
            self.unstash_all()
        else:
            self.context.stop(self.ref)
        return None

    def _clean_up(self, answer: object) -> object:
        """After a snapshot is safe, delete what it makes superfluous: events first, then snapshots."""
        retention = self._behavior.retention
        if retention is not None and isinstance(answer, SaveSnapshotSuccess):
            obsolete = retention.obsolete(answer.metadata.sequence_nr)
            if obsolete and retention.delete_events:
                self.delete_messages(obsolete)
            elif obsolete:
                self.delete_snapshots(SnapshotSelectionCriteria(max_sequence_nr=obsolete))
            return None
        if retention is not None and isinstance(answer, DeleteMessagesSuccess):
            self.delete_snapshots(SnapshotSelectionCriteria(max_sequence_nr=answer.to_sequence_nr))
            return None
        return self.unhandled(answer)
