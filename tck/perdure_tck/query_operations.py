"""Operations on the read side: open a query, take from it, close it. The grammar is in `docs/scenario-files.md`."""

from __future__ import annotations

from typing import Literal

import msgspec
from perdure import MAX_SEQUENCE_NR

from .operation import Operation, quoted, shown_window

Subject = Literal["persistence ids", "events by persistence id", "events by tag", "all events"]
SUBJECTS: tuple[Subject, ...] = ("persistence ids", "events by persistence id", "events by tag", "all events")
"""What one may ask a read journal for: each as a current query, and as a live one."""


class Resume(msgspec.Struct, frozen=True):
    """Where a query begins: behind the last event that another one gave, or behind the `number`-th (from 1).

    Where the other gave none, this one begins where the other did.
    """

    name: str
    number: int = 0

    def __str__(self) -> str:
        return f" after {self.name}" + (f" {self.number}" if self.number else "")


FOREIGN = Resume("foreign")
"""Behind an offset that the backend never made."""


class Query(Operation, frozen=True):
    """A query is opened under a name: `query f current events by tag a after g`, `query f all events`.

    A name that is in use is given to the new query, and the old one is closed.
    """

    kind = "query"
    name: str
    subject: Subject
    current: bool = False
    persistence_id: str = ""
    from_sequence_nr: int = 1
    to_sequence_nr: int = MAX_SEQUENCE_NR
    tag: str = ""
    after: Resume | None = None

    @property
    def by_persistence_id(self) -> bool:
        return self.subject == "events by persistence id"

    @property
    def method(self) -> str:
        """The method of the contract that answers it."""
        return ("current_" if self.current else "") + self.subject.replace(" ", "_")

    def __str__(self) -> str:
        text = f"query {self.name} {'current ' if self.current else ''}{self.subject}"
        if self.by_persistence_id:
            window = shown_window(self.from_sequence_nr, self.to_sequence_nr, 1, MAX_SEQUENCE_NR)
            text += f" {quoted(self.persistence_id)}{window}"
        elif self.subject == "events by tag":
            text += f" {quoted(self.tag)}"
        return text + (str(self.after) if self.after else "")


class Take(Operation, frozen=True):
    """Ask a query for so many items, `take f 3`, or until it ends or, being live, has no more for now: `take f all`."""

    kind = "take"
    name: str
    count: int = MAX_SEQUENCE_NR

    def __str__(self) -> str:
        return f"take {self.name} {'all' if self.count == MAX_SEQUENCE_NR else self.count}"


class Close(Operation, frozen=True):
    """Close a query: `close f`."""

    kind = "close"
    name: str

    def __str__(self) -> str:
        return f"close {self.name}"
