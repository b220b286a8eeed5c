"""A durable producer queue: what a producer has sent and nobody has confirmed yet survives, as events. (F-57)

What a producer does, with `ask` and a timeout:

- At its start, `LoadState()`. It sends everything in `unconfirmed` again, and goes on with `current_seq_nr`.
- Before it sends a message, `StoreMessageSent(MessageSent(number, message, ...))`. It may ask again, and begins
  at its start if there is no answer for long.
- For what was delivered and processed, `tell(StoreMessageConfirmed(number, qualifier, timestamp))`.

The state is a value, and what an event makes of it is a pure function: `updated`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from .._arguments import check_number
from .._events import Payload
from ..actors import BackoffSupervisor, Failure
from ..errors import NotSerializable, UnreadablePayload, WriteFailed
from ..serialization import Chunk, Cleanup, Confirmed, MessageSent, ProducerQueueState
from ._persistent_actor import PersistentActor
from ._protocol import RecoveryCompleted, SnapshotOffer
from ._retention import ANSWERS, Retention, clean_up

_RESTARTS_MAX: Final = 100
_JITTER: Final = 0.1

QueueEvent = MessageSent | Confirmed | Cleanup


class LoadState(msgspec.Struct, frozen=True):
    """To a queue: answered by its `ProducerQueueState`, or by a `Failure` if a message in it cannot be read."""


class StoreMessageSent(msgspec.Struct, frozen=True):
    """To a queue: answered by `StoreMessageSentAck` once it is stored.

    The number must be `current_seq_nr`. The last one that was stored is answered again, for the answer may have been
    lost; any other is not answered. A `Failure` says that the message cannot be stored, whoever asks how often.
    """

    sent: MessageSent


class StoreMessageSentAck(msgspec.Struct, frozen=True):
    stored_seq_nr: int


class StoreMessageConfirmed(msgspec.Struct, frozen=True):
    """To a queue: all messages of this qualifier up to this number were processed. Never answered; may be repeated."""

    seq_nr: int
    qualifier: str
    timestamp: int


class ProducerQueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults are those of Akka. A qualifier that nothing was confirmed under for `cleanup_unused_after_s`, and
    that nothing waits under, is forgotten."""

    restart_backoff_max_s: float = 10.0
    retention: Retention = Retention(snapshot_every=1000, keep=2, delete_events=True)
    cleanup_unused_after_s: float = 3600.0
    journal_backend: str = ""
    snapshot_backend: str | None = None

    def __post_init__(self) -> None:
        for name in ("restart_backoff_max_s", "cleanup_unused_after_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)} is out of range; above 0 is allowed")


DEFAULTS: Final = ProducerQueueSettings()


def durable_producer_queue(
    persistence_id: str, settings: ProducerQueueSettings = DEFAULTS, now_ns: Callable[[], int] = time.time_ns
) -> BackoffSupervisor:
    """A queue below a supervisor that starts it again after failures of the journal, later each time.

    Spawn it by `system.spawn(lambda: durable_producer_queue("to-the-printer"))`. While it is not there, `ask` raises
    `NotDelivered`. `now_ns` is the clock of the timestamps that the producer gives.
    """
    return BackoffSupervisor(
        lambda: EventSourcedProducerQueue(persistence_id, settings, now_ns),
        name="producer-queue",
        backoff_min_s=min(1.0, settings.restart_backoff_max_s),
        backoff_max_s=settings.restart_backoff_max_s,
        jitter=_JITTER,
        restarts_max=_RESTARTS_MAX,
    )


