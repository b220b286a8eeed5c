"""The layout of Akka.Persistence.Sqlite on .NET: its journals can be read and continued, here and there in turn.

What differs from ours: timestamps in ticks of 100 ns, tags in one column as `;tag1;tag2;`, no columns for
`writer_uuid`, the event adapter's manifest and metadata, and rows from before version 1.4 that name no serializer. The
highest number of an id whose newest event was deleted is a row of `journal_metadata`; of several, the highest counts.

Akka.NET lays out `ordering` so that SQLite gives the highest one again after its event was deleted, and a reader that
has passed it would never see the new event. Our files have AUTOINCREMENT, with which SQLite remembers it in
`sqlite_sequence`, whoever writes. In a file that Akka.NET laid out, a deletion of ours that takes the newest event of
all remembers it in the same place, by the name of an empty table of our own. What Akka.NET deletes is beyond us.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from perdure import (
    MAX_TIMESTAMP,
    AtomicWrite,
    EventEnvelope,
    Offset,
    Payload,
    PersistentRepr,
    WriteRejected,
    unstorable_text,
)

from ._layout import Row, refuse_event

NO_SERIALIZER_ID = -1
"""Stands for a `serializer_id` of NULL: written by the default serializer of the type that the manifest names."""

TICKS_AT_UNIX_EPOCH = 621_355_968_000_000_000
TAGS_LENGTH_MAX = 2000  # VARCHAR(2000): SQLite does not mind, the databases this one may be migrated to do
_INT32 = (-(2**31), 2**31 - 1)
_TICKS_MAX = 2**63 - 1
_NO_TAGS: frozenset[str] = frozenset()

COLUMNS = {
    "event_journal": (
        "ordering", "persistence_id", "sequence_nr", "is_deleted", "manifest", "timestamp", "payload", "tags",
        "serializer_id",
    ),
    "journal_metadata": ("persistence_id", "sequence_nr"),
    "snapshot": ("persistence_id", "sequence_nr", "created_at", "manifest", "payload", "serializer_id"),
}  # fmt: skip


class AkkaNetLayout:
    """See `_layout.Layout`."""

    name = "akka-net"
    description = "akka-net"
    origin = "sqlite-akka-net"
    schema: Sequence[str] = (
        """
        CREATE TABLE event_journal (
            ordering INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
            persistence_id VARCHAR(255) NOT NULL,
            sequence_nr INTEGER(8) NOT NULL,
            is_deleted INTEGER(1) NOT NULL,
            manifest VARCHAR(255) NULL,
            timestamp INTEGER NOT NULL,
            payload BLOB NOT NULL,
            tags VARCHAR(2000) NULL,
            serializer_id INTEGER(4),
            UNIQUE (persistence_id, sequence_nr)
        )
        """,
        """
        CREATE TABLE journal_metadata (
            persistence_id VARCHAR(255) NOT NULL,
            sequence_nr INTEGER(8) NOT NULL,
            PRIMARY KEY (persistence_id, sequence_nr)
        )
        """,
        """
        CREATE TABLE snapshot (
            persistence_id VARCHAR(255) NOT NULL,
            sequence_nr INTEGER(8) NOT NULL,
            created_at INTEGER(8) NOT NULL,
            manifest VARCHAR(255) NOT NULL,
            payload BLOB NOT NULL,
            serializer_id INTEGER(4),
            PRIMARY KEY (persistence_id, sequence_nr)
        )
        """,
    )

    insert_event = """
        INSERT INTO event_journal
            (ordering, persistence_id, sequence_nr, is_deleted, manifest, timestamp, payload, tags, serializer_id)
        VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?)
    """
    insert_tag: str | None = None
    newest = """
        SELECT max(sequence_nr) FROM (
            SELECT max(sequence_nr) AS sequence_nr FROM event_journal WHERE persistence_id = ?
            UNION ALL SELECT max(sequence_nr) FROM journal_metadata WHERE persistence_id = ?)
    """
    event_table = "event_journal"
    event_columns = "sequence_nr, timestamp, serializer_id, manifest, payload, tags"
    event_visible = "is_deleted = 0"
    highest_table = "journal_metadata"
    highest_behind = "?1 = ?1"  # its rows do not say when they were written
    select_tagged = f"""
        SELECT ordering, persistence_id, {event_columns} FROM event_journal
        WHERE instr(tags, ';' || ? || ';') AND ordering > ? AND ordering <= ? AND {event_visible}
        ORDER BY ordering LIMIT ?
    """

    snapshot_timestamp = "created_at"
    null_serializer_id: int | None = NO_SERIALIZER_ID

    def highest_ordering(self, connection: sqlite3.Connection) -> int:
        present = connection.execute("SELECT coalesce(max(ordering), 0) FROM event_journal").fetchone()[0]
        return max(int(present), _highest_remembered(connection))

    def event_row(self, event: PersistentRepr, ordering: int, now: int) -> Row:
        payload = event.payload
        return (
            ordering,
            event.persistence_id,
            event.sequence_nr,
            payload.manifest,
            _within("timestamp", self.timestamp_in(event.timestamp or now), 0, _TICKS_MAX),
            payload.data,
            _joined(event.tags) if event.tags else None,
            None
            if payload.serializer_id == NO_SERIALIZER_ID
            else _within("serializer_id", payload.serializer_id, *_INT32),
        )

    def rejection(self, write: AtomicWrite) -> WriteRejected | None:
        return unstorable_text(write) or next(filter(None, map(self._unstorable, write.events)), None)

    def _unstorable(self, event: PersistentRepr) -> WriteRejected | None:
        try:
            self.event_row(event, 0, 0)
        except ValueError as error:
            return WriteRejected(f"event {event.sequence_nr}: {error}")
        return None

    def erase(self, connection: sqlite3.Connection, persistence_id: str, to_sequence_nr: int, highest: int) -> None:
        window = (persistence_id, to_sequence_nr)
        _remember_highest(connection, persistence_id, to_sequence_nr)
        connection.execute("DELETE FROM event_journal WHERE persistence_id = ? AND sequence_nr <= ?", window)
        connection.execute("DELETE FROM journal_metadata WHERE persistence_id = ? AND sequence_nr <= ?", window)
        if highest <= to_sequence_nr:
            connection.execute("INSERT INTO journal_metadata VALUES (?, ?)", (persistence_id, highest))

    def events_of(self, persistence_id: str, rows: Sequence[Row]) -> list[PersistentRepr]:
        return [self._event_of(persistence_id, row) for row in rows]

    def _event_of(self, persistence_id: str, row: Row) -> PersistentRepr:
        sequence_nr, timestamp, serializer_id, manifest, payload, tags = row
        columns = [
            ("sequence_nr", sequence_nr, int),
            ("timestamp", timestamp, int),
            ("serializer_id", NO_SERIALIZER_ID if serializer_id is None else serializer_id, int),
            ("manifest", "" if manifest is None else manifest, str),
            ("payload", payload, bytes),
            ("tags", "" if tags is None else tags, str),
        ]
        if any(type(value) is not wanted for _, value, wanted in columns):
            refuse_event(persistence_id, sequence_nr, columns)
        return PersistentRepr(
            persistence_id,
            sequence_nr,
            Payload(NO_SERIALIZER_ID if serializer_id is None else serializer_id, manifest or "", payload),
            timestamp=self.timestamp_out(timestamp),
            tags=frozenset(filter(None, tags.split(";"))) if tags else _NO_TAGS,
        )

    def envelopes_of(self, rows: Sequence[Row]) -> list[EventEnvelope]:
        return [self._envelope_of(*row) for row in rows]

    def _envelope_of(self, ordering: int, persistence_id: object, *row: object) -> EventEnvelope:
        if not isinstance(persistence_id, str):
            refuse_event(str(persistence_id), row[0], [("persistence_id", persistence_id, str)])
        return EventEnvelope(Offset(self.origin, ordering), self._event_of(persistence_id, row))

    def timestamp_in(self, nanoseconds: int) -> int:
        return nanoseconds // 100 + TICKS_AT_UNIX_EPOCH

    def timestamps_between(self, least: int, most: int) -> tuple[int, int]:
        """The smallest bound takes in DateTime.MinValue of .NET and the largest its MaxValue, which are not in ours."""
        return (
            -(-least // 100) + TICKS_AT_UNIX_EPOCH if least > 0 else 0,
            self.timestamp_in(most) if most < MAX_TIMESTAMP else _TICKS_MAX,
        )

    def timestamp_out(self, stored: int) -> int:
        return (stored - TICKS_AT_UNIX_EPOCH) * 100


def _highest_remembered(connection: sqlite3.Connection) -> int:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone() is None:
        return 0
    remembered = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name IN ('event_journal', 'perdure_ordering')"
    return int(connection.execute(remembered).fetchone()[0])


def _remember_highest(connection: sqlite3.Connection, persistence_id: str, to_sequence_nr: int) -> None:
    """If the newest event of all is about to be deleted. Where `ordering` has AUTOINCREMENT, SQLite has done so."""
    newest = "SELECT ordering, persistence_id, sequence_nr FROM event_journal ORDER BY ordering DESC LIMIT 1"
    ordering, owner, sequence_nr = connection.execute(newest).fetchone() or (0, "", 0)
    if owner == persistence_id and sequence_nr <= to_sequence_nr and ordering > _highest_remembered(connection):
        connection.execute("CREATE TABLE IF NOT EXISTS perdure_ordering (ordering INTEGER PRIMARY KEY AUTOINCREMENT)")
        connection.execute("INSERT INTO perdure_ordering VALUES (?)", (ordering,))
        connection.execute("DELETE FROM perdure_ordering")


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError(f"{name} {value} is out of what .NET can hold; {least} to {most} is allowed")
    return value


def _joined(tags: frozenset[str]) -> str:
    """`;tag1;tag2;`, in one order always. A tag that this form would mangle raises `ValueError`."""
    for tag in tags:
        if not tag or ";" in tag:
            raise ValueError(f"tag {tag!r} cannot be kept in a list of tags that are separated by ';'")
    joined = f";{';'.join(sorted(tags))};"
    if len(joined) > TAGS_LENGTH_MAX:
        raise ValueError(f"its tags take {len(joined)} characters; {TAGS_LENGTH_MAX} fit into the column")
    return joined


AKKA_NET = AkkaNetLayout()
