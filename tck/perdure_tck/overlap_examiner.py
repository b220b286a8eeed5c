"""Examines programs with overlapping steps: under many schedules, and the one that breaks a rule made small.

On a simulated event loop a schedule is part of the witness and repeats it exactly. A backend that cannot run there,
since it has threads or sockets of its own, is judged on a real loop: each program several times, its clients waiting
for moments that a seed says. Then there is no schedule to repeat, and a witness says how often it was seen.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from perdure import Backend, Claims

from .document import ShownStep, Witness
from .history import Execution, Observation
from .judge import Deviation, Judgement
from .operations import Batch, Highest, Replay, Take, Write
from .outcomes import AnyOutcome, NoAnswer, Stuck
from .overlap import judge_overlapping
from .overlap_runner import real, simulated
from .program import Program, Step
from .runner import Limits
from .scenario_text import show
from .scratch import new_directory, remove
from .shrink import TRIES_MAX, shrink
from .simulation import END_S, Choose, Schedule, SimulatedThread, following, schedules
from .stage import KitFault, Pulse, Result, Silent, Stage
from .trial import Trial

SCHEDULES = 40
"""Under how many schedules a scenario is run."""

SCHEDULES_TO_SHRINK = 16
"""Under how many schedules a smaller program is tried, besides the one that broke the rule before."""

REPEATS_OF_A_SCHEDULE = 3
"""How often a witness with a schedule is run again: always the same, or the backend draws from elsewhere."""

REPEATS = 10
"""How often a program is run on a real loop."""

TRIES_ON_REAL_LOOP_MAX = 60
BUDGET_S = 2.0
AT_LEAST = 6
"""A backend that is slow to open is run that often in any case, and not for longer than this. What is measured is the
time of our own thread: how many schedules are tried is not to depend on what else the machine does."""

Examined = TypeVar("Examined")

SEED = 2026
NOT_HERE = "a thread or a connection of its own"
JUDGEMENTS_MAX = 1_000

PROBE = Program(
    "probe",
    "",
    (),
    (
        Step(Write((Batch("p", 1, 2),)), block=1),
        Step(Replay("p"), block=1),
        Step(Highest("p"), block=1),
    ),
)
"""One client alone: what gets stuck here needs something that the simulation does not have."""


class OverlapExaminer:
    """Examines one backend. `shared_stage` gives the stage, on a real loop, of a page size."""

    def __init__(
        self,
        backend: Backend,
        limits: Limits,
        open_limit_s: float,
        shared_stage: Callable[[int | None], Stage],
        leave_stages: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._open_limit_s = open_limit_s
        self._shared_stage = shared_stage
        self._leave_stages = leave_stages
        self._thread: SimulatedThread | None = None
        self._trials = 0
        self._pulse = Pulse()
        self._not_simulated: str | None = None
        self._directory: Path | None = None
        self._closed = False
        self._judgements: dict[tuple[tuple[Step, ...], Execution, Claims], Judgement] = {}

    def close(self) -> None:
        """End what is under way in the thread, which Ctrl-C does not reach, and only then remove its directory."""
        self._closed = True
        thread = self._thread
        self._leave_thread()
        if thread is not None and not thread.blocked:
            thread.join(END_S)
        self._remove_directory()

    def _leave_thread(self) -> None:
        if self._thread is not None:
            self._thread.leave()
            self._thread = None

    @property
    def not_simulated(self) -> str:
        """Why this backend runs on a real loop only; "" if it runs on a simulated one."""
        if self._not_simulated is None:
            self._not_simulated = ""
            try:
                self._in_thread(lambda: self._played(PROBE, lambda _: 0))
            except KitFault:  # it cannot be opened there; if it cannot be elsewhere either, that is said there
                self._not_simulated = NOT_HERE
        return self._not_simulated

    # ------------------------------------------------------------------------------------------------------- searching

    def search(self, program: Program, claims: Claims, count: int = SCHEDULES) -> Trial:
        """Run a program until a run deviates, or as often as is worth while. The last trial has the coverage of all."""
        found = None if self.not_simulated else self._in_thread(lambda: self._searched(program, claims, count))
        return found or self._searched(program, claims, count)

    def in_one_go(
        self,
        examine: Callable[[Program], Examined],
        programs: Iterable[Program],
        enough: Callable[[Sequence[Examined]], bool],
    ) -> Sequence[Examined]:
        """What comes of many programs, until it is enough. To change threads for each would take most of the time."""
        waiting, found = deque(programs), list[Examined]()
        if not self.not_simulated:
            self._in_thread(lambda: self._all_examined(examine, waiting, found, enough))
        while waiting and not enough(found):
            found.append(examine(waiting.popleft()))
        return found

    def _all_examined(
        self,
        examine: Callable[[Program], Examined],
        waiting: deque[Program],
        found: list[Examined],
        enough: Callable[[Sequence[Examined]], bool],
    ) -> None:
        mine = self._thread
        while waiting and not self.not_simulated:
            examined = examine(waiting[0])
            if self._thread is not mine:  # this thread was left behind, and another one goes on in its place
                return
            if not self.not_simulated:  # else it is examined again
                found.append(examined)
                waiting.popleft()
            if enough(found):
                waiting.clear()

    def _in_thread(self, call: Callable[[], Result]) -> Result | None:
        """What a function gives that is called where simulations run; None if it blocks, also when called again.

        Again, since a machine that has too much to do may be as silent as a loop that is blocked.
        """
        for _ in range(2):
            if self._thread is None or self._thread.blocked:
                self._leave_thread()
                self._thread, self._pulse = SimulatedThread(), Pulse()
            with contextlib.suppress(Silent):
                return self._thread.do(call, self._pulse)
        self._not_simulated = "it blocks its event loop"
        return None

    def _searched(self, program: Program, claims: Claims, count: int) -> Trial:
        coverage: Counter[str] = Counter()
        runs = 0
        last: Trial | None = None
        for trial in self._trials_of(program, claims, count):
            runs += 1
            last = trial
            coverage.update(trial.coverage)
            if trial.deviations:
                break
        assert last is not None
        return Trial(last.program, last.prefix, last.execution, last.deviations, coverage, runs)

    def _trials_of(self, program: Program, claims: Claims, count: int) -> Iterator[Trial]:
        if not self.not_simulated:
            yield from self._on_schedules(program, claims, count)
        if self.not_simulated:  # also if that turned out on the way
            for _ in range(min(count, REPEATS)):
                yield self._on_real_loop(program, claims)

    def _on_schedules(self, program: Program, claims: Claims, count: int) -> Iterator[Trial]:
        ways: Iterable[Choose] = schedules(SEED, count) if program.schedule is None else [following(program.schedule)]
        began, seen = time.thread_time(), set[tuple[int, ...]]()
        for number, choose in enumerate(ways, 1):
            schedule = Schedule(choose)
            execution = self._played(program, schedule)
            if execution is None:
                return
            if schedule.choices not in seen:
                seen.add(schedule.choices)
                ran = msgspec.structs.replace(program, schedule=schedule.choices)
                yield self._judged(ran, "", execution, claims, {"interleavings": 1, "schedules": 1})
            if not schedule.asked or (number >= AT_LEAST and time.thread_time() - began > BUDGET_S):
                return

    def _judged(
        self, program: Program, prefix: str, execution: Execution, claims: Claims, counts: Mapping[str, int]
    ) -> Trial:
        judgement = self._judgement(program, execution, claims)
        coverage = Counter(judgement.coverage)
        coverage.update({} if judgement.deviations else counts)
        return Trial(program, prefix, execution, judgement.deviations, coverage)

    def _judgement(self, program: Program, execution: Execution, claims: Claims) -> Judgement:
        """Judged once, where many schedules come to the same."""
        key = program.steps, execution, claims
        if key not in self._judgements:
            if len(self._judgements) > JUDGEMENTS_MAX:
                self._judgements.clear()
            self._judgements[key] = judge_overlapping(program, execution, claims)
        return self._judgements[key]

    def _played(self, program: Program, choose: Choose) -> Execution | None:
        """One run on a simulated loop; None if it turns out that the backend cannot run there."""
        thread = self._thread
        assert thread is not None
        stage = Stage(self._backend, program.page_size, self._open_limit_s, thread.begin(), self._empty_directory())
        stage.pulse = self._pulse
        try:
            execution = simulated(program, stage, thread, choose, self._limits).execution()
            _close(stage) if execution.ended_early else stage.close()
        except KitFault:
            if not thread.refused:
                raise
            execution = Execution((), thread.refused)
        if thread.refused:
            self._not_simulated = thread.refused
        elif _is_stuck(execution) and any(step.block for step in program.steps):
            alone = tuple(
                msgspec.structs.replace(step, block=0)
                for step in program.steps
                if not isinstance(step.operation, Take)  # which may rightly wait for what another client writes
            )
            if _is_stuck(self._played(msgspec.structs.replace(program, steps=alone), choose)):
                self._not_simulated = NOT_HERE  # stuck with nobody beside him: it waits for something else
        return None if self._not_simulated else execution

    def _empty_directory(self) -> Path:
        """The directory of the run before, if it was left empty: to make one takes as long as a run in memory."""
        if self._closed:
            raise KitFault(f"{self._backend.name}: examining it was ended")
        if self._directory is None or any(self._directory.iterdir()):
            self._remove_directory()
            self._directory = new_directory()
        return self._directory

    def _remove_directory(self) -> None:
        if self._directory is not None:
            remove(self._directory)

    def _on_real_loop(self, program: Program, claims: Claims) -> Trial:
        self._trials += 1
        prefix = "" if program.private else f"o{self._trials}z"
        concrete = program.with_prefix(prefix)
        alone = program.own_location
        stage = (
            Stage(self._backend, program.page_size, self._open_limit_s)
            if alone
            else self._shared_stage(program.page_size)
        )
        try:
            execution = real(concrete, stage, self._limits, f"{SEED} {self._trials}", prefix).execution()
        finally:
            if alone:
                _close(stage)
        trial = self._judged(concrete, prefix, execution, claims, {"interleavings": 1, "real_runs": 1})
        if trial.deviations or execution.ended_early:
            self._leave_stages()
        return trial

    # ------------------------------------------------------------------------------------------------------- shrinking

    def witness(self, program: Program, trial: Trial, deviation: Deviation, claims: Claims, shrinking: bool) -> Witness:
        """The smallest program and the plainest schedule that break the same rules."""
        best = _Found(program, trial, deviation)
        tries = trial.runs

        def breaks(candidate: Program) -> bool:
            nonlocal best, tries
            for tried in self._tried(candidate, best.trial.program.schedule, claims):
                tries += 1
                same = _same(deviation, tried, program)
                if same is not None:
                    best = _Found(candidate, tried, same)
                    return True
            return False

        whole = msgspec.structs.replace(program, schedule=None)
        silent = isinstance(_outcome(trial, deviation), NoAnswer)
        if shrinking and not silent and any(map(breaks, (_cut(whole, deviation), whole))):
            shrink(best.program, breaks, TRIES_ON_REAL_LOOP_MAX if self.not_simulated else TRIES_MAX)
            if not self.not_simulated:
                self._plainer_schedule(best.trial.program, breaks)
        shown = self._shown(program, best, tries)
        if isinstance(_outcome(best.trial, best.deviation), NoAnswer):
            return shown  # to wait for it again, and again, tells nothing new
        again = [found for found in self._again(best, claims) if found]
        return msgspec.structs.replace(shown, seen=len(again), repeated=self._times)

    def _tried(self, candidate: Program, schedule: tuple[int, ...] | None, claims: Claims) -> Iterator[Trial]:
        with contextlib.suppress(KitFault):  # a backend that is broken may break in other ways too
            if schedule is not None:
                yield self.search(msgspec.structs.replace(candidate, schedule=schedule), claims)
            if candidate.schedule is None:
                yield from self._trials_of(candidate, claims, SCHEDULES_TO_SHRINK)

    def _plainer_schedule(self, program: Program, breaks: Callable[[Program], bool]) -> None:
        """Nearer to first come first served: shorter, then with fewer choices that are not 0."""
        best = list(program.schedule or ())

        def holds(choices: list[int]) -> bool:
            return breaks(msgspec.structs.replace(program, schedule=tuple(choices)))

        for length in range(len(best)):
            if holds(best[:length]):
                best = best[:length]
                break
        for place in range(len(best)):
            for choice in range(best[place]):
                changed = [*best[:place], choice, *best[place + 1 :]]
                if holds(changed):
                    best = changed
                    break

    def _again(self, found: _Found, claims: Claims) -> Iterator[bool]:
        """Whether it happens again, each time that it is tried."""
        ran = self._with_schedule(found)
        for _ in range(self._times):
            with contextlib.suppress(KitFault):
                yield _same(found.deviation, next(self._trials_of(ran, claims, 1)), ran) is not None

    @property
    def _times(self) -> int:
        return REPEATS if self.not_simulated else REPEATS_OF_A_SCHEDULE

    def _with_schedule(self, found: _Found) -> Program:
        return msgspec.structs.replace(found.program, schedule=found.trial.program.schedule)

    def _shown(self, program: Program, found: _Found, tries: int) -> Witness:
        trial, deviation = found.trial, found.deviation
        steps = [_shown_step(trial, seen, deviation) for seen in trial.execution.observations]
        prose = f"The smallest history found that breaks {' '.join(deviation.rules)} on {self._backend.name}."
        ran = self._with_schedule(found)
        text = show(
            msgspec.structs.replace(
                ran,
                prose=f"{prose}\nShrunk from {program.name}.",
                rules=deviation.rules,
                steps=tuple(msgspec.structs.replace(step, expected=()) for step in ran.steps),
            )
        )
        return Witness(program.name, deviation.rules, tuple(steps), text, tries)


class _Found(msgspec.Struct, frozen=True):
    """A program that breaks a rule, as it was written, and the trial in which it did."""

    program: Program
    trial: Trial
    deviation: Deviation


def _is_stuck(execution: Execution | None) -> bool:
    return execution is None or any(isinstance(seen.outcome, Stuck) for seen in execution.observations)


def _outcome(trial: Trial, deviation: Deviation) -> AnyOutcome:
    return next(seen.outcome for seen in trial.execution.observations if seen.number == deviation.number)


def _shown_step(trial: Trial, seen: Observation, deviation: Deviation) -> ShownStep:
    wrong = seen.number == deviation.number
    return ShownStep(
        client=seen.step.client,
        operation=trial.told(str(seen.step.operation)),
        observed=trial.told(deviation.observed if wrong else str(seen.outcome)),
        allowed=trial.told(deviation.allowed) if wrong else "",
        block=seen.step.block,
    )


def _same(deviation: Deviation, trial: Trial, program: Program) -> Deviation | None:
    """The deviation of the same kind in another trial; which rule a generated program breaks may change on the way."""
    return next((one for one in trial.deviations if not program.rules or one.rules == deviation.rules), None)


def _cut(program: Program, deviation: Deviation) -> Program:
    """Without what comes behind the deviation, and with its step as the last one of its block."""
    wrong = program.steps[deviation.number - 1]
    if not wrong.block:
        return msgspec.structs.replace(program, steps=program.steps[: deviation.number])
    before = tuple(
        step for at, step in enumerate(program.steps, 1) if at < deviation.number and step.block != wrong.block
    )
    block = [(at, step) for at, step in enumerate(program.steps, 1) if step.block == wrong.block]
    others = tuple(step for _, step in block if step.client != wrong.client)
    own = tuple(step for at, step in block if step.client == wrong.client and at <= deviation.number)
    return msgspec.structs.replace(program, steps=(*before, *others, *own))


def _close(stage: Stage) -> None:
    with contextlib.suppress(KitFault):
        stage.close()
