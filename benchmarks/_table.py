"""Measuring in rotation, and the table that comes of it: each figure beside the raw limit of the same run.

Every suite runs all its cases once per repetition, each repetition beginning with another case, so that other load on
the machine hits a figure and its limit alike. A ratio is the median of the ratios within the repetitions. What is
measured is not decided here, and nothing here fails because something is slow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from statistics import median

import msgspec
from _machine import machine_facts

REPETITIONS_MIN = 5
HEADINGS = ("what", "median", "min..max", "beside", "ratio", "min..max", "goal")


class Goal(msgspec.Struct, frozen=True):
    """A ratio to reach: at least this many times what stands beside it, or at most."""

    ratio: float
    at_most: bool = False

    def judged(self, ratio: float) -> str:
        reached = ratio <= self.ratio if self.at_most else ratio >= self.ratio
        return f"{'<= ' if self.at_most else ''}{self.ratio:g}x {'reached' if reached else 'short'}"


class Beside(msgspec.Struct, frozen=True):
    """What a figure is compared with: another case of the suite, or a constant under any name."""

    name: str
    goal: Goal | None = None
    constant: float | None = None


class Case(msgspec.Struct, frozen=True):
    """A figure. `run` does the work once, from fresh, and gives it: most often so many a second."""

    name: str
    run: Callable[[], Awaitable[float]]
    beside: Sequence[Beside] = ()
    unit: str = "/s"


class Suite(msgspec.Struct, frozen=True):
    """Cases that are measured together. `note` stands under the table."""

    title: str
    cases: Sequence[Case]
    note: str = ""


class NotRun(Exception):
    """A suite cannot be measured here; the message says what is missing."""


OpenSuite = Callable[[Path], AbstractAsyncContextManager[Suite]]
"""Makes ready in a directory of its own what a suite needs, and releases it."""


def seconds_since(start: float) -> float:
    return time.perf_counter() - start


async def rate(count: int, work: Awaitable[object]) -> float:
    """How many a second, if this work is `count` of them."""
    start = time.perf_counter()
    await work
    return count / seconds_since(start)


async def measure(suite: Suite, repetitions: int) -> Mapping[str, list[float]]:
    """The figures of each case by name, one per repetition."""
    figures: dict[str, list[float]] = {case.name: [] for case in suite.cases}
    for repetition in range(repetitions):
        first = repetition % len(suite.cases)
        for case in (*suite.cases[first:], *suite.cases[:first]):
            gc.collect()
            figures[case.name].append(await case.run())
            await asyncio.sleep(0)  # where Ctrl-C takes effect after a case that never suspends
    return figures


def rows(suite: Suite, figures: Mapping[str, list[float]]) -> list[Sequence[str]]:
    """One line for each figure, and one more for each further thing that it stands beside."""
    lines: list[Sequence[str]] = []
    for case in suite.cases:
        own = figures[case.name]
        head = (case.name, f"{_short(median(own))}{case.unit}", f"{_short(min(own))}..{_short(max(own))}")
        compared = [_compared(own, beside, figures) for beside in case.beside]
        lines.append((*head, *(compared[0] if compared else ("", "", "", ""))))
        lines.extend(("", "", "", *comparison) for comparison in compared[1:])
    return lines


def _compared(own: Sequence[float], beside: Beside, figures: Mapping[str, list[float]]) -> Sequence[str]:
    limits = figures[beside.name] if beside.constant is None else [beside.constant] * len(own)
    ratios = [figure / limit for figure, limit in zip(own, limits, strict=True)]
    ratio = median(ratios)
    spread = f"{_ratio(min(ratios))}..{_ratio(max(ratios))}"
    return beside.name, f"{_ratio(ratio)}x", spread, beside.goal.judged(ratio) if beside.goal else ""


def _short(figure: float) -> str:
    """Three digits, with k and M: 3.14, 31.4 k, 314 k, 3.14 M."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if figure >= size:
            return f"{_digits(figure / size)}{letter}"
    return _digits(figure)


def _digits(figure: float) -> str:
    return f"{figure:.{0 if figure >= 99.95 else 1 if figure >= 9.995 else 2}f}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.{3 if ratio < 0.1 else 2 if ratio < 10 else 0}f}"


def plain(lines: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    table = [HEADINGS, *lines]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    padded = ((cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The same for a page."""
    rule = ["---", "---:", "---:", "---", "---:", "---:", "---"]
    return "\n".join(f"| {' | '.join(line)} |" for line in [HEADINGS, rule, *lines])


def main(description: str, suites: Mapping[str, OpenSuite]) -> None:
    """The command: parse, measure in a temporary directory, print. Whatever ends it, the directory goes."""
    options = _options(description, suites)
    try:
        with tempfile.TemporaryDirectory(prefix="perdure-benchmark-", dir=options.directory) as directory:
            _print_all(options, suites, Path(directory))
    except KeyboardInterrupt:
        sys.exit("interrupted")


def _options(description: str, suites: Mapping[str, OpenSuite]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS_MIN, metavar="N", help="default: %(default)s")
    parser.add_argument("--directory", type=Path, default=Path(), help="where the files are made; default: here")
    parser.add_argument("--only", action="append", choices=list(suites), help="a suite; may be repeated")
    parser.add_argument("--markdown", action="store_true", help="print tables for a page")
    options = parser.parse_args()
    if options.repetitions < REPETITIONS_MIN:
        print(f"--repetitions {options.repetitions}: fewer than {REPETITIONS_MIN} make no figure", file=sys.stderr)
    return options


def _print_all(options: argparse.Namespace, suites: Mapping[str, OpenSuite], directory: Path) -> None:
    for fact in machine_facts(directory):
        print(fact)
    print(f"median of {options.repetitions} repetitions in rotated order; ratio: median of the ratios within them")
    for name in options.only or suites:
        place = directory / name
        place.mkdir()
        print(f"\n{asyncio.run(_text(name, suites[name], place, options))}", flush=True)


async def _text(name: str, open_suite: OpenSuite, place: Path, options: argparse.Namespace) -> str:
    """What is printed of one suite."""
    start = time.perf_counter()
    head = "### " if options.markdown else ""
    try:
        async with open_suite(place) as suite:
            lines = rows(suite, await measure(suite, options.repetitions))
    except NotRun as reason:
        return f"{head}{name}: NOT RUN: {reason}"
    table = markdown(lines) if options.markdown else plain(lines)
    note = f"\n{suite.note}" if suite.note else ""
    blank = "\n" if options.markdown else ""
    return f"{head}{name}: {suite.title} ({seconds_since(start):.0f} s)\n{blank}{table}{blank}{note}"
