"""The snapshot store: one row a snapshot, and one statement an operation."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
from perdure import Payload, SelectedSnapshot, SnapshotMetadata, SnapshotSelectionCriteria, check_persistence_id
from perdure.errors import StorageClosed, WriteFailed

from ._connection import Database, provably_nothing
from ._rows import SNAPSHOT, snapshot_of
from ._text import stored
from ._writer import Writer

_MATCHING = "persistence_id = $1 AND sequence_nr BETWEEN $2 AND $3 AND timestamp BETWEEN $4 AND $5"


class PostgresSnapshotStore:
    """See `perdure.SnapshotStore`."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        """`writer` is only asked whether the storage is still open."""
        self._database = database
        self._writer = writer
        self._clock = clock
        self._table = f"{database.schema}.snapshot"

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        self._refuse_closed("load")
        select = f"SELECT {SNAPSHOT} FROM {self._table} WHERE {_MATCHING} ORDER BY sequence_nr DESC LIMIT 1"
        bounds = _bounds(persistence_id, criteria)
        row = await self._database.read(lambda connection: connection.fetchrow(select, *bounds))
        return None if row is None else snapshot_of(row)

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        if self._writer.closed:
            raise WriteFailed("the storage is closed; open its location again")
        insert = (
            f"INSERT INTO {self._table} ({SNAPSHOT}) VALUES ($1, $2, $3, $4, $5, $6) "
            f"ON CONFLICT (persistence_id, sequence_nr) DO UPDATE SET timestamp = excluded.timestamp, "
            f"serializer_id = excluded.serializer_id, manifest = excluded.manifest, payload = excluded.payload"
        )
        row = (
            stored(metadata.persistence_id),
            metadata.sequence_nr,
            metadata.timestamp or self._clock(),
            snapshot.serializer_id,
            stored(snapshot.manifest),
            snapshot.data,
        )
        try:
            async with self._database.lent() as connection:
                await connection.execute(insert, *row)
        except (asyncpg.PostgresError, ValueError, OverflowError) as error:
            if isinstance(error, asyncpg.PostgresError) and not provably_nothing(error):
                raise
            raise WriteFailed(f"the snapshot was not stored: {error}") from error

    async def delete(self, metadata: SnapshotMetadata) -> None:
        self._refuse_closed("delete")
        async with self._database.lent() as connection:
            await connection.execute(
                f"DELETE FROM {self._table} WHERE persistence_id = $1 AND sequence_nr = $2 "
                f"AND ($3::bigint = 0 OR timestamp = $3::bigint)",
                stored(metadata.persistence_id),
                metadata.sequence_nr,
                metadata.timestamp,
            )

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        check_persistence_id(persistence_id)
        self._refuse_closed("delete_matching")
        async with self._database.lent() as connection:
            await connection.execute(f"DELETE FROM {self._table} WHERE {_MATCHING}", *_bounds(persistence_id, criteria))

    def _refuse_closed(self, operation: str) -> None:
        if self._writer.closed:
            raise StorageClosed(operation)


def _bounds(persistence_id: str, criteria: SnapshotSelectionCriteria) -> tuple[str, int, int, int, int]:
    return (
        stored(persistence_id),
        criteria.min_sequence_nr,
        criteria.max_sequence_nr,
        criteria.min_timestamp,
        criteria.max_timestamp,
    )
