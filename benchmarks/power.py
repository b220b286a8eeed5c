"""How soon generated programs find the animals of the zoo: `python benchmarks/power.py`. Some minutes.

Each animal is hunted with several seeds, with generated programs alone and no scenario, until the first program
deviates or the programs are used up. They are mixed as in the gate: behind every tenth one comes one whose steps
overlap. What is counted: programs and seconds up to there, seconds to make the history small, its steps, and whether it
is blamed on a rule that names the cause. The known minimum beside the steps is that of the shortest witness from
anywhere, the scenarios included.

Seconds are those of the processor, so that they are the same on a busy machine. Waiting is not in them.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import entry_points
from multiprocessing import get_context
from statistics import median
from typing import Protocol

import msgspec
from perdure import Backend, Claims
from perdure_tck import generation, overlap_generation
from perdure_tck.engine import OVERLAPPING_SHARE, Request, conduct
from perdure_tck.examiner import Examiner, Finding
from perdure_tck.offers import Offers
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program

SEEDS = 7
PROGRAMS = 1000
HOPELESS = 2
"""After so many seeds without a find the others are not tried: what is never found takes longest."""

LIMIT_S = 2.0
"""How long an animal may be silent: shorter than in a run, and long enough for a busy machine."""

FIRST_S, SHRUNK_S, LENGTH = 0.1, 2.0, 1.5
"""The goals: median seconds to the first failure and to its shortest form, and steps as a multiple of the minimum."""

HEADINGS = ("animal", "found", "programs", "most", "first", "shrunk", "steps", "minimum", "named", "blamed on")


class Animal(Protocol):
    """What the entry points of `perdure.zoo` hold."""

    name: str
    killed_by: tuple[str, ...]
    backend: Backend
    chosen: str


class Hunt(msgspec.Struct, frozen=True):
    """One animal hunted with one seed: `programs` up to the first that deviated, that one included; 0 for none."""

    programs: int = 0
    seconds: float = 0.0
    shrinking_s: float = 0.0
    steps: int = 0
    rules: tuple[str, ...] = ()


class Trophy(msgspec.Struct, frozen=True):
    """All that was found out about one animal."""

    name: str
    killed_by: tuple[str, ...]
    hunts: tuple[Hunt, ...]
    minimum: int

    @property
    def caught(self) -> list[Hunt]:
        return [hunt for hunt in self.hunts if hunt.programs]

    @property
    def escaped(self) -> bool:
        """Whether it was missed with at least one seed."""
        return len(self.caught) < len(self.hunts)


def zoo() -> Mapping[str, Animal]:
    animals: Iterable[Animal] = itertools.chain.from_iterable(one.load() for one in entry_points(group="perdure.zoo"))
    return {animal.name: animal for animal in animals}


def hunted(name: str, seeds: int, programs: int) -> Trophy:
    animal = zoo()[name]
    hunts: list[Hunt] = []
    for seed in range(seeds):
        if seed < HOPELESS or any(hunt.programs for hunt in hunts):
            hunts.append(_hunt(animal, seed, programs))
    lengths = [_shortest_of_scenarios(animal), *(hunt.steps for hunt in hunts)]
    return Trophy(name, animal.killed_by, tuple(hunts), min((length for length in lengths if length), default=0))


def _hunt(animal: Animal, seed: int, programs: int) -> Hunt:
    """Until the first program that deviates. What it costs to shrink that one is measured apart."""
    with Examiner(animal.backend, operation_limit_s=LIMIT_S) as examiner:
        offers = examiner.offers()
        start = time.process_time()
        for number, program in enumerate(_mixed(seed, programs), 1):
            within = overlap_generation.within if program.overlaps else _within
            asked = within(program, examiner.claims, offers)
            before = time.process_time()
            finding = examiner.examine(asked)
            if finding.witnesses:
                now = time.process_time()
                examiner.try_alone(asked)
                once = time.process_time() - now
                return _found(number, before + once - start, max(now - before - once, 0.0), finding)
    return Hunt()


def _within(program: Program, claims: Claims, offers: Offers) -> Program:
    return generation.within(program, claims, *offers)


def _mixed(seed: int, count: int) -> Iterator[Program]:
    """So many programs, as many of them with overlapping steps as in the gate."""
    overlapping = overlap_generation.programs(seed, count)
    for number, program in enumerate(generation.programs(seed, count), 1):
        yield program
        if number % OVERLAPPING_SHARE == 0:
            yield next(overlapping)


def _found(programs: int, seconds: float, shrinking_s: float, finding: Finding) -> Hunt:
    rules = tuple(dict.fromkeys(rule for witness in finding.witnesses for rule in witness.rules))
    return Hunt(programs, seconds, shrinking_s, min(len(one.steps) for one in finding.witnesses), rules)


def _shortest_of_scenarios(animal: Animal) -> int:
    """The steps of the shortest witness that the scenarios yield against a rule that names the cause; 0 for none."""
    request = Request(
        programs=installed_programs(), rules=animal.killed_by, today=datetime.date.today(), operation_limit_s=LIMIT_S
    )
    results = [result for result in conduct(animal.backend, request).rules if result.id in animal.killed_by]
    return min((len(one.steps) for result in results for one in result.witnesses), default=0)


def line(trophy: Trophy) -> Sequence[str]:
    caught = trophy.caught
    found = f"{len(caught)}/{len(trophy.hunts)}"
    if not caught:
        return (trophy.name, found, *("",) * 5, str(trophy.minimum or ""), "", "")
    named = sum(bool(set(hunt.rules) & set(trophy.killed_by)) for hunt in caught)
    others = sorted({rule for hunt in caught for rule in hunt.rules} - set(trophy.killed_by))
    return (
        trophy.name,
        found,
        f"{median(hunt.programs for hunt in caught):g}",
        str(max(hunt.programs for hunt in caught)),
        _milliseconds(hunt.seconds for hunt in caught),
        _milliseconds(hunt.shrinking_s for hunt in caught),
        f"{median(hunt.steps for hunt in caught):g}",
        str(trophy.minimum),
        f"{named}/{len(caught)}",
        " ".join(others),
    )


def _milliseconds(seconds: Iterable[float]) -> str:
    return f"{1000 * median(seconds):.0f} ms"


def _order(trophy: Trophy) -> tuple[int, float, str]:
    """The hardest first: those that got away, then those that took the most programs."""
    caught = trophy.caught
    return len(caught), -median([hunt.programs for hunt in caught] or [0]), trophy.name


def summary(trophies: Sequence[Trophy]) -> Sequence[str]:
    always = [trophy for trophy in trophies if not trophy.escaped]
    caught = [hunt for trophy in trophies for hunt in trophy.caught]
    named = sum(bool(set(hunt.rules) & set(trophy.killed_by)) for trophy in trophies for hunt in trophy.caught)
    long = [one.name for one in always if median(hunt.steps for hunt in one.hunts) > LENGTH * one.minimum]
    slow = [one.name for one in always if median(hunt.seconds for hunt in one.hunts) > FIRST_S]
    slowly_shrunk = [one.name for one in always if median(hunt.shrinking_s for hunt in one.hunts) > SHRUNK_S]
    return (
        f"{len(always)} of {len(trophies)} animals found with every seed",
        f"{named} of {len(caught)} witnesses blamed on a rule that names the cause",
        f"first failure after {median(hunt.programs for hunt in caught):g} programs (median of all hunts)",
        f"later than {FIRST_S:g} s: {_listed(slow)}",
        f"shrunk in more than {SHRUNK_S:g} s: {_listed(slowly_shrunk)}",
        f"more than {LENGTH:g} times the known minimum: {_listed(long)}",
        f"found with some seeds only: {_listed([one.name for one in trophies if one.escaped and one.caught])}",
        f"given up after {HOPELESS} seeds: {_listed([one.name for one in trophies if not one.caught])}",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def plain(lines: Sequence[Sequence[str]]) -> str:
    table = [HEADINGS, *lines]
    widths = [max(len(one[column]) for one in table) for column in range(len(HEADINGS))]
    padded = ((cell.ljust(width) for cell, width in zip(one, widths, strict=True)) for one in table)
    return "\n".join("  ".join(one).rstrip() for one in padded)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(HEADINGS) - 2), "---"]
    return "\n".join(f"| {' | '.join(one)} |" for one in [HEADINGS, rule, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon generated programs find the animals of the zoo.")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="default: %(default)s")
    parser.add_argument("--programs", type=int, default=PROGRAMS, metavar="N", help="at most; default: %(default)s")
    parser.add_argument("--only", action="append", choices=list(zoo()), metavar="ANIMAL", help="may be repeated")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N", help="default: %(default)s")
    parser.add_argument("--markdown", action="store_true", help="print a table for a page")
    options = parser.parse_args()
    swept = [animal.name for animal in zoo().values() if animal.chosen]
    names = options.only or [name for name in zoo() if name not in swept]
    arguments = names, itertools.repeat(options.seeds), itertools.repeat(options.programs)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        trophies = sorted(_told(pool.map(hunted, *arguments), len(names)), key=_order)
    print("\n".join(summary(trophies)))
    print(f"not hunted, since only sweeps show what is wrong with them: {_listed(swept)}", end="\n\n")
    print((markdown if options.markdown else plain)([line(trophy) for trophy in trophies]))


def _told(trophies: Iterable[Trophy], total: int) -> Iterable[Trophy]:
    for number, trophy in enumerate(trophies, 1):
        print(f"{number} of {total}: {trophy.name}", file=sys.stderr)
        yield trophy


if __name__ == "__main__":
    main()
