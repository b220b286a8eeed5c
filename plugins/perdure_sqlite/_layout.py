"""What a layout is: the tables of a database, and how events and snapshots become rows and come back.

Two layouts have these: `perdure` (our own) and `akka-net` (that of Akka.Persistence.Sqlite on .NET). Everything else in
this package is the same for both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from perdure import AtomicWrite, EventEnvelope, PersistentRepr, WriteRejected
from perdure.errors import Unreadable

Row = tuple[Any, ...]
"""One row as SQLite takes or gives it. `Any`: a damaged file may hold any type in any column."""


class Layout(Protocol):
    """The SQL of one layout, with positional parameters, and the forms of its rows. Stateless."""

    name: str
    description: str
    origin: str
    """Of the offsets of its feeds, in which the position is the ordering of the event."""
    schema: Sequence[str]
    """Statements that lay out an empty database."""

    insert_event: str
    insert_tag: str | None
    """Takes (ordering, tag). None: tags are a column of the event."""
    newest: str
    """Takes (persistence id, persistence id); selects the highest number ever stored under it, or NULL."""
    event_table: str
    event_columns: str
    """What `events_of` takes."""
    event_visible: str
    """A condition that leaves out rows which count as deleted."""
    highest_table: str
    """Remembers the highest numbers of ids whose newest events were deleted."""
    highest_behind: str
    """A condition with ?1 that takes in every row of it that may have been written behind this ordering."""
    select_tagged: str
    """Takes (tag, ordering, ordering, at most); selects rows for `envelopes_of` behind the first ordering up to the
    second, in this order. It may select events without the tag as well."""

    snapshot_timestamp: str
    """The column of table `snapshot` that holds the timestamp."""
    null_serializer_id: int | None
    """The serializer id that NULL stands for. None: NULL is not allowed."""

    def highest_ordering(self, connection: sqlite3.Connection) -> int:
        """The highest ordering ever given to an event; 0 if there is none.

        A new event takes the next one, within the transaction that writes it. SQLite lets one such transaction run at a
        time, so orderings become visible in their order: who has seen one will see none below it any more. (Q-08)
        """
        ...

    def event_row(self, event: PersistentRepr, ordering: int, now: int) -> Row:
        """An event as a row. What cannot be kept as it is raises `ValueError`, here or when SQLite is given the row."""
        ...

    def rejection(self, write: AtomicWrite) -> WriteRejected | None:
        """Why this write cannot be kept as it is, or None. (J-25)"""
        ...

    def erase(self, connection: sqlite3.Connection, persistence_id: str, to_sequence_nr: int, highest: int) -> None:
        """Delete events, in an open transaction. `highest` is the id's, above 0, and must be remembered. (J-41)"""
        ...

    def events_of(self, persistence_id: str, rows: Sequence[Row]) -> list[PersistentRepr]:
        """Rows as events, or `Unreadable`. (J-60)"""
        ...

    def envelopes_of(self, rows: Sequence[Row]) -> list[EventEnvelope]:
        """Rows that begin with ordering and persistence id as envelopes, or `Unreadable`. (Q-10)"""
        ...

    def timestamp_in(self, nanoseconds: int) -> int:
        """A timestamp as this layout stores it, rounded down."""
        ...

    def timestamp_out(self, stored: int) -> int: ...

    def timestamps_between(self, least: int, most: int) -> tuple[int, int]:
        """The bounds of the stored timestamps that lie within two inclusive bounds; the widest take in every one."""
        ...


def select_events(layout: Layout) -> str:
    """Takes (persistence id, from, to, at most); selects rows for `events_of`, in order of number."""
    return (
        f"SELECT {layout.event_columns} FROM {layout.event_table} "
        f"WHERE persistence_id = ? AND sequence_nr BETWEEN ? AND ? AND {layout.event_visible} "
        f"ORDER BY sequence_nr LIMIT ?"
    )


def select_envelopes(layout: Layout) -> str:
    """The same for `envelopes_of`."""
    return select_events(layout).replace("SELECT", "SELECT ordering, persistence_id,", 1)


def select_feed(layout: Layout) -> str:
    """Takes (ordering, ordering, at most); selects rows for `envelopes_of` behind the first up to the second."""
    return (
        f"SELECT ordering, persistence_id, {layout.event_columns} FROM {layout.event_table} "
        f"WHERE ordering > ? AND ordering <= ? AND {layout.event_visible} ORDER BY ordering LIMIT ?"
    )


def select_ids(layout: Layout, behind: int) -> str:
    """Takes (ordering, at most); selects the ids of which something was written behind it. At 0, all that are known.

    For all of them, one step leads from an id to the next one in the index, however many events each has.
    """
    events = layout.event_table
    walk = (
        f"WITH RECURSIVE known(id) AS (SELECT min(persistence_id) FROM {events} UNION ALL "
        f"SELECT (SELECT min(persistence_id) FROM {events} WHERE persistence_id > known.id) "
        f"FROM known WHERE known.id IS NOT NULL) SELECT id FROM known WHERE id IS NOT NULL"
    )
    some = f"SELECT persistence_id FROM {events} WHERE ordering > ?1"
    emptied = f"SELECT persistence_id FROM {layout.highest_table} WHERE {layout.highest_behind}"
    return f"{some if behind else walk} UNION {emptied} ORDER BY 1 LIMIT ?2"


def envelopes_of(layout: Layout, rows: Sequence[Row]) -> list[EventEnvelope]:
    return layout.envelopes_of(rows)


def ids_of(_: Layout, rows: Sequence[Row]) -> list[str]:
    """Rows as persistence ids, or `Unreadable`."""
    for (persistence_id,) in rows:
        if type(persistence_id) is not str:
            refuse_event(str(persistence_id), 0, [("persistence_id", persistence_id, str)])
    return [persistence_id for (persistence_id,) in rows]


class NotThisLayout(Exception):
    """A database is no journal that can be opened; the message says why and what to do."""


def refuse_event(persistence_id: str, sequence_nr: object, columns: Sequence[tuple[str, object, type]]) -> NoReturn:
    """Raise the `Unreadable` of an event of which some of these columns (name, value, type wanted) are wrong."""
    raise Unreadable("event", persistence_id, sequence_nr if type(sequence_nr) is int else 0, wrong(columns))


def wrong(columns: Sequence[tuple[str, object, type]]) -> str:
    """Names the columns whose value has not the type wanted."""
    names = {int: "an INTEGER", str: "valid TEXT", bytes: "a BLOB"}
    return "; ".join(
        f"column {name} is {'NULL' if value is None else repr(value)[:60]}, not {names[wanted]}"
        for name, value, wanted in columns
        if type(value) is not wanted
    )


def text_or_bytes(text: bytes) -> str | bytes:
    """A `text_factory` that leaves text which is not UTF-8 as it is, so that its row can be told and refused."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text
