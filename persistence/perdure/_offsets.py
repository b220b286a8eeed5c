"""Where a reader stands in the feeds of one backend. (Q-06, Q-16)"""

from __future__ import annotations

from functools import total_ordering
from typing import Final

import msgspec

from ._arguments import MAX_SEQUENCE_NR, check_number


@total_ordering
class Offset(msgspec.Struct, frozen=True, gc=False):
    """A place in the feeds of a backend. Opaque: only a backend makes one, and only for its own kind of feed.

    `origin` names whoever made it, `position` is any whole number of at least 0. Offsets of one origin are totally
    ordered; comparing those of two raises `TypeError`. `str()` is a text form for storing, which `Offset.parse` reads.
    """

    origin: str
    position: int

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Offset):
            return NotImplemented
        if self.origin != other.origin and NO_OFFSET not in (self, other):
            raise TypeError(f"offsets {self} and {other} are of two kinds and have no order")
        return self.position < other.position

    def __str__(self) -> str:
        return f"{self.origin}:{self.position}"

    @classmethod
    def parse(cls, text: str) -> Offset:
        """The offset whose `str()` this is. Raises `ValueError` for anything else."""
        origin, colon, position = text.rpartition(":")
        if not (colon and position.isascii() and position.isdecimal()):
            raise ValueError(f"{text!r} is not an offset; the form is ORIGIN:POSITION")
        return cls(origin, int(position))


NO_OFFSET: Final = Offset("", 0)
"""From the start. It stands before every offset of every backend."""


def check_offset(offset: Offset, origin: str) -> int:
    """The position behind which a query of this origin resumes. A foreign offset raises `ValueError`. (Q-07)"""
    if not isinstance(offset, Offset):
        raise ValueError(f"{offset!r} is not an offset; take that of an envelope, or NO_OFFSET")
    if offset != NO_OFFSET and offset.origin != origin:
        raise ValueError(f"offset {offset} is not one of {origin}; resume where it came from, or begin at NO_OFFSET")
    check_number("offset position", offset.position, 0, MAX_SEQUENCE_NR)
    return offset.position
