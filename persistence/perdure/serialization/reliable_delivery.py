"""What the durable producer queue of Akka.NET 1.5 stores, under its serializer 36. Importing this loads protobuf.

The fields are in `reliable_delivery.proto`, the values in `_akka_values`. Messages inside of them are payloads here.
Only the four messages of the queue are known, not those that a producer and a consumer exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .._events import Payload
from . import reliable_delivery_pb2 as messages
from ._akka_messages import parsed, ticks_of, timestamp_of
from ._akka_values import Chunk, Cleanup, Confirmed, MessageSent, ProducerQueueState
from ._on_demand import RELIABLE_DELIVERY_ID as RELIABLE_DELIVERY_ID


class ReliableDeliverySerializer:
    """Akka.NET's serializer 36, as far as the durable producer queue needs it.

    Queues are generic in .NET: there, each message names the type of what the queue carries. `message_type` is that
    name, with the assembly; without it, .NET cannot read what is written. It is passed over when reading.
    """

    identifier: Final = RELIABLE_DELIVERY_ID

    def __init__(self, message_type: str = "") -> None:
        self._type = messages.TypeDescriptor(typeName=message_type) if message_type else None

    def manifest(self, value: object) -> str:
        return _MANIFESTS[type(value)]

    def to_bytes(self, value: MessageSent | Confirmed | ProducerQueueState | Cleanup) -> bytes:
        data: bytes = self._message_of(value).SerializeToString()
        return data

    def from_bytes(self, data: bytes, manifest: str) -> object:
        read = _READS.get(manifest)
        if read is None:
            raise ValueError(f"it is no message of a durable producer queue; known: {', '.join(_READS)}")
        kind, value_of = read
        return value_of(parsed(kind, data))

    def _message_of(self, value: MessageSent | Confirmed | ProducerQueueState | Cleanup) -> Any:
        match value:
            case MessageSent():
                return self._sent_message(value)
            case Confirmed():
                return _confirmed_message(value)
            case Cleanup():
                return messages.Cleanup(qualifiers=value.qualifiers)
            case ProducerQueueState():
                return messages.State(
                    currentSeqNr=value.current_seq_nr,
                    highestConfirmedSeqNr=value.highest_confirmed_seq_nr,
                    confirmed=map(_confirmed_message, value.confirmed),
                    unconfirmed=map(self._sent_message, value.unconfirmed),
                    typeInfo=self._type,
                )

    def _sent_message(self, sent: MessageSent) -> messages.MessageSent:
        chunk = sent.message if isinstance(sent.message, Chunk) else None
        payload = chunk.payload if chunk is not None else sent.message
        if not isinstance(payload, Payload):
            raise ValueError(f"message {sent.seq_nr} is a {type(payload).__name__}; what is stored is a Payload")
        return messages.MessageSent(
            seqNr=sent.seq_nr,
            qualifier=sent.qualifier,
            ack=sent.ack,
            timestamp=ticks_of(sent.timestamp),
            message=messages.DeliveryPayload(
                message=payload.data, serializerId=payload.serializer_id, messageManifest=payload.manifest.encode()
            ),
            firstChunk=chunk is None or chunk.is_first,
            lastChunk=chunk is None or chunk.is_last,
            typeInfo=self._type,
            isChunk=chunk is not None,
        )


def _confirmed_message(confirmed: Confirmed) -> messages.Confirmed:
    return messages.Confirmed(
        seqNr=confirmed.seq_nr, qualifier=confirmed.qualifier, timestamp=ticks_of(confirmed.timestamp)
    )


def _sent_of(message: messages.MessageSent) -> MessageSent:
    if not message.HasField("message"):
        raise ValueError(f"message {message.seqNr} has no payload")
    stored = message.message
    payload = Payload(stored.serializerId, stored.messageManifest.decode(), stored.message)
    return MessageSent(
        message.seqNr,
        Chunk(payload, message.firstChunk, message.lastChunk) if message.isChunk else payload,
        message.ack,
        message.qualifier,
        timestamp_of(message.timestamp),
    )


def _confirmed_of(message: messages.Confirmed) -> Confirmed:
    return Confirmed(message.seqNr, message.qualifier, timestamp_of(message.timestamp))


def _state_of(message: messages.State) -> ProducerQueueState:
    return ProducerQueueState(
        message.currentSeqNr,
        message.highestConfirmedSeqNr,
        tuple(map(_confirmed_of, message.confirmed)),
        tuple(map(_sent_of, message.unconfirmed)),
    )


def _cleanup_of(message: messages.Cleanup) -> Cleanup:
    return Cleanup(tuple(message.qualifiers))


_MANIFESTS: Final[dict[type, str]] = {MessageSent: "f", Confirmed: "g", ProducerQueueState: "h", Cleanup: "i"}
_READS: Final[dict[str, tuple[type[Any], Callable[[Any], object]]]] = {
    "f": (messages.MessageSent, _sent_of),
    "g": (messages.Confirmed, _confirmed_of),
    "h": (messages.State, _state_of),
    "i": (messages.Cleanup, _cleanup_of),
}
