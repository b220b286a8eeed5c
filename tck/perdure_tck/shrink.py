"""Shrinking: from a program that breaks a rule to a small one that still does, by leaving things out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from perdure import MAX_SEQUENCE_NR

from .operations import AnyOperation, Batch, Write
from .program import Program, Step

TRIES_MAX = 120


def shrink(program: Program, breaks: Callable[[Program], bool]) -> tuple[Program, int]:
    """The smallest program found, and how many were tried. The last step, where the rule breaks, always stays.

    Deterministic: the same program and the same answers give the same result.
    """
    tries = 1
    smaller = True
    while smaller and tries < TRIES_MAX:
        smaller = False
        for candidate in _candidates(program):
            tries += 1
            if breaks(candidate):
                program, smaller = candidate, True
                break
            if tries >= TRIES_MAX:
                break
    return program, tries


def _candidates(program: Program) -> Iterator[Program]:
    """First whole halves, then single steps from the end, then writes out of steps that hold several, then numbers."""
    kept, last = program.steps[:-1], program.steps[-1]
    if len(kept) > 3:
        half = len(kept) // 2
        yield _with(program, (*kept[half:], last))
        yield _with(program, (*kept[:half], last))
    for at in reversed(range(len(kept))):
        yield _with(program, (*kept[:at], *kept[at + 1 :], last))
    for at, step in enumerate(program.steps):
        for smaller in _smaller_writes(step):
            yield _with(program, (*program.steps[:at], smaller, *program.steps[at + 1 :]))
    closed_up = _with(program, _closed_up(program.steps))
    if closed_up != program:
        yield closed_up


def _with(program: Program, steps: tuple[Step, ...]) -> Program:
    return msgspec.structs.replace(program, steps=steps)


def _smaller_writes(step: Step) -> Iterator[Step]:
    """The step without one of its writes, or with a write of several events cut to its last one."""
    if not isinstance(step.operation, Write):
        return
    batches = step.operation.batches
    for at, batch in enumerate(batches):
        if len(batches) > 1:
            yield _rewritten(step, (*batches[:at], *batches[at + 1 :]))
        if batch.first < batch.last:
            last = msgspec.structs.replace(batch, first=batch.last)
            yield _rewritten(step, (*batches[:at], last, *batches[at + 1 :]))


def _rewritten(step: Step, batches: tuple[Batch, ...]) -> Step:
    return msgspec.structs.replace(step, operation=Write(batches), expected=())


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
        return _rewritten(
            step,
            tuple(
                msgspec.structs.replace(
                    batch, first=rank.get(batch.first, batch.first), last=rank.get(batch.last, batch.last)
                )
                for batch in operation.batches
            ),
        )
    changed = {
        field: rank.get(getattr(operation, field), getattr(operation, field))
        for field in _NUMBER_FIELDS
        if hasattr(operation, field)
    }
    return msgspec.structs.replace(step, operation=msgspec.structs.replace(operation, **changed), expected=())
