"""A disk under a file system: what is on it for certain, and what waits, after each call of a trace.

Whatever a call changes is a *change* with a bit of its own. A synchronisation makes changes certain. What a power cut
leaves is told by a *survival*: the certain changes, and any of those that wait, as far as the model allows.
`docs/durability.md` says what the two models assume:

- `strict`: what POSIX promises. Each change may be lost by itself.
- `ext4`: names, sizes and new blocks go through one journal, in order; bytes in place are written at any time.

Which survivals are looked at, and in which order, is decided in `survivals.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from .contents import EMPTY, Content, content_of
from .images import Image
from .names import Entry, Listing, Names, Tree, listing
from .trace import (
    AnyCall,
    Created,
    Linked,
    MadeDirectory,
    RemovedDirectory,
    Renamed,
    Synced,
    SyncedAll,
    SyncedDirectory,
    Trace,
    Truncated,
    Unlinked,
    Wrote,
)

Model = Literal["ext4", "strict"]
SECTOR = 512


class Change(msgspec.Struct, frozen=True):
    """One change that a call made. `needs` are the bits without which this one cannot be on the disk; `journal` says
    whether the order of the journal holds for it."""

    bit: int
    call: int
    needs: int
    journal: bool


class NameChange(Change, frozen=True):
    """A name appeared, disappeared or was replaced; all `entries` in the same moment. `node` is what it is about, and
    `creates` whether that is new."""

    node: int
    entries: tuple[Entry, ...]
    creates: bool


class Written(Change, frozen=True):
    """Bytes of a file. What lies below `in_place` was on the disk before, in blocks of its own."""

    node: int
    offset: int
    data: bytes
    in_place: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    @property
    def extends(self) -> bool:
        """Whether the file grew: then its new size may be on the disk without the bytes, which are zeros."""
        return self.end > self.size


class Cut(Change, frozen=True):
    """A file got a size."""

    node: int
    size: int


AnyChange = NameChange | Written | Cut


class Waiting(msgspec.Struct, frozen=True):
    """A file: what is certain of it, and the changes since, oldest first. `bits` are those up to each. Up to `solid`
    there were blocks on the disk then: a file that was extended by its size alone has none behind that."""

    certain: Content
    solid: int
    changes: tuple[Written | Cut, ...] = ()
    bits: tuple[int, ...] = ()


class Moment(msgspec.Struct, frozen=True):
    """A disk between two calls: `pending` is what waits, oldest first, `certain` the bits that do not any more."""

    position: int
    pending: tuple[AnyChange, ...]
    certain: int
    files: dict[int, Waiting]


class Disk:
    """Follows a trace call by call. The model is needed to know what a synchronisation makes certain."""

    def __init__(self, trace: Trace, model: Model) -> None:
        if trace.given_up is not None:
            raise ValueError(f"this trace must not be used: {trace.given_up.reason}, {trace.given_up.detail}")
        self.model = model
        self.tree = Tree()
        self.now: dict[int, Content] = {}
        self.changes: list[AnyChange] = []
        self._files: dict[int, Waiting] = {}
        self._pending: tuple[AnyChange, ...] = ()
        self._certain = 0
        self.journal = 0
        self._position = 0
        self._listings: dict[int, Listing] = {}
        self._begin(trace.before)
        self._trace = trace

    def moments(self) -> Iterator[Moment]:
        """The disk before the first call, and after each."""
        yield self._moment()
        for call in self._trace.calls:
            try:
                self._follow(call)
            except ValueError as trouble:
                raise ValueError(f"call {self._position} of the trace, {type(call).__name__}: {trouble}") from None
            self._position += 1
            yield self._moment()

    def seen(self) -> Image:
        """What the process sees: everything that it did."""
        found = listing(self.tree.names, self.tree.folders)
        return Image({path: self.now[node] for path, node in found.files}, found.directories)

    def listing(self, kept: int) -> Listing:
        """The names when the changes with these bits are on the disk."""
        of_names = kept & self._of_names
        if of_names not in self._listings:
            names = dict(self._first)
            for change in self.changes:
                if change.bit & of_names and isinstance(change, NameChange):
                    for entry in change.entries:
                        entry.apply(names)
            self._listings[of_names] = listing(names, self.tree.folders)
        return self._listings[of_names]

    def _begin(self, before: dict[str, bytes]) -> None:
        """Everything that is there at the start is on the disk."""
        for path in sorted(before):
            parts = path.rstrip("/").split("/")
            folders = parts if path.endswith("/") else parts[:-1]
            above = 0
            for name in folders:
                if (above, name) not in self.tree.names:
                    self.tree.names[above, name] = self.tree.new(folder=True)
                above = self.tree.names[above, name]
            if not path.endswith("/"):
                node = self.tree.names[above, parts[-1]] = self.tree.new()
                self.now[node] = content_of(before[path])
        self._files = {node: Waiting(content, content.size) for node, content in self.now.items()}
        self._first: Names = dict(self.tree.names)
        self._named = set(self._first.values())
        self._of_names = 0

    def _moment(self) -> Moment:
        return Moment(self._position, self._pending, self._certain, dict(self._files))

    def _follow(self, call: AnyCall) -> None:
        match call:
            case Created(path=path):
                self._appear(path, self.tree.new())
            case MadeDirectory(path=path):
                self._appear(path, self.tree.new(folder=True))
            case Linked(path=path, to=to):
                self._appear(to, self.tree.node(path))
            case Unlinked(path=path) | RemovedDirectory(path=path):
                self._disappear(path)
            case Renamed(path=path, to=to):
                self._rename(path, to)
            case Wrote(path=path, offset=offset, data=data):
                self._write(self._file(path), offset, data)
            case Truncated(path=path, size=size):
                self._cut(self._file(path), size)
            case Synced(path=path, data_only=data_only):
                self._sync(self._file(path), data_only)
            case SyncedDirectory(path=path):
                self._sync_directory(self.tree.node(path))
            case SyncedAll():
                self._settle(*self._pending)

    def _file(self, path: str) -> int:
        node = self.tree.node(path)
        if node in self.tree.folders:
            raise ValueError(f"{path!r} is a directory, not a file")
        return node

    def _appear(self, path: str, node: int) -> None:
        directory, name = self.tree.free(path)
        if node not in self.tree.folders and node not in self.now:
            self.now[node] = EMPTY
            self._files[node] = Waiting(EMPTY, 0)
        self._name(node, Entry(directory, name, node))

    def _disappear(self, path: str) -> None:
        node = self.tree.node(path)
        directory, name = self.tree.place(path)
        self._name(node, Entry(directory, name, None))

    def _rename(self, path: str, to: str) -> None:
        """A journal keeps both halves together. Where none is promised and two directories are concerned, the old name
        may be there still, but not gone without the new one."""
        node = self.tree.node(path)
        (old_directory, old), (directory, name) = self.tree.place(path), self.tree.place(to)
        if self.tree.names.get((directory, name)) == node:
            return
        if directory == old_directory:
            self._name(node, Entry(directory, name, node, old))
        elif self.model == "ext4":
            self._name(node, Entry(directory, name, node), Entry(old_directory, old, None))
        else:
            appeared = self._name(node, Entry(directory, name, node))
            self._name(node, Entry(old_directory, old, None), needs=appeared.bit)

    def _name(self, node: int, *entries: Entry, needs: int = 0) -> NameChange:
        for entry in entries:
            entry.apply(self.tree.names)
        creates = node not in self._named
        self._named.add(node)
        change = NameChange(self._bit(), self._position, needs, self.model == "ext4", node, entries, creates)
        self._of_names |= change.bit
        self._add(change)
        return change

    def _write(self, node: int, offset: int, data: bytes) -> None:
        file, size = self._files[node], self.now[node].size
        in_place = min([file.solid, *(change.size for change in file.changes if isinstance(change, Cut))])
        change = Written(self._bit(), self._position, self.journal, False, node, offset, data, in_place, size)
        self.now[node] = self.now[node].written(offset, data)
        self._wait(change)

    def _cut(self, node: int, size: int) -> None:
        change = Cut(self._bit(), self._position, 0, self.model == "ext4", node, size)
        self.now[node] = self.now[node].resized(size)
        self._wait(change)

    def _wait(self, change: Written | Cut) -> None:
        file = self._files[change.node]
        bits = (file.bits[-1] if file.bits else 0) | change.bit
        self._files[change.node] = Waiting(file.certain, file.solid, (*file.changes, change), (*file.bits, bits))
        self._add(change)

    def _bit(self) -> int:
        return 1 << len(self.changes)

    def _add(self, change: AnyChange) -> None:
        self.changes.append(change)
        self._pending += (change,)
        if change.journal:
            self.journal |= change.bit

    def _sync(self, node: int, data_only: bool) -> None:
        """The bytes in any case; the journal, up to now, if something of the file waits in it."""
        waiting = (change for change in self._pending if change.node == node)
        commits = any(not data_only or _is_needed_to_read(change) for change in waiting)
        self._settle(*self._files[node].changes, *(self._in_journal() if commits else ()))

    def _sync_directory(self, folder: int) -> None:
        names = [change for change in self._pending if isinstance(change, NameChange)]
        about = [change for change in names if any(entry.directory == folder for entry in change.entries)]
        if self.model == "ext4":
            commits = about or any(change.node == folder for change in names)
            self._settle(*(self._in_journal() if commits else ()))
            return
        bits = 0
        for change in about:
            bits |= change.bit | change.needs
        self._settle(*(change for change in names if change.bit & bits))

    def _in_journal(self) -> list[AnyChange]:
        return [change for change in self._pending if change.journal]

    def _settle(self, *changes: AnyChange) -> None:
        """These are on the disk now. A file of which nothing waits any more is what the process sees."""
        for change in changes:
            self._certain |= change.bit
        self._pending = tuple(change for change in self._pending if not change.bit & self._certain)
        for node, file in self._files.items():
            if file.changes and all(change.bit & self._certain for change in file.changes):
                self._files[node] = Waiting(self.now[node], _solid(file))


def _solid(file: Waiting) -> int:
    """Up to where there are blocks when all that waits is on the disk."""
    solid = file.solid
    for change in file.changes:
        solid = min(solid, change.size) if isinstance(change, Cut) else max(solid, change.end)
    return solid


def _is_needed_to_read(change: AnyChange) -> bool:
    """Whether fdatasync must write it into the journal: sizes, new blocks and new files, but not times and names."""
    match change:
        case Written():
            return change.end > change.in_place
        case NameChange():
            return change.creates
    return True
