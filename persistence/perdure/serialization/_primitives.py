"""Values that need no description: bytes, text, whole numbers and nothing, as Akka.NET stores them.

Exactly these types: a subclass, such as an `IntEnum`, would come back as something else and is refused.
"""

from __future__ import annotations

from typing import Final

BYTES_ID: Final = 4
NONE_ID: Final = 0
PRIMITIVE_ID: Final = 17

_STRING: Final = frozenset({"S", "System.String, System.Private.CoreLib", "System.String, mscorlib"})
_INT32: Final = frozenset({"I", "System.Int32, System.Private.CoreLib", "System.Int32, mscorlib"})
_INT64: Final = frozenset({"L", "System.Int64, System.Private.CoreLib", "System.Int64, mscorlib"})


class BytesSerializer:
    """Bytes, as they are."""

    identifier: Final = BYTES_ID

    def manifest(self, value: bytes) -> str:
        return ""

    def to_bytes(self, value: bytes) -> bytes:
        if type(value) is not bytes:
            _check_exact(value, bytes)
        return value

    def from_bytes(self, data: bytes, manifest: str) -> bytes:
        if manifest and not manifest.startswith("System.Byte[]"):
            raise ValueError("bytes have no manifest, or that of System.Byte[]")
        return data


class NoneSerializer:
    """`None`, which is null in Akka.NET."""

    identifier: Final = NONE_ID

    def manifest(self, value: None) -> str:
        return ""

    def to_bytes(self, value: None) -> bytes:
        return b""

    def from_bytes(self, data: bytes, manifest: str) -> None:
        if data or manifest:
            raise ValueError(f"None has neither manifest nor bytes, and this has {len(data)} bytes")


class PrimitiveSerializer:
    """Text in UTF-8 and whole numbers of at most 64 bits, little-endian.

    A number is written as Int64, whatever its size, so that its type in .NET does not depend on its value.
    `PrimitiveSerializer(bits=32)` writes Int32, for a journal whose readers in .NET expect that.
    """

    identifier: Final = PRIMITIVE_ID

    def __init__(self, bits: int = 64) -> None:
        if bits not in (32, 64):
            raise ValueError(f"bits {bits} is no size of an integer here; 32 and 64 are")
        self._bits = bits

    def manifest(self, value: str | int) -> str:
        return "System.String, System.Private.CoreLib" if isinstance(value, str) else self._integer_manifest

    @property
    def _integer_manifest(self) -> str:
        return f"System.Int{self._bits}, System.Private.CoreLib"

    def to_bytes(self, value: str | int) -> bytes:
        if isinstance(value, str):
            _check_exact(value, str)
            return value.encode()
        _check_exact(value, int)
        limit = 1 << (self._bits - 1)
        if not -limit <= value < limit:
            raise ValueError(f"it does not fit into {self._bits} bits; make it a field of a registered type")
        return value.to_bytes(self._bits // 8, "little", signed=True)

    def from_bytes(self, data: bytes, manifest: str) -> str | int:
        if manifest in _STRING:
            return data.decode()
        if manifest in _INT32:
            return _integer(data, 4)
        if manifest in _INT64:
            return _integer(data, 8)
        raise ValueError("known manifests are those of System.String, System.Int32 and System.Int64")


def _integer(data: bytes, size: int) -> int:
    if len(data) != size:
        raise ValueError(f"it has {len(data)} bytes instead of {size}")
    return int.from_bytes(data, "little", signed=True)


def _check_exact(value: object, kind: type) -> None:
    if type(value) is not kind:
        raise TypeError(
            f"it would come back as {kind.__name__}; bind its type to a serializer, or register it for JSON"
        )
