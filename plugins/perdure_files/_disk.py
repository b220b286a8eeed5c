"""What is asked of the operating system, and nothing else: every system call that changes a file is in this module.

Three things that are easily got wrong are got right here, once: a write that stores less than it was given goes on
with the rest; a file that must be there whole or not at all is made beside its place, synced, and renamed into it; and
a name that was made or removed is synced as well, by syncing its directory. (A call that a signal interrupts is
repeated by Python itself, PEP 475.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp"
"""What the name of a file ends in that is not yet in its place. Such a file is nobody's: opening removes it."""

_BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends unless told not to


class NothingStored(Exception):
    """An operation failed, and provably left everything as it was. Its cause is the error of the system."""


class Disk:
    """The files of one directory. Not thread-safe: one thread does all of it.

    With `syncs` False nothing is ever synced: what a power cut leaves is then anybody's guess.
    """

    def __init__(self, directory: Path, syncs: bool = True) -> None:
        self.directory = directory
        self.syncs = syncs

    # --- the directory

    def names(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def make_directories(self) -> None:
        """Make the directory and the one around it. Each new name is synced in the directory that holds it.

        The name of the inner one is synced also if it is there already: whoever made it may have been killed before it
        came to that. By then the outer one was synced, for it comes first.
        """
        around = self.directory.parent
        if not self.directory.is_dir():
            around.mkdir(exist_ok=True)
            self.sync_directory(around.parent)
            self.directory.mkdir(exist_ok=True)
        self.sync_directory(around)

    def sync_names(self) -> None:
        """Whatever was made, renamed or removed in the directory is durable."""
        self.sync_directory(self.directory)

    def sync_directory(self, directory: Path) -> None:
        if (
            not self.syncs or os.name != "posix"
        ):  # Windows cannot open a directory; NTFS keeps names in a log of its own
            return
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        os.unlink(self.directory / name)

    # --- open files

    def open(self, name: str) -> int:
        return os.open(self.directory / name, os.O_RDWR | _BINARY)

    @contextmanager
    def reading(self, name: str) -> Iterator[int]:
        descriptor = os.open(self.directory / name, os.O_RDONLY | _BINARY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        """The bytes at an offset: fewer only where the file ends. An error of the disk is raised, never an end."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        parts = []
        while length and (part := os.read(descriptor, length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def write(self, descriptor: int, offset: int, content: bytes) -> None:
        """All of the bytes, or an error; then any part of them may be in the file."""
        left = memoryview(content)
        os.lseek(descriptor, offset, os.SEEK_SET)
        while left:
            left = left[self.write_some(descriptor, left) :]

    def write_some(self, descriptor: int, content: memoryview) -> int:
        return os.write(descriptor, content)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """What the file holds is durable, and how long it is."""
        if self.syncs:
            os.fsync(descriptor)

    # --- whole files

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        """A file that is there whole or not at all, also after a crash; one of that name is replaced in the same step.

        Raises `NothingStored` for what happens before the file is in its place. An `OSError` comes from the sync of
        the directory behind it: the new file is there, and a power cut may bring back what was before.
        """
        temporary = name + TEMPORARY
        try:
            self.fill(temporary, parts)
            self.rename(temporary, name)
        except BaseException as error:
            with suppress(OSError):  # a leftover does no harm: it is removed at the next opening
                self.remove(temporary)
            if isinstance(error, OSError):
                raise NothingStored(str(error)) from error
            raise
        self.sync_names()

    def fill(self, name: str, parts: Iterable[bytes]) -> None:
        """Make a file and sync what it holds. The name is not synced: it is of no worth yet."""
        descriptor = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _BINARY, 0o644)
        try:
            offset = 0
            for part in parts:
                self.write(descriptor, offset, part)
                offset += len(part)
            self.sync(descriptor)
        finally:
            self.close(descriptor)

    def rename(self, name: str, to: str) -> None:
        os.replace(self.directory / name, self.directory / to)


MakeDisk = Callable[[Path, bool], Disk]
