"""The past of a program that was struck: which states may be there, by what was answered before it was struck.

An operation that was answered has happened; one that failed has not; one that was under way, or whose outcome is
unknown, may have happened, or may yet happen, in whole or not at all: of a call of several AtomicWrites a prefix of
each of its ids, of a deletion all or nothing. So the answer is a set of states. Pure; what was found is compared in
`durability.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec
from perdure import Claims, PersistentRepr, SelectedSnapshot

from . import model
from .history import Observation, completion_of
from .model import State
from .operations import (
    AnyOperation,
    Clock,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Reopen,
    SaveSnapshot,
    Write,
    ids_of,
)
from .outcomes import Answers, AnyOutcome, Damaged, Failed
from .program import Program

CHANGING = (Write, Delete, SaveSnapshot, DeleteSnapshot, DeleteSnapshots)
SUBSETS_MAX = 6
"""Of so many snapshots that one deletion matches, every subset may be gone; of more, all, none, or a single one."""


class Deviation(msgspec.Struct, frozen=True):
    """An answer that the model does not allow, in the program that was struck itself."""

    number: int
    observed: str
    allowed: str


class Past:
    """What is known of one run of a program, moment by moment. `told` counts the answers that had been received."""

    def __init__(self, program: Program, observations: Sequence[Observation], claims: Claims) -> None:
        self.program = program
        self.observations = tuple(observations)
        self.claims = msgspec.structs.replace(claims, survives_close=True, shared=True)
        self.deviation: Deviation | None = None
        self._unknown: list[Observation] = []
        self._certain: list[tuple[State, ...]] = [(State(),)]
        for seen in self.observations:
            after = self._after(self._certain[-1], seen)
            if not after:
                self.deviation = self._deviation(self._certain[-1], seen)
                break
            self._certain.append(after)
        self._possible: dict[tuple[int, int], tuple[State, ...]] = {}

    @property
    def known(self) -> int:
        """How many answers the model can follow: all of them unless one deviates."""
        return len(self._certain) - 1

    def certain(self, told: int) -> tuple[State, ...]:
        """The states after so many answers, none of the rest having begun."""
        return self._certain[told]

    def possible(self, told: int, under_way: int) -> tuple[State, ...]:
        """The states after so many answers, while the step `under_way` (0: none) may have happened, whole or not."""
        key = told, under_way
        if key not in self._possible:
            states = self.certain(told)
            if under_way:
                operation = self.operation(under_way)
                states = _distinct(one for state in states for one in self._halves(state, operation, under_way))
            self._possible[key] = states
        return self._possible[key]

    def operation(self, number: int) -> AnyOperation:
        return self.program.steps[number - 1].operation

    def changing(self, told: int) -> int:
        """How many of the first answers were to operations that change something."""
        return sum(isinstance(seen.step.operation, CHANGING) for seen in self.observations[:told])

    @cached_property
    def written(self) -> Mapping[tuple[str, int], tuple[tuple[int, PersistentRepr], ...]]:
        """Every event that the program ever asks to write, by id and number: the step, and the event as it is kept."""
        found: dict[tuple[str, int], tuple[tuple[int, PersistentRepr], ...]] = {}
        now = model.START_OF_CLOCK
        for number, step in enumerate(self.program.steps, 1):
            if isinstance(step.operation, Clock):
                now = step.operation.now
            if isinstance(step.operation, Write):
                for event in _events_of(step.operation, number):
                    kept = model.as_kept(event, now, self.claims)
                    key = event.persistence_id, event.sequence_nr
                    found[key] = (*found.get(key, ()), (number, kept))
        return found

    @cached_property
    def saved(self) -> Mapping[tuple[str, int], tuple[tuple[int, SelectedSnapshot], ...]]:
        """Every snapshot that the program ever asks to save, by id and number."""
        found: dict[tuple[str, int], tuple[tuple[int, SelectedSnapshot], ...]] = {}
        state = State()
        for number, step in enumerate(self.program.steps, 1):
            if isinstance(step.operation, Clock | SaveSnapshot):
                state = model.step(state, step.operation, number, self.claims)[0].state
            if isinstance(step.operation, SaveSnapshot):
                key = step.operation.persistence_id, step.operation.sequence_nr
                kept = state.snapshots.get(key[0], {}).get(key[1])
                if kept is not None:
                    found[key] = (*found.get(key, ()), (number, kept))
        return found

    def _after(self, states: Iterable[State], seen: Observation) -> tuple[State, ...]:
        operation, number = seen.step.operation, seen.number
        if isinstance(seen.outcome, Failed | Damaged):
            return tuple(states)  # nothing was changed, by contract
        if completion_of(seen.outcome) == "unknown":
            self._unknown += [seen] if isinstance(operation, CHANGING) else []
            return self._sooner_or_later(states)
        return self._sooner_or_later(
            transition.state
            for state in states
            for transition in model.step(state, operation, number, self.claims)
            if transition.outcome.same_as(seen.outcome)
        )

    def _sooner_or_later(self, states: Iterable[State]) -> tuple[State, ...]:
        """The states, and those in which operations of unknown outcome have taken effect by now."""
        found = _distinct(states)
        for seen in self._unknown:
            found = _distinct(one for state in found for one in self._halves(state, seen.step.operation, seen.number))
        return found

    def _deviation(self, states: Iterable[State], seen: Observation) -> Deviation:
        outcomes: list[AnyOutcome] = [
            transition.outcome
            for state in states
            for transition in model.step(state, seen.step.operation, seen.number, self.claims)
        ]
        allowed = " or ".join(dict.fromkeys(map(str, outcomes)))
        shown = str(seen.outcome)
        return Deviation(seen.number, shown if shown != allowed else f"{shown}, but of another write", allowed)

    def _halves(self, state: State, operation: AnyOperation, number: int) -> Iterable[State]:
        """Everything that an operation may have left if nobody knows how it ended."""
        yield state
        if isinstance(operation, Write):
            yield from self._written_in_part(state, operation, number)
        elif isinstance(operation, DeleteSnapshots):
            yield from _deleted_in_part(state, model.step(state, operation, number, self.claims)[0].state, operation)
        elif isinstance(operation, (*CHANGING, Clock)):
            yield from (one.state for one in model.step(state, operation, number, self.claims))

    def _written_in_part(self, state: State, operation: Write, number: int) -> Iterable[State]:
        """Each AtomicWrite whole or not at all, and those of one id in their order."""
        answers = [one.outcome for one in model.step(state, operation, number, self.claims)]
        for answer in answers:
            if isinstance(answer, Answers):
                kept = [one for one, refused in zip(operation.batches, answer.rejected, strict=True) if not refused]
                ids = tuple(dict.fromkeys(batch.persistence_id for batch in kept))
                mine = [[batch for batch in kept if batch.persistence_id == one] for one in ids]
                for lengths in itertools.product(*(range(len(batches) + 1) for batches in mine)):
                    heads = (batches[:length] for batches, length in zip(mine, lengths, strict=True))
                    chosen = Write(tuple(itertools.chain.from_iterable(heads)))
                    yield model.step(state, chosen, number, self.claims)[0].state


def _deleted_in_part(state: State, after: State, operation: DeleteSnapshots) -> Iterable[State]:
    stored = state.snapshots.get(operation.persistence_id, {})
    gone = sorted(stored.keys() - after.snapshots.get(operation.persistence_id, {}).keys())
    sizes = range(len(gone) + 1) if len(gone) <= SUBSETS_MAX else (0, 1, len(gone))
    for chosen in itertools.chain.from_iterable(itertools.combinations(gone, size) for size in sizes):
        left = {number: one for number, one in stored.items() if number not in chosen}
        yield state.with_snapshots(operation.persistence_id, left)


def _events_of(operation: Write, number: int) -> Iterable[PersistentRepr]:
    return (event for batch in operation.batches for event in batch.atomic_write(number).events)


def _distinct(states: Iterable[State]) -> tuple[State, ...]:
    found: list[State] = []
    for state in states:
        if state not in found:
            found.append(state)
    return tuple(found)


def reads_only(operation: AnyOperation) -> bool:
    return not isinstance(operation, (*CHANGING, Reopen, Clock))


def touches(operation: AnyOperation, persistence_id: str) -> bool:
    return persistence_id in ids_of(operation)
