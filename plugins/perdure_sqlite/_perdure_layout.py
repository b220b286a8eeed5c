"""The layout of our own: nothing of an event is lost, and reading and writing need few steps.

`event` is a table with a rowid, for payloads may be large (without one, pages of 1 kB events cost three times as much).
`ordering` is given out by us and never twice: `emptied` remembers it together with the highest number of an id whose
newest event was deleted, and is written by such deletions only. Tags have a table of their own, for queries by tag; an
event without tags costs nothing there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
from perdure import AtomicWrite, EventEnvelope, Offset, Payload, PersistentRepr, WriteRejected, unstorable_text
from perdure.errors import Unreadable

from ._layout import Row, refuse_event

APPLICATION_ID = 0x50726472  # "Prdr"
SCHEMA_VERSION = 1
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_NO_TAGS: frozenset[str] = frozenset()


class PerdureLayout:
    """See `_layout.Layout`."""

    name = "perdure"
    origin = "sqlite"
    description = f"perdure {SCHEMA_VERSION}"
    schema: Sequence[str] = (
        """
        CREATE TABLE event (
            ordering INTEGER PRIMARY KEY,
            persistence_id TEXT NOT NULL,
            sequence_nr INTEGER NOT NULL,
            timestamp INTEGER NOT NULL,             -- nanoseconds since the Unix epoch
            serializer_id INTEGER NOT NULL,
            payload_manifest TEXT NOT NULL,         -- the serializer's
            manifest TEXT NOT NULL,                 -- the event adapter's
            writer_uuid TEXT NOT NULL,
            tag_count INTEGER NOT NULL,             -- rows in event_tag
            metadata BLOB,                          -- msgpack [serializer id, manifest, bytes]: one column, being rare
            payload BLOB NOT NULL,                  -- last: a long one must not lie before what is read without it
            UNIQUE (persistence_id, sequence_nr)
        )
        """,
        """
        CREATE TABLE event_tag (
            ordering INTEGER NOT NULL,
            tag TEXT NOT NULL,
            PRIMARY KEY (ordering, tag)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX event_tag_by_tag ON event_tag (tag, ordering)",
        """
        CREATE TABLE emptied (
            persistence_id TEXT NOT NULL PRIMARY KEY,
            sequence_nr INTEGER NOT NULL,           -- the highest that was deleted
            ordering INTEGER NOT NULL               -- of that event
        ) WITHOUT ROWID
        """,
        "CREATE INDEX emptied_by_ordering ON emptied (ordering)",
        """
        CREATE TABLE snapshot (
            persistence_id TEXT NOT NULL,
            sequence_nr INTEGER NOT NULL,
            timestamp INTEGER NOT NULL,             -- nanoseconds since the Unix epoch
            serializer_id INTEGER NOT NULL,
            manifest TEXT NOT NULL,                 -- the serializer's
            payload BLOB NOT NULL,
            PRIMARY KEY (persistence_id, sequence_nr)
        )
        """,
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {SCHEMA_VERSION}",
    )

    insert_event = """
        INSERT INTO event (ordering, persistence_id, sequence_nr, timestamp, serializer_id, payload_manifest, manifest,
            writer_uuid, tag_count, metadata, payload)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """
    insert_tag: str | None = "INSERT INTO event_tag (ordering, tag) VALUES (?, ?)"
    newest = """
        SELECT max(sequence_nr) FROM (
            SELECT max(sequence_nr) AS sequence_nr FROM event WHERE persistence_id = ?
            UNION ALL SELECT sequence_nr FROM emptied WHERE persistence_id = ?)
    """
    event_table = "event"
    event_columns = """
        sequence_nr, timestamp, serializer_id, payload_manifest, manifest, writer_uuid, payload, metadata,
        CASE WHEN tag_count <> 0 THEN json_array(tag_count,
            (SELECT json_group_array(tag) FROM event_tag WHERE event_tag.ordering = event.ordering)) END"""
    event_visible = "TRUE"
    highest_table = "emptied"
    highest_behind = "ordering > ?1"
    # CROSS JOIN: the walk along the index of tags comes first, whatever statistics there are
    select_tagged = f"""
        SELECT event.ordering, persistence_id, {event_columns}
        FROM event_tag AS wanted CROSS JOIN event ON event.ordering = wanted.ordering
        WHERE wanted.tag = ? AND wanted.ordering > ? AND wanted.ordering <= ?
        ORDER BY wanted.ordering LIMIT ?
    """

    snapshot_timestamp = "timestamp"
    null_serializer_id: int | None = None

    def highest_ordering(self, connection: sqlite3.Connection) -> int:
        highest = connection.execute(
            "SELECT max((SELECT coalesce(max(ordering), 0) FROM event), "
            "(SELECT coalesce(max(ordering), 0) FROM emptied))"
        ).fetchone()[0]
        return int(highest)

    def event_row(self, event: PersistentRepr, ordering: int, now: int) -> Row:
        payload = event.payload
        return (
            ordering,
            event.persistence_id,
            event.sequence_nr,
            event.timestamp or now,
            payload.serializer_id,
            payload.manifest,
            event.manifest,
            event.writer_uuid,
            len(event.tags),
            None if event.metadata is None else _packed(event.metadata),
            payload.data,
        )

    def rejection(self, write: AtomicWrite) -> WriteRejected | None:
        return unstorable_text(write) or next(filter(None, map(_too_wide, write.events)), None)

    def erase(self, connection: sqlite3.Connection, persistence_id: str, to_sequence_nr: int, highest: int) -> None:
        window = (persistence_id, to_sequence_nr)
        if highest <= to_sequence_nr:  # the newest event goes, if it is still there
            connection.execute(
                "INSERT OR REPLACE INTO emptied SELECT persistence_id, sequence_nr, ordering FROM event "
                "WHERE persistence_id = ? AND sequence_nr = ?",
                (persistence_id, highest),
            )
        connection.execute(
            "DELETE FROM event_tag WHERE ordering IN (SELECT ordering FROM event "
            "WHERE persistence_id = ? AND sequence_nr <= ? AND tag_count <> 0)",
            window,
        )
        connection.execute("DELETE FROM event WHERE persistence_id = ? AND sequence_nr <= ?", window)

    def events_of(self, persistence_id: str, rows: Sequence[Row]) -> list[PersistentRepr]:
        events: list[PersistentRepr] = []
        for row in rows:
            # One loop, and the types asked one by one: this is what a replay spends its time on.
            (
                sequence_nr,
                timestamp,
                serializer_id,
                payload_manifest,
                manifest,
                uuid,
                payload,
                metadata,
                tags,
            ) = row
            if not (
                type(sequence_nr) is int
                and type(timestamp) is int
                and type(serializer_id) is int
                and type(payload_manifest) is str
                and type(manifest) is str
                and type(uuid) is str
                and type(payload) is bytes
            ):
                _refuse(persistence_id, row)
            events.append(
                PersistentRepr(
                    persistence_id,
                    sequence_nr,
                    Payload(serializer_id, payload_manifest, payload),
                    manifest,
                    uuid,
                    timestamp,
                    _NO_TAGS if tags is None else _tags(persistence_id, sequence_nr, tags),
                    None if metadata is None else _unpacked(persistence_id, sequence_nr, metadata),
                )
            )
        return events

    def envelopes_of(self, rows: Sequence[Row]) -> list[EventEnvelope]:
        """The same loop once more: what the two have in common would cost a call an event."""
        origin = self.origin
        envelopes: list[EventEnvelope] = []
        for row in rows:
            (
                ordering,
                persistence_id,
                sequence_nr,
                timestamp,
                serializer_id,
                payload_manifest,
                manifest,
                uuid,
                payload,
                metadata,
                tags,
            ) = row
            if not (
                type(persistence_id) is str
                and type(sequence_nr) is int
                and type(timestamp) is int
                and type(serializer_id) is int
                and type(payload_manifest) is str
                and type(manifest) is str
                and type(uuid) is str
                and type(payload) is bytes
            ):
                _refuse(persistence_id, row[2:])
            envelopes.append(
                EventEnvelope(
                    Offset(origin, ordering),
                    PersistentRepr(
                        persistence_id,
                        sequence_nr,
                        Payload(serializer_id, payload_manifest, payload),
                        manifest,
                        uuid,
                        timestamp,
                        _NO_TAGS if tags is None else _tags(persistence_id, sequence_nr, tags),
                        None if metadata is None else _unpacked(persistence_id, sequence_nr, metadata),
                    ),
                )
            )
        return envelopes

    def timestamp_in(self, nanoseconds: int) -> int:
        return nanoseconds

    def timestamps_between(self, least: int, most: int) -> tuple[int, int]:
        return least, most

    def timestamp_out(self, stored: int) -> int:
        return stored


