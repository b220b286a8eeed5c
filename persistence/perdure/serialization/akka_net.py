"""The messages of Akka.Persistence as Akka.NET 1.5 sends and stores them. Importing this loads protobuf.

The fields are in `persistence.proto`. Payloads inside of messages stay payloads; `Serialization` makes values of them.
Every function that reads raises `ValueError` for what is no such message, or one that has no counterpart here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from .._events import AtomicWrite, Payload, PersistentRepr
from . import persistence_pb2 as messages
from ._akka_messages import TICKS_AT_UNIX_EPOCH as TICKS_AT_UNIX_EPOCH
from ._akka_messages import parsed, ticks_of, timestamp_of
from ._akka_values import PersistentFSMSnapshot as PersistentFSMSnapshot
from ._akka_values import StateChangeEvent as StateChangeEvent
from ._on_demand import PERSISTENCE_MESSAGE_ID as PERSISTENCE_MESSAGE_ID

_AKKA: Final = "Akka.Persistence."


class UnconfirmedDelivery(msgspec.Struct, frozen=True, gc=False):
    """A message that waits to be confirmed. `destination` is the path of an actor."""

    delivery_id: int
    destination: str
    message: Payload


class AtLeastOnceDeliverySnapshot(msgspec.Struct, frozen=True, gc=False):
    """What at-least-once delivery has to remember. (F-55)"""

    current_delivery_id: int
    unconfirmed_deliveries: tuple[UnconfirmedDelivery, ...] = ()


# --- payloads and snapshots ------------------------------------------------------------------------------------------


def payload_to_bytes(payload: Payload) -> bytes:
    """A payload alone. A file of Akka.NET's local snapshot store is just that."""
    return _payload_message(payload).SerializeToString()


def payload_from_bytes(data: bytes) -> Payload:
    return _payload_of(parsed(messages.PersistentPayload, data))


def _payload_message(payload: Payload) -> messages.PersistentPayload:
    return messages.PersistentPayload(
        serializerId=payload.serializer_id, payload=payload.data, payloadManifest=payload.manifest.encode()
    )


def _payload_of(message: messages.PersistentPayload) -> Payload:
    return Payload(message.serializerId, message.payloadManifest.decode(), message.payload)


# --- events ----------------------------------------------------------------------------------------------------------


def event_to_bytes(event: PersistentRepr) -> bytes:
    return _event_message(event).SerializeToString()


def event_from_bytes(data: bytes) -> PersistentRepr:
    """The sender, who is of this moment only, is left out. (J-18)"""
    return _event_of(parsed(messages.PersistentMessage, data))


def write_to_bytes(write: AtomicWrite) -> bytes:
    return messages.AtomicWrite(payload=map(_event_message, write.events)).SerializeToString()


def write_from_bytes(data: bytes) -> AtomicWrite:
    return AtomicWrite(tuple(map(_event_of, parsed(messages.AtomicWrite, data).payload)))


def _event_message(event: PersistentRepr) -> messages.PersistentMessage:
    """A timestamp loses what is below 100 ns. Tags have no field, so an event that has some is refused."""
    if event.tags:
        raise ValueError(f"the message has no field for tags, and event {event.sequence_nr} has {sorted(event.tags)}")
    return messages.PersistentMessage(
        payload=_payload_message(event.payload),
        sequenceNr=event.sequence_nr,
        persistenceId=event.persistence_id,
        manifest=event.manifest,
        writerGuid=event.writer_uuid,
        timestamp=ticks_of(event.timestamp),
        metadata=None if event.metadata is None else _payload_message(event.metadata),
    )


def _event_of(message: messages.PersistentMessage) -> PersistentRepr:
    if not message.HasField("payload"):
        raise ValueError(f"event {message.sequenceNr} of {message.persistenceId!r} has no payload")
    if message.deleted:
        raise ValueError(f"event {message.sequenceNr} of {message.persistenceId!r} is marked as deleted")
    return PersistentRepr(
        message.persistenceId,
        message.sequenceNr,
        _payload_of(message.payload),
        message.manifest,
        message.writerGuid,
        timestamp_of(message.timestamp),
        metadata=_payload_of(message.metadata) if message.HasField("metadata") else None,
    )


# --- what delivery and state machines store --------------------------------------------------------------------------


def _delivery_message(delivery: UnconfirmedDelivery) -> messages.UnconfirmedDelivery:
    return messages.UnconfirmedDelivery(
        deliveryId=delivery.delivery_id,
        destination=delivery.destination,
        payload=_payload_message(delivery.message),
    )


