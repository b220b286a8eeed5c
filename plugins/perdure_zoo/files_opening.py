"""Animals that open badly: what a crash or damage has left is misjudged, or mended in a way that loses something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from perdure import SelectedSnapshot, SnapshotSelectionCriteria
from perdure.errors import OpenFailed, Unreadable
from perdure_files import Compaction, Disk, Recovery, SegmentLog, SnapshotFiles
from perdure_files._disk import TEMPORARY
from perdure_files._entries import decoded
from perdure_files._frames import (
    FRAME_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    Damaged,
    FrameHeader,
    entries_of,
    parse_frame_header,
)
from perdure_files._index import Place, Segment
from perdure_files._log import Entry
from perdure_files._snapshot_files import Kept

from ._cage import FilesFamily

family = FilesFamily()

NONE_REPORTED = "none reported: "


@family.animal(
    bug="BUG-175",
    system="Trellis",
    source="https://github.com/mindfold-ai/Trellis/issues/527",
    cause="where the last entry cannot be parsed, the highest number is 0",
    killed_by="D-03 D-10",
)
class TornEndResetsTheNumbers(Recovery):
    """The next event has number 1 again."""

    def mend_end(self, segment: Segment, size: int) -> None:
        torn = size > segment.end
        super().mend_end(segment, size)
        if torn:
            for log in self.log.index.logs.values():
                log.highest_sequence_nr = 0


@family.animal(
    bug="BUG-178",
    system="Neo4j, Apache Fluss",
    source="https://github.com/neo4j/neo4j/pull/8726",
    cause="a torn frame is passed over and left in the file; the next one is written behind it",
    killed_by="D-05 D-06 D-13",
)
class TornEndStays(Recovery):
    """The first opening is fine. The second one finds a broken frame in front of a whole one."""

    def mend_end(self, segment: Segment, size: int) -> None:
        segment.end = size


@family.animal(
    bug="BUG-189",
    system="EventStoreDB",
    source="https://github.com/kurrent-io/KurrentDB/issues/3642",
    cause="a torn frame at the end is refused like damage",
    killed_by="D-04 D-13 D-14",
)
class TornEndCannotBeOpened(Recovery):
    """A crash, or a full disk, and somebody has to mend the file by hand."""

    def mend_end(self, segment: Segment, size: int) -> None:
        if size > segment.end:
            raise self.damage(segment.name, segment.end, "a frame is incomplete")
        super().mend_end(segment, size)


@family.animal(
    bug="SEEN-208",
    system=NONE_REPORTED + "what can be read of a torn batch is worth keeping, it seems",
    source="https://github.com/neo4j/neo4j/pull/8726",
    cause="the whole entries of a torn frame are taken",
    killed_by="D-02 D-12",
)
class TornBatchIsTakenInPart(Recovery):
    """Half an AtomicWrite is a history that cannot have happened."""

    def mend_end(self, segment: Segment, size: int) -> None:
        with self.disk.reading(segment.name) as descriptor:
            torn = self.disk.read(descriptor, segment.end, size - segment.end)
        super().mend_end(segment, size)
        taken = list(self.whole_entries(torn, segment.identity))
        if taken:
            self.log.append(taken)

    def whole_entries(self, torn: bytes, identity: int) -> Iterator[Entry]:
        with suppress(Damaged):
            parse_frame_header(torn, identity)
            body = torn[FRAME_HEADER_SIZE:]
            for at, length in entries_of(body):
                content = body[at : at + length]
                yield Entry(decoded(content), content)


@family.animal(
    bug="BUG-177",
    system="orca, plur",
    source="https://github.com/stablyai/orca/pull/15159",
    cause="a log with one damaged entry is begun anew",
    killed_by="D-16",
)
class DamageWipesTheHistory(Recovery):
    """The rest of it was fine."""

    def recover(self) -> None:
        try:
            super().recover()
        except OpenFailed:
            for name in self.disk.names():
                if name.endswith(".log") or name == "seal":
                    self.disk.remove(name)
            self.log.seal = None
            self.log.segments = []
            self.log.index.logs.clear()
            self.log.begin_segment(1)


@family.animal(
    bug="BUG-192",
    system="NATS JetStream",
    source="https://github.com/nats-io/nats-server/issues/7556",
    cause="files that the unreadable metadata do not name are taken for orphans, and removed",
    killed_by="D-16",
)
class OrphansAreRemoved(Recovery):
    """A flipped bit in a file of thirty bytes deletes everything."""

    def read_seal(self, names: Sequence[str]) -> None:
        try:
            self.log.seal = super().read_seal(names)
        except OpenFailed:
            for name in names:
                if name.endswith(".log") or name == "seal":
                    self.disk.remove(name)

    def segments(self, names: Sequence[str]) -> list[Segment]:
        return super().segments(self.disk.names())


@family.animal(
    bug="BUG-188",
    system="EventStoreDB",
    source="https://github.com/kurrent-io/KurrentDB/pull/1653",
    cause="the check of the files leaves out the last but one",
    killed_by="D-16",
)
class LastButOneIsNotChecked(Recovery):
    """What is broken in it ends it, and nobody hears of it."""

    def check_end(self, segment: Segment, size: int) -> None:
        if segment not in self.log.segments[-2:-1]:
            super().check_end(segment, size)

    def frames(self, segment: Segment, descriptor: int, size: int) -> Iterator[tuple[FrameHeader, bytes]]:
        frames = super().frames(segment, descriptor, size)
        if segment not in self.log.segments[-2:-1]:
            return frames
        return self.until_damage(frames)

    def until_damage(self, frames: Iterator[tuple[FrameHeader, bytes]]) -> Iterator[tuple[FrameHeader, bytes]]:
        with suppress(Damaged):
            yield from frames


@family.animal(
    bug="SEEN-210",
    system=NONE_REPORTED + "a checkpoint is believed to be the end",
    source="https://www.usenix.org/conference/fast17/technical-sessions/presentation/ganesan",
    cause="the log is read as far as it went at the last closing, and no further",
    killed_by="D-01",
)
class SealIsTakenForTheEnd(Recovery):
    """Whatever was written since is cut off after a crash."""

    def frames(self, segment: Segment, descriptor: int, size: int) -> Iterator[tuple[FrameHeader, bytes]]:
        seal = self.log.seal
        sealed = seal is not None and seal.segment == segment.last
        return super().frames(segment, descriptor, seal.end if sealed and seal is not None else size)


@family.animal(
    bug="SEEN-211",
    system=NONE_REPORTED + "a file without a single entry was never thought of",
    source="https://github.com/apache/fluss/issues/4012",
    cause="a new segment that holds nothing yet is refused as damaged",
    killed_by="D-04",
)
class EmptySegmentCannotBeOpened(Recovery):
    """A crash came between the new file and its first frame."""

    def mend_end(self, segment: Segment, size: int) -> None:
        if size == SEGMENT_HEADER_SIZE and segment.first > 1:
            raise self.damage(segment.name, size, "it holds no frame")
        super().mend_end(segment, size)


@family.animal(
    bug="SEEN-212",
    system=NONE_REPORTED + "an interrupted renaming looks as if it should be finished",
    source="https://github.com/camunda/camunda/issues/14594",
    cause="a temporary file that a crash has left is put into its place",
    killed_by="D-08",
)
class LeftoverIsTakenForASnapshot(Recovery):
    """It may be half of one, and the old one was whole."""

    def remove_leftovers(self, names: Sequence[str]) -> None:
        for name in names:
            if name.endswith(f".snapshot{TEMPORARY}"):
                self.disk.rename(name, name.removesuffix(TEMPORARY))
        super().remove_leftovers([name for name in names if not name.endswith(f".snapshot{TEMPORARY}")])


@family.animal(
    bug="SEEN-213",
    system=NONE_REPORTED + "the checksum is written, and nobody compares it",
    source="https://www.usenix.org/conference/fast17/technical-sessions/presentation/ganesan",
    cause="the checksum of a snapshot covers its header only",
    killed_by="D-16",
)
class ChecksumOfTheHeaderOnly(SnapshotFiles):
    """A flipped bit in the state is the state."""

    def read_data(self, kept: Kept) -> bytes:
        with self.disk.reading(kept.name) as descriptor:
            return self.disk.read(descriptor, kept.start, kept.length)


@family.animal(
    bug="BUG-151",
    system="Akka LocalSnapshotStore",
    source="https://github.com/akka/akka-core/issues/21842",
    cause="a snapshot that cannot be read is answered with none",
    killed_by="D-16 S-26",
)
class UnreadableSnapshotIsNone(SnapshotFiles):
    """Recovery begins with events that the snapshot had allowed to be deleted."""

    def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        try:
            return super().load(persistence_id, criteria)
        except Unreadable:
            return None


@family.animal(
    bug="BUG-012b",
    system="Redis streams",
    source="https://github.com/redis/redis/pull/5426",
    cause="a compaction keeps the events that are left, and not the number of the last one that was",
    killed_by="J-45 D-03",
)
class CompactionForgetsTheHighest(Compaction):
    """The number is right until the log is opened again."""

    def __init__(self, disk: Disk, log: SegmentLog) -> None:
        super().__init__(disk, log)
        self.deletions = {id(one.deletion) for one in log.index.logs.values()}

    def needed(self) -> Sequence[Place]:
        return [place for place in super().needed() if id(place) not in self.deletions]
