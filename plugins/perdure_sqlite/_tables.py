"""What happens inside a write transaction, on one connection: events are appended and erased, snapshots come and go.

`Tables` knows the highest number of the ids that it has met, so that a write costs no query. That knowledge is dropped
whenever a transaction is rolled back and whenever another connection has written (`PRAGMA data_version`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from perdure import AtomicWrite, WriteRejected
from perdure.errors import SequenceConflict, Unreadable

from ._layout import Layout

ROOM = 4000
"""How many rows one transaction takes on before it is committed: more gains nothing, and others wait for the lock."""

ROW_SIZE = 2048
"""A payload takes the place of one more row for each full piece of this many bytes: 8 MB fill a transaction."""

_KNOWN_MAX = 100_000


class Insert:
    """An INSERT of as many rows as there are, up to 64 to a statement.

    Each step of a statement gives the interpreter's lock away, and gets it back only after 5 ms or more if the event
    loop is busy, so fewer steps keep a busy program from starving its own writes: there, 64 rows to a statement take a
    third of the time of 8. On an idle loop the two are equally fast.
    """

    def __init__(self, one_row: str) -> None:
        head, row = one_row.rsplit("VALUES", 1)
        self._width = row.count("?")
        self._statements = {size: f"{head} VALUES {', '.join([row] * size)}" for size in (64, 8, 1)}

    def run(self, connection: sqlite3.Connection, values: list[object]) -> None:
        """Insert rows that are given as one flat list, and empty it."""
        start = 0
        for size, statement in self._statements.items():
            step = size * self._width
            while start + step <= len(values):
                connection.execute(statement, values[start : start + step])
                start += step
        values.clear()


class Tables:
    """The write side of one database."""

    def __init__(self, connection: sqlite3.Connection, layout: Layout) -> None:
        self.connection = connection
        self.layout = layout
        self._known: dict[str, int] = {}
        self._version = -1
        self._ordering = 0
        self._event_values: list[object] = []
        self._tag_values: list[object] = []
        self.room = ROOM
        """What the transaction can still take on; it is full at 0."""
        self._insert_events = Insert(layout.insert_event)
        self._insert_tags = Insert(layout.insert_tag) if layout.insert_tag else None

    def begin(self) -> None:
        """Take the write lock; from here on nobody else changes anything."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.room = ROOM
        version = self.connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version or len(self._known) > _KNOWN_MAX:
            self.forget()
            self._version = version

    def forget(self) -> None:
        """Drop what is known and what is not written yet. `_ordering` is reread by the next event."""
        self._known.clear()
        self._event_values.clear()
        self._tag_values.clear()
        self._ordering = -1

    def highest(self, persistence_id: str) -> int:
        """The highest number ever stored under an id; 0 for an unknown one. (J-40, J-41)"""
        known = self._known.get(persistence_id)
        if known is None:
            known = self._known[persistence_id] = read_highest(self.connection, self.layout, persistence_id)
        return known

    def append(self, writes: Sequence[AtomicWrite], now: int) -> list[WriteRejected | None]:
        """Accept every write, or none of them if one is in conflict. Rows reach SQLite with the next `flush`."""
        self._reserve(writes)
        self._take(writes, now)
        return [None] * len(writes)

    def append_each(
        self, calls: Sequence[Sequence[AtomicWrite]], now: int
    ) -> list[Sequence[WriteRejected | None] | Exception]:
        """The same for many, where one that is in conflict is answered by that, and the others are accepted."""
        answers: list[Sequence[WriteRejected | None] | Exception] = []
        accepted: list[AtomicWrite] = []
        for writes in calls:
            try:
                self._reserve(writes)
            except SequenceConflict as conflict:
                answers.append(conflict)
            else:
                accepted += writes
                answers.append([None] * len(writes))
        self._take(accepted, now)
        return answers

    def _take(self, writes: Sequence[AtomicWrite], now: int) -> None:
        """Make rows of what was accepted."""
        if self._ordering < 0:
            self._ordering = self.layout.highest_ordering(self.connection)
        ordering, rows = self._ordering, 0
        values, event_row = self._event_values, self.layout.event_row
        for write in writes:
            for event in write.events:
                ordering += 1
                values += event_row(event, ordering, now)
                rows += 1 + len(event.payload.data) // ROW_SIZE
                if event.tags and self.layout.insert_tag:
                    for tag in event.tags:
                        self._tag_values += (ordering, tag)
        self._ordering = ordering
        self.room -= rows

    def _reserve(self, writes: Sequence[AtomicWrite]) -> None:
        """All checks come before all changes, so that a conflict leaves nothing of the call behind. (J-16)"""
        known = self._known
        reserved = known if len(writes) == 1 else {}
        for write in writes:
            events = write.events
            first = events[0]
            persistence_id = first.persistence_id
            highest = reserved.get(persistence_id)
            if highest is None:
                highest = self.highest(persistence_id)
            if first.sequence_nr <= highest:
                raise SequenceConflict(persistence_id, first.sequence_nr, highest)
            reserved[persistence_id] = events[-1].sequence_nr
        if reserved is not known:
            known.update(reserved)

    def flush(self) -> None:
        """Give SQLite the rows that were accepted."""
        self._insert_events.run(self.connection, self._event_values)
        if self._insert_tags is not None:
            self._insert_tags.run(self.connection, self._tag_values)

    def erase(self, persistence_id: str, to_sequence_nr: int) -> None:
        highest = self.highest(persistence_id)
        if highest:  # an unknown id leaves no trace (J-74)
            self.flush()
            self.layout.erase(self.connection, persistence_id, to_sequence_nr, highest)


def read_highest(connection: sqlite3.Connection, layout: Layout, persistence_id: str) -> int:
    highest = connection.execute(layout.newest, (persistence_id, persistence_id)).fetchone()[0]
    if highest is None:
        return 0
    if type(highest) is not int:
        raise Unreadable("event", persistence_id, 0, f"its sequence_nr is {highest!r}, not an INTEGER")
    return highest
