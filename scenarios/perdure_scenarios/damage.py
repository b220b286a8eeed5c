"""Damage: what a disk may do to the files of a directory that was closed properly.

A bit or a byte flipped, a tail cut off or zeroed, a sector zeroed, a file emptied or missing: one thing at a time.
Where in a large file is told by `borders`, the offsets at which something begins; `borders_of` finds them in a trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from .contents import EMPTY, PAGE, Content
from .disk import SECTOR
from .images import Image
from .trace import Linked, Renamed, Trace, Unlinked, Wrote

SMALL = 256


class Damage(msgspec.Struct, frozen=True):
    """A damaged directory, and what was done to which file of it."""

    path: str
    words: str
    image: Image


class Extent(msgspec.Struct, frozen=True):
    """How much damage: at most so many in all, and at how many places of each file a bit and a byte are flipped."""

    at_most: int = 2000
    places: int = 256


def damages(
    image: Image, extent: Extent | None = None, borders: Mapping[str, Sequence[int]] | None = None
) -> Iterator[Damage]:
    """Damage to each file in turn, the coarse kinds first. What changes nothing, or gives the same, is left out."""
    extent = extent or Extent()
    seen = {image.digest}
    waiting = deque(_of_file(image, path, extent, (borders or {}).get(path, ())) for path in sorted(image.files))
    while waiting and len(seen) <= extent.at_most:
        more = waiting.popleft()
        for damage in more:
            if damage.image.digest not in seen:
                seen.add(damage.image.digest)
                yield damage
                waiting.append(more)
                break


def borders_of(trace: Trace) -> dict[str, list[int]]:
    """For each file that is there at the end, where its writes began and ended: where a record, a page, or a frame
    does."""
    borders: dict[str, set[int]] = {}
    for call in trace.calls:
        match call:
            case Wrote(path=path, offset=offset, data=data):
                borders.setdefault(path, set()).update((offset, offset + len(data)))
            case Renamed(path=path, to=to):
                borders[to] = borders.pop(path, set())
            case Linked(path=path, to=to):
                borders[to] = set(borders.get(path, ()))
            case Unlinked(path=path):
                borders.pop(path, None)
    return {path: sorted(places) for path, places in borders.items()}


def _of_file(image: Image, path: str, extent: Extent, borders: Sequence[int]) -> Iterator[Damage]:
    content = image.files[path]
    others = {other: kept for other, kept in image.files.items() if other != path}
    yield Damage(path, f"{path} missing", Image(others, image.directories))
    for words, damaged in _contents(content, path, extent.places, borders):
        yield Damage(path, words, Image({**others, path: damaged}, image.directories))


def _contents(content: Content, path: str, places: int, borders: Sequence[int]) -> Iterator[tuple[str, Content]]:
    size = content.size
    yield f"{path} emptied", EMPTY
    starts = sorted({border for border in borders if 0 < border < size})
    for length in _tails(size, starts, places):
        tail = f"last {length} bytes" if length > 1 else "last byte"
        yield f"{tail} of {path} cut off", content.resized(size - length)
        yield f"{tail} of {path} zeroed", content.written(size - length, bytes(length))
    for start in _spread(range(0, size, SECTOR), places):
        end = min(start + SECTOR, size)
        yield f"bytes {start}..{end - 1} of {path} zeroed", content.written(start, bytes(end - start))
    plain = bytes(content)
    for at in _places(size, starts, places):
        flipped = plain[at] ^ 1 << at % 8
        yield f"bit {at % 8} of byte {at} of {path} flipped", content.written(at, bytes([flipped]))
        yield f"byte {at} of {path} flipped", content.written(at, bytes([plain[at] ^ 0xFF]))


def _tails(size: int, starts: Sequence[int], places: int) -> list[int]:
    """How much of an end is gone: little, a sector, a page, half, and what follows each border."""
    lengths = (1, 2, 8, SECTOR, PAGE, size // 2, size // 2 + 1)
    behind = [size - start for start in _spread(starts, places)]
    inside = [size - start + 1 for start in _spread(starts, places)]
    return list(dict.fromkeys(length for length in (*lengths, *behind, *inside) if 0 < length < size))


def _places(size: int, starts: Sequence[int], places: int) -> list[int]:
    """Every byte of a small file; of a large one those around borders, at both ends, and others evenly spread."""
    if size <= max(SMALL, places):
        return list(range(size))
    around = [at for start in starts for at in (start, start + 4, start - 1) if 0 <= at < size]
    pages = [at for start in range(0, size, PAGE) for at in (start, min(start + PAGE, size) - 1)]
    ends = [*range(8), *range(size - 8, size)]
    chosen = [*ends, *_spread(around, places // 2), *_spread(pages, places // 4), *_spread(range(size), places // 2)]
    return list(dict.fromkeys(chosen))[:places]


def _spread(places: Sequence[int], count: int) -> list[int]:
    """So many of them, evenly; the first and the last are among them."""
    if len(places) <= count:
        return list(places)
    return [places[number * (len(places) - 1) // max(count - 1, 1)] for number in range(count)]
