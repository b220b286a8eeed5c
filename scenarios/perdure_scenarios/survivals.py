"""What of a disk's pending changes survives a power cut, and what the files look like then.

A survival may be asked for at will; what the model does not allow is left out of it here: in the journal nothing
survives behind what is lost; new blocks and sizes need the journal up to their write; and within a sector of 512
bytes, which is on the disk as it was at one moment, nothing survives behind what is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .contents import Content, Known
from .disk import SECTOR, AnyChange, Cut, Disk, Moment, NameChange, Waiting, Written
from .images import Image

REMEMBERED_MAX = 10_000
Span = tuple[int, int]
Reduced = tuple[int, int | None]
"""The bit of a write, and how many of its bytes are there: 0 if only the size is, None if nothing is."""


class Torn(NamedTuple):
    """A write of which only these sectors survive, each from its first byte to behind its last; counted in the file."""

    bit: int
    kept: tuple[Span, ...]


class Survival(NamedTuple):
    """The bits of what survives; those of writes of which only the size does; and at most one torn write."""

    kept: int
    sized: int = 0
    torn: Torn | None = None


Key = tuple[int, int, int, int, Torn | None]
"""The bits of the first changes of a file, and what of them survives: none of them is of another file."""


class Remains(NamedTuple):
    """What is left of a file after some of its changes. `blocked` are the sectors that stay as they are, since an
    earlier change of them was lost; `reduced` the writes that are not there whole."""

    content: Content
    blocked: tuple[Span, ...]
    reduced: tuple[Reduced, ...]


class Left(NamedTuple):
    """A directory after a power cut. `kept` are the bits that survived; of writes only if they are not `reduced`."""

    image: Image
    kept: int
    reduced: tuple[Reduced, ...]


class Survivals:
    """Turns survivals into directories, and remembers the contents that it made on the way."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._in_order = disk.model == "ext4"
        self._remains: dict[Key, Remains] = {}
        self._known: Known = {}

    def left(self, moment: Moment, asked: Survival) -> Left:
        survival = asked._replace(kept=self._allowed(moment, asked.kept | moment.certain))
        listing = self._disk.listing(survival.kept)
        files: dict[str, Content] = {}
        reduced: tuple[Reduced, ...] = ()
        for path, node in listing.files:
            waiting = moment.files[node]
            if waiting.changes:
                remains = self._of_file(waiting, survival)
                files[path] = remains.content
                reduced += remains.reduced
            else:
                files[path] = waiting.certain
        return Left(Image(files, listing.directories), survival.kept, reduced)

    def _allowed(self, moment: Moment, kept: int) -> int:
        """Without what the model does not allow to survive of names and sizes."""
        if self._in_order:
            lost = self._disk.journal & ~kept
            behind = self._disk.journal & ~((lost & -lost) - 1) if lost else 0
            return kept & ~behind
        for change in moment.pending:
            if isinstance(change, NameChange) and change.needs & ~kept:
                kept &= ~change.bit
        return kept

    def _of_file(self, waiting: Waiting, survival: Survival) -> Remains:
        """Start from the longest part of the history that was made before."""
        if len(self._remains) > REMEMBERED_MAX:
            self._remains.clear()
            self._known.clear()
        journal = survival.kept & self._disk.journal if self._in_order else 0
        count = len(waiting.changes)
        keys: list[Key] = []
        remains = None
        while count and remains is None:
            count -= 1
            keys.append(_key(waiting.bits[count], journal, survival))
            remains = self._remains.get(keys[-1])
        if remains is None:
            remains = Remains(waiting.certain, (), ())
        else:
            keys.pop()
            count += 1
        for change in waiting.changes[count:]:
            remains = self._remains[keys.pop()] = self._after(remains, change, survival)
        return remains

    def _after(self, remains: Remains, change: Written | Cut, survival: Survival) -> Remains:
        content, blocked, reduced = remains
        if isinstance(change, Cut):
            return Remains(content.resized(change.size), blocked, reduced) if change.bit & survival.kept else remains
        if self._on_disk(change, survival, blocked):
            return Remains(content.written(change.offset, change.data, self._known), blocked, reduced)
        if not change.bit & (survival.kept | survival.sized):
            return Remains(content, _with(blocked, [whole_sectors(change.offset, change.end)]), reduced)
        return self._partly(remains, change, survival)

    def _partly(self, remains: Remains, change: Written, survival: Survival) -> Remains:
        content, blocked, reduced = remains
        if change.bit & survival.sized and change.extends and self._may_grow(change, survival):
            content = content.resized(max(content.size, change.end))
        spans = list(self._spans(change, survival, blocked))
        for start, end in spans:
            content = content.written(start, change.data[start - change.offset : end - change.offset], self._known)
        missing = [span for span in sectors(change.offset, change.end) if span not in spans]
        there = sum(end - start for start, end in spans) if content is not remains.content else None
        blocked = _with(blocked, [whole_sectors(*span) for span in missing])
        return Remains(content, blocked, (*reduced, (change.bit, there)))

    def _may_grow(self, change: Written, survival: Survival) -> bool:
        return not change.needs & ~survival.kept

    def _on_disk(self, change: Written, survival: Survival, blocked: tuple[Span, ...]) -> bool:
        """Whether all of a write survives: the common case, told quickly."""
        return (
            bool(change.bit & survival.kept)
            and (survival.torn is None or survival.torn.bit != change.bit)
            and (change.end <= change.in_place or self._may_grow(change, survival))
            and not (self._in_order and any(_meet(change, span) for span in blocked))
        )

    def _spans(self, change: Written, survival: Survival, blocked: tuple[Span, ...]) -> Iterator[Span]:
        """The pieces of a write that survive, sector by sector."""
        if not change.bit & survival.kept:
            return
        torn = survival.torn.kept if survival.torn is not None and survival.torn.bit == change.bit else None
        if not self._in_order:
            blocked = ()
        for start, end in sectors(change.offset, change.end):
            survives = torn is None or any(first <= start and end <= last for first, last in torn)
            grows = end > change.in_place and not self._may_grow(change, survival)
            if survives and not grows and not any(first < end and start < last for first, last in blocked):
                yield start, end


