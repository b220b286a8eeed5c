"""Outcomes: what an operation ended in, observed from a backend or allowed by the model, as frozen values.

`str()` is what a scenario file writes behind its arrow. `agrees` compares with such an expectation, which may say less
than the outcome knows (`13` for a snapshot of number 13, whatever its time).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec
from perdure import EventEnvelope, PersistentRepr, SelectedSnapshot

from .operations import quoted, shown_number, shown_range


class Outcome(msgspec.Struct, frozen=True, tag=True):
    """The root of all outcomes."""

    def agrees(self, expectation: str) -> bool:
        """Whether an expectation of a scenario file is met."""
        return str(self) == expectation

    def same_as(self, other: Outcome) -> bool:
        """Whether two outcomes mean the same; how an error is worded does not matter."""
        return self == other


class Done(Outcome, frozen=True):
    """The operation ended well and had nothing to say: `ok`."""

    def __str__(self) -> str:
        return "ok"


class Answers(Outcome, frozen=True):
    """The answers to a write: for each AtomicWrite whether it was rejected. `ok`, `rejected`, or `ok, rejected, ok`."""

    rejected: tuple[bool, ...]

    def __str__(self) -> str:
        if not any(self.rejected):
            return "ok"
        if all(self.rejected):
            return "rejected"
        return ", ".join("rejected" if one else "ok" for one in self.rejected)


class Conflict(Outcome, frozen=True):
    """`SequenceConflict` was raised."""

    def __str__(self) -> str:
        return "conflict"


class Failed(Outcome, frozen=True):
    """`WriteFailed` was raised: nothing of the call is stored."""

    reason: str = ""

    def same_as(self, other: Outcome) -> bool:
        return isinstance(other, Failed)

    def __str__(self) -> str:
        return "failed"


class Invalid(Outcome, frozen=True):
    """`ValueError` was raised: an argument is outside its limits."""

    reason: str = ""

    def same_as(self, other: Outcome) -> bool:
        return isinstance(other, Invalid)

    def __str__(self) -> str:
        return "invalid"


class Damaged(Outcome, frozen=True):
    """`Unreadable` was raised."""

    reason: str = ""

    def same_as(self, other: Outcome) -> bool:
        return isinstance(other, Damaged)

    def __str__(self) -> str:
        return "unreadable"


class Events(Outcome, frozen=True):
    """What a replay yielded: `1..3, 5` or `none`."""

    events: tuple[PersistentRepr, ...]

    def __str__(self) -> str:
        return shown_numbers(event.sequence_nr for event in self.events)


class Number(Outcome, frozen=True):
    """A highest sequence number."""

    value: int

    def __str__(self) -> str:
        return shown_number(self.value)


class Loaded(Outcome, frozen=True):
    """The snapshot that was selected: `13 at 1000`, or `none`."""

    selected: SelectedSnapshot | None

    def agrees(self, expectation: str) -> bool:
        return expectation in (str(self), str(self).partition(" at ")[0])

    def __str__(self) -> str:
        if self.selected is None:
            return "none"
        metadata = self.selected.metadata
        return f"{shown_number(metadata.sequence_nr)} at {metadata.timestamp}"


class Taken(Outcome, frozen=True):
    """Events that a query gave, and what came instead of the next one: `p 1..3, q 1, end`.

    `ended` is "" if all came that were asked for, else `end`, `pending` (a live query that waits for more), `closed`
    (its storage is), `invalid`, `unreadable`, or `raised ...`.
    """

    envelopes: tuple[EventEnvelope, ...]
    ended: str = ""
    reason: str = ""

    def same_as(self, other: Outcome) -> bool:
        return isinstance(other, Taken) and (self.envelopes, self.ended) == (other.envelopes, other.ended)

    def __str__(self) -> str:
        runs = [
            f"{quoted(persistence_id)} {shown_numbers(envelope.sequence_nr for envelope in envelopes)}"
            for persistence_id, envelopes in itertools.groupby(self.envelopes, lambda one: one.persistence_id)
        ]
        return ", ".join([*runs, *([self.ended] if self.ended else [])])


class TakenIds(Outcome, frozen=True):
    """Persistence ids that a query gave, in the order in which they came, and what came instead of the next one.

    They are shown in the order of their code points, since the order in which they come means nothing.
    """

    ids: tuple[str, ...]
    ended: str = ""
    reason: str = ""

    def same_as(self, other: Outcome) -> bool:
        return isinstance(other, TakenIds) and (sorted(self.ids), self.ended) == (sorted(other.ids), other.ended)

    def __str__(self) -> str:
        return ", ".join([*map(quoted, sorted(self.ids)), *([self.ended] if self.ended else [])])


class Notes(Outcome, frozen=True):
    """What an actor was told, in order: `a 1` for an event handled, `replayed a 1 b 2, completed`, `rejected c 3`."""

    told: tuple[str, ...]

    def __str__(self) -> str:
        shown: list[str] = []
        for note in self.told:
            if shown and note.startswith(REPLAYED) and shown[-1].startswith(REPLAYED):
                shown[-1] += " " + note.removeprefix(REPLAYED)
            else:
                shown.append(note)
        return ", ".join(shown) or "none"


REPLAYED = "replayed "


class Raised(Outcome, frozen=True):
    """Any other exception: the outcome is unknown."""

    error: str
    message: str

    def __str__(self) -> str:
        return f"raised {self.error}: {self.message}" if self.message else f"raised {self.error}"


class NoAnswer(Outcome, frozen=True):
    """Nothing came within the limit: the outcome is unknown."""

    limit_s: float

    def __str__(self) -> str:
        return f"no answer in {self.limit_s:g} s"


class Cancelled(Outcome, frozen=True):
    """The call was cancelled: it has happened whole or not at all."""

    def __str__(self) -> str:
        return "cancelled"


class Stuck(Outcome, frozen=True):
    """The call never returned, on an event loop where everything that could run had run."""

    reason: str

    def __str__(self) -> str:
        return f"never answered: {self.reason}"


class LeftBehind(Outcome, frozen=True):
    """It ended well, but not all that was made for it: tasks, threads, open files."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"left behind: {', '.join(self.names)}"


class Malformed(Outcome, frozen=True):
    """An answer that is not of the contract's type."""

    answer: str

    def __str__(self) -> str:
        return f"answered {self.answer}"


AnyOutcome = (
    Done
    | Answers
    | Conflict
    | Failed
    | Invalid
    | Damaged
    | Events
    | Number
    | Loaded
    | Taken
    | TakenIds
    | Notes
    | Raised
    | NoAnswer
    | Malformed
    | LeftBehind
    | Cancelled
    | Stuck
)


def shown_numbers(numbers: Iterable[int]) -> str:
    """Numbers in the order in which they came, runs folded: `1..3, 5`; `none` for none."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] + 1 == number:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(shown_range(first, last) for first, last in runs) or "none"