def _too_wide(event: PersistentRepr) -> WriteRejected | None:
    """SQLite's integers have 64 bits; Python's do not end."""
    numbers = [("timestamp", event.timestamp), ("payload.serializer_id", event.payload.serializer_id)]
    if event.metadata is not None:
        numbers.append(("metadata.serializer_id", event.metadata.serializer_id))
    for name, number in numbers:
        if not _INT64_MIN <= number <= _INT64_MAX:
            return WriteRejected(f"{name} {number} of event {event.sequence_nr} does not fit into 64 bits")
    return None


def _refuse(persistence_id: object, row: Row) -> NoReturn:
    columns = (
        "persistence_id",
        "sequence_nr",
        "timestamp",
        "serializer_id",
        "payload_manifest",
        "manifest",
        "writer_uuid",
        "payload",
    )
    wanted = (str, int, int, int, str, str, str, bytes)
    refuse_event(str(persistence_id), row[0], list(zip(columns, (persistence_id, *row), wanted, strict=False)))


def _tags(persistence_id: str, sequence_nr: int, tags: str) -> frozenset[str]:
    count, found = msgspec.json.decode(tags, type=tuple[int, frozenset[str]])
    if len(found) != count:
        reason = f"column tag_count is {count}, and event_tag has {len(found)}"
        raise Unreadable("event", persistence_id, sequence_nr, reason)
    return found


def _packed(metadata: Payload) -> bytes:
    return msgspec.msgpack.encode((metadata.serializer_id, metadata.manifest, metadata.data))


def _unpacked(persistence_id: str, sequence_nr: int, packed: Any) -> Payload:
    try:
        return Payload(*msgspec.msgpack.decode(packed, type=tuple[int, str, bytes]))
    except (msgspec.DecodeError, TypeError) as error:
        raise Unreadable("event", persistence_id, sequence_nr, f"column metadata: {error}") from error


PERDURE = PerdureLayout()
