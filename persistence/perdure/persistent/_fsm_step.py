"""What a state function answers with, and the messages between a state machine and those who follow it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, Generic, Literal, TypeVar

import msgspec

from ..actors import ActorRef
from ..serialization import TIMEOUT_NEVER_MS

State = TypeVar("State", bound=str)
Data = TypeVar("Data")
Event = TypeVar("Event")

StopReason = Literal["normal", "shutdown"] | Exception
"""`shutdown`: the actor was stopped or restarted from outside."""


class StateTimeout(msgspec.Struct, frozen=True):
    """To the state function, when nothing else was received for as long as the state's timeout."""


class SubscribeTransitions(msgspec.Struct, frozen=True):
    """Tell a state machine to answer `subscriber` with `CurrentState`, and with each `Transition` from then on.

    A restart of the machine forgets it.
    """

    subscriber: ActorRef


class UnsubscribeTransitions(msgspec.Struct, frozen=True):
    """Undo a `SubscribeTransitions`. An actor that has stopped is left out without it."""

    subscriber: ActorRef


class CurrentState(msgspec.Struct, frozen=True):
    """Where a machine stands; `timeout_s` is None where the state's default, if any, counts."""

    machine: ActorRef
    state: str
    timeout_s: float | None = None


class Transition(msgspec.Struct, frozen=True):
    """A machine has gone from one state to another, or by `goto` to the one in which it was."""

    machine: ActorRef
    source: str
    target: str
    timeout_s: float | None = None


class Step(msgspec.Struct, Generic[State, Data, Event], frozen=True):
    """What a message leads to. Made by `goto`, `stay` and `stop`; the methods give one that does more.

    It is done when its events are stored, and not at all if they are rejected or the write fails: then the machine
    stays as it is, and its timeout goes on. Order: the new state and data, replies, `on_transition` or
    `on_termination`, what `and_then` says.
    """

    target: State
    notifies: bool
    stop_reason: StopReason | None = None
    events: tuple[Event, ...] = ()
    timeout_ms: int | None = None
    replies: tuple[object, ...] = ()
    actions: tuple[Callable[[Data], object], ...] = ()

    def applying(self, *events: Event) -> Step[State, Data, Event]:
        """Store these events, after those given before, and make the next data of them by `apply_event`."""
        return msgspec.structs.replace(self, events=(*self.events, *events))

    def for_max(self, timeout_s: float | None) -> Step[State, Data, Event]:
        """Receive `StateTimeout` unless another message comes within so many seconds, instead of the state's default.

        None: never. It is stored with the step, in whole milliseconds, and holds until the next message is handled.
        A recovered machine waits for all of it again, since how long it was down says nothing.
        """
        return msgspec.structs.replace(self, timeout_ms=whole_ms(timeout_s))

    def replying(self, *answers: object) -> Step[State, Data, Event]:
        """Tell the sender of the message."""
        return msgspec.structs.replace(self, replies=(*self.replies, *answers))

    def and_then(self, action: Callable[[Data], object]) -> Step[State, Data, Event]:
        """Call a function, which may be `async`, with the data after all events. Also if there is no event."""
        return msgspec.structs.replace(self, actions=(*self.actions, action))


StateFunction = Callable[[Any, Data], Step[State, Data, Event] | Awaitable[Step[State, Data, Event] | None] | None]
"""From a message and the data to a step; None: this state has no use for the message."""


def whole_ms(timeout_s: float | None) -> int:
    """Rounded up, so that a machine waits as long before it is stored as after it has recovered."""
    if timeout_s is None:
        return TIMEOUT_NEVER_MS
    if not 0 < timeout_s < TIMEOUT_NEVER_MS / 1000:
        raise ValueError(f"timeout_s {timeout_s} is out of range; above 0 is allowed, and None for never")
    return ceil(round(timeout_s * 1000, 6))


def seconds(timeout_ms: int | None) -> float | None:
    return None if timeout_ms is None else timeout_ms / 1000
