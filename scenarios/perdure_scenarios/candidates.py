"""Which survivals of the pending changes are tried, the most telling first.

Everything survives, so that what loses nothing visible is told as such. Nothing does; names without bytes, and bytes
without names; one change lost, one change alone; all up to one; sizes without bytes; torn writes; then every
combination if they are few, else some at random. What the model does not allow of them, `survivals.py` leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

import msgspec

from .disk import AnyChange, Model, Written
from .survivals import Span, Survival, Torn, sectors


class Bounds(msgspec.Struct, frozen=True):
    """How many states at most; up to how many combinations of one moment all are tried, as a power of two; and how
    many are drawn at random where there are more."""

    at_most: int = 10_000
    exhaustive: int = 6
    samples: int = 16


def candidates(pending: Sequence[AnyChange], model: Model, bounds: Bounds, seed: bytes) -> Iterator[Survival]:
    """`seed` makes the choice of random ones: the same for the same contents."""
    names = [change for change in pending if not isinstance(change, Written)]
    writes = [change for change in pending if isinstance(change, Written)]
    every, of_names = _bits(pending), _bits(names)
    yield Survival(every)
    if not pending:
        return
    yield Survival(0)
    yield Survival(of_names)
    yield Survival(every & ~of_names)
    yield from (Survival(every & ~change.bit) for change in reversed(pending))
    for change in reversed(pending):
        yield Survival(of_names | change.bit)
        yield Survival(change.bit)
    yield from _prefixes(pending, names)
    yield from _sizes(writes, every, of_names)
    yield from _torn(pending, writes)
    options = [_options(change) for change in pending]
    if _product(options) <= 2**bounds.exhaustive:
        yield from (_joined(choice) for choice in product(*options))
    else:
        yield from _random(options, names, model, bounds.samples, Random(seed))


def _bits(changes: Sequence[AnyChange]) -> int:
    return sum(change.bit for change in changes)


def _prefixes(pending: Sequence[AnyChange], names: Sequence[AnyChange]) -> Iterator[Survival]:
    """The disk a moment ago; and names up to one, with all bytes and with none."""
    for count in reversed(range(1, len(pending))):
        yield Survival(_bits(pending[:count]))
    bytes_alone = _bits(pending) & ~_bits(names)
    for count in reversed(range(1, len(names))):
        yield Survival(_bits(names[:count]) | bytes_alone)
        yield Survival(_bits(names[:count]))


def _sizes(writes: Sequence[Written], every: int, of_names: int) -> Iterator[Survival]:
    """Files of the right size, full of zeros."""
    growing = [change.bit for change in writes if change.extends]
    yield Survival(of_names, sized=sum(growing))
    for bit in reversed(growing):
        yield Survival(every & ~bit, sized=bit)


def _torn(pending: Sequence[AnyChange], writes: Sequence[Written]) -> Iterator[Survival]:
    """Each write torn, with all others there and with none after it."""
    every = _bits(pending)
    for change in reversed(writes):
        for kept in tears(change.offset, change.end):
            yield Survival(every, torn=Torn(change.bit, kept))
            yield Survival(every & (2 * change.bit - 1), torn=Torn(change.bit, kept))


def tears(start: int, end: int) -> list[tuple[Span, ...]]:
    """Which sectors of a write may be there: the head, the tail, one of them missing, and every second one."""
    borders = list(sectors(start, end))
    if len(borders) < 2:
        return []
    first, last, middle = borders[0], borders[-1], borders[len(borders) // 2]
    heads = [((start, first[1]),), ((start, middle[0]),), ((start, last[0]),)]
    tails = [((last[0], end),), ((middle[0], end),), ((first[1], end),)]
    return list(dict.fromkeys([*heads, *tails, tuple(borders[1::2]), tuple(borders[::2])]))


Option = tuple[int, int]
"""The bit that is kept, and the one of which the size is; 0 for neither."""


def _options(change: AnyChange) -> list[Option]:
    grown = [(0, change.bit)] if isinstance(change, Written) and change.extends else []
    return [(0, 0), (change.bit, 0), *grown]


def _product(options: Sequence[Sequence[Option]]) -> int:
    count = 1
    for some in options:
        count *= len(some)
    return count


def _joined(choice: Sequence[Option]) -> Survival:
    return Survival(sum(kept for kept, _ in choice), sum(sized for _, sized in choice))


def _random(
    options: Sequence[Sequence[Option]], names: Sequence[AnyChange], model: Model, samples: int, random: Random
) -> Iterator[Survival]:
    """A journal keeps a beginning of the names, so one is drawn: of a random half, hardly the first would be kept."""
    of_names = _bits(names)
    for _ in range(samples):
        survival = _joined([random.choice(some) for some in options])
        if model == "ext4":
            beginning = _bits(names[: random.randint(0, len(names))])
            survival = survival._replace(kept=survival.kept & ~of_names | beginning)
        yield survival
