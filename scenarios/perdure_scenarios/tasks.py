"""What travels between a run and its worker processes: tasks one way, reports the other, each one line of JSON.

Programs hold text that is not Unicode, which must arrive as it is. Lines with such text are written and read by the
standard library, all others by msgspec, which takes a tenth of the time and refuses them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec
from perdure import PersistentRepr, SelectedSnapshot
from perdure_tck.history import Observation
from perdure_tck.outcomes import AnyOutcome
from perdure_tck.program import Program

Moment = Literal["load", "open", "look", "write", "close", "reopen", "look again", "close again"]
"""Where a worker is while it looks at a directory."""

MOMENTS: Sequence[Moment] = get_args(Moment)


def note(descriptor: int, moment: Moment) -> None:
    """Write down where a worker is, for whoever has to say what it was doing when it fell silent. It is a file: a pipe
    would wake the parent, which costs more than many a moment takes."""
    os.pwrite(descriptor, bytes([MOMENTS.index(moment)]), 0)


def noted(descriptor: int) -> Moment:
    """The last note; the first moment if there is none."""
    return MOMENTS[int.from_bytes(os.pread(descriptor, 1, 0))]


class Words(msgspec.Struct, frozen=True):
    """A backend as the command line names it: a name or `module:attribute`, and settings."""

    name: str
    settings: dict[str, str] = {}


class Task(msgspec.Struct, frozen=True, tag=True):
    """What a worker is asked for."""


class Instant(msgspec.Struct, frozen=True, order=True):
    """So long after something was begun: 0 is the opening, then the steps, then the closing."""

    begun: int
    delay_s: float

    def __str__(self) -> str:
        return f"{self.delay_s * 1000:.2f} ms after {f'step {self.begun}' if self.begun else 'the opening'} had begun"


class Run(Task, frozen=True, kw_only=True):
    """Carry out a program in a directory, tell of every step, and stop; without `close`, as if killed at its end.

    With `die_at` the process ends itself, as by a kill, so long after it has told that something began: it is closer to
    that than anybody who listens to it.
    """

    program: Program
    directory: str
    namespace: str = "perdure"
    page_size: int | None = None
    close: bool = True
    operation_limit_s: float = 30.0
    die_at: Instant | None = None


class Look(Task, frozen=True, kw_only=True):
    """Open a directory and look at these ids; with `write_more`, write one event to each, open again, look again."""

    directory: str
    persistence_ids: tuple[str, ...]
    write_more: bool = False
    namespace: str = "perdure"
    page_size: int | None = None


AnyTask = Run | Look


class Failure(msgspec.Struct, frozen=True):
    """An exception of the backend: while what was done, its type and message, and whether the contracts know it."""

    during: str
    error: str
    message: str
    known: bool = False
    """Whether it is one of `perdure.errors`: `OpenFailed`, `Unreadable`, ..."""

    def __str__(self) -> str:
        return f"{self.during}: {self.error}: {self.message}"


class Report(msgspec.Struct, frozen=True, tag=True):
    """What a worker tells."""


class Ready(Report, frozen=True):
    """The backend is loaded; tasks are welcome."""


class NotReady(Report, frozen=True):
    """The backend cannot be loaded: a fault of the adapter or of its words."""

    message: str


class Opening(Report, frozen=True):
    """The location is about to be opened."""


class Opened(Report, frozen=True):
    """The location is open; the first step follows."""


class OpeningFailed(Report, frozen=True):
    """The location could not be opened; no step was taken."""

    failure: Failure


class Invoked(Report, frozen=True):
    """A step of the program, counted from 1, has begun."""

    number: int
    at_ns: int


class Completed(Report, frozen=True):
    """A step has ended. A worker that was told so by its backend has told it before it did anything else."""

    number: int
    at_ns: int
    outcome: AnyOutcome


class Closing(Report, frozen=True):
    """The location is about to be closed."""


class Closed(Report, frozen=True):
    """The location is closed."""


class ClosingFailed(Report, frozen=True):
    """Closing raised, or did not end."""

    failure: Failure


class Finished(Report, frozen=True):
    """A program has come to its end. `failpoints` are those that were passed, with how often."""

    failpoints: dict[str, int] = {}


class Sight(msgspec.Struct, frozen=True):
    """What was seen of one persistence id. Of a replay that failed, the events that came before."""

    persistence_id: str
    events: tuple[PersistentRepr, ...]
    highest_sequence_nr: int | None
    snapshots: tuple[SelectedSnapshot, ...]
    """All of them, the highest number first."""

    failures: tuple[Failure, ...] = ()


class More(msgspec.Struct, frozen=True):
    """One more event that was written: with which number, and why not if that failed."""

    persistence_id: str
    sequence_nr: int
    failure: Failure | None = None
    rejected: bool = False


class Seen(Report, frozen=True):
    """The answer to a look. `failure` is what ended it early: opening or closing failed. `sights_again` may be those of
    an equal directory that was opened before."""

    sights: tuple[Sight, ...] = ()
    more: tuple[More, ...] = ()
    sights_again: tuple[Sight, ...] = ()
    failure: Failure | None = None


AnyReport = (
    Ready
    | NotReady
    | Opening
    | Opened
    | OpeningFailed
    | Invoked
    | Completed
    | Closing
    | Closed
    | ClosingFailed
    | Finished
    | Seen
)


def encoded(value: Task | Report) -> bytes:
    """The line of a task or a report."""
    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value)).encode() + b"\n"


def task_of(line: bytes) -> AnyTask:
    task: AnyTask = _decoded(line, _TASKS)
    return task


@lru_cache(maxsize=256)
def report_of(line: bytes) -> AnyReport:
    """What a line says. Most directories that are looked at show what another one did, word for word."""
    report: AnyReport = _decoded(line, _REPORTS)
    return report


_TASKS: msgspec.json.Decoder[AnyTask] = msgspec.json.Decoder(AnyTask)
_REPORTS: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)


def _decoded(line: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    if b"\\ud" not in line:  # how the standard library writes half of a surrogate pair
        return decoder.decode(line)
    return msgspec.convert(json.loads(line), decoder.type)


def begun(reports: Sequence[AnyReport], program: Program) -> int:
    """The last thing that was begun: 0 is the opening, then the steps, then the closing; -1 before all."""
    begins = [number for report in reports if (number := begins_with(report, program)) is not None]
    return begins[-1] if begins else -1


def begins_with(report: Report, program: Program) -> int | None:
    """What begins with this report: 0 for the opening, a step, or the closing; None for nothing."""
    match report:
        case Opening():
            return 0
        case Invoked(number=number):
            return number
        case Closing():
            return len(program.steps) + 1
        case _:
            return None


def under_way(reports: Iterable[AnyReport]) -> int:
    """The step that was begun and never answered; 0 if there is none."""
    numbers = [report.number for report in reports if isinstance(report, Invoked | Completed)]
    return numbers[-1] if len(numbers) % 2 else 0


def observations(program: Program, reports: Sequence[AnyReport]) -> tuple[Observation, ...]:
    """The steps that were acknowledged, as the runner would have observed them."""
    completed = [report for report in reports if isinstance(report, Completed)]
    return tuple(Observation(one.number, program.steps[one.number - 1], one.outcome) for one in completed)
