"""The part of a durable producer queue, and what a producer is answered by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure import (
    ActorRuntime,
    EventSourcedProducerQueue,
    Failure,
    LoadState,
    MessageSent,
    ProducerQueueState,
    RecoveryCompleted,
    StoreMessageConfirmed,
    StoreMessageSent,
    StoreMessageSentAck,
)
from perdure.serialization import Confirmed

from .actor_operations import Act
from .house import ActRaised
from .operation import quoted
from .outcomes import REPLAYED
from .part import Said, recovery_of, told

if TYPE_CHECKING:
    from .troupe import Player


class Queue(EventSourcedProducerQueue):
    """A queue whose clock stands still: nothing becomes so old that it is forgotten."""

    def __init__(self, player: Player) -> None:
        super().__init__(player.persistence_id, now_ns=lambda: 0)
        self._player = player
        self.recovery = recovery_of(player.start)
        player.recovers()

    def receive_command(self, message: object) -> object:
        if not isinstance(message, Said):
            return super().receive_command(message)
        for act in message.acts:
            if act.deed == "raise":
                raise ActRaised(self._player.start.directive)
            asked = _asked(act)
            if asked is not None:
                super().receive_command(asked)
        return None

    def receive_recover(self, message: object) -> object:
        match message:
            case MessageSent() | Confirmed():
                self._player.note(f"{REPLAYED}{_named(message)} {self.last_sequence_nr}")
            case RecoveryCompleted():
                self._player.recovered()
                self._player.note("completed")
        return super().receive_recover(message)

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> object:
        self._player.note(f"rejected {_named(event)} {sequence_nr}")
        return super().on_persist_rejected(reason, event, sequence_nr)

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self._player.note(f"failed {_named(event)} {sequence_nr}")

    def on_recovery_failure(self, error: Exception, event: object | None) -> None:
        self._player.recovered(whole=False)
        self._player.note("recovery failed")


def queue_of(runtime: ActorRuntime) -> type[Queue]:
    return type("Queue", (Queue, runtime.producer_queue), {})


def _asked(act: Act) -> object | None:
    match act.deed:
        case "store sent":
            return StoreMessageSent(MessageSent(act.number, act.names[0], qualifier=act.qualifier))
        case "store confirmed":
            return StoreMessageConfirmed(act.number, act.qualifier, 0)
        case "load state":
            return LoadState()
        case _:
            return None


def _named(event: object) -> str:
    if not isinstance(event, MessageSent):
        return "confirmed"
    message = event.message
    return quoted(message if isinstance(message, str) else str(getattr(message, "data", b""), "utf-8"))


def answer_of(message: object) -> str:
    """What an actor answered, as its player notes it."""
    match message:
        case str():
            return message
        case StoreMessageSentAck(number):
            return f"stored {number}"
        case ProducerQueueState(current, highest, _, unconfirmed):
            waiting = " ".join(f"{quoted(str(one.message))} {one.seq_nr}" for one in unconfirmed)
            return f"next {current} confirmed {highest} [{waiting}]"
        case Failure():
            return "failure"
        case _:
            return told(message)
