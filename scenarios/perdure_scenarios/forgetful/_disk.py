"""Files and directories in memory, each as programs see it and as it is on the disk: what a power cut leaves is known.

Two models of when a name is on the disk:

- `ext4`: names change in one order, that of a journal. A sync of any file or directory that has something in the
  journal carries all earlier changes of names with it. As there, a sync that has nothing to commit (`fdatasync` after
  bytes were written over old ones) carries none.
- `strict`: what POSIX promises and no more. A name is on the disk when its directory was synced.

Data of a file is on the disk when that file was synced, in both. Owners, permissions and times are not modelled: they
are on the disk at once. Nothing here knows of FUSE.
"""

from __future__ import annotations

import copy
import errno
import os
import random
import stat
import time
from pathlib import Path
from typing import Literal

import msgspec

from ._node import Node, Resized, Written, reachable

Model = Literal["ext4", "strict"]
Keep = Literal["nothing", "half", "everything"]

SECTOR = 512
HIDDEN = ".fuse_hidden"
"""How libfuse renames a file that is removed while it is open. Such a name is none for whoever looks."""


class _NameChange(msgspec.Struct, frozen=True):
    """`name` in `directory` became `node`, or was removed."""

    directory: Node
    name: str
    node: Node | None

    def apply(self) -> None:
        if self.node is None:
            self.directory.entries_on_disk.pop(self.name, None)
        else:
            self.directory.entries_on_disk[self.name] = self.node


class Dropped(msgspec.Struct, frozen=True):
    """What a power cut took: bytes that were written, writes of which some are gone, operations on names."""

    bytes: int = 0
    writes: int = 0
    names: int = 0


