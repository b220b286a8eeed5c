"""Shrinking: from a program that breaks a rule to a small one that still does, by leaving things out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from .operations import Write
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
    """First whole halves, then single steps from the end, then single writes out of steps that hold several."""
    kept, last = program.steps[:-1], program.steps[-1]
    if len(kept) > 3:
        half = len(kept) // 2
        yield _with(program, (*kept[half:], last))
        yield _with(program, (*kept[:half], last))
    for at in reversed(range(len(kept))):
        yield _with(program, (*kept[:at], *kept[at + 1 :], last))
    for at, step in enumerate(program.steps):
        for smaller in _without_a_batch(step):
            yield _with(program, (*program.steps[:at], smaller, *program.steps[at + 1 :]))


def _with(program: Program, steps: tuple[Step, ...]) -> Program:
    return msgspec.structs.replace(program, steps=steps)


def _without_a_batch(step: Step) -> Iterator[Step]:
    if isinstance(step.operation, Write) and len(step.operation.batches) > 1:
        batches = step.operation.batches
        for at in range(len(batches)):
            yield msgspec.structs.replace(step, operation=Write((*batches[:at], *batches[at + 1 :])), expected=())
