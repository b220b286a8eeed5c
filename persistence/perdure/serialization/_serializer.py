"""What a serializer is: it turns values of some types into bytes and back, under a number of its own.

The number and the manifest are stored beside the bytes and outlive the program, so they never change their meaning.
Numbers 0 to 40 belong to Akka: a serializer with one of them reads and writes what Akka does under it.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

NO_SERIALIZER_ID: Final = -1
"""Stands for a row that names no serializer, as Akka.NET wrote them before 1.4: by its default one, which is JSON."""


class PayloadReader(Protocol):
    """Reads what was written under one number, here or elsewhere."""

    @property
    def identifier(self) -> int:
        """The number, a signed one of 32 bits, that is stored with each payload."""
        ...

    def from_bytes(self, data: bytes, manifest: str) -> object:
        """The value. Raises for bytes or a manifest that it does not know, with a reason and, if any, the way out.

        Any exception becomes `UnreadablePayload`, so nothing needs to be caught here. It never guesses.
        """
        ...


class Serializer(PayloadReader, Protocol):
    """Reads and writes."""

    def manifest(self, value: Any) -> str:
        """What `from_bytes` needs to know besides the bytes; may be empty."""
        ...

    def to_bytes(self, value: Any) -> bytes:
        """The bytes that `from_bytes` turns into an equal value of the same type.

        Raises for a value that would not come back as it was; any exception becomes `NotSerializable`.
        """
        ...
