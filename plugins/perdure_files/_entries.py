"""What an entry says: an event was stored, or events were deleted. MessagePack, an array with its kind in front.

Both hold everything that is needed to know the highest number of their id: an event by its own number, a deletion by
name. So an event that was deleted may go from the file, and the number stays.
"""

from __future__ import annotations

import msgspec
from perdure import Payload, PersistentRepr

from ._frames import Damaged, content_of, entry


class Event(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """An event, field by field. `metadata` is the serializer's id, manifest and bytes, or nothing."""

    persistence_id: str
    sequence_nr: int
    timestamp: int
    serializer_id: int
    payload_manifest: str
    payload: bytes
    manifest: str
    writer_uuid: str
    tags: tuple[str, ...]
    metadata: tuple[int, str, bytes] | None


class Deletion(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The events of an id up to a number are deleted; `highest_sequence_nr` is the highest that it had by then."""

    persistence_id: str
    to_sequence_nr: int
    highest_sequence_nr: int


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Event | Deletion] = msgspec.msgpack.Decoder(Event | Deletion)


def encoded(said: Event | Deletion) -> bytes:
    """Raises `ValueError` or `OverflowError` for what MessagePack cannot hold: numbers above 64 bits, 4 GiB."""
    return entry(_encoder.encode(said))


def decoded(whole: bytes) -> Event | Deletion:
    """Raises `Damaged`."""
    try:
        return _decoder.decode(content_of(whole))
    except msgspec.MsgspecError as error:
        raise Damaged(f"it is not an entry: {error}") from error


def event_of(event: PersistentRepr, timestamp: int) -> Event:
    metadata = event.metadata
    return Event(
        event.persistence_id,
        event.sequence_nr,
        timestamp,
        event.payload.serializer_id,
        event.payload.manifest,
        event.payload.data,
        event.manifest,
        event.writer_uuid,
        tuple(sorted(event.tags)),
        None if metadata is None else (metadata.serializer_id, metadata.manifest, metadata.data),
    )


def as_stored(event: Event) -> PersistentRepr:
    return PersistentRepr(
        event.persistence_id,
        event.sequence_nr,
        Payload(event.serializer_id, event.payload_manifest, event.payload),
        event.manifest,
        event.writer_uuid,
        event.timestamp,
        frozenset(event.tags),
        None if event.metadata is None else Payload(*event.metadata),
    )
