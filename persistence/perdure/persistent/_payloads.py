"""From events and snapshots, which are objects, to payloads, which are bytes, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from .._events import Payload, PersistentRepr

_PLAIN: Final = (str, int, float, bool, type(None), list, dict)


class Serialization(Protocol):
    """Both directions raise for what they do not know; they never guess."""

    def to_payload(self, value: Any) -> Payload: ...
    def from_payload(self, payload: Payload) -> object: ...


class EventAdapters(Protocol):
    """Between the events that an actor knows and those that a journal keeps."""

    def to_journal(self, event: object) -> tuple[object, str, frozenset[str]]:
        """The event to store, its manifest, and its tags. What it raises rejects the event: nothing is stored."""
        ...

    def from_journal(self, event: object, manifest: str) -> Iterable[object]:
        """None, one or several events to replay for a stored one."""
        ...


class Codec:
    """Serialization with event adapters before it, if there are any."""

    def __init__(self, serialization: Serialization, adapters: EventAdapters | None) -> None:
        self.serialization = serialization
        self.adapters = adapters

    def encode(self, event: object) -> tuple[Payload, str, frozenset[str]]:
        if self.adapters is None:
            return self.serialization.to_payload(event), "", frozenset()
        adapted, manifest, tags = self.adapters.to_journal(event)
        return self.serialization.to_payload(adapted), manifest, tags

    def decode(self, event: PersistentRepr) -> Iterable[object]:
        value = self.serialization.from_payload(event.payload)
        return (value,) if self.adapters is None else tuple(self.adapters.from_journal(value, event.manifest))


class NamedTypes:
    """The default: JSON for plain values and for types that were registered by name.

    A type is a dataclass, a `msgspec.Struct`, or anything else that msgspec converts. Its name is stored as the
    manifest, so it may move to another module; `names` gives a type another name than that of its class.
    """

    SERIALIZER_ID: Final = 1001
    BYTES_ID: Final = 4

    def __init__(self, *types: type, names: Mapping[str, type] | None = None) -> None:
        self._types: dict[str, type] = {kind.__name__: kind for kind in types} | dict(names or {})
        if len({kind.__name__ for kind in types}) < len(set(types)):
            raise ValueError(f"two of the types {types!r} have the same name; give names={{...}}")
        self._names = {kind: name for name, kind in self._types.items()}
        self._encoder = msgspec.json.Encoder()
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(kind) for name, kind in self._types.items()
        }
        self._plain: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

    def to_payload(self, value: Any) -> Payload:
        name = self._names.get(value.__class__)
        if name is not None:
            return Payload(self.SERIALIZER_ID, name, self._encoder.encode(value))
        if isinstance(value, bytes):
            return Payload(self.BYTES_ID, "", value)
        if type(value) in _PLAIN:
            return Payload(self.SERIALIZER_ID, "", self._encoder.encode(value))
        raise TypeError(f"{type(value).__name__} has no name in this serialization; add it to NamedTypes(...)")

    def from_payload(self, payload: Payload) -> object:
        if payload.serializer_id == self.BYTES_ID:
            return payload.data
        if payload.serializer_id != self.SERIALIZER_ID:
            raise ValueError(f"serializer_id {payload.serializer_id} is not known to this serialization")
        if not payload.manifest:
            return self._plain.decode(payload.data)
        decoder = self._decoders.get(payload.manifest)
        if decoder is None:
            known = ", ".join(sorted(self._decoders)) or "none"
            raise ValueError(f"manifest {payload.manifest!r} is not known; registered: {known}")
        return decoder.decode(payload.data)
