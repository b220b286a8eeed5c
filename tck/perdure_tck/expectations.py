"""What a program with overlapping steps may expect: the outcomes that some order of its calls gives, and no others."""

from __future__ import annotations

from collections.abc import Set

from perdure import Claims

from .linear import Explorer
from .model import NeedsClaim
from .outcomes import AnyOutcome
from .program import Program, Step


def disagreement_of(program: Program, claims: Claims) -> str:
    """Where expectations and model part ways: an outcome written down that no order gives, or given and not written."""
    if _needs_sharing(program) and not claims.shared:
        raise NeedsClaim("shared")
    possible = Explorer(program.steps, claims).outcomes()
    for number, step in enumerate(program.steps, 1):
        if step.expected and (wrong := _wrong(step, possible[number])):
            return f"step {number} '{step}': {wrong}"
    return ""


def _needs_sharing(program: Program) -> bool:
    handles = {program.handle_of(step.client) for step in program.steps}
    return len(handles) > len({handle.partition("@")[2] for handle in handles})


def _wrong(step: Step, possible: Set[AnyOutcome]) -> str:
    allowed = " or ".join(sorted(map(str, possible)))
    for text in step.expected:
        if not any(outcome.agrees(text) for outcome in possible):
            return f"the model allows {allowed}"
    if not all(any(outcome.agrees(text) for text in step.expected) for outcome in possible):
        return f"the model allows {allowed} as well"
    return ""
