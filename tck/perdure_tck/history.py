"""Histories: what was observed while a program ran, operation by operation, as values and as JSON lines.

An entry is written when an operation is invoked and another when it completes, with times of one monotonic clock, so
that a history that was cut off still tells what was under way. Nothing here judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from .outcomes import (
    Answers,
    AnyOutcome,
    Cancelled,
    Conflict,
    Damaged,
    Failed,
    Invalid,
    Malformed,
    NoAnswer,
    Raised,
    Stuck,
)
from .program import Step

Completion = Literal["ok", "rejected", "failed", "unknown"]


class Invoked(msgspec.Struct, frozen=True, tag="invoke"):
    """A client began an operation. `number` is the step of the program, from 1."""

    program: str
    number: int
    client: str
    operation: str
    at_ns: int


class Completed(msgspec.Struct, frozen=True, tag="complete"):
    """The operation ended: how, in Jepsen's terms, and with which outcome, as text."""

    program: str
    number: int
    client: str
    completion: Completion
    outcome: str
    at_ns: int


Entry = Invoked | Completed


class Observation(msgspec.Struct, frozen=True):
    """One step of a program with its outcome as it was observed.

    Where steps overlap, `began` and `ended` are its ends on one scale of whole numbers; `ended` 0: it never ended.
    """

    number: int
    step: Step
    outcome: AnyOutcome
    began: int = 0
    ended: int = 0


class Execution(msgspec.Struct, frozen=True):
    """A program that was run: the observations, and why it ended early if it did (an answer that never came)."""

    observations: tuple[Observation, ...]
    ended_early: str = ""


def completion_of(outcome: AnyOutcome) -> Completion:
    """How an operation ended, as checkers see it: only an exception that is not ours, or silence, is unknown."""
    match outcome:
        case Raised() | NoAnswer() | Malformed() | Cancelled() | Stuck():
            return "unknown"
        case Failed() | Conflict() | Invalid() | Damaged():
            return "failed"
        case Answers(rejected=rejected) if rejected and all(rejected):
            return "rejected"
        case _:
            return "ok"


class Recorder:
    """Writes a history to a file while it happens, each entry at once, so that it survives whatever comes next."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def invoked(self, program: str, number: int, step: Step, at_ns: int) -> None:
        self._write(Invoked(program, number, step.client, str(step.operation), at_ns))

    def completed(self, program: str, number: int, step: Step, outcome: AnyOutcome, at_ns: int) -> None:
        self._write(Completed(program, number, step.client, completion_of(outcome), str(outcome), at_ns))

    def _write(self, entry: Entry) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")


def read_history(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of a history file; `msgspec.ValidationError` for a line that is none."""
    decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)
    return (decoder.decode(line) for line in lines if line.strip())
