"""A forgetful disk as the operations of FUSE. Runs in the process that serves the mount, nowhere else.

One `Served` is one mount. When the power is cut it is off for good: everything fails with EIO, so that what a program
still writes cannot reach the disk as it is after the cut. A remount is a new `Served` on the same disk.

FUSE finds operations by their names here, so nothing else may be named as one of them (`lock`, `poll` and the like).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._disk import HIDDEN, Disk, Keep
from ._node import Node
from ._rules import Counters, Rule, Rules

BLOCK = 4096
BLOCKS = 1 << 20


class Watch:
    """The rules and counters of a disk. They outlive its mounts."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.rules = Rules()
        self.guard = threading.RLock()
        self.operations: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()

    def set_rules(self, rules: tuple[Rule, ...]) -> None:
        with self.guard:
            self.rules = Rules(rules)

    def counters(self) -> Counters:
        with self.guard:
            return Counters(operations=dict(self.operations), struck=tuple(self.rules.struck), **self.totals)

    def power_cut(self, keep: Keep, seed: int) -> None:
        with self.guard:
            dropped = self.disk.power_cut(keep, seed)
            self.totals.update(
                power_cuts=1, bytes_lost=dropped.bytes, writes_lost=dropped.writes, names_lost=dropped.names
            )


class Served:
    """The operations of one mount."""

    use_ns = True

    def __init__(
        self, watch: Watch, caller: Callable[[], tuple[int, int, int]], on_mounted: Callable[[], None]
    ) -> None:
        self._watch = watch
        self._disk = watch.disk
        self._caller = caller
        self._on_mounted = on_mounted
        self._off = False
        self._open: dict[int, Node] = {}
        self._handles = 0

    def _power_cut(self, keep: Keep, seed: int) -> None:
        with self._watch.guard:
            self._off = True
            self._watch.power_cut(keep, seed)

    @contextmanager
    def _during(self, operation: str, path: str, size: int = 0) -> Iterator[bool]:
        """Count an operation, let it suffer what the rules say, and then keep the disk for it. Yields: it must lie."""
        with self._watch.guard:
            self._watch.operations[operation] += 1
            struck = self._watch.rules.strike(operation, path, size)
        if struck.delay_s:
            time.sleep(struck.delay_s)
        with self._watch.guard:
            if self._off:
                raise OSError(errno.EIO, path)
            if struck.error:
                raise OSError(struck.error, path)
            yield struck.lying

    def _node(self, path: str, handle: int | None) -> Node:
        return self._open[handle] if handle is not None and handle in self._open else self._disk.node(path)

    def _opened(self, node: Node) -> int:
        self._handles += 1
        self._open[self._handles] = node
        return self._handles

    def init(self, path: str) -> None:
        self._on_mounted()

    # Looking.

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        with self._during("getattr", path):
            node = self._node(path, fh)
            size = len(node.content)
            return {
                "st_ino": node.number,
                "st_mode": node.mode,
                "st_nlink": node.links,
                "st_uid": node.owner[0],
                "st_gid": node.owner[1],
                "st_size": size,
                "st_blocks": -(-size // 512),
                "st_atime": node.accessed,
                "st_mtime": node.modified,
                "st_ctime": node.modified,
            }

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        with self._during("readdir", path):
            here = self._disk.node(path)
            listed = {".": here, "..": here} | here.entries
            return [
                (name, {"st_ino": node.number, "st_mode": node.mode}, 0)
                for name, node in listed.items()
                if not name.startswith(HIDDEN)
            ]

    def readlink(self, path: str) -> str:
        with self._during("getattr", path):
            return self._disk.node(path).content.decode(errors="surrogateescape")

    def statfs(self, path: str) -> dict[str, int]:
        free = max(0, BLOCKS - self._disk.used // BLOCK)
        return {
            "f_bsize": BLOCK,
            "f_frsize": BLOCK,
            "f_blocks": BLOCKS,
            "f_bfree": free,
            "f_bavail": free,
            "f_files": BLOCKS,
            "f_ffree": BLOCKS,
            "f_namemax": 255,
        }

    # Names.

    def create(self, path: str, mode: int) -> int:
        with self._during("create", path):
            return self._opened(self._disk.make(path, stat.S_IFREG | stat.S_IMODE(mode), self._caller()[:2]))

    def mkdir(self, path: str, mode: int) -> None:
        with self._during("mkdir", path):
            self._disk.make(path, stat.S_IFDIR | stat.S_IMODE(mode), self._caller()[:2])

    def symlink(self, target: str, source: str) -> None:
        with self._during("symlink", target):
            node = self._disk.make(target, stat.S_IFLNK | 0o777, self._caller()[:2])
            node.content[:] = node.on_disk[:] = os.fsencode(source)

    def link(self, target: str, source: str) -> None:
        with self._during("link", target):
            self._disk.link(source, target)

    def unlink(self, path: str) -> None:
        with self._during("unlink", path):
            self._disk.remove(path)

    def rmdir(self, path: str) -> None:
        with self._during("rmdir", path):
            self._disk.remove_directory(path)

    def rename(self, old: str, new: str) -> None:
        with self._during("rename", old):
            self._disk.rename(old, new)

    # Files.

    def open(self, path: str, flags: int) -> int:
        with self._during("open", path):
            node = self._disk.node(path)
            if flags & os.O_TRUNC and node.content:
                self._disk.resize(node, 0)
            return self._opened(node)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._during("read", path):
            return self._disk.read(self._open[fh], size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        node = self._open[fh]
        with self._during("write", path, self._grown(node, offset + len(data))):
            self._disk.write(node, data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        node = self._node(path, fh)
        with self._during("truncate", path, self._grown(node, length)):
            self._disk.resize(node, length)

    def _grown(self, node: Node, size: int) -> int:
        return self._disk.used + max(0, size - len(node.content))

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._sync("fsync", path, self._open[fh], bool(datasync))

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        self._sync("fsyncdir", path, self._node(path, None), False)

    def _sync(self, operation: str, path: str, node: Node, data_only: bool) -> None:
        try:
            with self._during(operation, path) as lying:
                self._watch.totals["lies" if lying else "syncs"] += 1
                if not lying:
                    self._disk.sync(node, data_only=data_only)
        except OSError:
            with self._watch.guard:
                self._watch.totals["bytes_abandoned"] += self._disk.abandon(node)
            raise

    def flush(self, path: str, fh: int) -> None:
        """Closing promises nothing."""

    def release(self, path: str, fh: int) -> None:
        self._open.pop(fh, None)

    # What is on the disk at once.

    def chmod(self, path: str, mode: int, fh: int | None = None) -> None:
        with self._during("chmod", path):
            node = self._node(path, fh)
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)

    def chown(self, path: str, uid: int, gid: int, fh: int | None = None) -> None:
        with self._during("chown", path):
            node = self._node(path, fh)
            node.owner = (node.owner[0] if uid == -1 else uid, node.owner[1] if gid == -1 else gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None, fh: int | None = None) -> None:
        with self._during("utimens", path):
            node = self._node(path, fh)
            node.accessed, node.modified = times or (time.time_ns(),) * 2


def serve(served: Served, mountpoint: str) -> None:
    """Mount, and answer until the file system is unmounted. Raises `RuntimeError` if it cannot be mounted."""
    import mfusepy

    options: dict[str, Any] = {"fsname": "perdure-forgetful", "default_permissions": True, "use_ino": True}
    if os.getuid() == 0:
        options["allow_other"] = True  # a server that is judged runs under a user of its own
    mfusepy.FUSE(served, mountpoint, foreground=True, nothreads=True, **options)


def caller() -> tuple[int, int, int]:
    """User, group and process of whoever asked for the operation that is being served."""
    import mfusepy

    uid, gid, pid = mfusepy.fuse_get_context()
    return uid, gid, pid
