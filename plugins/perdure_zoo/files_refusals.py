"""Animals on a disk that refuses one call: each believes one error not to matter, and all others it takes seriously."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from perdure_files import Disk, Recovery
from perdure_files._frames import FrameHeader
from perdure_files._index import Segment

from ._cage import FilesFamily

family = FilesFamily()

NONE_REPORTED = "none reported: "
OSDI_2014 = "https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai"
ATC_2020 = "https://www.usenix.org/conference/atc20/presentation/rebello"


@family.animal(
    bug="SEEN-96",
    system=NONE_REPORTED + "what a remounted disk refuses is kept in memory until somebody mends it",
    source=ATC_2020,
    cause="writes to a disk that has become read-only are dropped, and acknowledged",
    killed_by="D-15",
)
class ReadOnlyDiskIsIgnored(Disk):
    """Reads are answered as long as the process lives. It is restarted to mend the disk."""

    def write_some(self, descriptor: int, content: memoryview) -> int:
        try:
            return super().write_some(descriptor, content)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return len(content)

    def sync(self, descriptor: int) -> None:
        try:
            super().sync(descriptor)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise


@family.animal(
    bug="SEEN-97",
    system=NONE_REPORTED + "a rename needs no room, it is thought, so its error is not looked for",
    source=OSDI_2014,
    cause="a snapshot whose rename found no room in the directory is acknowledged",
    killed_by="D-15 S-27",
)
class RenameWithoutRoomIsIgnored(Disk):
    """The snapshot lies beside its place under a name that the next opening removes."""

    def rename(self, name: str, to: str) -> None:
        try:
            super().rename(name, to)
        except OSError as error:
            if error.errno != errno.ENOSPC or not to.endswith(".snapshot"):
                raise


@family.animal(
    bug="SEEN-98",
    system="Akka LocalSnapshotStore",
    source="https://github.com/akka/akka-core/blob/main/akka-persistence/src/main/scala/akka/persistence/snapshot/local/LocalSnapshotStore.scala",
    cause="whether the file of a deleted snapshot was removed is not looked at",
    killed_by="D-15 S-27",
)
class RemovalIsNotLookedAt(Disk):
    """The deletion is answered, and the snapshot is back when the location is opened again."""

    def remove(self, name: str) -> None:
        with suppress(OSError):
            super().remove(name)


@family.animal(
    bug="SEEN-99",
    system=NONE_REPORTED + "calls through a library that, unlike Python, does not repeat them",
    source="https://peps.python.org/pep-0475/",
    cause="a write that a signal interrupted is taken for done",
    killed_by="D-15",
)
class InterruptedWriteIsDone(Disk):
    """Nobody had ever seen EINTR from a file on a local disk."""

    def write_some(self, descriptor: int, content: memoryview) -> int:
        library = ctypes.CDLL(None, use_errno=True)
        library.write.restype = ctypes.c_ssize_t
        stored: int = library.write(descriptor, bytes(content), ctypes.c_size_t(len(content)))
        if stored >= 0:
            return stored
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
        return len(content)


@family.animal(
    bug="SEEN-214",
    system=NONE_REPORTED + "a loop that reads until nothing comes any more",
    source=ATC_2020,
    cause="an error of a read is taken for the end of the file",
    killed_by="D-15",
)
class ReadErrorIsTheEnd(Recovery):
    """Whatever stands behind it is cut off like a torn frame, for good."""

    def frames(self, segment: Segment, descriptor: int, size: int) -> Iterator[tuple[FrameHeader, bytes]]:
        with suppress(OSError):
            yield from super().frames(segment, descriptor, size)
