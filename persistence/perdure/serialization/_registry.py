"""Which serializer is meant: by type when writing, by the stored number when reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._events import Payload
from ..errors import NotSerializable, UnreadablePayload
from ._bindings import TypeBindings
from ._json import JsonSerializer, JsonType
from ._newtonsoft import READERS
from ._on_demand import akka_serializers
from ._primitives import BytesSerializer, NoneSerializer, PrimitiveSerializer
from ._serializer import PayloadReader, Serializer

PLAIN = (bool, float, list, dict)
"""Plain values that are stored as JSON under the names of their types."""

_INT32 = range(-(2**31), 2**31)

Write = Callable[[Any], Payload]


class Serialization:
    """From values to payloads and back. What comes back is equal to what was given, or there is an error.

    `types` are stored as JSON, under the names of their classes unless a `JsonType` gives another. `bindings` say which
    types have a serializer of their own: subclasses included, and the most specific one counts. `readers` read what
    other programs wrote. Text, whole numbers, bytes, `None`, bool, float, list and dict need nothing; neither do
    payloads of Akka.NET's primitive serializer and of its JSON.

    `verify=False` writes JSON without reading it back first: twice as fast, and a value that breaks the types of its
    fields is then found when it is too late.
    """

    def __init__(
        self,
        *types: type | JsonType,
        bindings: Iterable[tuple[type, Serializer]] = (),
        readers: Iterable[PayloadReader] = (),
        primitives: PrimitiveSerializer | None = None,
        verify: bool = True,
    ) -> None:
        primitive = primitives or PrimitiveSerializer()
        nothing, of_bytes = NoneSerializer(), BytesSerializer()
        own: dict[type, Serializer] = {type(None): nothing, bytes: of_bytes, str: primitive, int: primitive}
        given, others = list(bindings), list(readers)
        json = JsonSerializer([*map(_named, PLAIN), *map(_named, types)], verify)
        _check_bound_once(json, (kind for kind, _ in given))
        written = [serializer for _, serializer in given]
        taken = {reader.identifier for reader in (*written, *others)}
        akka = [one for one in akka_serializers() if one.identifier not in taken]
        own |= {kind: one for one in akka for kind in one.types}
        for kind, _ in given:
            own.pop(kind, None)
        self._writers = _Writers(TypeBindings([*given, *own.items()]))
        self._writers.update((kind, json.writer(kind)) for kind in json.types)
        by_identifier = _by_identifier([nothing, of_bytes, primitive, json, *READERS, *akka, *written, *others])
        self._read = {identifier: reader.from_bytes for identifier, reader in by_identifier.items()}

    def to_payload(self, value: object) -> Payload:
        """Raises `NotSerializable`, before anything is written, for a value that would not come back. (J-25)"""
        try:
            return self._writers[type(value)](value)
        except NotSerializable:
            raise
        except Exception as error:
            raise NotSerializable(type(value), _reason(error)) from error

    def from_payload(self, payload: Payload) -> Any:
        """Raises `UnreadablePayload` for bytes that are no such value, and for a serializer or name not known here."""
        read = self._read.get(payload.serializer_id)
        if read is None:
            raise UnreadablePayload(payload.serializer_id, payload.manifest, self._unknown())
        try:
            return read(payload.data, payload.manifest)
        except Exception as error:
            raise UnreadablePayload(payload.serializer_id, payload.manifest, _reason(error)) from error

    def _unknown(self) -> str:
        known = ", ".join(map(str, sorted(self._read)))
        return f"no serializer has this number; known: {known}; give its reader to Serialization(readers=[...])"


class _Writers(dict[type, Write]):
    """What writes values of a type. A type that was not met before is looked up among the bindings, once."""

    def __init__(self, bindings: TypeBindings[Serializer]) -> None:
        super().__init__()
        self._bindings = bindings

    def __missing__(self, kind: type) -> Write:
        serializer = self._bindings.find(kind)
        if serializer is None:
            way_out = f"Serialization(JsonType({kind.__qualname__}, 'its name')), or bind a serializer to it"
            raise NotSerializable(kind, f"its type is not registered; {way_out}")
        self[kind] = write = _write_with(serializer)
        return write


def _write_with(serializer: Serializer) -> Write:
    identifier, manifest, to_bytes = serializer.identifier, serializer.manifest, serializer.to_bytes
    return lambda value: Payload(identifier, manifest(value), to_bytes(value))


def _check_bound_once(json: JsonSerializer, kinds: Iterable[type]) -> None:
    both = [kind.__qualname__ for kind in kinds if kind in json.types]
    if both:
        raise ValueError(f"{', '.join(both)}: registered for JSON and bound to a serializer; choose one")


def _named(one: type | JsonType) -> JsonType:
    return one if isinstance(one, JsonType) else JsonType(one, one.__name__)


def _by_identifier(readers: Sequence[PayloadReader]) -> dict[int, PayloadReader]:
    found: dict[int, PayloadReader] = {}
    for reader in readers:
        identifier = reader.identifier
        if identifier not in _INT32:
            raise ValueError(f"identifier {identifier} of {reader!r} does not fit into 32 bits")
        if found.setdefault(identifier, reader) is not reader:
            raise ValueError(f"two serializers have the number {identifier}: {found[identifier]!r} and {reader!r}")
    return found


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
