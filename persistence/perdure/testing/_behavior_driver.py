"""Drives an `EventSourcedBehavior` without a system, and checks after each command that its events can be trusted."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Generic, TypeVar

import msgspec

from ..persistent._behavior import EventSourcedBehavior
from ..serialization import Serialization

Command = TypeVar("Command")
Event = TypeVar("Event")
State = TypeVar("State")


class Outcome(msgspec.Struct, Generic[Event, State], frozen=True):
    """What one command led to. `handled` is false for a command that was stashed or not handled."""

    events: tuple[Event, ...]
    state: State
    replies: tuple[object, ...]
    handled: bool
    stashed: bool
    stopped: bool


class BehaviorDriver(Generic[Command, Event, State]):
    """`run(command)` gives an `Outcome`, and raises `AssertionError` if

    - an event, or with a retention the state, does not come back equal from the serialization;
    - replaying all events from the empty state, each freshly deserialized, leads to another state;
    - the command handler is not pure: a second call with the same arguments answers differently;
    - a handler changed the state in place.

    Side effects given by `then_run` are performed once; one that is a coroutine is run to its end. Stashed commands
    are handled when an effect unstashes them; their outcomes are in `unstashed`.
    """

    def __init__(
        self, behavior: EventSourcedBehavior[Command, Event, State], serialization: Serialization | None = None
    ) -> None:
        self.behavior = behavior
        self.state = behavior.empty_state
        self.events: list[Event] = []
        self.unstashed: list[Outcome[Event, State]] = []
        self.stopped = False
        self._serialization = serialization or Serialization()
        self._stash: list[Command] = []

    def run(self, command: Command) -> Outcome[Event, State]:
        if self.stopped:
            raise RuntimeError("the behavior has stopped; restart() it")
        effect = self._ask(command)
        if effect.kind in ("stash", "unhandled"):
            stashed = effect.kind == "stash"
            if stashed:
                self._stash.append(command)
            return Outcome((), self.state, (), False, stashed, False)
        for event in effect.events:
            self._apply(event)
        self._check_replay()
        replies = self._perform(effect.after)
        return Outcome(effect.events, self.state, replies, True, False, self.stopped)

    def restart(self) -> State:
        """Recover the state from the events, as a new incarnation would. Stashed commands are lost."""
        self.state = self._replayed()
        self.stopped = False
        self._stash.clear()
        return self.state

    def _ask(self, command: Command) -> Any:
        before = self._image(self.state)
        effect = self.behavior.on_command(self.state, command)
        again = self.behavior.on_command(self.state, command)
        assert (effect.kind, effect.events) == (again.kind, again.events), (
            f"on_command is not pure: {command!r} led to {effect.events!r}, and asked again to {again.events!r}"
        )
        assert self._image(self.state) == before, f"on_command changed the state in place: {command!r}"
        return effect

    def _apply(self, event: Event) -> None:
        self._check_round_trip(event, "event")
        before, old = self._image(self.state), self.state
        self.state = self.behavior.on_event(self.state, event)
        assert self.state is old or self._image(old) == before, f"on_event changed the state in place: {event!r}"
        assert self.state is not old or self._image(self.state) == before, f"on_event changed the state: {event!r}"
        if self.behavior.retention is not None:
            self._check_round_trip(self.state, "state")
        self.events.append(event)

    def _perform(self, steps: tuple[tuple[str, Any], ...]) -> tuple[object, ...]:
        replies: list[object] = []
        for what, argument in steps:
            if what == "reply":
                replies.append(argument(self.state))
            elif what == "run":
                result = argument(self.state)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
            elif what == "unstash_all":
                waiting, self._stash = self._stash, []
                self.unstashed += [self.run(command) for command in waiting]
            else:
                self.stopped = True
        return tuple(replies)

    def _check_round_trip(self, value: object, what: str) -> None:
        found = self._serialization.from_payload(self._serialization.to_payload(value))
        assert found == value, f"{what} {value!r} came back from the serialization as {found!r}"
        assert type(found) is type(value), f"{what} {value!r} came back as a {type(found).__name__}"

    def _check_replay(self) -> None:
        found = self._replayed()
        assert found == self.state, f"the events replay to {found!r}, and the state is {self.state!r}"

    def _replayed(self) -> State:
        state = self.behavior.empty_state
        for event in self.events:
            fresh: Any = self._serialization.from_payload(self._serialization.to_payload(event))
            state = self.behavior.on_event(state, fresh)
        return state

    @staticmethod
    def _image(state: object) -> str:
        return repr(state)