def _delivery_of(message: messages.UnconfirmedDelivery) -> UnconfirmedDelivery:
    if not message.HasField("payload"):
        raise ValueError(f"delivery {message.deliveryId} has no message")
    return UnconfirmedDelivery(message.deliveryId, message.destination, _payload_of(message.payload))


def _deliveries_to_bytes(snapshot: AtLeastOnceDeliverySnapshot) -> bytes:
    return messages.AtLeastOnceDeliverySnapshot(
        currentDeliveryId=snapshot.current_delivery_id,
        unconfirmedDeliveries=map(_delivery_message, snapshot.unconfirmed_deliveries),
    ).SerializeToString()


def _deliveries_from_bytes(data: bytes) -> AtLeastOnceDeliverySnapshot:
    message = parsed(messages.AtLeastOnceDeliverySnapshot, data)
    return AtLeastOnceDeliverySnapshot(
        message.currentDeliveryId, tuple(map(_delivery_of, message.unconfirmedDeliveries))
    )


def _state_change_to_bytes(event: StateChangeEvent) -> bytes:
    return messages.PersistentStateChangeEvent(
        stateIdentifier=event.state_identifier, timeoutMillis=event.timeout_ms
    ).SerializeToString()


def _state_change_from_bytes(data: bytes) -> StateChangeEvent:
    message = parsed(messages.PersistentStateChangeEvent, data)
    return StateChangeEvent(message.stateIdentifier, message.timeoutMillis or None)


def _fsm_snapshot_to_bytes(snapshot: PersistentFSMSnapshot) -> bytes:
    return messages.PersistentFSMSnapshot(
        stateIdentifier=snapshot.state_identifier,
        data=_payload_message(snapshot.data),
        timeoutMillis=snapshot.timeout_ms,
    ).SerializeToString()


def _fsm_snapshot_from_bytes(data: bytes) -> PersistentFSMSnapshot:
    message = parsed(messages.PersistentFSMSnapshot, data)
    if not message.HasField("data"):
        raise ValueError(f"the snapshot of state {message.stateIdentifier!r} has no data")
    return PersistentFSMSnapshot(message.stateIdentifier, _payload_of(message.data), message.timeoutMillis or None)


# --- the serializer --------------------------------------------------------------------------------------------------

_FSM: Final = f"{_AKKA}Fsm.PersistentFSM+"
_MESSAGES: Final[dict[type, tuple[str, Callable[[Any], bytes]]]] = {
    PersistentRepr: (f"{_AKKA}Persistent", event_to_bytes),
    AtomicWrite: (f"{_AKKA}AtomicWrite", write_to_bytes),
    AtLeastOnceDeliverySnapshot: (f"{_AKKA}AtLeastOnceDeliverySnapshot", _deliveries_to_bytes),
    StateChangeEvent: (f"{_FSM}StateChangeEvent", _state_change_to_bytes),
    PersistentFSMSnapshot: (f"{_FSM}PersistentFSMSnapshot`1", _fsm_snapshot_to_bytes),
}
_READS: Final[dict[str, Callable[[bytes], object]]] = {
    f"{_AKKA}Persistent": event_from_bytes,
    f"{_AKKA}IPersistentRepresentation": event_from_bytes,
    f"{_AKKA}AtomicWrite": write_from_bytes,
    f"{_AKKA}AtLeastOnceDeliverySnapshot": _deliveries_from_bytes,
    f"{_FSM}StateChangeEvent": _state_change_from_bytes,
    f"{_FSM}PersistentFSMSnapshot`1": _fsm_snapshot_from_bytes,
}


class PersistenceMessageSerializer:
    """Akka.NET's serializer 7: `types` says of which values.

    A `PersistentFSMSnapshot` is generic in .NET: its manifest names the type of its data. `data_type` is that name,
    with the assembly; without it, such snapshots are written in a form that only this library reads.
    """

    identifier: Final = PERSISTENCE_MESSAGE_ID
    types: Final = tuple(_MESSAGES)

    def __init__(self, data_type: str = "") -> None:
        self._data_type = data_type

    def manifest(self, value: object) -> str:
        name, _ = _MESSAGES[type(value)]
        generic = f"[[{self._data_type}]]" if self._data_type and name.endswith("`1") else ""
        return f"{name}{generic}, Akka.Persistence"

    def to_bytes(self, value: object) -> bytes:
        _, write = _MESSAGES[type(value)]
        return write(value)

    def from_bytes(self, data: bytes, manifest: str) -> object:
        name = manifest.partition("[[")[0].partition(",")[0]
        read = _READS.get(name)
        if read is None:
            raise ValueError(f"{name!r} is no message of Akka.Persistence; known: {', '.join(sorted(_READS))}")
        return read(data)
