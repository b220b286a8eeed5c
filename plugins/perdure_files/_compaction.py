"""Compaction: the full segments are joined into one file without what was deleted.

The new file has the numbers of all that it replaces in its name. It is put in its place whole and durable before the
old ones are removed; if a crash comes between, opening finds that they lie within its range, and removes them. Entries
are copied as they are, with their checksums, in the order of the log. Left out is what the log would not miss: events
that a later entry deletes, and deletions that a later one supersedes. The newest deletion of each id stays for good: it
knows the highest number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ._disk import Disk, NothingStored
from ._frames import (
    FRAME_HEADER_SIZE,
    LAST,
    SEGMENT_HEADER_SIZE,
    Damaged,
    content_of,
    frame,
    parse_segment_header,
    segment_header,
)
from ._index import Place, Segment
from ._log import SegmentLog, segment_name

FRAME_SIZE = 1 << 20
"""About how large the frames of a joined file are."""


def compact_if_worth_it(disk: Disk, log: SegmentLog, compaction: Callable[[Disk, SegmentLog], Compaction]) -> None:
    """Join the full segments if more than half of them is dead.

    What was written is stored whether this succeeds or not, so a failure is not the writer's: where nothing has
    changed (a full disk, damage that a replay will name) it is tried again when the next segment is full, and otherwise
    the log is `broken` and says so.
    """
    full = log.segments[:-1]
    if 2 * sum(segment.dead for segment in full) > sum(segment.end for segment in full):
        with suppress(NothingStored, Damaged, OSError):
            compaction(disk, log).run()


class Compaction:
    """One joining of the full segments of a log."""

    def __init__(self, disk: Disk, log: SegmentLog) -> None:
        self.disk = disk
        self.log = log
        self.old = log.segments[:-1]
        first, last = self.old[0].first, self.old[-1].last
        self.header = segment_header(first, last, os.urandom(16))
        identity = parse_segment_header(self.header).identity
        self.new = Segment(segment_name(first, last), first, last, identity, SEGMENT_HEADER_SIZE)
        self.moved: list[tuple[Place, int]] = []
        """Each entry with its offset in the new file."""

    def run(self) -> None:
        """Raises `Damaged`, `NothingStored` or `OSError`."""
        self.log.put(self.new.name, self.parts())
        for place, offset in self.moved:
            place.segment, place.offset = self.new, offset
        self.log.segments[:-1] = [self.new]
        self.remove_old()

    def parts(self) -> Iterator[bytes]:
        """The new file: header and frames."""
        yield self.header
        groups = list(groups_of(self.needed()))
        for number, group in enumerate(groups, 1):
            body = b"".join(self.read(place) for place in group)
            self.pass_over(group, len(body))
            yield frame(self.new.identity, number, LAST if number == len(groups) else 0, body)

    def needed(self) -> Sequence[Place]:
        """What must stay, in the order of the log."""
        old = set(self.old)
        places = [place for place in self.log.index.needed() if place.segment in old]
        return sorted(places, key=lambda place: (place.segment.first, place.offset))

    def read(self, place: Place) -> bytes:
        """An entry as it stands there. Damage is not copied: under a new checksum nobody would find it again."""
        with self.disk.reading(place.segment.name) as descriptor:
            content = self.disk.read(descriptor, place.offset, place.length)
        content_of(content)
        return content

    def pass_over(self, group: Sequence[Place], size: int) -> None:
        offset = self.new.end + FRAME_HEADER_SIZE
        for place in group:
            self.moved.append((place, offset))
            offset += place.length
        self.new.last_frame = self.new.end
        self.new.end += FRAME_HEADER_SIZE + size
        self.new.frames += 1
        self.new.full = True

    def remove_old(self) -> None:
        """One segment by itself has been replaced by the new file of the same name."""
        for segment in self.old:
            if segment.name != self.new.name:
                self.disk.remove(segment.name)
        self.disk.sync_names()


def groups_of(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """One group for each frame. There is one at least, for a segment that is full ends in a frame that says so."""
    group: list[Place] = []
    size = 0
    for place in places:
        if group and size + place.length > FRAME_SIZE:
            yield group
            group, size = [], 0
        group.append(place)
        size += place.length
    yield group
