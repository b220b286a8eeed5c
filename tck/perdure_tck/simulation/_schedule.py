"""Schedules: which of the callbacks that are ready runs next, as a list of places in the queue, one for each choice.

0 is whoever waits longest, so that an empty schedule is the order of asyncio itself, and shrinking goes towards it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

Choose = Callable[[int], int]
"""From how many callbacks are ready to the place of the one that runs next. Not asked where there is only one."""


class Schedule:
    """Chooses, and keeps what it has chosen."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._chosen: list[int] = []

    def __call__(self, count: int) -> int:
        at = min(self._choose(count), count - 1)
        self._chosen.append(at)
        return at

    @property
    def asked(self) -> bool:
        """Whether there was anything to choose."""
        return bool(self._chosen)

    @property
    def choices(self) -> tuple[int, ...]:
        """What was chosen, up to the last choice that was not 0."""
        chosen = self._chosen
        end = next((place for place in range(len(chosen), 0, -1) if chosen[place - 1]), 0)
        return tuple(chosen[:end])


def following(choices: Sequence[int]) -> Choose:
    """Choose as before; behind the end, whoever waits longest."""
    rest = iter(choices)
    return lambda _: next(rest, 0)


def schedules(seed: int, count: int) -> Iterator[Choose]:
    """As many ways to choose: first come first served, last come first served, then drawn ones.

    Every second drawn one keeps to the order of the queue but for a few choices: many bugs need one step at the wrong
    moment and everything else in order, which a choice that is always random seldom does.
    """
    yield lambda _: 0
    yield lambda ready: ready - 1
    for number in range(count - 2):
        source = random.Random(f"{seed} {number}")
        yield _anything(source) if number % 2 else _seldom(source)


def _anything(source: random.Random) -> Choose:
    return source.randrange


def _seldom(source: random.Random) -> Choose:
    share = source.choice((0.1, 0.2, 0.4))
    return lambda ready: source.randrange(ready) if source.random() < share else 0
