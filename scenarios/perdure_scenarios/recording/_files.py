"""The files under one directory, as a process names them: by descriptors, by paths, by directories it has open."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import msgspec

AT_FDCWD = -100
DELETED = " (deleted)"


class Unrecordable(Exception):
    """Something under the directory that a trace has no word for, such as a symbolic link."""


class OpenFile(msgspec.Struct, frozen=True):
    """A descriptor of a process, of a file or directory under the root. `path` is one of its names there."""

    tid: int
    descriptor: int
    path: str

    @property
    def proc(self) -> str:
        return f"/proc/{self.tid}/fd/{self.descriptor}"

    def status(self) -> os.stat_result:
        return os.stat(self.proc)

    def position_and_flags(self) -> tuple[int, int]:
        with open(f"/proc/{self.tid}/fdinfo/{self.descriptor}") as file:
            found = file.read().split()
        return int(found[1]), int(found[3], 8)

    def content(self, offset: int, size: int) -> bytes:
        descriptor = os.open(self.proc, os.O_RDONLY)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)


class Root:
    """The directory that is recorded."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.realpath(directory)
        self.device = os.stat(self.path).st_dev

    def relative(self, path: str) -> str | None:
        """The path from the root, "" for the root itself; None for what lies outside."""
        if path == self.path:
            return ""
        return path[len(self.path) + 1 :] if path.startswith(f"{self.path}/") else None

    def full(self, relative: str) -> str:
        return f"{self.path}/{relative}" if relative else self.path

    def opened(self, tid: int, descriptor: int) -> OpenFile | None:
        """What a descriptor stands for; None if it lies outside, is no file, or has no name any more."""
        try:
            link = os.readlink(f"/proc/{tid}/fd/{descriptor}")
        except OSError:
            return None
        if self.relative(link) is None:
            return None
        name = self._name(link, f"/proc/{tid}/fd/{descriptor}")
        return None if name is None else OpenFile(tid, descriptor, name)

    def _name(self, link: str, proc: str) -> str | None:
        found = os.stat(proc)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return None
        if not link.endswith(DELETED) or (os.path.exists(link) and os.path.samestat(os.stat(link), found)):
            return self.relative(link)
        if not found.st_nlink or stat.S_ISDIR(found.st_mode):
            return None
        same = (name for name, status in self.walk() if os.path.samestat(status, found))
        return next(same, None)  # the name that it was opened by is gone, and it has another

    def named(self, tid: int, directory: int, name: str, follow: bool) -> str:
        """The full path that a process means by a name, relative to a directory that it has open."""
        base = f"/proc/{tid}/cwd" if directory == AT_FDCWD else f"/proc/{tid}/fd/{directory}"
        path = name if name.startswith("/") else os.path.join(os.readlink(base), name)
        if follow:
            return os.path.realpath(path)
        parent, last = os.path.split(path.rstrip("/"))
        return os.path.realpath(path) if last in ("", ".", "..") else os.path.join(os.path.realpath(parent), last)

    def walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Everything under the root with its status; directories before what is in them."""
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(self.full(folder)) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    yield name, entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)

    def used(self) -> int:
        """How many bytes the files hold."""
        return sum(status.st_size for _, status in self.walk() if stat.S_ISREG(status.st_mode))

    def contents(self) -> dict[str, bytes]:
        """All files with their contents; directories end in `/`. Raises `Unrecordable`."""
        found: dict[str, bytes] = {}
        for name, status in self.walk():
            if stat.S_ISDIR(status.st_mode):
                found[f"{name}/"] = b""
            elif stat.S_ISREG(status.st_mode):
                with open(self.full(name), "rb") as file:
                    found[name] = file.read()
            else:
                raise Unrecordable(f"{name} is neither a file nor a directory")
        return found
