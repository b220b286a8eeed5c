"""The bench of one program: strikes go in, what was found is judged and counted, and witnesses come out.

Of the breaches of one set of rules the first is told and kept; all of them are counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from perdure import Claims
from perdure_tck.document import Pace, ShownStep, Struck, Witness
from perdure_tck.durability import Breach, Judged, Moment, judge_look
from perdure_tck.hazards import Kind
from perdure_tck.look import Look, writes_events
from perdure_tck.past import Past
from perdure_tck.program import Program
from perdure_tck.rules import rule
from perdure_tck.scenario_text import show
from perdure_tck.sweep import Measure, Progress, Swept, counted

from .images import Image
from .looking import Looker
from .proofs import Proof, Rerun, kept, text_of
from .rooms import Rooms
from .strikes import Strike

TOLD_EVERY = 16


class Bench:
    """Everything that is found about one program. `keep` is where proofs go, `words` and `settings` whose they are."""

    def __init__(
        self,
        program: Program,
        claims: Claims,
        words: str,
        settings: str,
        keep: Path | None,
        rooms: Rooms,
        progress: Progress,
    ) -> None:
        self.program, self.claims = program, claims
        self._words, self._settings, self._keep, self._rooms, self._progress = words, settings, keep, rooms, progress
        self.coverage: Counter[str] = Counter()
        self.measures: dict[str, Measure] = {}
        self.remarks: list[str] = []
        self.not_run: dict[Kind, str] = {}
        self.unrecorded = ""
        self.unproven = ""
        self.untouched = False
        self.operations = 0
        self.states = 0
        self._opened = 0
        self._witnesses: dict[tuple[str, ...], Witness] = {}
        self.paces: dict[str, Pace] = {}
        self._began = time.monotonic()

    def judge(self, strikes: Iterable[Strike], past: Past, looker: Looker, write_more: bool = True) -> None:
        """Look at the states of these strikes and judge each of them. They are asked for as workers are free."""
        more = write_more and writes_events(self.program)
        before = looker.looks
        for done, (strike, look) in enumerate(looked_at(strikes, looker, more), 1):
            self.count(strike, past, look)
            if done % TOLD_EVERY == 0:
                self._tell(done, strike.moment.context)
        self._opened += looker.looks - before

    def count(self, strike: Strike, past: Past, look: Look, rerun: Rerun | None = None) -> None:
        """Judge one state by its look."""
        judged = judge_look(past, strike.moment, look, self.claims)
        self.states += 1
        self.coverage.update(counted(past, strike.moment))
        self.coverage["writes_after"] += bool(look.added) and strike.moment.context == "kill"
        context = strike.moment.context
        self.measures[context] = self.measures.get(context, Measure()).with_state(judged)
        self.tell(judged, strike, past, rerun)

    def tell(self, judged: Judged, strike: Strike, past: Past, rerun: Rerun | None = None) -> None:
        """Make a witness of each breach that is the first of its rules, if any of these binds the backend."""
        for breach in judged.breaches:
            if breach.rules not in self._witnesses and any(rule(one).binds(self.claims) for one in breach.rules):
                self._rooms.refuse_full()
                image = None if rerun and strike.image is EMPTY_IMAGE else strike.image
                self._witnesses[breach.rules] = self._witness(breach, strike, past, image, rerun)

    def _witness(self, breach: Breach, strike: Strike, past: Past, image: Image | None, rerun: Rerun | None) -> Witness:
        proof = Proof(
            backend=self._words,
            claims=msgspec.structs.asdict(self.claims),
            name=self.program.name,
            program=text_of(self.program),
            answers=tuple((seen.number, seen.outcome) for seen in past.observations),
            moment=strike.moment,
            words=strike.words,
            model=strike.model,
            breaches=(breach,),
            rerun=rerun,
        )
        directory = self._kept(proof, image)
        struck = Struck(
            strike.moment.context,
            strike.words,
            strike.model,
            f"{strike.moment.told} of {len(self.program.steps)} steps",
            self._settings,
            directory,
        )
        text = show(msgspec.structs.replace(self.program, rules=breach.rules, hazards=self.program.hazards))
        steps = tuple(_steps(past, strike.moment, breach))
        return Witness(self.program.name, breach.rules, steps, text, 1, struck=struck)

    def paced(self, kind: str) -> None:
        """All that was done since the last time, or since the beginning, was for this kind of hazard."""
        pace = Pace(self.states, self._opened, time.monotonic() - self._began)
        for other in self.paces.values():
            pace = Pace(pace.states - other.states, pace.opened - other.opened, pace.seconds - other.seconds)
        self.paces[kind] = self.paces.get(kind, Pace()) + pace

    def _kept(self, proof: Proof, image: Image | None) -> str:
        """Where a proof is kept; "" if it is not. What was found stands all the same, and the run says what is not."""
        if self._keep is None:
            return ""
        try:
            return str(kept(proof, image, self._keep))
        except OSError as error:
            self.remarks.append(f"a proof cannot be kept in {self._keep}: {error.strerror}; make room and run again")
            return ""

    def _tell(self, done: int, context: str) -> None:
        rate = self.states / max(time.monotonic() - self._began, 1e-3)
        self._progress(done, done, f"{context}, {rate:.0f} states/s")

    def progress(self, done: int, known: int, what: str) -> None:
        self._progress(done, known, what)

    def swept(self) -> Swept:
        return Swept(
            program=self.program.name,
            witnesses=tuple(self._witnesses.values()),
            coverage=dict(+self.coverage),
            measures=self.measures,
            not_run=self.not_run,
            unrecorded=self.unrecorded,
            unproven=self.unproven,
            untouched=self.untouched,
            remarks=tuple(dict.fromkeys(self.remarks)),
            operations=self.operations,
            states=self.states,
            seconds=time.monotonic() - self._began,
            paces=self.paces,
        )


def looked_at(strikes: Iterable[Strike], looker: Looker, write_more: bool) -> Iterator[tuple[Strike, Look]]:
    """Each strike with the look at its state, in the order in which looks come."""
    waiting: dict[bytes, list[Strike]] = {}

    def images() -> Iterator[Image]:
        for strike in strikes:
            waiting.setdefault(strike.image.digest, []).append(strike)
            yield strike.image

    for image, look in looker.look_at(images(), write_more):
        yield from ((strike, look) for strike in waiting.pop(image.digest, ()))


def _steps(past: Past, moment: Moment, breach: Breach) -> Iterable[ShownStep]:
    """The history as people read it: what was answered, what was under way, and what was found afterwards."""
    for seen in past.observations[: moment.told]:
        yield ShownStep(seen.step.client, str(seen.step.operation), str(seen.outcome))
    if moment.under_way:
        step = past.program.steps[moment.under_way - 1]
        yield ShownStep(step.client, str(step.operation), "under way")
    yield ShownStep("", f"found {breach.what}".strip(), breach.found, breach.allowed)


EMPTY_IMAGE = Image({})
"""Stands for the files of a breach that lies in the answers."""