def _key(bits: int, journal: int, survival: Survival) -> Key:
    torn = survival.torn if survival.torn is not None and survival.torn.bit & bits else None
    return bits, survival.kept & bits, survival.sized & bits, journal, torn


def _with(blocked: tuple[Span, ...], more: list[Span]) -> tuple[Span, ...]:
    """Neighbours become one: the usual writes follow each other."""
    for start, end in more:
        if blocked and blocked[-1][0] <= start <= blocked[-1][1]:
            blocked = (*blocked[:-1], (blocked[-1][0], max(blocked[-1][1], end)))
        else:
            blocked = (*blocked, (start, end))
    return blocked


def sectors(start: int, end: int) -> Iterator[Span]:
    """A range of bytes, cut at the borders of sectors."""
    while start < end:
        border = min(end, start - start % SECTOR + SECTOR)
        yield start, border
        start = border


def whole_sectors(start: int, end: int) -> Span:
    return start - start % SECTOR, -(-end // SECTOR) * SECTOR


def _meet(change: Written, span: Span) -> bool:
    return span[0] < change.end and change.offset < span[1]


def lost_of(moment: Moment, left: Left) -> Iterator[tuple[AnyChange, int | None]]:
    """What waits and did not survive whole, oldest first, with how much of it is there as in `Reduced`. Of a file that
    cannot be reached nothing is said but which name is lost."""
    reduced = dict(left.reduced)
    for change in moment.pending:
        if change.bit in reduced:
            yield change, reduced[change.bit]
        elif not change.bit & left.kept:
            yield change, None
