"""Exploration: random search for programs that break a rule of one backend, for as long as one lets it.

What was found before is tried first. Then two lanes take turns: volume, where plain `random.Random` makes the bytes,
and Hypothesis, which draws them its own way; both drive the decoder of the gate. Nothing here is a verdict: a search
that found nothing has proved nothing. It differs from the gate in three ways, each measured on broken backends that the
gate lets through:

- Programs are longer. A bug that needs a history of its own was found by 160 steps in 12 000 operations, where programs
  of 40 steps had not found it in 200 000.
- Some programs are let loose: raw ids at a location of their own, contents sixteen times as large.
- A program that has deviated is made small by `perdure_tck.shrink`, not by Hypothesis. Of bugs of the zoo both left the
  same steps, ours after 17 tries in 20 ms, the shrinking of bytes after 270 tries in 760 ms.

Neither programs bred from those that reached new states nor `target()` found anything sooner than fresh bytes, so that
there are none.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase
from perdure import Backend, Claims

from .document import Witness
from .examiner import Examiner, Trial
from .finds import Find
from .generation import CODE_SIZE, HEAD_SIZE, within
from .judge import Deviation
from .loose import loose
from .offers import Offers
from .outcomes import NoAnswer
from .preflight import claims_fault
from .program import Program
from .shrink import shrink
from .stage import KitFault
from .tally import Tally

LENGTHS = (40, 160, 160, 320)
"""How many codes a program has: mostly many, and often enough few, since each program tries other ids and pages."""

TURN = {"volume": 200, "hypothesis": 40}
"""How many programs a lane runs before it is the other's turn, each turn at a fresh location."""

AGAIN = "again"
KEY = b"perdure.exploration"
"""Under which the bytes of programs that deviated lie in the example database."""


