"""Event sourcing as two pure functions: what a command leads to, and what an event makes of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from .._arguments import check_persistence_id
from ..actors._actor import resolve
from ._persistent_actor import PersistentActor
from ._protocol import Recovery, RecoveryCompleted, SnapshotOffer
from ._retention import ANSWERS, Retention, clean_up
from .effects import Effect

Command = TypeVar("Command")
Event = TypeVar("Event")
State = TypeVar("State")


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
        if isinstance(message, ANSWERS):
            return clean_up(self, self._behavior.retention, message)
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
