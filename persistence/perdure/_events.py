"""The values that journals and snapshot stores keep and give back.

They are frozen and cheap (`msgspec.Struct`), hold no behaviour beyond checking themselves, and know nothing of how
they are stored. Payloads are bytes here: whoever serializes does so before a backend sees the event.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ._arguments import (
    MAX_SEQUENCE_NR,
    MAX_TIMESTAMP,
    check_number,
    check_persistence_id,
    check_sequence_nr,
)


class Payload(msgspec.Struct, frozen=True, gc=False):
    """A serialized value: which serializer wrote it, the serializer's own hint, and the bytes.

    Stored and given back unchanged, byte for byte, whatever the bytes are; empty is a payload too. (J-23, J-27)
    """

    serializer_id: int
    manifest: str
    data: bytes


class PersistentRepr(msgspec.Struct, frozen=True, gc=False):
    """One event of one persistence id, as a journal stores and replays it.

    `manifest` belongs to the event adapter, not to the serializer (which has its own in the payload). `writer_uuid`
    names the incarnation of the actor that wrote. `timestamp` is in nanoseconds since the Unix epoch, UTC; 0 asks the
    journal to fill in its location's clock. `metadata` is a second payload for what is not part of the event itself.
    """

    persistence_id: str
    sequence_nr: int
    payload: Payload
    manifest: str = ""
    writer_uuid: str = ""
    timestamp: int = 0
    tags: frozenset[str] = frozenset()
    metadata: Payload | None = None


class AtomicWrite(msgspec.Struct, frozen=True, gc=False):
    """One to n events of one persistence id with consecutive numbers: stored all or none. (J-01, J-02)

    Raises `ValueError` for no event, for events of two ids, and for numbers that are out of range or not consecutive,
    so that no journal ever sees such a write.
    """

    events: tuple[PersistentRepr, ...]

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("an AtomicWrite needs at least one event")
        first = self.events[0]
        persistence_id = first.persistence_id
        if not (persistence_id and persistence_id.isascii() and 1 <= first.sequence_nr <= MAX_SEQUENCE_NR):
            check_persistence_id(persistence_id)  # a glance comes first: this is on the path of each write
            check_sequence_nr("sequence_nr", first.sequence_nr)
        if len(self.events) > 1:
            self._check_run(first)

    def _check_run(self, first: PersistentRepr) -> None:
        for place, event in enumerate(self.events):
            if event.persistence_id != first.persistence_id:
                raise ValueError(
                    f"an AtomicWrite holds events of one persistence id, "
                    f"not of {first.persistence_id!r} and {event.persistence_id!r}"
                )
            if event.sequence_nr != first.sequence_nr + place:
                raise ValueError(
                    f"sequence numbers of an AtomicWrite are consecutive: "
                    f"{first.sequence_nr + place} is expected after {first.sequence_nr + place - 1}, "
                    f"not {event.sequence_nr}"
                )
        check_sequence_nr("sequence_nr", self.highest_sequence_nr)

    @property
    def persistence_id(self) -> str:
        return self.events[0].persistence_id

    @property
    def lowest_sequence_nr(self) -> int:
        return self.events[0].sequence_nr

    @property
    def highest_sequence_nr(self) -> int:
        return self.events[-1].sequence_nr


class WriteRejected(msgspec.Struct, frozen=True, gc=False):
    """The journal's answer to an AtomicWrite that it refused before storing anything of it. (J-06)

    A value, not an exception: the other writes of the same call are stored, and the writer goes on. Trouble with the
    storage is never a rejection (J-07); that is `WriteFailed`, or an unknown outcome.
    """

    reason: str


class SnapshotMetadata(msgspec.Struct, frozen=True, gc=False):
    """Names one snapshot. `sequence_nr` may be 0: a snapshot taken before the first event.

    `timestamp` is in nanoseconds since the Unix epoch. When saving, 0 asks the store to fill in its location's clock;
    when deleting, 0 stands for whatever timestamp the snapshot has. (S-13, S-16)
    """

    persistence_id: str
    sequence_nr: int
    timestamp: int = 0

    def __post_init__(self) -> None:
        check_persistence_id(self.persistence_id)
        check_number("sequence_nr", self.sequence_nr, 0, MAX_SEQUENCE_NR)


class SelectedSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A snapshot as it is loaded: the metadata that it was saved with, and its payload."""

    metadata: SnapshotMetadata
    snapshot: Payload


class SnapshotSelectionCriteria(msgspec.Struct, frozen=True, gc=False):
    """Four inclusive bounds; a snapshot matches if it lies within all of them. (S-02 to S-05)

    Raises `ValueError` for a bound that is out of range and for a minimum above its maximum. The defaults match every
    snapshot; `SnapshotSelectionCriteria(max_sequence_nr=0, max_timestamp=0)` is Akka's `None`.
    """

    max_sequence_nr: int = MAX_SEQUENCE_NR
    max_timestamp: int = MAX_TIMESTAMP
    min_sequence_nr: int = 0
    min_timestamp: int = 0

    def __post_init__(self) -> None:
        check_number("max_sequence_nr", self.max_sequence_nr, 0, MAX_SEQUENCE_NR)
        check_number("max_timestamp", self.max_timestamp, 0, MAX_TIMESTAMP)
        check_number("min_sequence_nr", self.min_sequence_nr, 0, MAX_SEQUENCE_NR)
        check_number("min_timestamp", self.min_timestamp, 0, MAX_TIMESTAMP)
        self._check_order("sequence_nr", self.min_sequence_nr, self.max_sequence_nr)
        self._check_order("timestamp", self.min_timestamp, self.max_timestamp)

    @staticmethod
    def _check_order(name: str, minimum: int, maximum: int) -> None:
        if minimum > maximum:
            raise ValueError(f"criteria contradict themselves: min_{name} {minimum} is above max_{name} {maximum}")

    def matches(self, metadata: SnapshotMetadata) -> bool:
        return (
            self.min_sequence_nr <= metadata.sequence_nr <= self.max_sequence_nr
            and self.min_timestamp <= metadata.timestamp <= self.max_timestamp
        )


def unstorable_text(write: AtomicWrite) -> WriteRejected | None:
    """The rejection of a write that holds text which is not Unicode (lone surrogates), or None. (J-25)

    No encoding can hold such text, so a journal refuses the write rather than change it. Offered to backends because
    every one of them needs the same answer.
    """
    for event in write.events:
        if _plain(event):
            continue
        for name, text in _texts_of(event):
            if not text.isascii() and not _encodable(text):
                return WriteRejected(f"{name} {text!r} of event {event.sequence_nr} is not valid Unicode")
    return None


def _plain(event: PersistentRepr) -> bool:
    """Whether a glance shows that all text is fine, as it is in nearly every event. On the path of each write."""
    return (
        not event.tags
        and event.metadata is None
        and event.payload.manifest.isascii()
        and event.manifest.isascii()
        and event.writer_uuid.isascii()
    )


def _texts_of(event: PersistentRepr) -> Sequence[tuple[str, str]]:
    texts = [
        ("payload.manifest", event.payload.manifest),
        ("manifest", event.manifest),
        ("writer_uuid", event.writer_uuid),
    ]
    texts.extend(("tag", tag) for tag in event.tags)
    if event.metadata is not None:
        texts.append(("metadata.manifest", event.metadata.manifest))
    return texts


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
