"""The messages that the runtime itself sends or understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ._ref import ActorRef


class PoisonPill(msgspec.Struct, frozen=True):
    """Stops the actor that takes it from its mailbox: what was told before is still received, what comes after is not.

    It waits its turn also behind messages that a persistent actor holds back while it persists.
    """


class Terminated(msgspec.Struct, frozen=True):
    """Told to those who watch an actor, once, when it has stopped. A restart is not a stop."""

    ref: ActorRef


class ReceiveTimeout(msgspec.Struct, frozen=True):
    """Told to an actor that received nothing for as long as it asked to be told about."""


class Failure(msgspec.Struct, frozen=True):
    """An answer that makes `ask` raise this error."""

    error: Exception


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that nobody will receive."""

    message: object
    sender: ActorRef | None
    recipient: ActorRef | None


class TimerFired(msgspec.Struct, frozen=True):
    """Internal: a timer's message on its way; received only if that timer was not cancelled meanwhile."""

    key: object
    generation: int
    message: object
