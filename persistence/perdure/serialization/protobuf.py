"""Protobuf messages, by their full names. Importing this loads protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import Message

PROTOBUF_ID: Final = 1002


class ProtobufSerializer:
    """Writes and reads messages of the given classes; bind their classes, or `Message` itself, to it.

    The manifest is the full name of the message, `bank.Deposited`; `aliases` are older names of messages. With
    `identifier=2` and Akka.NET's names of types as aliases it reads what Akka.NET's serializer for protobuf wrote.

    The format has no checksum and no end: bytes that are cut off between two fields are a message too.
    """

    def __init__(
        self,
        messages: Iterable[type[Message]],
        aliases: Mapping[str, type[Message]] | None = None,
        identifier: int = PROTOBUF_ID,
    ) -> None:
        self._identifier = identifier
        self._messages = {message.DESCRIPTOR.full_name: message for message in messages}
        self._known = {**(aliases or {}), **self._messages}

    @property
    def identifier(self) -> int:
        return self._identifier

    def manifest(self, value: Message) -> str:
        name = value.DESCRIPTOR.full_name
        if self._messages.get(name) is not type(value):
            raise ValueError(f"message {name!r} is not one of this serializer's: {', '.join(sorted(self._messages))}")
        return name

    def to_bytes(self, value: Message) -> bytes:
        return value.SerializeToString(deterministic=True)

    def from_bytes(self, data: bytes, manifest: str) -> Message:
        message = self._known.get(manifest)
        if message is None:
            known = ", ".join(sorted(self._known))
            raise ValueError(f"no message has this name; known: {known}; add it, or the name to the aliases")
        return message.FromString(data)
