"""The bytes of the log: header of a segment, frames, entries, and their checksums. Pure; no file is touched here.

    segment = header (48 bytes), frame, frame, ...
    frame   = header (32 bytes), body                one write and one sync: the calls that were waiting, all or none
    body    = entry, entry, ...
    entry   = length (8), CRC-32 (4), content        one event, or one deletion

The checksum of a frame begins with that of the segment's header, which has a random number in it. So a frame is valid
in its own file only: a copy of it that comes along in a payload, or is left of an older file, is not taken for one.
docs/file-format.md has it byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

import msgspec

VERSION = 1
SEGMENT_MAGIC = b"PERDUREL"
FRAME_MAGIC = b"pFrm"
LAST = 1
"""Flag of a frame: the segment is full, and nothing follows in it."""

_SEGMENT = struct.Struct("<8sIQQ16s")
_FRAME = struct.Struct("<4sIQQI")
_ENTRY = struct.Struct("<QI")
_CRC = struct.Struct("<I")

SEGMENT_HEADER_SIZE = _SEGMENT.size + _CRC.size
FRAME_HEADER_SIZE = _FRAME.size + _CRC.size
ENTRY_HEADER_SIZE = _ENTRY.size


class Damaged(Exception):
    """The bytes are not what was written. The message says in a few words how that shows."""


class SegmentHeader(msgspec.Struct, frozen=True):
    """Which segments of the log a file holds: one, or several that a compaction has joined. `identity` begins the
    checksums of its frames."""

    first: int
    last: int
    identity: int


class FrameHeader(msgspec.Struct, frozen=True):
    """What precedes a body. Frames are numbered from 1 in each segment."""

    flags: int
    number: int
    length: int
    body_crc: int


# --- the header of a segment


def segment_header(first: int, last: int, salt: bytes) -> bytes:
    header = _SEGMENT.pack(SEGMENT_MAGIC, VERSION, first, last, salt)
    return header + _CRC.pack(crc32(header))


def parse_segment_header(content: bytes) -> SegmentHeader:
    """Raises `Damaged`."""
    if len(content) < SEGMENT_HEADER_SIZE:
        raise Damaged(f"its header ends after {len(content)} of {SEGMENT_HEADER_SIZE} bytes")
    magic, version, first, last, _ = _SEGMENT.unpack_from(content)
    (checksum,) = _CRC.unpack_from(content, _SEGMENT.size)
    if magic != SEGMENT_MAGIC:
        raise Damaged(f"it begins with {magic!r}, not with {SEGMENT_MAGIC!r}")
    if checksum != crc32(content[: _SEGMENT.size]):
        raise Damaged("the checksum of its header does not fit")
    if version != VERSION:
        raise Damaged(f"it has format {version}, and this edition knows {VERSION}; open it with a newer perdure")
    return SegmentHeader(first, last, checksum)


# --- frames


def frame(identity: int, number: int, flags: int, body: bytes) -> bytes:
    header = _FRAME.pack(FRAME_MAGIC, flags, number, len(body), body_checksum(body, identity))
    return b"".join((header, _CRC.pack(crc32(header, identity)), body))


def parse_frame_header(content: bytes, identity: int) -> FrameHeader:
    """Raises `Damaged`. The length may be believed after this: it was checked before anything is read by it."""
    if len(content) < FRAME_HEADER_SIZE:
        raise Damaged(f"the header of a frame ends after {len(content)} of {FRAME_HEADER_SIZE} bytes")
    magic, flags, number, length, body_crc = _FRAME.unpack_from(content)
    (checksum,) = _CRC.unpack_from(content, _FRAME.size)
    if magic != FRAME_MAGIC:
        raise Damaged(f"a frame begins with {magic!r}, not with {FRAME_MAGIC!r}")
    if checksum != crc32(content[: _FRAME.size], identity):
        raise Damaged("the checksum of a frame's header does not fit")
    return FrameHeader(flags, number, length, body_crc)


def check_body(header: FrameHeader, body: bytes, identity: int) -> None:
    """Raises `Damaged`."""
    if len(body) < header.length:
        raise Damaged(f"frame {header.number} ends after {len(body)} of {header.length} bytes")
    if body_checksum(body, identity) != header.body_crc:
        raise Damaged(f"the checksum of frame {header.number} does not fit")


def body_checksum(body: bytes, identity: int) -> int:
    return crc32(body, identity)


def later_frame(content: bytes, identity: int, number: int) -> int | None:
    """Where in these bytes the header of a frame stands that was written after the frame with this number.

    That one proves that everything in front of it had been synced. Copies of earlier frames, which a payload may hold,
    have lower numbers.
    """
    at = content.find(FRAME_MAGIC)
    while at >= 0:
        try:
            if parse_frame_header(content[at : at + FRAME_HEADER_SIZE], identity).number > number:
                return at
        except Damaged:
            pass
        at = content.find(FRAME_MAGIC, at + 1)
    return None


# --- entries


def entry(content: bytes) -> bytes:
    """The entry of this content, as it stands in a body."""
    return _ENTRY.pack(len(content), crc32(content)) + content


def content_of(whole: bytes) -> bytes:
    """The content of one entry that was read by itself. Raises `Damaged`."""
    if len(whole) < ENTRY_HEADER_SIZE:
        raise Damaged("the file ends in front of it")
    length, checksum = _ENTRY.unpack_from(whole)
    content = whole[ENTRY_HEADER_SIZE:]
    if len(content) != length:
        raise Damaged(f"it says that it has {length} bytes, and {len(content)} are there")
    if crc32(content) != checksum:
        raise Damaged("its checksum does not fit")
    return content


def entries_of(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each entry of a body begins, and how long it is with its header. Raises `Damaged`."""
    at = 0
    while at < len(body):
        if len(body) - at < ENTRY_HEADER_SIZE:
            raise Damaged("a body ends within an entry")
        length = ENTRY_HEADER_SIZE + _ENTRY.unpack_from(body, at)[0]
        if length > len(body) - at:
            raise Damaged("a body ends within an entry")
        yield at, length
        at += length