class EventSourcedProducerQueue(PersistentActor):
    """The queue itself, without a supervisor. Its events and snapshots are stored in the format of Akka.NET.

    Chunks of a message whose last one was not stored before a restart are dropped, and their numbers are used again.
    """

    def __init__(
        self, persistence_id: str, settings: ProducerQueueSettings = DEFAULTS, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.persistence_id = persistence_id
        self.journal_backend = settings.journal_backend
        self.snapshot_backend = settings.snapshot_backend
        self._settings = settings
        self._now_ns = now_ns
        self._state = ProducerQueueState()

    def receive_recover(self, message: object) -> object:
        match message:
            case SnapshotOffer(_, ProducerQueueState() as state):
                self._state = state
            case MessageSent() | Confirmed() | Cleanup():
                self._state = updated(self._state, message)
            case RecoveryCompleted():
                self._begin()
            case _:
                return self.unhandled(message)
        return None

    def receive_command(self, message: object) -> object:
        match message:
            case StoreMessageSent(sent) if 0 < sent.seq_nr == self._state.current_seq_nr:
                self._store_sent(sent)
            case StoreMessageSent(sent) if 0 < sent.seq_nr == self._state.current_seq_nr - 1:
                self.reply(StoreMessageSentAck(sent.seq_nr))
            case StoreMessageConfirmed(seq_nr, qualifier, timestamp) if seq_nr < self._state.current_seq_nr:
                self._store_confirmed(Confirmed(seq_nr, qualifier, timestamp))
            case LoadState():
                self._reply_state()
            case _CleanupTick():
                self._forget_unused()
            case _ if isinstance(message, ANSWERS):
                return clean_up(self, self._settings.retention, message)
            case _:
                return self.unhandled(message)
        return None

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> object:
        """Whoever wants to store a message is told, since asking again would not help."""
        if isinstance(event, MessageSent):
            self.reply(Failure(WriteFailed(f"message {event.seq_nr} was rejected: {reason}")))
        return super().on_persist_rejected(reason, event, sequence_nr)

    def _begin(self) -> None:
        """Persisting here holds back the commands that wait."""
        self._state = without_partial(self._state)
        self._forget_unused()
        self.timers.start_periodic("cleanup", _CleanupTick(), self._settings.cleanup_unused_after_s / 2)

    def _store_sent(self, sent: MessageSent) -> None:
        try:
            stored = msgspec.structs.replace(sent, message=self._to_stored(sent.message))
        except NotSerializable as error:
            self.reply(Failure(error))
            return
        self._persist_event(stored, lambda: self.reply(StoreMessageSentAck(sent.seq_nr)))

    def _store_confirmed(self, confirmed: Confirmed) -> None:
        """A lower number, or the same one again, says nothing new."""
        known = next((one.seq_nr for one in self._state.confirmed if one.qualifier == confirmed.qualifier), 0)
        if confirmed.seq_nr > known:
            self._persist_event(confirmed)

    def _forget_unused(self) -> None:
        age_ns = int(self._settings.cleanup_unused_after_s * 1e9)
        unused = unused_qualifiers(self._state, self._now_ns() - age_ns)
        if unused:
            self._persist_event(Cleanup(unused))

    def _persist_event(self, event: QueueEvent, then: Callable[[], object] = lambda: None) -> None:
        def handler(event: QueueEvent) -> None:
            self._state = updated(self._state, event)
            then()
            if self._settings.retention.due(self.last_sequence_nr - 1, self.last_sequence_nr):
                self.save_snapshot(self._state)

        self.persist(event, handler)

    def _reply_state(self) -> None:
        try:
            unconfirmed = tuple(
                msgspec.structs.replace(sent, message=self._from_stored(sent.message))
                for sent in self._state.unconfirmed
            )
        except UnreadablePayload as error:
            self.reply(Failure(error))
            return
        self.reply(msgspec.structs.replace(self._state, unconfirmed=unconfirmed))

    def _to_stored(self, message: object) -> Payload | Chunk:
        if isinstance(message, Payload | Chunk):
            return message
        return self._persistence.codec.serialization.to_payload(message)

    def _from_stored(self, message: object) -> object:
        return self._persistence.codec.serialization.from_payload(message) if isinstance(message, Payload) else message


class _CleanupTick(msgspec.Struct, frozen=True):
    pass


# -- what events make of the state


def updated(state: ProducerQueueState, event: QueueEvent) -> ProducerQueueState:
    match event:
        case MessageSent():
            unconfirmed = (*state.unconfirmed, event)
            return msgspec.structs.replace(state, current_seq_nr=event.seq_nr + 1, unconfirmed=unconfirmed)
        case Confirmed():
            return _with_confirmed(state, event)
        case Cleanup(qualifiers):
            left = tuple(one for one in state.confirmed if one.qualifier not in qualifiers)
            return msgspec.structs.replace(state, confirmed=left)


def _with_confirmed(state: ProducerQueueState, confirmed: Confirmed) -> ProducerQueueState:
    qualifier, seq_nr = confirmed.qualifier, confirmed.seq_nr
    return msgspec.structs.replace(
        state,
        highest_confirmed_seq_nr=max(state.highest_confirmed_seq_nr, seq_nr),
        confirmed=(*(one for one in state.confirmed if one.qualifier != qualifier), confirmed),
        unconfirmed=tuple(one for one in state.unconfirmed if one.seq_nr > seq_nr or one.qualifier != qualifier),
    )


def without_partial(state: ProducerQueueState) -> ProducerQueueState:
    """Leave out chunks of a message whose last one is missing. If they were sent last, their numbers are free again.

    No event says that they were dropped. A replay meets them too, and behind them what was sent under their numbers.
    """
    complete: list[MessageSent] = []
    pieces: list[MessageSent] = []
    for sent in state.unconfirmed:
        chunk = sent.message if isinstance(sent.message, Chunk) else None
        if chunk is None or chunk.is_first:
            pieces = []
        pieces.append(sent)
        if chunk is None or chunk.is_last:
            complete += pieces
            pieces = []
    if pieces and pieces[-1].seq_nr == state.current_seq_nr - 1:
        state = msgspec.structs.replace(state, current_seq_nr=pieces[0].seq_nr)
    return msgspec.structs.replace(state, unconfirmed=tuple(complete))


def unused_qualifiers(state: ProducerQueueState, before: int) -> tuple[str, ...]:
    """Those under which nothing waits, and nothing was confirmed after a time."""
    waiting = {sent.qualifier for sent in state.unconfirmed}
    return tuple(one.qualifier for one in state.confirmed if one.timestamp <= before and one.qualifier not in waiting)


# -- messages in several pieces


def cut_into_chunks(payload: Payload, size_max: int) -> tuple[Chunk, ...]:
    """Cut a message into pieces of at most so many bytes, each to be stored and sent under a number of its own."""
    check_number("size_max", size_max, 1, 2**31)
    starts = range(0, max(len(payload.data), 1), size_max)
    return tuple(
        Chunk(
            msgspec.structs.replace(payload, data=payload.data[start : start + size_max]),
            is_first=start == 0,
            is_last=start == starts[-1],
        )
        for start in starts
    )


def join_chunks(chunks: Sequence[Chunk]) -> Payload:
    """The message of which these are all the pieces, in their order."""
    ends = [(chunk.is_first, chunk.is_last) for chunk in chunks]
    if not ends or ends != [(at == 0, at == len(ends) - 1) for at in range(len(ends))]:
        raise ValueError(f"these are not all pieces of one message, in order; first and last: {ends}")
    return msgspec.structs.replace(chunks[0].payload, data=b"".join(chunk.payload.data for chunk in chunks))
