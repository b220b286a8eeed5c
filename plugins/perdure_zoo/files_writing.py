"""Animals that write files badly: syncs left out or misread, files that are not replaced as a whole, what a refusing
disk leaves. Every one of them does what it should for as long as nothing goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from perdure_files import Compaction, Disk, SegmentLog, SnapshotFiles
from perdure_files._disk import TEMPORARY
from perdure_files._entries import Deletion
from perdure_files._frames import FRAME_MAGIC
from perdure_files._index import Place, Segment
from perdure_files._log import Entry

from ._cage import FilesFamily

family = FilesFamily()

ATC_2020 = "https://www.usenix.org/conference/atc20/presentation/rebello"
NONE_REPORTED = "none reported: "


@family.animal(
    bug="BUG-185",
    system="Zaino, core-rs-albatross, Estuary",
    source="https://github.com/zingolabs/zaino/issues/1299",
    cause="nothing is ever synced, and the claims say that it is",
    killed_by="D-10 D-13",
)
class NothingIsSynced(Disk):
    """A setting for tests that reached production."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, directory: object) -> None:
        pass


@family.animal(
    bug="BUG-186b",
    system="opencompany",
    source="https://github.com/tinyhumansai/opencompany/pull/389",
    cause="the bytes are in a buffer of the process when the call is answered",
    killed_by="D-01",
)
class AcknowledgedInTheBuffer(Disk):
    """The newest frames are written when somebody reads, when there are more of them, or at the end."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed on as they come
        self.late: list[tuple[int, int, bytes]] = []

    def write(self, descriptor: int, offset: int, content: bytes) -> None:
        if content.startswith(FRAME_MAGIC):
            self.late.append((descriptor, offset, content))
        else:
            super().write(descriptor, offset, content)

    def flush(self) -> None:
        late, self.late = self.late, []
        for one in late:
            super().write(*one)

    @contextmanager
    def reading(self, name: str) -> Iterator[int]:
        self.flush()
        with super().reading(name) as descriptor:
            yield descriptor

    def close(self, descriptor: int) -> None:
        self.flush()
        super().close(descriptor)


@family.animal(
    bug="SEEN-200",
    system=NONE_REPORTED + "a sync of the wrong file succeeds like any other",
    source=ATC_2020,
    cause="another file is synced than the one that was written",
    killed_by="D-10",
)
class SyncOfAnotherFile(SegmentLog):
    """What was written is durable whenever the system comes to it."""

    def store(self, segment: Segment, content: bytes) -> None:
        self.disk.write(self.descriptor(), segment.end, content)
        with self.disk.reading("lock") as other:
            self.disk.sync(other)


@family.animal(
    bug="BUG-180",
    system="NodeDB, opencompany, plur",
    source="https://github.com/NodeDB-Lab/nodedb/issues/78",
    cause="a file is renamed into its place before its content is synced",
    killed_by="D-10 D-13",
)
class RenamedBeforeItIsSynced(Disk):
    """After a power cut the file is in its place and empty."""

    def fill(self, name: str, parts: Iterable[bytes]) -> None:
        syncs, self.syncs = self.syncs, False
        try:
            super().fill(name, parts)
        finally:
            self.syncs = syncs


@family.animal(
    bug="BUG-180b",
    system="basecamp-sdk, LevelDB",
    source="https://github.com/google/leveldb/issues/333",
    cause="the directory is not synced after a file was renamed into its place",
    killed_by="D-10",
)
class RenamedAndTheDirectoryNotSynced(Disk):
    """The content is durable, and the name is not."""

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        self.fill(name + TEMPORARY, parts)
        self.rename(name + TEMPORARY, name)


@family.animal(
    bug="SEEN-201",
    system=NONE_REPORTED + "the directory is forgotten where files are begun, not where they are replaced",
    source="https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai",
    cause="the directory is not synced when a new segment is begun",
    killed_by="D-10",
)
class NewSegmentWithoutAName(SegmentLog):
    """Each frame in it is synced; a power cut takes the file."""

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        if not name.endswith(".log"):
            super().put(name, parts)
            return
        self.disk.fill(name + TEMPORARY, parts)
        self.disk.rename(name + TEMPORARY, name)


@family.animal(
    bug="SEEN-202",
    system=NONE_REPORTED + "a header that is written into a file that has its name already",
    source="https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai",
    cause="a new segment is made in its place, and filled there",
    killed_by="D-04",
)
class SegmentIsBegunInItsPlace(SegmentLog):
    """A crash leaves a segment with half a header, which nobody expects."""

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        if not name.endswith(".log"):
            super().put(name, parts)
            return
        self.disk.fill(name, parts)
        self.disk.sync_names()


@family.animal(
    bug="BUG-183",
    system="PostgreSQL",
    source="https://wiki.postgresql.org/wiki/Fsync_Errors",
    cause="a sync that failed is repeated, and the second one lies",
    killed_by="D-15",
)
class FailedSyncIsRepeated(Disk):
    """The system has marked the pages clean, so there is nothing left to write."""

    def sync(self, descriptor: int) -> None:
        try:
            super().sync(descriptor)
        except OSError:
            super().sync(descriptor)


@family.animal(
    bug="SEEN-203",
    system="LevelDB, LMDB, SQLite in rollback mode, Redis, as studied",
    source=ATC_2020,
    cause="what a sync answers is not looked at",
    killed_by="D-15",
)
class FailedSyncIsIgnored(Disk):
    """The call is acknowledged."""

    def sync(self, descriptor: int) -> None:
        with suppress(OSError):
            super().sync(descriptor)


@family.animal(
    bug="SEEN-204",
    system=NONE_REPORTED + "the count that a write answers is not looked at",
    source=ATC_2020,
    cause="a write that stored less than it was given does not go on with the rest",
    killed_by="D-15 D-14",
)
class ShortWriteIsTheWholeWrite(Disk):
    """The system is free to store a part; mostly it does not."""

    def write(self, descriptor: int, offset: int, content: bytes) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        self.write_some(descriptor, memoryview(content))


@family.animal(
    bug="BUG-176",
    system="bernstein, rocksdb-js, RocksDB",
    source="https://github.com/HarperFast/rocksdb-js/issues/748",
    cause="what a failed write has left stays in the file, and the next one is written behind it",
    killed_by="D-14 D-15",
)
class FailedWriteLeavesItsBytes(SegmentLog):
    """The caller goes on; the next opening finds a broken frame in the middle of the log."""

    def cut_back(self, descriptor: int, end: int) -> None:
        self.last.end = self.disk.size(descriptor)


@family.animal(
    bug="BUG-143",
    system="Akka LocalSnapshotStore",
    source="https://github.com/akka/akka-core/issues/15212",
    cause="a snapshot is written over the one that it replaces",
    killed_by="D-08 S-25",
)
class SnapshotIsWrittenInItsPlace(Disk):
    """A crash leaves neither the old one nor the new one."""

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        if name.endswith(".snapshot"):
            self.fill(name, parts)
            self.sync_names()
        else:
            super().put(name, parts)


@family.animal(
    bug="BUG-143b",
    system="Akka.NET LocalSnapshotStore",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Snapshot/LocalSnapshotStore.cs",
    cause="the old snapshot is deleted before the new one is moved into its place",
    killed_by="D-08 S-25",
)
class OldSnapshotIsDeletedFirst(Disk):
    """A crash between the two leaves none."""

    def rename(self, name: str, to: str) -> None:
        if to.endswith(".snapshot"):
            with suppress(FileNotFoundError):
                self.remove(to)
        super().rename(name, to)


@family.animal(
    bug="SEEN-205",
    system=NONE_REPORTED + "names are synced when they are made, and not when they are removed",
    source="https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai",
    cause="the directory is not synced after snapshots were removed",
    killed_by="D-10",
)
class DeletedSnapshotsComeBack(SnapshotFiles):
    """Until the next time that the directory is synced, a power cut brings them back."""

    def remove(self, persistence_id: str, numbers: Sequence[int]) -> None:
        for sequence_nr in numbers:
            self.disk.remove(self._of(persistence_id).pop(sequence_nr).name)


@family.animal(
    bug="SEEN-206",
    system=NONE_REPORTED + "deletions are thought to be less dear than events",
    source="https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai",
    cause="deletions are kept in memory and written at the closing",
    killed_by="D-07",
)
class DeletionsAreWrittenAtTheClosing(SegmentLog):
    """After a kill everything that was deleted is back."""

    def __init__(self, disk: Disk, segment_size: int) -> None:
        super().__init__(disk, segment_size)
        self.late: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry.said, Deletion):
                self.late.append(entry)
                self.index.apply(entry.said, Place(self.last, 0, 0))
        events = [entry for entry in entries if not isinstance(entry.said, Deletion)]
        if events:
            super().append(events)

    def close(self, snapshots: Sequence[str]) -> None:
        if self.late:
            super().append(self.late)
        super().close(snapshots)


@family.animal(
    bug="BUG-053c",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/190",
    cause="each event of an AtomicWrite is a frame of its own",
    killed_by="D-02 D-12",
)
class EventsAreFramedOneByOne(SegmentLog):
    """A crash in between leaves the first events of the AtomicWrite."""

    def append(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            super().append([entry])


@family.animal(
    bug="SEEN-207",
    system=NONE_REPORTED + "room is made before it is needed",
    source="https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai",
    cause="a compaction removes the old segments before the new one is in its place",
    killed_by="D-04 D-01",
)
class OldSegmentsAreRemovedFirst(Compaction):
    """A crash between the two leaves a log with a hole, or none."""

    def run(self) -> None:
        parts = list(self.parts())
        for segment in self.old:
            self.disk.remove(segment.name)
        self.log.put(self.new.name, parts)
        for place, offset in self.moved:
            place.segment, place.offset = self.new, offset
        self.log.segments[:-1] = [self.new]
