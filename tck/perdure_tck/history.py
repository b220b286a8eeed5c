"""Histories: what was observed while a program ran, operation by operation, as values and as JSON lines.

An entry is written when an operation is invoked and another when it completes, with times of one monotonic clock, so
that a history that was cut off still tells what was under way. Nothing here judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from .outcomes import Answers, AnyOutcome, Conflict, Damaged, Failed, Invalid, Malformed, NoAnswer, Raised
from .program import Step

Completion = Literal["ok", "rejected", "failed", "unknown"]


class Invoked(msgspec.Struct, frozen=True, tag="invoke"):
    """A client began an operation. `number` is the step of the program, from 1."""

    number: int
    client: str
    operation: str
    at_ns: int


class Completed(msgspec.Struct, frozen=True, tag="complete"):
    """The operation ended: how, in Jepsen's terms, and with which outcome, as text."""

    number: int
    client: str
    completion: Completion
    outcome: str
    at_ns: int


Entry = Invoked | Completed


class Observation(msgspec.Struct, frozen=True):
    """One step with its outcome as it was observed, in the order of completion."""

    number: int
    step: Step
    outcome: AnyOutcome
    invoked_ns: int
    completed_ns: int


class Execution(msgspec.Struct, frozen=True):
    """A program that was run: the observations, and why it ended early if it did (an answer that never came)."""

    observations: tuple[Observation, ...]
    ended_early: str = ""


def entries(observations: Iterable[Observation]) -> Iterator[Entry]:
    """The history of a sequential execution, invocation before completion."""
    for seen in observations:
        operation = str(seen.step.operation)
        yield Invoked(seen.number, seen.step.client, operation, seen.invoked_ns)
        completion = completion_of(seen.outcome)
        yield Completed(seen.number, seen.step.client, completion, str(seen.outcome), seen.completed_ns)


def completion_of(outcome: AnyOutcome) -> Completion:
    """How an operation ended, as checkers see it: only an exception that is not ours, or silence, is unknown."""
    match outcome:
        case Raised() | NoAnswer() | Malformed():
            return "unknown"
        case Failed() | Conflict() | Invalid() | Damaged():
            return "failed"
        case Answers(rejected=rejected) if rejected and all(rejected):
            return "rejected"
        case _:
            return "ok"


def to_json_lines(history: Iterable[Entry]) -> bytes:
    """One JSON object a line."""
    return b"".join(msgspec.json.encode(entry) + b"\n" for entry in history)


def from_json_lines(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of a history file; `msgspec.ValidationError` for a line that is none."""
    decoder = msgspec.json.Decoder(Entry)
    return (decoder.decode(line) for line in lines if line.strip())
