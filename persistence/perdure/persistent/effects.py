"""What a command handler answers: values that say what is to be done, and do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

import msgspec

Event = TypeVar("Event")
Event_co = TypeVar("Event_co", covariant=True)
State = TypeVar("State")

Kind = Literal["persist", "none", "stash", "unhandled"]


class Effect(msgspec.Struct, Generic[Event_co, State], frozen=True):
    """Made by `persist`, `none`, `stash`, `unhandled` and `stop`; the methods give one that does more afterwards.

    What follows is done in order, once the events are stored, with the state that they led to; and not at all if they
    are rejected or the write fails.
    """

    kind: Kind
    events: tuple[Event_co, ...] = ()
    after: tuple[tuple[Literal["run", "reply", "unstash_all", "stop"], Any], ...] = ()

    def then_run(self, side_effect: Callable[[State], object]) -> Effect[Event_co, State]:
        """Call a function, which may be `async`; the next command waits for it."""
        return self._then("run", side_effect)

    def then_reply(self, answer: Callable[[State], object]) -> Effect[Event_co, State]:
        """Tell the sender of the command what this function makes of the state."""
        return self._then("reply", answer)

    def then_unstash_all(self) -> Effect[Event_co, State]:
        """Handle the stashed commands next, in their order."""
        return self._then("unstash_all", None)

    def then_stop(self) -> Effect[Event_co, State]:
        return self._then("stop", None)

    def _then(self, what: Literal["run", "reply", "unstash_all", "stop"], argument: Any) -> Effect[Event_co, State]:
        return Effect(self.kind, self.events, (*self.after, (what, argument)))


def persist(*events: Event) -> Effect[Event, Any]:
    """Store these events, all or none."""
    return Effect("persist", events)


def none() -> Effect[Any, Any]:
    """Store nothing."""
    return Effect("none")


def reply(answer: object) -> Effect[Any, Any]:
    """Store nothing, and answer."""
    return Effect("none", (), (("reply", lambda _: answer),))


def stash() -> Effect[Any, Any]:
    """Put the command aside until `then_unstash_all`."""
    return Effect("stash")


def unhandled() -> Effect[Any, Any]:
    """This command has no meaning in this state."""
    return Effect("unhandled")


def stop() -> Effect[Any, Any]:
    return Effect("none", (), (("stop", None),))
