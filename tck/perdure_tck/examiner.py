"""The examiner: runs programs on one backend and says what each of them proves.

Programs share a location and are told apart by a prefix on their ids; one that needs a location of its own gets it, and
after a deviation everybody gets a fresh one. A result is kept, so that a program that is about several rules runs once.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from perdure import Backend, Claims

from .document import ShownStep, Witness
from .history import Recorder
from .judge import Deviation, Foresight, judge
from .offers import Offers
from .outcomes import NoAnswer
from .overlap_examiner import OverlapExaminer
from .preflight import live_fault, shape_fault
from .program import Program
from .runner import Limits, execute
from .scenario_text import show
from .shrink import shrink
from .stage import KitFault, Stage
from .trial import Trial as Trial
from .trial import readable as readable

SHRUNK_MAX = 3
"""How many witnesses against the same rules are made small; of more, nobody reads the rest. A generated program is
always made small, since that tells its rule."""


SHARED_BY = 100
"""How many programs share a location: what others left is passed by, not waded through by a backend that looks at all
of it."""

FEED_SHARED_BY = 16
"""How many programs with queries share one. Each of them reads past what the others wrote."""

REPEATS = 3
REPEATS_MAX = 20
"""How often a witness is run again: that often if it always breaks its rule, and that often if it does not."""


class Finding(msgspec.Struct, frozen=True):
    """What one program proved: the witnesses against rules, what it exercised, and how many operations it took.

    A program that is about no rule, as generated ones are, exercised nothing that counts for one: `coverage` is empty.
    """

    program: str
    witnesses: tuple[Witness, ...]
    coverage: Mapping[str, int]
    operations: int


class Examiner:
    """Examines one backend. Use it as a context manager; leaving it closes what is open.

    Raises `KitFault` where the backend cannot be opened or closed.
    """

    def __init__(
        self,
        backend: Backend,
        claims: Claims | None = None,
        operation_limit_s: float = 5.0,
        open_limit_s: float = 60.0,
        recorder: Recorder | None = None,
    ) -> None:
        self.claims = claims or backend.claims
        self.backend = backend = msgspec.structs.replace(backend, claims=self.claims)
        self._limits = Limits(operation_limit_s)
        self._open_limit_s = open_limit_s
        self._recorder = recorder
        self._stages: dict[tuple[int | None, bool], Stage] = {}
        self._played: Counter[tuple[int | None, bool]] = Counter()
        self._trials = 0
        self._shrunk: Counter[tuple[str, ...]] = Counter()
        self._findings: dict[tuple[str, Claims], Finding] = {}
        self.overlaps = OverlapExaminer(backend, self._limits, open_limit_s, self._shared_stage, self._leave_stages)

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        try:
            while self._stages and kind is None:
                self._stages.popitem()[1].close()
        finally:
            self._leave_stages()
            self.overlaps.close()

    def offers(self) -> Offers:
        """What the backend offers. `KitFault` if something of it lacks a method."""
        stage = self._shared_stage(None)
        stage.open()
        storage = stage.run(stage.storage())
        fault = shape_fault(storage) or live_fault(storage, self.claims)
        if fault:
            raise KitFault(f"{self.backend.name}: {fault}")
        return Offers.of(storage)

    def examine(self, program: Program, claims: Claims | None = None) -> Finding:
        """Run and judge a program once; the same question gets the same answer.

        `claims` asks what would be if the backend claimed this.
        """
        held = claims or self.claims
        key = program.name, held
        if key not in self._findings:
            self._findings[key] = self._examine(program, held)
        return self._findings[key]

    def _examine(self, program: Program, claims: Claims) -> Finding:
        if program.overlaps:
            return self._examine_overlapping(program, claims)
        trial = self._try_shared(program, claims)
        if trial.deviations:
            self._leave_stages()  # whatever went wrong there must not colour the next program
        witnesses = tuple(self._witness(program, trial, deviation, claims) for deviation in trial.deviations)
        return Finding(program.name, witnesses, _counted_for(program, trial), len(trial.execution.observations))

    def examine_all(
        self,
        programs: Iterable[Program],
        enough: Callable[[Sequence[Finding]], bool] = lambda _: False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Sequence[Finding]:
        """Examine programs whose steps overlap, one after the other, until it is enough.

        `tell` is told the name of each before it runs; again, if a backend turns out to need a real event loop by then.
        """

        def examined(program: Program) -> Finding:
            tell(program.name)
            return self.examine(program)

        return self.overlaps.in_one_go(examined, programs, enough)

    def _examine_overlapping(self, program: Program, claims: Claims) -> Finding:
        once = not program.rules and program.schedule is not None  # a generated one: others are tried instead
        trial = self.overlaps.search(program, claims, 1) if once else self.overlaps.search(program, claims)
        witnesses = tuple(
            self.overlaps.witness(program, trial, deviation, claims, self._may_be_shrunk(program, deviation))
            for deviation in trial.deviations
        )
        return Finding(
            program.name, witnesses, _counted_for(program, trial), len(trial.execution.observations) * trial.runs
        )

    def _may_be_shrunk(self, program: Program, deviation: Deviation) -> bool:
        self._shrunk[deviation.rules] += 1
        return not program.rules or self._shrunk[deviation.rules] <= SHRUNK_MAX

    def _try_shared(self, program: Program, claims: Claims) -> Trial:
        if program.own_location:
            return self.try_alone(program, claims)
        stage = self._fresh_enough(program.page_size, program.uses_queries)
        trial = self._try(program, claims, stage)
        if stage.pulse.given_up and not trial.deviations:
            self._leave_stages()  # it was closing what was left open that gave no answer
        return trial

    def try_alone(self, program: Program, claims: Claims | None = None) -> Trial:
        """Run and judge a program on a fresh location; one with overlapping steps until a schedule deviates."""
        if program.overlaps:
            return self.overlaps.search(program, claims or self.claims)
        stage = Stage(self.backend, program.page_size, self._open_limit_s)
        try:
            trial = self._try(program, claims or self.claims, stage)
        except BaseException:  # Ctrl-C too: nobody else knows of this stage
            _close_after(stage)
            raise
        if trial.deviations:
            _close_after(stage)
        else:
            stage.close()
        return trial

    def _try(self, program: Program, claims: Claims, stage: Stage) -> Trial:
        self._trials += 1
        prefix = "" if program.private else f"k{self._trials}z"
        concrete = program.with_prefix(prefix)
        due = Foresight(concrete, claims, stage.page_size).due
        execution = execute(concrete, stage, self._limits, self._recorder, due, prefix)
        judgement = judge(concrete, execution, claims, stage.page_size)
        return Trial(concrete, prefix, execution, judgement.deviations, judgement.coverage)

    def _witness(self, program: Program, trial: Trial, deviation: Deviation, claims: Claims) -> Witness:
        """The smallest history that breaks the same rules at its last step."""

        def breaks(candidate: Program) -> bool:
            try:
                tried = self.try_alone(candidate, claims)
            except KitFault:  # a backend that is broken may break in other ways too; this is about one of them
                return False
            return _same(deviation, tried, candidate) is not None

        cut = msgspec.structs.replace(program, steps=program.steps[: deviation.number])
        silent = isinstance(trial.execution.observations[deviation.number - 1].outcome, NoAnswer)
        if silent or (program.rules and self._shrunk[deviation.rules] >= SHRUNK_MAX):
            return self._shown(cut, trial, deviation, 1)  # a silent one would cost the whole limit at each try
        self._shrunk[deviation.rules] += 1
        smallest, tries = shrink(cut, breaks)
        again, repeated = self._again(smallest, deviation, claims)
        if not again:  # not once: show what was seen where it was seen
            return msgspec.structs.replace(self._shown(cut, trial, deviation, tries), repeated=repeated + 1)
        shown = self._shown(smallest, *again[0], tries)
        return msgspec.structs.replace(shown, seen=len(again), repeated=repeated)

    def _again(
        self, program: Program, deviation: Deviation, claims: Claims
    ) -> tuple[list[tuple[Trial, Deviation]], int]:
        """The trials in which it happens again, and how many were made: few if it always does, more if it does not."""
        again: list[tuple[Trial, Deviation]] = []
        for number in range(1, REPEATS_MAX + 1):
            with contextlib.suppress(KitFault):
                trial = self.try_alone(program, claims)
                found = _same(deviation, trial, program)
                if found is not None:
                    again.append((trial, found))
            if number == REPEATS and len(again) == REPEATS:
                break
        return again, number

    def _shown(self, program: Program, trial: Trial, deviation: Deviation, tries: int) -> Witness:
        steps = [
            ShownStep(step.client, str(step.operation), trial.told(str(seen.outcome)))
            for step, seen in zip(program.steps, trial.execution.observations, strict=False)
        ]
        wrong = ShownStep(
            steps[-1].client, steps[-1].operation, trial.told(deviation.observed), trial.told(deviation.allowed)
        )
        prose = f"The smallest history found that breaks {' '.join(deviation.rules)} on {self.backend.name}."
        text = show(
            msgspec.structs.replace(
                program,
                prose=f"{prose}\nShrunk from {program.name}.",
                rules=deviation.rules,
                steps=tuple(msgspec.structs.replace(step, expected=()) for step in program.steps),
            )
        )
        return Witness(program.name, deviation.rules, (*steps[:-1], wrong), text, tries)

    def _shared_stage(self, page_size: int | None) -> Stage:
        return self._kept_stage(page_size, of_queries=False)

    def _fresh_enough(self, page_size: int | None, of_queries: bool) -> Stage:
        """The location of programs that ask queries, or of those that ask none; a fresh one now and then."""
        kind = page_size, of_queries
        self._played[kind] += 1
        if self._played[kind] % (FEED_SHARED_BY if of_queries else SHARED_BY) == 0 and kind in self._stages:
            self._stages.pop(kind).close()
        return self._kept_stage(page_size, of_queries)

    def _kept_stage(self, page_size: int | None, of_queries: bool) -> Stage:
        if (page_size, of_queries) not in self._stages:
            self._stages[page_size, of_queries] = Stage(self.backend, page_size, self._open_limit_s)
        return self._stages[page_size, of_queries]

    def _leave_stages(self) -> None:
        while self._stages:
            _close_after(self._stages.popitem()[1])


def _counted_for(program: Program, trial: Trial) -> Mapping[str, int]:
    return dict(trial.coverage) if program.rules else {}


def _same(deviation: Deviation, trial: Trial, program: Program) -> Deviation | None:
    """The deviation of the same kind in the last step of another trial.

    The rule of a program that names none is told by what is left when it is small, so it may change on the way.
    """
    for one in trial.deviations:
        alike = one.rules == deviation.rules if program.rules else one.field == deviation.field
        if alike and one.number == len(program.steps):
            return one
    return None


def _close_after(stage: Stage) -> None:
    """Close a stage whose backend may be past answering; what matters was found before."""
    with contextlib.suppress(KitFault):
        stage.close()
