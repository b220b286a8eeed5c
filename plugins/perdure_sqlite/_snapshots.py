"""The snapshot store. Its SQL is the same for both layouts but for the name and the unit of the timestamp."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from perdure import (
    Payload,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    check_persistence_id,
)
from perdure.errors import StorageClosed, Unreadable, WriteFailed

from ._change import Change
from ._layout import Layout, Row, text_or_bytes, wrong
from ._reader import Read, Reader
from ._tables import Tables
from ._worker import Worker


class SqliteSnapshotStore:
    """See `perdure.SnapshotStore`."""

    def __init__(self, writer: Worker[Change], reader: Worker[Read], clock: Callable[[], int]) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        self._refuse_closed("load")
        selected: SelectedSnapshot | None = await self._reader.ask(Load(persistence_id, criteria))
        return selected

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        if self._writer.closed:
            raise WriteFailed("the storage is closed; open its location again")
        await self._writer.ask(Save(metadata, metadata.timestamp or self._clock(), snapshot))

    async def delete(self, metadata: SnapshotMetadata) -> None:
        self._refuse_closed("delete")
        await self._writer.ask(Delete(metadata))

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        check_persistence_id(persistence_id)
        self._refuse_closed("delete_matching")
        await self._writer.ask(DeleteMatching(persistence_id, criteria))

    def _refuse_closed(self, operation: str) -> None:
        if self._reader.closed:
            raise StorageClosed(operation)


class Load(msgspec.Struct, frozen=True, gc=False):
    """One call of `load`."""

    persistence_id: str
    criteria: SnapshotSelectionCriteria

    def __call__(self, reader: Reader) -> SelectedSnapshot | None:
        layout = reader.layout
        select = f"{select_snapshots(layout)} WHERE {_matching(layout)} ORDER BY sequence_nr DESC LIMIT 1"
        connection = reader.take()
        try:
            connection.text_factory = text_or_bytes
            row = connection.execute(select, _bounds(layout, self.persistence_id, self.criteria)).fetchone()
            connection.text_factory = str
        except BaseException:
            reader.drop(connection)
            raise
        reader.give_back(connection)
        return None if row is None else snapshot_of(layout, row)


class Save(msgspec.Struct, frozen=True, gc=False):
    """One call of `save`, with its timestamp filled in."""

    metadata: SnapshotMetadata
    timestamp: int
    snapshot: Payload

    def apply(self, tables: Tables) -> None:
        layout = tables.layout
        serializer_id = self.snapshot.serializer_id
        tables.connection.execute(
            f"INSERT OR REPLACE INTO snapshot "
            f"(persistence_id, sequence_nr, {layout.snapshot_timestamp}, serializer_id, manifest, payload) "
            f"VALUES (?, ?, ?, ?, ?, ?)",
            (
                self.metadata.persistence_id,
                self.metadata.sequence_nr,
                layout.timestamp_in(self.timestamp),
                None if serializer_id == layout.null_serializer_id else serializer_id,
                self.snapshot.manifest,
                self.snapshot.data,
            ),
        )

    apply_carefully = apply

    def failure(self, error: Exception) -> Exception:
        return WriteFailed(f"the snapshot was not stored: {error}")


class Delete(msgspec.Struct, frozen=True, gc=False):
    """One call of `delete`."""

    metadata: SnapshotMetadata

    def apply(self, tables: Tables) -> None:
        layout, timestamp = tables.layout, self.metadata.timestamp
        tables.connection.execute(
            f"DELETE FROM snapshot WHERE persistence_id = ? AND sequence_nr = ? "
            f"AND (? OR {layout.snapshot_timestamp} = ?)",
            (
                self.metadata.persistence_id,
                self.metadata.sequence_nr,
                timestamp == 0,
                layout.timestamp_in(timestamp) if -(2**63) <= timestamp < 2**63 else None,  # NULL equals nothing
            ),
        )

    apply_carefully = apply

    def failure(self, error: Exception) -> Exception:
        return error


class DeleteMatching(msgspec.Struct, frozen=True, gc=False):
    """One call of `delete_matching`."""

    persistence_id: str
    criteria: SnapshotSelectionCriteria

    def apply(self, tables: Tables) -> None:
        tables.connection.execute(
            f"DELETE FROM snapshot WHERE {_matching(tables.layout)}",
            _bounds(tables.layout, self.persistence_id, self.criteria),
        )

    apply_carefully = apply

    def failure(self, error: Exception) -> Exception:
        return error


def _matching(layout: Layout) -> str:
    return f"persistence_id = ? AND sequence_nr BETWEEN ? AND ? AND {layout.snapshot_timestamp} BETWEEN ? AND ?"


def _bounds(layout: Layout, persistence_id: str, criteria: SnapshotSelectionCriteria) -> tuple[str, int, int, int, int]:
    timestamps = layout.timestamps_between(criteria.min_timestamp, criteria.max_timestamp)
    return persistence_id, criteria.min_sequence_nr, criteria.max_sequence_nr, *timestamps


def select_snapshots(layout: Layout) -> str:
    """Selects rows for `snapshot_of`."""
    columns = f"persistence_id, sequence_nr, {layout.snapshot_timestamp}, serializer_id, manifest, payload"
    return f"SELECT {columns} FROM snapshot"


def snapshot_of(layout: Layout, row: Row) -> SelectedSnapshot:
    """A row as a snapshot, or `Unreadable`. (S-26)"""
    persistence_id, sequence_nr, timestamp, serializer_id, manifest, payload = row
    if serializer_id is None:
        serializer_id = layout.null_serializer_id
    columns = [
        (layout.snapshot_timestamp, timestamp, int),
        ("serializer_id", serializer_id, int),
        ("manifest", manifest, str),
        ("payload", payload, bytes),
    ]
    if any(type(value) is not wanted for _, value, wanted in columns):
        raise Unreadable("snapshot", persistence_id, sequence_nr, wrong(columns))
    metadata = SnapshotMetadata(persistence_id, sequence_nr, layout.timestamp_out(timestamp))
    return SelectedSnapshot(metadata, Payload(serializer_id, manifest, payload))