class Disk:
    """See the module. Everything that a file system cannot do raises `OSError` as a kernel would."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.used = 0
        self._numbers = 1
        self._transaction = 1
        self._names: list[tuple[_NameChange, ...]] = []
        self._hidden: dict[str, Node] = {}
        self.root = Node(1, stat.S_IFDIR | 0o755, 0)
        self.root.owner = (os.getuid(), os.getgid())

    # Looking.

    def node(self, path: str) -> Node:
        if path in self._hidden:
            return self._hidden[path]
        here = self.root
        for name in filter(None, path.split("/")):
            if not here.is_directory:
                raise OSError(errno.ENOTDIR, path)
            if name not in here.entries:
                raise OSError(errno.ENOENT, path)
            here = here.entries[name]
        return here

    def _parent(self, path: str) -> tuple[Node, str]:
        directory, _, name = path.rpartition("/")
        parent = self.node(directory)
        if not parent.is_directory:
            raise OSError(errno.ENOTDIR, path)
        return parent, name

    # Names.

    def make(self, path: str, mode: int, owner: tuple[int, int]) -> Node:
        """A new file, directory or symbolic link, by the type in `mode`."""
        parent, name = self._parent(path)
        if name in parent.entries:
            raise OSError(errno.EEXIST, path)
        self._numbers += 1
        node = Node(self._numbers, mode, self._transaction)
        node.owner = owner
        self._change(_NameChange(parent, name, node))
        return node

    def link(self, path: str, to: str) -> None:
        node, (parent, name) = self.node(path), self._parent(to)
        if name in parent.entries:
            raise OSError(errno.EEXIST, to)
        node.links += 1
        self._change(_NameChange(parent, name, node))

    def remove(self, path: str) -> None:
        if path in self._hidden:
            self._gone(self._hidden.pop(path))
            return
        parent, name = self._parent(path)
        node = self.node(path)
        if node.is_directory:
            raise OSError(errno.EISDIR, path)
        self._gone(node)
        self._change(_NameChange(parent, name, None))

    def remove_directory(self, path: str) -> None:
        parent, name = self._parent(path)
        node = self.node(path)
        if not node.is_directory:
            raise OSError(errno.ENOTDIR, path)
        if node.entries:
            raise OSError(errno.ENOTEMPTY, path)
        self._change(_NameChange(parent, name, None))

    def rename(self, old: str, new: str) -> None:
        node, (old_parent, old_name), (parent, name) = self.node(old), self._parent(old), self._parent(new)
        if name.startswith(HIDDEN):
            self._hidden[new] = node
            self._change(_NameChange(old_parent, old_name, None))
            return
        replaced = parent.entries.get(name)
        if replaced is node:
            return
        if replaced:
            self._replaceable(node, replaced, new)
            self._gone(replaced)
        self._forget_hiding(parent, name)
        self._change(_NameChange(parent, name, node), _NameChange(old_parent, old_name, None))

    def _replaceable(self, node: Node, replaced: Node, path: str) -> None:
        if replaced.is_directory and not node.is_directory:
            raise OSError(errno.EISDIR, path)
        if node.is_directory and not replaced.is_directory:
            raise OSError(errno.ENOTDIR, path)
        if replaced.entries:
            raise OSError(errno.ENOTEMPTY, path)

    def _forget_hiding(self, parent: Node, name: str) -> None:
        """A rename onto an open file comes in two steps, the first of which hides that file. On a disk it is one."""
        if self._names and self._names[-1] == (_NameChange(parent, name, None),):
            self._names.pop()

    def _gone(self, node: Node) -> None:
        node.links -= 1
        if not node.links:
            self.used -= len(node.content)

    def _change(self, *changes: _NameChange) -> None:
        """One operation on names. On the disk it is whole or not at all, within one directory at least."""
        for change in changes:
            if change.node is None:
                change.directory.entries.pop(change.name)
            else:
                change.directory.entries[change.name] = change.node
                change.node.sync_transaction = change.node.data_transaction = self._transaction
            change.directory.modified = time.time_ns()
            change.directory.sync_transaction = change.directory.data_transaction = self._transaction
        self._names.append(changes)

    # Bytes.

    def read(self, node: Node, size: int, offset: int) -> bytes:
        return bytes(memoryview(node.content)[offset : offset + size])

    def write(self, node: Node, data: bytes, offset: int) -> None:
        self._alter(node, Written(offset, data))

    def resize(self, node: Node, size: int) -> None:
        self._alter(node, Resized(size))

    def _alter(self, node: Node, alteration: Written | Resized) -> None:
        before = len(node.content)
        alteration.apply(node.content)
        self.used += len(node.content) - before
        node.unsynced.append(alteration)
        node.modified = time.time_ns()
        node.sync_transaction = self._transaction
        if len(node.content) != before:
            node.data_transaction = self._transaction

    # What is on the disk.

    def sync(self, node: Node, *, data_only: bool) -> None:
        for alteration in node.unsynced:
            alteration.apply(node.on_disk)
        node.unsynced.clear()
        needed = node.data_transaction if data_only else node.sync_transaction
        if self.model == "ext4" and needed == self._transaction:
            self._commit()
        elif self.model == "strict" and node.is_directory:
            self._names = _committed(self._names, {node: len(self._names)})

    def sync_all(self) -> None:
        self._commit()
        for node in reachable(self.root.entries.values()):
            self.sync(node, data_only=False)

    def abandon(self, node: Node) -> int:
        """A sync failed. Linux then takes the bytes for written: they can be read, and no later sync tries again."""
        lost = sum(len(alteration.data) for alteration in node.unsynced)
        node.unsynced.clear()
        return lost

    def _commit(self) -> None:
        for changes in self._names:
            for change in changes:
                change.apply()
        self._names.clear()
        self._transaction += 1

    def power_cut(self, keep: Keep, seed: int) -> Dropped:
        """Go back to what is on the disk. `keep` says how much of the unsynced reached it all the same, by chance.

        `half` keeps, by the seed, a beginning of the changes of names (in `strict`: of those of each directory) and
        some writes of each file, in any choice, a part of them torn between two sectors.
        """
        chance = random.Random(seed)
        files = self._everything()
        dropped_names = self._cut_names(keep, chance)
        lost_bytes = lost_writes = 0
        for node in files:
            for alteration in node.unsynced:
                kept = _kept(alteration, keep, chance)
                if kept is not None:
                    kept.apply(node.on_disk)
                if kept != alteration:
                    lost_writes += 1
                    lost_bytes += len(alteration.data) - (len(kept.data) if kept else 0)
            node.unsynced.clear()
        self._go_back()
        return Dropped(lost_bytes, lost_writes, dropped_names)

    def survivors(self, keep: Keep, seed: int, into: Path) -> None:
        """Write into an empty directory what `power_cut` would leave now. This disk stays as it is."""
        after = copy.deepcopy(self)
        after.power_cut(keep, seed)
        _write_out(after.root, into)

    def _everything(self) -> list[Node]:
        """Also what only one of the two views has."""
        made = [change.node for changes in self._names for change in changes if change.node]
        seen = reachable([*self.root.entries.values(), *made])
        return list(dict.fromkeys([*seen, *reachable(self.root.entries_on_disk.values(), on_disk=True)]))

    def _cut_names(self, keep: Keep, chance: random.Random) -> int:
        if keep == "everything":
            self._commit()
        elif keep == "half" and self.model == "ext4":
            held = len(self._names)
            self._names, left = self._names[: chance.randint(0, held)], self._names
            dropped = len(left) - len(self._names)
            self._commit()
            return dropped
        elif keep == "half":
            places = {change.directory: 0 for changes in self._names for change in changes}
            self._names = _committed(
                self._names, {directory: chance.randint(0, len(self._names)) for directory in places}
            )
        return len(self._names)

    def _go_back(self) -> None:
        self._names.clear()
        self._hidden.clear()
        self._transaction += 1
        self.root.entries = dict(self.root.entries_on_disk)
        self.used = 0
        links: dict[Node, int] = {}
        for node in reachable(self.root.entries_on_disk.values(), on_disk=True):
            node.entries = dict(node.entries_on_disk)
            node.content = bytearray(node.on_disk)
            self.used += len(node.content)
            for entry in node.entries.values():
                links[entry] = links.get(entry, 0) + 1
        for entry in self.root.entries.values():
            links[entry] = links.get(entry, 0) + 1
        for node, count in links.items():
            node.links = count


def _write_out(directory: Node, into: Path) -> None:
    for name, node in directory.entries.items():
        if node.is_directory:
            (into / name).mkdir()
            _write_out(node, into / name)
        elif stat.S_ISLNK(node.mode):
            (into / name).symlink_to(os.fsdecode(bytes(node.content)))
        else:
            (into / name).write_bytes(node.content)


def _committed(names: list[tuple[_NameChange, ...]], up_to: dict[Node, int]) -> list[tuple[_NameChange, ...]]:
    """Put on the disk what was changed in some directories, of each up to a place, and give what is left."""
    left = []
    for place, changes in enumerate(names):
        now = [change for change in changes if place < up_to.get(change.directory, 0)]
        for change in now:
            change.apply()
        later = tuple(change for change in changes if change not in now)
        if later:
            left.append(later)
    return left


def _kept(alteration: Written | Resized, keep: Keep, chance: random.Random) -> Written | Resized | None:
    if keep == "nothing":
        return None
    if keep == "everything":
        return alteration
    if chance.random() < 0.5:
        return None
    if isinstance(alteration, Resized) or chance.random() < 0.7:
        return alteration
    borders = range(SECTOR - alteration.offset % SECTOR, len(alteration.data), SECTOR)
    return Written(alteration.offset, alteration.data[: chance.choice(borders)]) if borders else alteration
