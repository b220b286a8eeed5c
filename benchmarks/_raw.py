"""The raw limits: the same rows in the same tables with the same pragmas, by the `sqlite3` module and nothing else.

The tables are made by the backend itself, so that they are the same. Nothing here runs beside it: no event loop, no
thread, no checks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perdure import (
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    load_backend,
)

Row = tuple[Any, ...]

_NOW = 1_700_000_000_000_000_000
_INSERT_EVENT = """
    INSERT INTO event (ordering, persistence_id, sequence_nr, timestamp, serializer_id, payload_manifest, manifest,
        writer_uuid, tag_count, metadata, payload)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_EVENTS = """
    SELECT sequence_nr, timestamp, serializer_id, payload_manifest, manifest, writer_uuid, payload
    FROM event WHERE persistence_id = ? ORDER BY sequence_nr
"""
_INSERT_SNAPSHOT = """
    INSERT OR REPLACE INTO snapshot (persistence_id, sequence_nr, timestamp, serializer_id, manifest, payload)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_SELECT_SNAPSHOT = """
    SELECT sequence_nr, timestamp, serializer_id, manifest, payload FROM snapshot
    WHERE persistence_id = ? ORDER BY sequence_nr DESC LIMIT 1
"""


@asynccontextmanager
async def fresh_raw(place: Path) -> AsyncIterator[sqlite3.Connection]:
    """A connection to a file that holds the backend's tables and no rows, and goes afterwards."""
    with TemporaryDirectory(dir=place) as directory:
        async with load_backend("sqlite").open(Location(directory=Path(directory))):
            pass
        with raw_connection(Path(directory)) as connection:
            yield connection


@contextmanager
def raw_connection(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the one database in a directory, set up as the backend sets up its own."""
    (file,) = directory.glob("*.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal", "the backend leaves a file in WAL mode"
        yield connection


def rows_of(events: Sequence[PersistentRepr]) -> list[Row]:
    return [_row(ordering, event) for ordering, event in enumerate(events, 1)]


def _row(ordering: int, event: PersistentRepr) -> Row:
    payload = event.payload
    own = (ordering, event.persistence_id, event.sequence_nr, _NOW, payload.serializer_id, payload.manifest)
    return (*own, event.manifest, event.writer_uuid, 0, None, payload.data)


def insert_rows(connection: sqlite3.Connection, rows: Sequence[Row], rows_a_transaction: int) -> None:
    for start in range(0, len(rows), rows_a_transaction):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT_EVENT, rows[start : start + rows_a_transaction])
        connection.execute("COMMIT")


def select_events(connection: sqlite3.Connection, persistence_id: str) -> int:
    """Decode every event of an id, keep none, and count them."""
    count = 0
    for number, timestamp, serializer, name, manifest, writer, payload in connection.execute(
        _SELECT_EVENTS, (persistence_id,)
    ):
        PersistentRepr(persistence_id, number, Payload(serializer, name, payload), manifest, writer, timestamp)
        count += 1
    return count


def insert_snapshot(connection: sqlite3.Connection, metadata: SnapshotMetadata, snapshot: Payload) -> None:
    """In a transaction of its own."""
    own = (metadata.persistence_id, metadata.sequence_nr, _NOW, snapshot.serializer_id, snapshot.manifest)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_INSERT_SNAPSHOT, (*own, snapshot.data))
    connection.execute("COMMIT")


def select_snapshot(connection: sqlite3.Connection, persistence_id: str) -> SelectedSnapshot:
    """The newest one of an id."""
    number, timestamp, serializer, manifest, payload = connection.execute(
        _SELECT_SNAPSHOT, (persistence_id,)
    ).fetchone()
    return SelectedSnapshot(SnapshotMetadata(persistence_id, number, timestamp), Payload(serializer, manifest, payload))
