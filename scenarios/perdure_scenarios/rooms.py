"""Rooms: the scratch directories of a sweep, on memory where there is room, each run's apart, and all gone at the end.

A run that is killed leaves its rooms behind; the next one removes them. Whether somebody still lives in them is told by
a lock, not by a process number, which may mean another process by then, or one in another container.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from perdure_tck.stage import KitFault

PREFIX = "perdure-rooms-"
MEMORY = Path("/dev/shm")
ROOM_MIN = 256 * 2**20
"""How much must be free in memory for rooms to be made there, in bytes."""

LEFT_MIN = 2**20
"""With less than this a failure of the backend may be ours: then nothing is said of it."""


class Rooms:
    """The rooms of one run. Use it as a context manager: everything below it is removed."""

    def __init__(self, above: Path | None = None) -> None:
        self._above = above or _roomy()
        self._numbers = count(1)  # of which each is given once, whatever thread asks

    def __enter__(self) -> Rooms:
        with _told_of_want(self._above):
            _reap(self._above)
            self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._above))
            self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR)
            _locked(self._lock)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)
        shutil.rmtree(self.directory, ignore_errors=True)

    def new(self, name: str) -> Path:
        """An empty directory that nobody else has."""
        room = self.directory / f"{name}-{next(self._numbers)}"
        with _told_of_want(self._above):
            room.mkdir()
        return room

    def leave(self, room: Path) -> None:
        shutil.rmtree(room, ignore_errors=True)

    def refuse_full(self) -> None:
        """Raise `KitFault` if our own disk is so full that what a backend said of it may not be its own fault."""
        if shutil.disk_usage(self.directory).free < LEFT_MIN:
            raise KitFault(f"no room is left in {self._above} for the directories of a sweep; make room and run again")

    def want(self) -> contextlib.AbstractContextManager[None]:
        """Around whatever writes into rooms: a full disk of ours is a fault of ours."""
        return _told_of_want(self._above)


def _roomy() -> Path:
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= ROOM_MIN and os.access(MEMORY, os.W_OK):
            return MEMORY
    return Path(tempfile.gettempdir())


@contextmanager
def _told_of_want(above: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise KitFault(f"no room is left in {above} for the directories of a sweep; make room and run again") from error


def _reap(above: Path) -> None:
    """Remove the rooms in which nobody lives any more."""
    for left in above.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(left / "lock", os.O_RDWR)
            try:
                if _locked(lock):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(descriptor: int) -> bool:
    """Take the lock, which goes with the process that holds it. Where there are no such locks nobody is reaped."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
