"""The tally of a search: what was done so far, in numbers, while it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from perdure import Claims

from . import model
from .examiner import Trial
from .model import State
from .operations import Delete, DeleteSnapshot, DeleteSnapshots, SaveSnapshot, Write
from .program import Program
from .rules import all_rules

CHANGING = (Write, Delete, SaveSnapshot, DeleteSnapshot, DeleteSnapshots)

LOOKED_AT_EVERY = 4
"""Of every fourth program the states are looked at: to walk the model again costs a sixth of the time."""


class Tally:
    """Programs by lane, operations, states of the model that were reached, coverage, finds."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.programs: Counter[str] = Counter()
        self.operations = 0
        self.deviating = 0
        self.waived = 0
        """How many deviations led to a rule that is waived."""
        self.finds = 0
        self.states: set[int] = set()
        self.coverage: Counter[str] = Counter()

    def count(self, program: Program, trial: Trial, claims: Claims, lane: str) -> None:
        self.programs[lane] += 1
        self.operations += len(trial.execution.observations)
        self.deviating += bool(trial.deviations)
        self.coverage.update(trial.coverage)
        if not trial.deviations and self.programs.total() % LOOKED_AT_EVERY == 1:
            self.states.update(shapes(program, claims))

    @property
    def exercised(self) -> int:
        """How many of the judged rules have been exercised as much as their floors ask for."""
        return sum(self._reached(rule.floor) for rule in all_rules().values() if rule.judged)

    def _reached(self, floor: Mapping[str, int]) -> bool:
        return all(self.coverage[name] >= least for name, least in floor.items())


def shapes(program: Program, claims: Claims) -> Iterator[int]:
    """A digest of the shape of each state that a program leads the model to, where the outcome is beyond doubt."""
    states: dict[str, State] = {}
    for number, step in enumerate(program.steps, 1):
        if isinstance(step.operation, CHANGING):
            before = states.get(step.namespace, State())
            after = states[step.namespace] = model.step(before, step.operation, number, claims)[0].state
            yield hash(tuple(sorted(_shape(after, one) for one in after.logs.keys() | after.snapshots.keys())))


def _shape(state: State, persistence_id: str) -> tuple[int, ...]:
    """What an id looks like from afar: a few events or many, with gaps or none, emptied from either end, snapshots."""
    log, snapshots = state.log(persistence_id), state.snapshots.get(persistence_id, {})
    events, highest = log.events, log.highest_sequence_nr
    first, last = (events[0].sequence_nr, events[-1].sequence_nr) if events else (0, 0)
    newest = max(snapshots, default=-1)
    return (
        min(len(events), 4),
        first > 1,
        last - first + 1 > len(events) > 0,
        last < highest,
        min(len(snapshots), 3),
        (newest > highest) - (newest < highest) if snapshots else 2,
    )
