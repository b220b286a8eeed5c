"""Shrinking: from a program that breaks a rule to a small one that still does, by leaving things out.

Passes from coarse to fine, again and again until none of them helps: fewer steps, fewer writes, plainer steps, plainer
ids, smaller numbers. Deterministic: the same program and the same answers give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec
from perdure import MAX_SEQUENCE_NR

from .operations import (
    AnyOperation,
    Batch,
    Bounds,
    LoadSnapshot,
    Replay,
    SaveSnapshot,
    Write,
    ids_of,
    renamed,
)
from .program import Program, Step

TRIES_MAX = 300
PLAIN_IDS = ("p", "q", "r", "s")
Said = TypeVar("Said", bound=msgspec.Struct)


def shrink(program: Program, breaks: Callable[[Program], bool]) -> tuple[Program, int]:
    """The smallest program found, and how many were tried. The last step, where the rule breaks, always stays."""
    search = _Search(program, breaks)
    while search.changed and search.tries < TRIES_MAX:
        search.changed = False
        search.fewer_steps()
        for simplify in (_smaller_writes, _plainer, _plainer_ids, _smaller_numbers):
            search.take_all(simplify)
    return search.best, search.tries


class _Search:
    """The best program so far, and what it cost to find it."""

    def __init__(self, program: Program, breaks: Callable[[Program], bool]) -> None:
        self.best = program
        self.tries = 1
        self.changed = True
        self._breaks = breaks

    def try_this(self, candidate: Program) -> bool:
        """Take a candidate if it still breaks the rule; False if it does not, or if the tries are used up."""
        if self.tries >= TRIES_MAX or candidate == self.best:
            return False
        self.tries += 1
        if not self._breaks(candidate):
            return False
        self.best = candidate
        self.changed = True
        return True

    def fewer_steps(self) -> None:
        """Leave out runs of steps, long ones first, each once from the end to the beginning."""
        size = len(self.best.steps) // 2
        while size:
            at = len(self.best.steps) - 1 - size
            while at > -size:
                steps = self.best.steps
                self.try_this(_with(self.best, (*steps[: max(at, 0)], *steps[at + size :])))
                at -= size
            size //= 2

    def take_all(self, simplify: Callable[[Program], Iterator[Program]]) -> None:
        """Take what a pass offers for as long as something of it helps."""
        while any(self.try_this(candidate) for candidate in simplify(self.best)):
            pass


def _with(program: Program, steps: tuple[Step, ...]) -> Program:
    return msgspec.structs.replace(program, steps=steps)


def _with_step(program: Program, at: int, operation: AnyOperation) -> Program:
    """The program with another operation in one step, of which nobody has said what it should end in."""
    changed = msgspec.structs.replace(program.steps[at], operation=operation, expected=())
    return _with(program, (*program.steps[:at], changed, *program.steps[at + 1 :]))


def _smaller_writes(program: Program) -> Iterator[Program]:
    """Without one of the writes of a call, or with a write of several events cut to its last one."""
    for at, step in enumerate(program.steps):
        if isinstance(step.operation, Write):
            batches = step.operation.batches
            for place, batch in enumerate(batches):
                if len(batches) > 1:
                    yield _with_step(program, at, Write((*batches[:place], *batches[place + 1 :])))
                if batch.first < batch.last:
                    last = msgspec.structs.replace(batch, first=batch.last)
                    yield _with_step(program, at, Write((*batches[:place], last, *batches[place + 1 :])))


def _plainer(program: Program) -> Iterator[Program]:
    """With one thing less said: an attribute of an event, a bound, a limit, the size of the pages."""
    if program.page_size is not None:
        yield msgspec.structs.replace(program, page_size=None)
    for at, step in enumerate(program.steps):
        for operation in _plainer_operations(step.operation):
            yield _with_step(program, at, operation)


def _plainer_operations(operation: AnyOperation) -> Iterator[AnyOperation]:
    match operation:
        case Write(batches=batches):
            for place, batch in enumerate(batches):
                for plainer in _less_said(batch, Batch(batch.persistence_id, batch.first, batch.last)):
                    yield Write((*batches[:place], plainer, *batches[place + 1 :]))
        case Replay(persistence_id=persistence_id):
            yield from _less_said(operation, Replay(persistence_id))
        case SaveSnapshot():
            yield from _less_said(operation, SaveSnapshot(operation.persistence_id, operation.sequence_nr))
        case LoadSnapshot(persistence_id=persistence_id, bounds=bounds):
            for fewer in _less_said(bounds, Bounds()):
                yield LoadSnapshot(persistence_id, fewer)
        case _:
            pass


def _less_said(value: Said, plain: Said) -> Iterator[Said]:
    """The value with one field as it is in the plain one."""
    for field in value.__struct_fields__:
        if getattr(value, field) != getattr(plain, field):
            yield msgspec.structs.replace(value, **{field: getattr(plain, field)})


def _plainer_ids(program: Program) -> Iterator[Program]:
    """With ids that mean nothing, in the order in which they appear."""
    names: dict[str, str] = {}
    for step in program.steps:
        for persistence_id in ids_of(step.operation):
            if persistence_id and persistence_id not in names and len(names) < len(PLAIN_IDS):
                names[persistence_id] = PLAIN_IDS[len(names)]

    def rename(persistence_id: str) -> str:
        return names.get(persistence_id, persistence_id)

    steps = tuple(msgspec.structs.replace(step, operation=renamed(step.operation, rename)) for step in program.steps)
    yield _with(program, steps)


def _smaller_numbers(program: Program) -> Iterator[Program]:
    yield _with(program, _closed_up(program.steps))


def _closed_up(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps with their numbers made as small as their order allows: 5 and 9 become 1 and 2.

    Besides being easier to read, two programs that break a rule in the same way then look the same.
    """
    numbers = sorted({number for step in steps for number in _numbers(step.operation)} - {0, MAX_SEQUENCE_NR})
    if any(number < 0 for number in numbers):
        return steps
    rank = {number: place for place, number in enumerate(numbers, 1)}
    return tuple(_renumbered(step, rank) for step in steps)


_NUMBER_FIELDS = ("sequence_nr", "from_sequence_nr", "to_sequence_nr", "hint")


def _numbers(operation: AnyOperation) -> Iterator[int]:
    if isinstance(operation, Write):
        for batch in operation.batches:
            yield from (batch.first, batch.last)
    for field in _NUMBER_FIELDS:
        if hasattr(operation, field):
            yield getattr(operation, field)


def _renumbered(step: Step, rank: Mapping[int, int]) -> Step:
    operation = step.operation
    if isinstance(operation, Write):
        batches = tuple(
            msgspec.structs.replace(one, first=rank.get(one.first, one.first), last=rank.get(one.last, one.last))
            for one in operation.batches
        )
        return msgspec.structs.replace(step, operation=Write(batches), expected=())
    changed = {
        field: rank.get(getattr(operation, field), getattr(operation, field))
        for field in _NUMBER_FIELDS
        if hasattr(operation, field)
    }
    return msgspec.structs.replace(step, operation=msgspec.structs.replace(operation, **changed), expected=())
