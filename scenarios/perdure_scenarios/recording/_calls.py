"""From system calls to the calls of a trace: what a call is about to do, and once it has succeeded, what it did.

What was written is read back from the file when the call has ended, while every other recorded call waits. So it does
not matter how the bytes came there, and a short write is as short as it was.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ..trace import (
    AnyCall,
    Created,
    GivenUp,
    Linked,
    MadeDirectory,
    Reason,
    RemovedDirectory,
    Renamed,
    Synced,
    SyncedAll,
    SyncedDirectory,
    Truncated,
    Unlinked,
    Wrote,
)
from ._files import AT_FDCWD, OpenFile, Root
from ._ptrace import read_memory, read_text, read_word
from .faults import Kind

AT_REMOVEDIR = 0x200
RENAME_EXCHANGE = 2
RWF_DSYNC, RWF_SYNC, RWF_APPEND = 2, 4, 0x10
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE, FALLOC_ZERO, FALLOC_INSERT = 1, 2, 8, 0x10, 0x20
O_DSYNC = getattr(os, "O_DSYNC", 0)  # as the next one not on Windows, where this is only imported
FULL_SYNC = getattr(os, "O_SYNC", 0) & ~O_DSYNC
HIGHEST = (1 << 64) - 1

Identity = tuple[int, int]
"""A file whatever it is called: its device and its number there."""


class Read(msgspec.Struct, frozen=True):
    """A read of a file under the root that was made, and during which step."""

    step: int
    path: str
    size: int


Stamp = tuple[int, int]
"""The step under way, and how many acknowledgements were received."""


class Entry(msgspec.Struct, frozen=True):
    """A thread that is about to make a system call."""

    tid: int
    name: str
    arguments: tuple[int, ...]

    def descriptor(self, place: int) -> int:
        """An argument of 32 bits with a sign; the upper half of its register means nothing."""
        value = self.arguments[place] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value


class Attempt(msgspec.Struct, frozen=True):
    """A call that stops again at its end. `finish` says, for the result of a call that succeeded, what it did."""

    finish: Callable[[int], Iterable[AnyCall]]
    kind: Kind | None = None
    """None for a call that is watched only because it may make the recording worthless: faults pass it by."""

    size: int = 0
    """How many bytes a write is asked to write."""

    growth: int = 0
    """By how many bytes it makes its file longer."""

    count_argument: int | None = None
    """Where the size stands; None for a vector of buffers, which is the argument 1."""


class Calls:
    """Tells what calls do to the files under a root, and remembers what makes the recording worthless."""

    def __init__(self, root: Root, stamp: Callable[[], Stamp]) -> None:
        self._root = root
        self._stamp = stamp
        self.given_up: GivenUp | None = None
        self.mapped: set[str] = set()
        """Files that were mapped to be changed in memory."""

        self.reads: list[Read] = []
        """Those that stopped."""

        self._mapped: dict[Identity, str] = {}
        self._synced: set[Identity] = set()

    def give_up(self, reason: Reason, detail: str) -> None:
        self.given_up = self.given_up or GivenUp(reason, detail)

    def attempt(self, entry: Entry) -> Attempt | None:
        """What a call is about to do; None if it does nothing to the files under the root, or fails by itself."""
        return _HANDLERS[entry.name](self, entry)

    # Writes

    def _write(self, entry: Entry) -> Attempt | None:
        return self._writing(entry, 0, 2, None)

    def _pwrite(self, entry: Entry) -> Attempt | None:
        return self._writing(entry, 0, 2, entry.arguments[3])

    def _writev(self, entry: Entry) -> Attempt | None:
        return self._writing(entry, 0, None, None)

    def _pwritev(self, entry: Entry) -> Attempt | None:
        return self._writing(entry, 0, None, entry.arguments[3])

    def _pwritev2(self, entry: Entry) -> Attempt | None:
        offset = None if entry.arguments[3] == HIGHEST else entry.arguments[3]
        return self._writing(entry, 0, None, offset, entry.arguments[5])

    def _sendfile(self, entry: Entry) -> Attempt | None:
        return self._writing(entry, 0, 3, None)

    def _splice(self, entry: Entry) -> Attempt | None:
        """Also copy_file_range, which has the same arguments."""
        offset = read_word(entry.tid, entry.arguments[3]) if entry.arguments[3] else None
        return self._writing(entry, 2, 4, offset)

    def _writing(
        self, entry: Entry, place: int, count: int | None, offset: int | None, flags: int = 0
    ) -> Attempt | None:
        """A write at an offset, or where the descriptor stands, or at the end of a file that is opened to append."""
        file = self._root.opened(entry.tid, entry.descriptor(place))
        size = 0 if file is None else self._size(entry, count)
        if file is None or not size:
            return None
        position, opened = file.position_and_flags()
        appends = bool(opened & os.O_APPEND or flags & RWF_APPEND)
        status = file.status()
        start = status.st_size if appends else position if offset is None else offset
        stamp = self._stamp()

        def finish(written: int) -> Iterator[AnyCall]:
            if written:
                yield Wrote(*stamp, file.path, start, file.content(start, written))
            if written and (opened & O_DSYNC or flags & (RWF_DSYNC | RWF_SYNC)):
                full = opened & FULL_SYNC or flags & RWF_SYNC
                yield self._sync_of(file, not full, stamp)

        return Attempt(finish, "write", size, max(0, start + size - status.st_size), count)

    def _size(self, entry: Entry, count: int | None) -> int:
        return entry.arguments[count] if count is not None else sum(size for _, size in buffers(entry))

    # Reads

    def _read(self, entry: Entry) -> Attempt | None:
        file = self._root.opened(entry.tid, entry.descriptor(0))
        if file is None:
            return None
        size = self._size(entry, None if entry.name.endswith(("v", "v2")) else 2)
        step, _ = self._stamp()

        def finish(_: int) -> Iterable[AnyCall]:
            self.reads.append(Read(step, file.path, size))
            return ()

        return Attempt(finish, "read", size)

    # Sizes

    def _truncate(self, entry: Entry) -> Attempt | None:
        path = self._root.named(entry.tid, AT_FDCWD, read_text(entry.tid, entry.arguments[0]), follow=True)
        return self._resizing(path, self._root.relative(path), entry.arguments[1])

    def _ftruncate(self, entry: Entry) -> Attempt | None:
        file = self._root.opened(entry.tid, entry.descriptor(0))
        return self._resizing(file.proc, file.path, entry.arguments[1]) if file else None

    def _resizing(self, where: str, path: str | None, size: int) -> Attempt | None:
        if path is None or not os.path.isfile(where) or os.stat(where).st_size == size:
            return None
        call = Truncated(*self._stamp(), path, size)
        return Attempt(lambda _: [call], "truncate", growth=max(0, size - os.stat(where).st_size))

    def _fallocate(self, entry: Entry) -> Attempt | None:
        file = self._root.opened(entry.tid, entry.descriptor(0))
        if file is None:
            return None
        mode, offset, length = entry.arguments[1:4]
        before, stamp = file.status().st_size, self._stamp()

        def finish(_: int) -> Iterator[AnyCall]:
            after = file.status().st_size
            if after != before:
                yield Truncated(*stamp, file.path, after)
            if mode & (FALLOC_COLLAPSE | FALLOC_INSERT):
                length_now = after - offset
            else:
                length_now = min(length, after - offset) if mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO) else 0
            if length_now > 0:
                yield Wrote(*stamp, file.path, offset, file.content(offset, length_now))

        extends = not mode & (FALLOC_KEEP_SIZE | FALLOC_COLLAPSE)
        return Attempt(finish, "truncate", growth=max(0, offset + length - before) if extends else 0)

    def _clone(self, entry: Entry) -> Attempt | None:
        """A file that becomes a copy of another in one go (FICLONE)."""
        file = self._root.opened(entry.tid, entry.descriptor(0))
        if file is None:
            return None
        stamp, before = self._stamp(), file.status().st_size

        def finish(_: int) -> Iterator[AnyCall]:
            after = file.status().st_size
            if after != before:
                yield Truncated(*stamp, file.path, after)
            yield Wrote(*stamp, file.path, 0, file.content(0, after))

        return Attempt(finish, "write")

    # Syncs

    def _sync_file(self, entry: Entry) -> Attempt | None:
        file = self._root.opened(entry.tid, entry.descriptor(0))
        if file is None:
            return None
        stamp = self._stamp()
        return Attempt(lambda _: [self._sync_of(file, entry.name == "fdatasync", stamp)], "sync")

    def _sync_of(self, file: OpenFile, data_only: bool, stamp: Stamp) -> AnyCall:
        status = file.status()
        if stat.S_ISDIR(status.st_mode):
            return SyncedDirectory(*stamp, file.path)
        self._synced.add(identity_of(status))
        self._doubt_mapped()
        return Synced(*stamp, file.path, data_only)

    def _sync_all(self, entry: Entry) -> Attempt | None:
        if entry.name == "syncfs" and not self._same_device(entry):
            return None
        call = SyncedAll(*self._stamp(), "")
        return Attempt(lambda _: [call], "sync")

    def _same_device(self, entry: Entry) -> bool:
        try:
            return os.stat(f"/proc/{entry.tid}/fd/{entry.descriptor(0)}").st_dev == self._root.device
        except OSError:
            return False

    # Names

    def _open(self, entry: Entry) -> Attempt | None:
        return self._opening(entry, AT_FDCWD, 0, entry.arguments[1])

    def _creat(self, entry: Entry) -> Attempt | None:
        return self._opening(entry, AT_FDCWD, 0, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)

    def _openat(self, entry: Entry) -> Attempt | None:
        return self._opening(entry, entry.descriptor(0), 1, entry.arguments[2])

    def _openat2(self, entry: Entry) -> Attempt | None:
        return self._opening(entry, entry.descriptor(0), 1, read_word(entry.tid, entry.arguments[2]))

    def _opening(self, entry: Entry, directory: int, name: int, flags: int) -> Attempt | None:
        full = self._root.named(entry.tid, directory, read_text(entry.tid, entry.arguments[name]), follow=True)
        path = self._root.relative(full)
        if path is None:
            return None
        stamp = self._stamp()
        if not os.path.lexists(full):
            creates = bool(flags & os.O_CREAT)
            return self._creating(full, Created(*stamp, path)) if creates else None
        if flags & os.O_CREAT and flags & os.O_EXCL:
            return None
        if flags & os.O_TRUNC and os.path.isfile(full) and os.path.getsize(full):
            return Attempt(lambda _: [Truncated(*stamp, path, 0)], "truncate")
        return Attempt(lambda _: [], "open")

    def _creating(self, full: str, call: Created) -> Attempt:
        """A new file may get the number of one that is gone."""

        def finish(_: int) -> Iterable[AnyCall]:
            identity = identity_of(os.stat(full))
            self._synced.discard(identity)
            self._mapped.pop(identity, None)
            return [call]

        return Attempt(finish, "create")

    def _mkdir(self, entry: Entry) -> Attempt | None:
        full, path = self._name(entry, 0 if entry.name == "mkdirat" else None, 1 if entry.name == "mkdirat" else 0)
        if path is None or os.path.lexists(full):
            return None
        call = MadeDirectory(*self._stamp(), path)
        return Attempt(lambda _: [call], "make directory")

    def _unlink(self, entry: Entry) -> Attempt | None:
        at = entry.name == "unlinkat"
        full, path = self._name(entry, 0 if at else None, 1 if at else 0)
        if path is None or not os.path.lexists(full):
            return None
        directory = entry.name == "rmdir" or (at and bool(entry.arguments[2] & AT_REMOVEDIR))
        if os.path.isdir(full) != directory or (directory and os.listdir(full)):
            return None
        call = (RemovedDirectory if directory else Unlinked)(*self._stamp(), path)
        return Attempt(lambda _: [call], "remove")

    def _rename(self, entry: Entry) -> Attempt | None:
        at = entry.name != "rename"
        old, old_path = self._name(entry, 0 if at else None, 1 if at else 0)
        new, new_path = self._name(entry, 2 if at else None, 3 if at else 1)
        if (old_path is None and new_path is None) or not os.path.lexists(old):
            return None
        if entry.name == "renameat2" and entry.arguments[4] & RENAME_EXCHANGE:
            return self._worthless("unknown", f"{old} and {new} exchange their names")
        if os.path.lexists(new) and os.path.samestat(os.lstat(old), os.lstat(new)):
            return None  # two names of one file: nothing happens
        if old_path is None:
            return self._worthless("unknown", f"{old} is moved to {new} from outside, and what of it is synced?")
        if new_path is None:
            return self._moving_out(old, old_path)
        call = Renamed(*self._stamp(), old_path, new_path)
        return Attempt(lambda _: [call], "rename")

    def _moving_out(self, full: str, path: str) -> Attempt:
        if os.path.isdir(full):
            return self._worthless("unknown", f"the directory {full} is moved out")
        call = Unlinked(*self._stamp(), path)
        return Attempt(lambda _: [call], "remove")

    def _link(self, entry: Entry) -> Attempt | None:
        at = entry.name == "linkat"
        old, old_path = self._name(entry, 0 if at else None, 1 if at else 0)
        new, new_path = self._name(entry, 2 if at else None, 3 if at else 1)
        if new_path is None or os.path.lexists(new):
            return None
        if old_path is None or not os.path.isfile(old):
            return self._worthless("unknown", f"{new} becomes a name of {old}, which had none here")
        call = Linked(*self._stamp(), old_path, new_path)
        return Attempt(lambda _: [call], "link")

    def _no_file(self, entry: Entry) -> Attempt | None:
        """A symbolic link, or what mknod makes."""
        names = {"symlink": (None, 1), "symlinkat": (1, 2), "mknod": (None, 0), "mknodat": (0, 1)}
        full, path = self._name(entry, *names[entry.name])
        return None if path is None else self._worthless("unknown", f"{full} is made by {entry.name}")

    def _name(self, entry: Entry, directory: int | None, name: int) -> tuple[str, str | None]:
        """A name of the call, whole and relative to the root. The last part of it is not followed."""
        base = AT_FDCWD if directory is None else entry.descriptor(directory)
        full = self._root.named(entry.tid, base, read_text(entry.tid, entry.arguments[name]), follow=False)
        return full, self._root.relative(full)

    # Ways to change files unseen

    def _worthless(self, reason: Reason, detail: str) -> Attempt:
        def finish(_: int) -> Iterable[AnyCall]:
            self.give_up(reason, detail)
            return ()

        return Attempt(finish)

    def _ring(self, entry: Entry) -> Attempt:
        return self._worthless("io_uring" if entry.name == "io_uring_setup" else "unknown", f"{entry.name} was called")

    def _map(self, entry: Entry) -> Attempt | None:
        file = self._root.opened(entry.tid, entry.descriptor(4))
        if file is None:
            return None
        status = file.status()

        def finish(_: int) -> Sequence[AnyCall]:
            self.mapped.add(file.path)
            self._mapped[identity_of(status)] = file.path
            self._doubt_mapped()
            return ()

        return Attempt(finish)

    def _doubt_mapped(self) -> None:
        """A file that is changed in memory and also synced is one that must survive, and we have not seen all of it."""
        for identity in self._synced & self._mapped.keys():
            self.give_up("mmap", f"{self._mapped[identity]} is mapped to be changed in memory, and is synced")

    def _sync_map(self, entry: Entry) -> Attempt | None:
        path = mapped_at(entry.tid, entry.arguments[0])
        if path is None or self._root.relative(path) is None:
            return None
        return self._worthless("mmap", f"{self._root.relative(path)} is changed in memory and synced by msync")


def identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def buffers(entry: Entry) -> list[tuple[int, int]]:
    """The buffers of a call of the family of writev: where each begins and how long it is."""
    count = entry.descriptor(2)
    content = read_memory(entry.tid, entry.arguments[1], 16 * count) if 0 < count <= 1024 else b""
    return list(struct.iter_unpack("=QQ", content))


def mapped_at(tid: int, address: int) -> str | None:
    """The path of the file that lies at an address of a process."""
    with open(f"/proc/{tid}/maps") as lines:
        for line in lines:
            first, last = (int(bound, 16) for bound in line.split(maxsplit=1)[0].split("-"))
            if first <= address < last:
                fields = line.rstrip("\n").split(maxsplit=5)
                return fields[5] if len(fields) > 5 else None
    return None


_HANDLERS: dict[str, Callable[[Calls, Entry], Attempt | None]] = {
    "read": Calls._read,
    "pread64": Calls._read,
    "readv": Calls._read,
    "preadv": Calls._read,
    "preadv2": Calls._read,
    "write": Calls._write,
    "pwrite64": Calls._pwrite,
    "writev": Calls._writev,
    "pwritev": Calls._pwritev,
    "pwritev2": Calls._pwritev2,
    "sendfile": Calls._sendfile,
    "splice": Calls._splice,
    "copy_file_range": Calls._splice,
    "truncate": Calls._truncate,
    "ftruncate": Calls._ftruncate,
    "fallocate": Calls._fallocate,
    "ioctl": Calls._clone,
    "fsync": Calls._sync_file,
    "fdatasync": Calls._sync_file,
    "sync": Calls._sync_all,
    "syncfs": Calls._sync_all,
    "open": Calls._open,
    "creat": Calls._creat,
    "openat": Calls._openat,
    "openat2": Calls._openat2,
    "mkdir": Calls._mkdir,
    "mkdirat": Calls._mkdir,
    "unlink": Calls._unlink,
    "unlinkat": Calls._unlink,
    "rmdir": Calls._unlink,
    "rename": Calls._rename,
    "renameat": Calls._rename,
    "renameat2": Calls._rename,
    "link": Calls._link,
    "linkat": Calls._link,
    "symlink": Calls._no_file,
    "symlinkat": Calls._no_file,
    "mknod": Calls._no_file,
    "mknodat": Calls._no_file,
    "mmap": Calls._map,
    "msync": Calls._sync_map,
    "io_uring_setup": Calls._ring,
    "io_submit": Calls._ring,
}
