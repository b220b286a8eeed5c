"""JSON for what msgspec knows: dataclasses, `msgspec.Struct`, enums, NamedTuples and plain values.

A type is stored under a name of its own choice, so that it may move and be renamed; `#2` behind the name is the version
of its shape. Every value is read back before its bytes are let go. What would not come back equal (a NaN, a tuple where
any value is allowed, text in a field of numbers) is refused then, when somebody can still do something about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from typing import Any, Final

import msgspec

from .._events import Payload

JSON_ID: Final = 1001

_VERSION_MARK: Final = "#"

Migrate = Callable[[int, Any], Any]
"""Takes the version that was stored and the plain JSON value, and gives the plain value that the type has now."""


class JsonType(msgspec.Struct, frozen=True):
    """A type with the name under which it is stored; `aliases` are names that it had before.

    `version` is that of its shape. Adding a field with a default needs no new version; whatever else changes does, and
    `migrate` then turns what older versions stored into what the newest one would have.
    """

    kind: type
    name: str
    version: int = 1
    migrate: Migrate | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if not name or _VERSION_MARK in name:
                raise ValueError(f"{name!r} cannot name a type: a name is not empty and has no {_VERSION_MARK!r}")
        if self.version < 1 or (self.version > 1 and self.migrate is None):
            raise ValueError(
                f"version {self.version} of {self.name!r} is wrong: versions begin at 1, "
                f"and a later one needs `migrate` for what older ones stored"
            )
        if not isinstance(self.kind, type) or isinstance(
            msgspec.inspect.type_info(self.kind), msgspec.inspect.CustomType
        ):
            raise ValueError(f"msgspec cannot read {self.kind!r}; make it a dataclass, or bind a serializer to it")
        if not _has_equality(self.kind):
            raise ValueError(f"{self.kind!r} has no equality to check by that it comes back; define it with eq=True")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def manifest(self) -> str:
        return _manifest(self.name, self.version)


class JsonSerializer:
    """Reads by manifest, and has a writer for each of exactly the types that it was given."""

    identifier: Final = JSON_ID

    def __init__(self, types: Iterable[JsonType], verify: bool = True) -> None:
        self._types: dict[type, JsonType] = {}
        self._decoders: dict[str, Callable[[bytes], object]] = {}
        self._encode = msgspec.json.Encoder().encode
        self._verify = verify
        for one in types:
            if one.kind in self._types:
                raise ValueError(f"{one.kind!r} is registered twice; give it one name, and aliases")
            self._types[one.kind] = one
            self._add_decoders(one)

    def _add_decoders(self, one: JsonType) -> None:
        decode: Callable[[bytes], object] = msgspec.json.Decoder(one.kind).decode
        for name in one.names:
            for version, manifest in _manifests(name, one.version):
                if manifest in self._decoders:
                    raise ValueError(f"two types are registered under the name {name!r}; give JsonType(..., name)")
                old = version < one.version
                self._decoders[manifest] = partial(self._migrated, one, version, decode) if old else decode

    def _migrated(self, one: JsonType, version: int, decode: Callable[[bytes], object], data: bytes) -> object:
        assert one.migrate is not None
        return decode(self._encode(one.migrate(version, msgspec.json.decode(data))))

    @property
    def types(self) -> Iterable[type]:
        return self._types.keys()

    def from_bytes(self, data: bytes, manifest: str) -> object:
        decode = self._decoders.get(manifest)
        if decode is None:
            raise ValueError(self._unknown(manifest))
        return decode(data)

    def writer(self, kind: type) -> Callable[[Any], Payload]:
        """What makes payloads of one of its types. On the path of every event, so all is looked up before."""
        manifest, encode = self._types[kind].manifest, self._encode
        decode = self._decoders[manifest]

        def verified(value: object) -> Payload:
            data = encode(value)
            if decode(data) != value:
                raise ValueError("it would not come back equal; see what its fields hold, and what their types allow")
            return Payload(JSON_ID, manifest, data)

        return verified if self._verify else lambda value: Payload(JSON_ID, manifest, encode(value))

    def _unknown(self, manifest: str) -> str:
        name, _, version = manifest.partition(_VERSION_MARK)
        for one in self._types.values():
            if name in one.names and version:
                return f"version {version} is not one of {name!r} (1 to {one.version}); was a newer program here?"
        known = ", ".join(sorted(self._decoders))
        return f"no type has this name; known: {known}; add JsonType(its type, {name!r}), or the name to the aliases"


def _has_equality(kind: type) -> bool:
    if issubclass(kind, msgspec.Struct):
        return bool(kind.__struct_config__.eq)
    return kind.__eq__ is not object.__eq__ or issubclass(kind, Enum)


def _manifest(name: str, version: int) -> str:
    return name if version == 1 else f"{name}{_VERSION_MARK}{version}"


def _manifests(name: str, version: int) -> Iterator[tuple[int, str]]:
    return ((one, _manifest(name, one)) for one in range(1, version + 1))
