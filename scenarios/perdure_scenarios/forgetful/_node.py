"""One file or directory of a forgetful disk: as programs see it, as it is on the disk, and what lies between."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable
from typing import ClassVar

import msgspec


class Written(msgspec.Struct, frozen=True, gc=False):
    """Bytes that were written and not synced."""

    offset: int
    data: bytes

    def apply(self, content: bytearray) -> None:
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data


class Resized(msgspec.Struct, frozen=True, gc=False):
    """A change of size that was not synced."""

    size: int
    data: ClassVar[bytes] = b""

    def apply(self, content: bytearray) -> None:
        del content[self.size :]
        content.extend(bytes(self.size - len(content)))


class Node:
    """A file, a directory or a symbolic link."""

    def __init__(self, number: int, mode: int, transaction: int) -> None:
        self.number = number
        self.mode = mode
        self.owner = (0, 0)
        self.accessed = self.modified = time.time_ns()
        self.links = 1
        self.content = bytearray()
        self.on_disk = bytearray()
        self.unsynced: list[Written | Resized] = []
        self.entries: dict[str, Node] = {}
        self.entries_on_disk: dict[str, Node] = {}
        self.sync_transaction = self.data_transaction = transaction
        """The transactions of the journal that `fsync` and `fdatasync` must see committed."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


def reachable(nodes: Iterable[Node], *, on_disk: bool = False) -> list[Node]:
    """These nodes and all below them, each once."""
    found: dict[Node, None] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting.extend((node.entries_on_disk if on_disk else node.entries).values())
    return list(found)