class Quest(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched, and for how long. Rules in `waived` are known to be broken, and finds against them not told."""

    claims: Claims
    seed: int
    duration_s: float
    finds_max: int | None = None
    waived: frozenset[str] = frozenset()
    operation_limit_s: float = 5.0
    open_limit_s: float = 60.0
    examples: Path | None = None


class Expedition(msgspec.Struct, frozen=True):
    """How a search ended: what it found, the numbers, and whether somebody or something ended it early."""

    finds: tuple[Find, ...]
    tally: Tally
    interrupted: bool = False
    fault: KitFault | None = None


class Watch(Protocol):
    """Who watches a search."""

    def progress(self, tally: Tally) -> None:
        """After each program."""

    def found(self, find: Find) -> None:
        """As soon as something is found that was not found before."""


class Nobody:
    """A watch that sees nothing."""

    def progress(self, tally: Tally) -> None: ...

    def found(self, find: Find) -> None: ...


def explore(
    backend: Backend, quest: Quest, watch: Watch | None = None, clock: Callable[[], float] = time.monotonic
) -> Expedition:
    """Search until the time is up, enough is found, or somebody presses Ctrl-C; what was found is kept in any case.

    Never raises for what the backend does: what the kit cannot judge ends the search and is in the result.
    """
    search = _Search(backend, quest, watch or Nobody(), clock)
    interrupted, fault = False, None
    try:
        search.run()
    except KeyboardInterrupt:
        interrupted = True
    except KitFault as error:
        fault = error
    return Expedition(tuple(search.finds.values()), search.tally, interrupted, fault)


class _Ground(Examiner):
    """An examiner that gives a trial without its witness: most of what deviates has been seen before."""

    def __init__(self, backend: Backend, claims: Claims, operation_limit_s: float, open_limit_s: float = 60.0) -> None:
        super().__init__(backend, claims, operation_limit_s, open_limit_s)
        self._full_limit_s = operation_limit_s

    def __enter__(self) -> _Ground:
        return self

    def trial(self, program: Program) -> Trial:
        found = self._try_shared(program, self.claims)
        if found.deviations:
            self._leave_stages()  # whatever went wrong there must not colour the next program
        return found

    def witness(self, program: Program, trial: Trial, deviation: Deviation) -> Witness:
        if _is_silent(trial, deviation.number):
            return self._silent_witness(program, trial, deviation)
        return self._witness(program, trial, deviation, self.claims)

    def _silent_witness(self, program: Program, trial: Trial, deviation: Deviation) -> Witness:
        """A small history that ends in silence; the gate has no time for that, since each try waits for the limit.

        After two of them the limit is cut short. So what is left is tried once more at full length, and counts only if
        it is silent then too.
        """
        cut = msgspec.structs.replace(program, steps=program.steps[: deviation.number])

        def is_silent(candidate: Program) -> bool:
            try:
                return _is_silent(self.try_alone(candidate), len(candidate.steps))
            except KitFault:  # a backend that is broken may break in other ways too; this is about one of them
                return False

        smallest, tries = shrink(cut, is_silent)
        with _Ground(self.backend, self.claims, self._full_limit_s) as patient:
            again = patient.try_alone(smallest)
        if _is_silent(again, len(smallest.steps)):
            return self._shown(smallest, again, again.deviations[-1], tries)
        return self._shown(cut, trial, deviation, tries)


def _is_silent(trial: Trial, number: int) -> bool:
    """Whether the program ended at that step for want of an answer."""
    observations = trial.execution.observations
    return len(observations) == number and isinstance(observations[-1].outcome, NoAnswer)


class _Search:
    def __init__(self, backend: Backend, quest: Quest, watch: Watch, clock: Callable[[], float]) -> None:
        self.finds: dict[tuple[str, ...], Find] = {}
        self.tally = Tally()
        self._backend, self._quest, self._watch, self._clock = backend, quest, watch, clock
        self._began = clock()
        self._examples = _Examples(quest.examples)
        self._source = random.Random(quest.seed)
        self._alike: Counter[tuple[object, ...]] = Counter()
        self._offers = Offers()

    def run(self) -> None:
        fault = claims_fault(self._quest.claims)
        if fault:
            raise KitFault(f"the claims are malformed: {fault}")
        with self._new_ground() as ground:
            self._offers = ground.offers()
            self._refuse_nothing()
            for codes in self._examples.all():
                self._replay(ground, codes)
        lanes = itertools.cycle([self._volume, self._volume, self._volume, self._volume, self._hypothesis])
        for turn, lane in enumerate(lanes):
            if self._over():
                return
            with self._new_ground() as ground:
                lane(ground, turn)

    def _new_ground(self) -> _Ground:
        quest = self._quest
        return _Ground(self._backend, quest.claims, quest.operation_limit_s, quest.open_limit_s)

    def _refuse_nothing(self) -> None:
        if not any(self._offers):
            raise KitFault(f"{self._backend.name} offers neither a journal nor a snapshot store")

    def _over(self) -> bool:
        self.tally.elapsed_s = self._clock() - self._began
        return self._enough() or self.tally.elapsed_s >= self._quest.duration_s

    def _enough(self) -> bool:
        most = self._quest.finds_max
        return most is not None and len(self.finds) >= most

    # ------------------------------------------------------------------------------------------------------- the lanes

    def _replay(self, ground: _Ground, codes: bytes) -> None:
        """Try again what deviated in an earlier search; what does not any more is forgotten."""
        if not self._over() and not self._try(ground, codes, AGAIN):
            self._examples.forget(codes)

    def _volume(self, ground: _Ground, turn: int) -> None:
        for _ in range(TURN["volume"]):
            if self._over():
                return
            self._try(ground, self._source.randbytes(_size(self._source.choice(LENGTHS))), "volume")

    def _hypothesis(self, ground: _Ground, turn: int) -> None:
        """One turn of Hypothesis, of as many examples as there is time for.

        What deviates does not fail the property: the find is kept, and the search goes on behind it. What ends the turn
        is kept too and raised afterwards, since Hypothesis would take it for a counterexample.
        """
        faults: list[KitFault] = []
        size = _size(LENGTHS[turn % len(LENGTHS)])

        @seeded(self._quest.seed + turn)
        @settings(
            phases=[Phase.generate],
            max_examples=max(1, min(TURN["hypothesis"], self._programs_left())),
            deadline=None,
            database=None,
            derandomize=False,
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.binary(min_size=size, max_size=size))
        def holds(codes: bytes) -> None:
            if faults or self._over():
                return
            try:
                self._try(ground, codes, "hypothesis")
            except KitFault as fault:
                faults.append(fault)

        holds()
        if faults:
            raise faults[0]

    def _programs_left(self) -> int:
        """How many programs there is time for, at the speed so far."""
        left_s = self._quest.duration_s - self.tally.elapsed_s
        return int(left_s * self.tally.programs.total() / max(self.tally.elapsed_s, 0.001))

    # ------------------------------------------------------------------------------------------------- what both do

    def _try(self, ground: _Ground, codes: bytes, lane: str) -> bool:
        """Run one program, and keep what it found that is new; whether it deviated."""
        name = f"explored_{self._quest.seed}_{self.tally.programs.total()}"
        program = within(loose(codes, name), ground.claims, *self._offers)
        if not program.steps:
            return False
        trial = ground.trial(program)
        self.tally.count(program, trial, ground.claims, lane)
        for deviation in trial.deviations:
            if not self._enough() and (lane == AGAIN or self._worth_a_look(program, trial, deviation)):
                self._examples.keep(codes)  # first, so that Ctrl-C from here on loses nothing but time
                self._keep(Find(ground.witness(program, trial, deviation), codes))
        self._watch.progress(self.tally)
        return bool(trial.deviations)

    def _worth_a_look(self, program: Program, trial: Trial, deviation: Deviation) -> bool:
        """Whether to make a deviation small: the 1st, 2nd, 4th, 8th ... of those that look alike.

        They are mostly one bug, and to make each of them small would be all that is done in the time.
        """
        at = deviation.number - 1
        outcome = type(trial.execution.observations[at].outcome)
        look = deviation.rules, deviation.field, program.steps[at].operation.kind, outcome
        self._alike[look] += 1
        return self._alike[look].bit_count() == 1

    def _keep(self, find: Find) -> None:
        """Keep a find that differs from all others, and its bytes; forget the bytes of every other."""
        waived = set(find.witness.rules) <= self._quest.waived
        self.tally.waived += waived
        if not waived and find.shape not in self.finds:
            self.finds[find.shape] = find
            self.tally.finds = len(self.finds)
            self._watch.found(find)
        if all(find.codes != kept.codes for kept in self.finds.values()):
            self._examples.forget(find.codes)


class _Examples:
    """The bytes of programs that deviated, kept in a directory from one search to the next; or nowhere."""

    def __init__(self, directory: Path | None) -> None:
        self._database: ExampleDatabase | None = DirectoryBasedExampleDatabase(directory) if directory else None

    def all(self) -> list[bytes]:
        return sorted(self._database.fetch(KEY)) if self._database else []

    def keep(self, codes: bytes) -> None:
        if self._database:
            self._database.save(KEY, codes)

    def forget(self, codes: bytes) -> None:
        if self._database:
            self._database.delete(KEY, codes)


def _size(codes: int) -> int:
    return HEAD_SIZE + CODE_SIZE * codes
