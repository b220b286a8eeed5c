"""What a run of a program with overlapping steps proves: the checker's answer as a judgement by rules.

A deviation is blamed on the rules of the program; one that names none, as generated programs do, on the rule that the
operations in the block speak of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from perdure import Claims, Offset

from .history import Execution, Observation
from .judge import SILENCE, Comparison, Deviation, Judgement, told
from .linear import Call, first_stray
from .operations import (
    QUERY_OPERATIONS,
    SNAPSHOT_OPERATIONS,
    Cancel,
    Close,
    Delete,
    Highest,
    Query,
    Replay,
    Take,
    Write,
    ids_of,
)
from .outcomes import AnyOutcome, Cancelled, Conflict, Events, Loaded, NoAnswer, Stuck, Taken
from .program import Program

NEVER = 2**63


def judge_overlapping(program: Program, execution: Execution, claims: Claims) -> Judgement:
    """Look for an order that explains what was observed; the program is the one that ran, prefixes included."""
    silent = next((seen for seen in execution.observations if isinstance(seen.outcome, NoAnswer | Stuck)), None)
    if silent is not None:
        return Judgement((_deviation(program, silent, ()),), {})
    calls = [_call(program, seen) for seen in execution.observations]
    compare = Comparison(program, claims)
    stray = first_stray(calls, claims, lambda allowed, observed: compare.fields(allowed, observed) is not None)
    if stray is None:
        wrong = next(_wrong_offsets(program, execution), None)
        return Judgement((), _counted(execution)) if wrong is None else Judgement((wrong,), {})
    seen = next(one for one in execution.observations if one.number == stray.call.number)
    return Judgement((_deviation(program, seen, stray.allowed),), {})


def _call(program: Program, seen: Observation) -> Call:
    return Call(
        number=seen.number,
        operation=seen.step.operation,
        began=seen.began,
        ended=seen.ended or NEVER,
        outcome=seen.outcome,
        handle=program.handle_of(seen.step.client),
        namespace=seen.step.namespace,
    )


def _deviation(program: Program, seen: Observation, allowed: Sequence[AnyOutcome]) -> Deviation:
    right = " or ".join(sorted({*map(str, allowed)})) or "an answer that some order of the calls explains"
    if isinstance(seen.outcome, NoAnswer | Stuck):
        right = "an answer"
    return Deviation(seen.number, _rules(program, seen), told(seen.outcome, right), right)


def _rules(program: Program, seen: Observation) -> tuple[str, ...]:
    of_a_journal = program.uses_journal and not isinstance(seen.step.operation, QUERY_OPERATIONS)
    silent = isinstance(seen.outcome, NoAnswer | Stuck) and of_a_journal
    if not program.rules:
        return (blamed(program, seen),)
    return (*program.rules, SILENCE) if silent and SILENCE not in program.rules else program.rules


def blamed(program: Program, seen: Observation) -> str:
    """The rule that a deviation of a shrunk program breaks: what is still there is part of the cause."""
    steps = [step for step in program.steps if step.block]
    kinds = {type(step.operation) for step in steps}
    operation = seen.step.operation
    snapshots = isinstance(operation, SNAPSHOT_OPERATIONS)
    ids = {persistence_id for step in steps for persistence_id in ids_of(step.operation)}
    if isinstance(operation, QUERY_OPERATIONS):
        return "Q-43" if isinstance(operation, Close) or Cancel in kinds else "Q-08"
    if Cancel in kinds:
        return "S-38" if snapshots else "J-33"
    if snapshots:
        return "S-35" if len(ids) > 1 else "S-11"
    if isinstance(seen.outcome, NoAnswer | Stuck):
        return SILENCE
    if len(ids) > 1:
        return "J-17"
    if Delete in kinds:
        return "J-66" if isinstance(operation, Replay) and operation in [step.operation for step in steps] else "J-77"
    if isinstance(operation, Write) or sum(isinstance(step.operation, Write) for step in steps) > 1:
        return "J-80"
    if isinstance(operation, Highest):
        return "J-47"
    return "J-65" if isinstance(operation, Replay) else "J-17"


# ----------------------------------------------------------------------------------------------------------- offsets


def _wrong_offsets(program: Program, execution: Execution) -> Iterator[Deviation]:
    """Where an event has not the offset that it had before, or one that is not above that of the event before it.

    The order of the events themselves was looked at by then.
    """
    known: dict[tuple[str, str, int], Offset] = {}
    reached: dict[tuple[str, str], Offset] = {}
    for seen in sorted(execution.observations, key=lambda one: one.began):
        operation, namespace = seen.step.operation, seen.step.namespace
        if isinstance(operation, Query):
            reached.pop((namespace, operation.name), None)
        if not (isinstance(operation, Take) and isinstance(seen.outcome, Taken)):
            continue
        for one in seen.outcome.envelopes:
            before = known.setdefault((namespace, one.persistence_id, one.sequence_nr), one.offset)
            behind = reached.get((namespace, operation.name))
            right = f"{before}, as before" if before != one.offset else f"one above {behind}"
            if before != one.offset or (behind is not None and not _is_above(one.offset, behind)):
                about = f"{one.persistence_id} {one.sequence_nr} at offset"
                rules = program.rules or ("Q-16",)
                yield Deviation(seen.number, rules, f"{about} {one.offset}", f"{about} {right}", "offset")
            reached[namespace, operation.name] = one.offset


def _is_above(offset: Offset, other: Offset) -> bool:
    return offset.origin == other.origin and other < offset


# ---------------------------------------------------------------------------------------------------------- coverage


def _counted(execution: Execution) -> Mapping[str, int]:
    """What a run without deviation exercised where calls overlapped."""
    found: Counter[str] = Counter()
    seen_in_blocks = [seen for seen in execution.observations if seen.step.block]
    found["overlaps"] = sum(
        earlier.began < later.began < earlier.ended
        for earlier in seen_in_blocks
        for later in seen_in_blocks
        if earlier.step.block == later.step.block
    )
    found["contended"] = sum(isinstance(seen.outcome, Conflict) for seen in seen_in_blocks)
    found["cancelled"] = sum(isinstance(seen.outcome, Cancelled) for seen in seen_in_blocks)
    found["looks"] = sum(_shows_something(seen) for seen in execution.observations)
    return found


def _shows_something(seen: Observation) -> bool:
    match seen.outcome:
        case Events(events=events):
            return bool(events)
        case Taken(envelopes=envelopes):
            return bool(envelopes)
        case Loaded(selected=selected):
            return selected is not None
        case _:
            return False
