"""Serializers that every `Serialization` has, and whose modules are loaded when one of their values is first met."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, cast

from ._akka_values import Cleanup, Confirmed, MessageSent, PersistentFSMSnapshot, ProducerQueueState, StateChangeEvent
from ._serializer import Serializer

PERSISTENCE_MESSAGE_ID: Final = 7
RELIABLE_DELIVERY_ID: Final = 36


class OnDemand:
    """Stands for the serializer of this name in this module. `types` are those that are bound to it."""

    def __init__(self, identifier: int, module: str, name: str, types: tuple[type, ...]) -> None:
        self.identifier = identifier
        self.types = types
        self._module = module
        self._name = name
        self._loaded: Serializer | None = None

    def manifest(self, value: Any) -> str:
        return self._load().manifest(value)

    def to_bytes(self, value: Any) -> bytes:
        return self._load().to_bytes(value)

    def from_bytes(self, data: bytes, manifest: str) -> object:
        return self._load().from_bytes(data, manifest)

    def _load(self) -> Serializer:
        if self._loaded is None:
            self._loaded = cast(Serializer, getattr(import_module(self._module, __package__), self._name)())
        return self._loaded


def akka_serializers() -> list[OnDemand]:
    """What the state machines and durable producer queues of this library need, in the formats of Akka.NET."""
    return [
        OnDemand(
            PERSISTENCE_MESSAGE_ID,
            ".akka_net",
            "PersistenceMessageSerializer",
            (StateChangeEvent, PersistentFSMSnapshot),
        ),
        OnDemand(
            RELIABLE_DELIVERY_ID,
            ".reliable_delivery",
            "ReliableDeliverySerializer",
            (MessageSent, Confirmed, Cleanup, ProducerQueueState),
        ),
    ]
