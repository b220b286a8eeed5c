"""Events and snapshots as rows, and rows as events and snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from perdure import (
    AtomicWrite,
    EventEnvelope,
    Offset,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    WriteRejected,
    unstorable_text,
)
from perdure.errors import Unreadable

from ._text import loaded, stored

Row = Sequence[Any]

ORIGIN: Final = "postgres"
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_NO_TAGS: frozenset[str] = frozenset()

EVENT: Final = """
    ordering, persistence_id, sequence_nr, timestamp, serializer_id, payload_manifest, manifest, writer_uuid, payload,
    metadata, tag_count,
    CASE WHEN tag_count > 0 THEN
        ARRAY(SELECT tag FROM {schema}.event_tag AS its WHERE its.ordering = event.ordering)
    END
"""
"""The columns that `event_of` takes."""

SNAPSHOT: Final = "persistence_id, sequence_nr, timestamp, serializer_id, manifest, payload"
"""The columns that `snapshot_of` takes."""


class Columns(msgspec.Struct, frozen=True):
    """Events as columns, which is how one statement takes many of them; `tags` are (id, number, tag)."""

    events: tuple[list[Any], ...] = msgspec.field(default_factory=lambda: tuple([] for _ in range(10)))
    tags: tuple[list[Any], ...] = msgspec.field(default_factory=lambda: ([], [], []))

    def add(self, event: PersistentRepr, now: int) -> None:
        payload = event.payload
        persistence_id = stored(event.persistence_id)
        row: tuple[Any, ...] = (
            persistence_id,
            event.sequence_nr,
            event.timestamp or now,
            payload.serializer_id,
            stored(payload.manifest),
            stored(event.manifest),
            stored(event.writer_uuid),
            len(event.tags),
            None if event.metadata is None else _packed(event.metadata),
            payload.data,
        )
        for column, value in zip(self.events, row, strict=True):
            column.append(value)
        for tag in event.tags:
            for column, value in zip(self.tags, (persistence_id, event.sequence_nr, stored(tag)), strict=True):
                column.append(value)


def rejection(write: AtomicWrite) -> WriteRejected | None:
    """Why this write cannot be kept as it is, or None. (J-25)"""
    return unstorable_text(write) or next(filter(None, map(_too_wide, write.events)), None)


def _too_wide(event: PersistentRepr) -> WriteRejected | None:
    numbers = [("timestamp", event.timestamp), ("payload.serializer_id", event.payload.serializer_id)]
    for name, number in numbers:
        if not _INT64_MIN <= number <= _INT64_MAX:
            return WriteRejected(f"{name} {number} of event {event.sequence_nr} does not fit into 64 bits")
    return None


def events_of(rows: Iterable[Row]) -> list[PersistentRepr]:
    return [event_of(row) for row in rows]


def envelopes_of(rows: Iterable[Row]) -> list[EventEnvelope]:
    return [EventEnvelope(Offset(ORIGIN, row[0]), event_of(row)) for row in rows]


def event_of(row: Row) -> PersistentRepr:
    """A row as an event, or `Unreadable`. (J-60)"""
    try:
        return _event_of(*row[1:])
    except (ValueError, TypeError) as error:
        raise Unreadable("event", str(row[1]), row[2], str(error)) from error


def _event_of(
    persistence_id: str,
    sequence_nr: int,
    timestamp: int,
    serializer_id: int,
    payload_manifest: str,
    manifest: str,
    writer_uuid: str,
    payload: bytes,
    metadata: bytes | None,
    tag_count: int,
    tags: Sequence[str] | None,
) -> PersistentRepr:
    return PersistentRepr(
        loaded(persistence_id),
        sequence_nr,
        Payload(serializer_id, loaded(payload_manifest), payload),
        loaded(manifest),
        loaded(writer_uuid),
        timestamp,
        _NO_TAGS if tags is None else _tags(tag_count, tags),
        None if metadata is None else _unpacked(metadata),
    )


def snapshot_of(row: Row) -> SelectedSnapshot:
    """A row as a snapshot, or `Unreadable`. (S-26)"""
    persistence_id, sequence_nr, timestamp, serializer_id, manifest, payload = row
    try:
        metadata = SnapshotMetadata(loaded(persistence_id), sequence_nr, timestamp)
        return SelectedSnapshot(metadata, Payload(serializer_id, loaded(manifest), payload))
    except ValueError as error:
        raise Unreadable("snapshot", persistence_id, sequence_nr, str(error)) from error


def _tags(count: int, tags: Sequence[str]) -> frozenset[str]:
    if len(tags) != count:
        raise ValueError(f"column tag_count is {count}, and event_tag has {len(tags)}")
    return frozenset(map(loaded, tags))


def _packed(metadata: Payload) -> bytes:
    return msgspec.msgpack.encode((metadata.serializer_id, metadata.manifest, metadata.data))


def _unpacked(packed: bytes) -> Payload:
    try:
        return Payload(*msgspec.msgpack.decode(packed, type=tuple[int, str, bytes]))
    except msgspec.DecodeError as error:
        raise ValueError(f"column metadata: {error}") from error
