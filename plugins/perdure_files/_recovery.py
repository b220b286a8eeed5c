"""Opening: every segment is read from its first byte to its last, checked, and told to the index.

What a crash leaves is told apart from damage by what the log itself promises:

- A segment that is not the last ends in a frame that says so. It was synced before the next one was begun, so whatever
  is wrong in it is damage.
- In the last segment each frame was synced before the next one was written. A broken frame behind which another one
  stands is damage. So is one in front of the end that the seal names.
- What is left is a broken frame at the very end of a log that was not closed. It was never acknowledged, or damaged
  after a crash: nobody can tell. It is taken for torn, and cut off.

Damage ends the opening, with the name of the file and the place in it. Nothing is changed then: everything is read
before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from perdure.errors import OpenFailed

from ._disk import TEMPORARY, Disk
from ._entries import decoded
from ._frames import (
    FRAME_HEADER_SIZE,
    LAST,
    SEGMENT_HEADER_SIZE,
    Damaged,
    FrameHeader,
    check_body,
    entries_of,
    later_frame,
    parse_frame_header,
    parse_segment_header,
)
from ._index import Place, Segment
from ._log import SegmentLog
from ._seal import SEAL_NAME, Seal, parse_seal

SEGMENT_NAME = re.compile(r"(\d{10,})-(\d{10,})\.log")


class Recovery:
    """One opening of the log of one directory."""

    def __init__(self, disk: Disk, log: SegmentLog) -> None:
        self.disk = disk
        self.log = log
        self.superseded: list[str] = []
        """Files of which a compaction has put everything into another one, and which it did not come to remove."""

    def recover(self) -> None:
        """Read everything, then put in order what a crash has left. Raises `OpenFailed` or `OSError`.

        The names are synced in any case: a file may have been renamed into its place by someone who was killed before
        it synced the directory.
        """
        names = self.disk.names()
        self.log.seal = self.read_seal(names)
        self.log.segments = self.segments(names)
        size = 0
        for segment in self.log.segments:
            size = self.read_segment(segment)
        self.check_seal(self.log.seal)
        self.remove_leftovers(names)
        if self.log.segments:
            self.mend_end(self.log.last, size)
        else:
            self.log.begin_segment(1)
        self.disk.sync_names()

    # --- which files there are

    def read_seal(self, names: Sequence[str]) -> Seal | None:
        if SEAL_NAME not in names:
            return None
        with self.disk.reading(SEAL_NAME) as descriptor:
            content = self.disk.read(descriptor, 0, self.disk.size(descriptor))
        try:
            return parse_seal(content)
        except Damaged as error:
            way_out = "remove it to open the log as if the last closing had been a crash"
            raise OpenFailed(f"{self.disk.directory / SEAL_NAME}: {error}; {way_out}") from error

    def segments(self, names: Sequence[str]) -> list[Segment]:
        """The segments in order, without a hole. A file that lies within the range of another one is superseded."""
        ranges = [(int(found[1]), int(found[2]), name) for name in names if (found := SEGMENT_NAME.fullmatch(name))]
        segments: list[Segment] = []
        for first, last, name in sorted(ranges, key=lambda one: (one[0], -one[1])):
            reached = segments[-1].last if segments else 0
            if last <= reached:
                self.superseded.append(name)
            elif first == reached + 1:
                segments.append(Segment(name, first, last, 0, 0))
            else:
                raise self.damage(name, 0, f"segment {reached + 1} is expected here: a file is missing")
        return segments

    # --- what they hold

    def read_segment(self, segment: Segment) -> int:
        """Tell the index what a segment holds, up to the first broken frame. Gives the size of the file."""
        with self.disk.reading(segment.name) as descriptor:
            size = self.disk.size(descriptor)
            self.read_header(segment, descriptor)
            try:
                for header, body in self.frames(segment, descriptor, size):
                    self.read_entries(segment, body)
                    self.pass_over(segment, header)
                self.check_end(segment, size)
            except Damaged as error:
                if segment is not self.log.last or self.is_damage(segment, descriptor, size):
                    raise self.damage(segment.name, segment.end, str(error)) from error
            return size

    def read_header(self, segment: Segment, descriptor: int) -> None:
        """A file gets its name when its header is durable, so no crash leaves one without."""
        try:
            header = parse_segment_header(self.disk.read(descriptor, 0, SEGMENT_HEADER_SIZE))
        except Damaged as error:
            raise self.damage(segment.name, 0, str(error)) from error
        if (header.first, header.last) != (segment.first, segment.last):
            raise self.damage(segment.name, 0, f"it holds segments {header.first} to {header.last}: it was renamed")
        segment.identity = header.identity
        segment.end = segment.last_frame = SEGMENT_HEADER_SIZE

    def frames(self, segment: Segment, descriptor: int, size: int) -> Iterator[tuple[FrameHeader, bytes]]:
        """The whole frames from `segment.end` on, which the caller moves. Raises `Damaged` for the first broken one."""
        while segment.end < size and not segment.full:
            header = parse_frame_header(self.disk.read(descriptor, segment.end, FRAME_HEADER_SIZE), segment.identity)
            if header.number != segment.frames + 1:  # whole, and not where it was written: no crash does that
                reason = f"frame {header.number} stands where frame {segment.frames + 1} is expected"
                raise self.damage(segment.name, segment.end, reason)
            # The length is checked against the file first: no more is read than there is.
            body = self.disk.read(descriptor, segment.end + FRAME_HEADER_SIZE, min(header.length, size))
            check_body(header, body, segment.identity)
            yield header, body

    def read_entries(self, segment: Segment, body: bytes) -> None:
        """The frame is as it was written, so what is wrong within is not the work of a crash."""
        start = segment.end + FRAME_HEADER_SIZE
        try:
            for at, length in entries_of(body):
                self.log.index.apply(decoded(body[at : at + length]), Place(segment, start + at, length))
        except Damaged as error:
            raise self.damage(segment.name, segment.end, str(error)) from error

    def pass_over(self, segment: Segment, header: FrameHeader) -> None:
        segment.last_frame = segment.end
        segment.end += FRAME_HEADER_SIZE + header.length
        segment.frames = header.number
        segment.full = bool(header.flags & LAST)

    def check_end(self, segment: Segment, size: int) -> None:
        """Raises `Damaged` if frames are missing at the end of a segment, or something stands behind its last one."""
        if segment.full and segment.end < size:
            raise Damaged(f"{size - segment.end} bytes stand behind the last frame")
        if not segment.full and segment is not self.log.last:
            raise Damaged("it ends here, and its last frame is missing")

    # --- torn or damaged

    def is_damage(self, segment: Segment, descriptor: int, size: int) -> bool:
        """Whether what is broken at the end of the last segment had been synced once."""
        if segment.full:
            return True
        rest = self.disk.read(descriptor, segment.end, size - segment.end)
        return later_frame(rest, segment.identity, segment.frames + 1) is not None

    def check_seal(self, seal: Seal | None) -> None:
        """The log must go at least as far as it went when it was closed."""
        if seal is None:
            return
        if not self.log.segments or self.log.last.last < seal.segment:
            raise OpenFailed(f"{self.disk.directory}: segment {seal.segment} was there at the last closing, and is not")
        last = self.log.last
        if last.last == seal.segment and last.end < seal.end:
            raise self.damage(last.name, last.end, f"it was intact up to byte {seal.end} when it was closed")

    def damage(self, name: str, offset: int, reason: str) -> OpenFailed:
        return OpenFailed(
            f"{self.disk.directory / name}: damaged at byte {offset}: {reason}; restore the directory from a backup"
        )

    # --- what a crash has left

    def remove_leftovers(self, names: Sequence[str]) -> None:
        leftovers = [*self.superseded, *(name for name in names if name.endswith(TEMPORARY))]
        for name in leftovers:
            self.disk.remove(name)
        if leftovers:
            self.disk.sync_names()

    def mend_end(self, segment: Segment, size: int) -> None:
        """Make certain what the end of the log is, before anybody is told of it.

        A torn frame is cut off, and that is synced before anything is appended in its place. The last whole frame may
        have been written and not synced; the sync may even have failed, after which another one proves nothing. So it
        is written once more and synced: the next event is acknowledged behind it. A log that ends at its seal was
        closed in peace and needs nothing.
        """
        seal = self.log.seal
        if seal is not None and (seal.segment, seal.end) == (segment.last, size):
            return
        descriptor = self.log.descriptor()
        if size > segment.end:
            self.disk.truncate(descriptor, segment.end)
        newest = self.disk.read(descriptor, segment.last_frame, segment.end - segment.last_frame)
        self.disk.write(descriptor, segment.last_frame, newest)
        self.disk.sync(descriptor)
