"""The log while it is open: entries are appended, synced and only then known; full segments are followed by new ones.

What happens when the disk refuses is the heart of it:

- A write fails (no space, an error of the disk): the file is cut back to where it ended, and that is synced. Only then
  is it certain that nothing is stored (`NothingStored`).
- A sync fails, or the cutting back does: what is on the disk is unknown, and stays so. The system may have thrown the
  bytes away and marked its pages clean, so that a second sync succeeds and means nothing. The log closes itself
  (`broken`); it takes nothing and tells nothing until it is opened again, which reads what is really there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate

import msgspec

from ._disk import Disk, NothingStored
from ._entries import Deletion, Event, encoded
from ._frames import (
    FRAME_HEADER_SIZE,
    LAST,
    SEGMENT_HEADER_SIZE,
    frame,
    parse_segment_header,
    segment_header,
)
from ._index import Index, Place, Segment
from ._seal import SEAL_NAME, Seal, encoded_seal


class Entry(msgspec.Struct, frozen=True):
    """Something that is to be stored, and its bytes."""

    said: Event | Deletion
    content: bytes


def entry_for(said: Event | Deletion) -> Entry:
    """Raises `ValueError` or `OverflowError` for what the format cannot hold."""
    return Entry(said, encoded(said))


class SegmentLog:
    """The segments of one directory, of which the last is written to, and the index of what they hold."""

    def __init__(self, disk: Disk, segment_size: int) -> None:
        self.disk = disk
        self.segment_size = segment_size
        self.segments: list[Segment] = []
        self.index = Index()
        self.seal: Seal | None = None
        self.broken: OSError | None = None
        """Why nothing can be known of this log until it is opened again."""
        self._descriptor: int | None = None

    @property
    def last(self) -> Segment:
        return self.segments[-1]

    def append(self, entries: Sequence[Entry]) -> None:
        """All of the entries, durable, or none.

        Raises `NothingStored`, or `OSError` if it is unknown; then the log is `broken`.
        """
        if self.last.full:
            self.begin_segment(self.last.last + 1)
        body = b"".join(entry.content for entry in entries)
        segment = self.last
        full = segment.end + FRAME_HEADER_SIZE + len(body) >= self.segment_size
        self.store(segment, frame(segment.identity, segment.frames + 1, LAST if full else 0, body))
        self.learn(segment, entries)
        segment.last_frame = segment.end
        segment.end += FRAME_HEADER_SIZE + len(body)
        segment.frames += 1
        segment.full = full

    def store(self, segment: Segment, content: bytes) -> None:
        """Write a frame at the end of a segment and sync it."""
        descriptor = self.descriptor()
        try:
            self.disk.write(descriptor, segment.end, content)
        except OSError as error:
            self.cut_back(descriptor, segment.end)
            raise NothingStored(str(error)) from error
        try:
            self.disk.sync(descriptor)
        except OSError as error:
            self.broken = error
            raise

    def cut_back(self, descriptor: int, end: int) -> None:
        """Remove what a failed write has left, for good: the next frame must follow the last whole one."""
        try:
            self.disk.truncate(descriptor, end)
            self.disk.sync(descriptor)
        except OSError as error:
            self.broken = error
            raise

    def learn(self, segment: Segment, entries: Sequence[Entry]) -> None:
        """Only what is durable is known: nobody may be shown an event that a power cut can take back."""
        sizes = (len(entry.content) for entry in entries)
        start = segment.end + FRAME_HEADER_SIZE
        for entry, end in zip(entries, accumulate(sizes, initial=start), strict=False):
            self.index.apply(entry.said, Place(segment, end, len(entry.content)))

    def begin_segment(self, number: int) -> None:
        """A new file, empty but for its header. It is put in its place whole, so its name and header are durable."""
        name = segment_name(number, number)
        header = segment_header(number, number, os.urandom(16))
        self.put(name, [header])
        self.close_segment()
        identity = parse_segment_header(header).identity
        self.segments.append(Segment(name, number, number, identity, SEGMENT_HEADER_SIZE))

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        """As `Disk.put`; an unknown outcome breaks the log."""
        try:
            self.disk.put(name, parts)
        except OSError as error:
            self.broken = error
            raise

    def descriptor(self) -> int:
        """The last segment, open for writing."""
        if self._descriptor is None:
            self._descriptor = self.disk.open(self.last.name)
        return self._descriptor

    def close_segment(self) -> None:
        if self._descriptor is not None:
            self.disk.close(self._descriptor)
            self._descriptor = None

    def unseal(self, snapshots: Collection[str]) -> None:
        """The seal no longer says that these files are there: they are about to be removed."""
        if self.seal is not None and not {*self.seal.snapshots}.isdisjoint(snapshots):
            left = tuple(name for name in self.seal.snapshots if name not in snapshots)
            self.write_seal(Seal(self.seal.segment, self.seal.end, left))

    def write_seal(self, seal: Seal) -> None:
        self.put(SEAL_NAME, [encoded_seal(seal)])
        self.seal = seal

    def close(self, snapshots: Sequence[str]) -> None:
        """Seal what is there, if that is certain, and if anybody could know: without syncs it may yet be lost.

        A seal that cannot be written (the disk is full) is not an error of the closing: all is stored, and the next
        opening treats the log as after a crash.
        """
        self.close_segment()
        seal = Seal(self.last.last, self.last.end, tuple(snapshots))
        if self.broken is None and self.disk.syncs and seal != self.seal:
            with suppress(NothingStored, OSError):
                self.write_seal(seal)


SEGMENT_SUFFIX = ".log"


def segment_name(first: int, last: int) -> str:
    return f"{first:010}-{last:010}{SEGMENT_SUFFIX}"
