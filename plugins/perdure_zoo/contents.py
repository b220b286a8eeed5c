"""Animals that change what they keep: payloads, texts, times, tags, writers, manifests, metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from perdure import AtomicWrite, Payload, PersistentRepr, SelectedSnapshot, SnapshotMetadata, WriteRejected

from ._animal import Family, WardJournal, WardSnapshots

family = Family()


def with_data(event: PersistentRepr, data: bytes) -> PersistentRepr:
    return replace(event, payload=replace(event.payload, data=data))


@family.animal(
    bug="BUG-162",
    system="KurrentDB's projections (JSON)",
    source="https://github.com/kurrent-io/KurrentDB/issues/1541",
    cause="sequence numbers become doubles, which skip every second integer above 2**53",
    killed_by="J-29",
)
class NumbersThroughADouble(WardJournal):
    """No test that writes five events finds it."""

    def highest(self, persistence_id: str, hint: int) -> int:
        return int(float(super().highest(persistence_id, hint)))


@family.animal(
    bug="BUG-162b",
    system="KurrentDB's projections (JSON)",
    source="https://github.com/kurrent-io/KurrentDB/issues/1541",
    cause="nanoseconds become doubles",
    killed_by="J-20",
)
class TimesThroughADouble(WardJournal):
    """A time of this century in nanoseconds does not fit: it moves by up to 128 of them."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, timestamp=int(float(event.timestamp)))


@family.animal(
    bug="SEEN-24",
    system="Akka.NET (Persistent.Update drops the time of the event)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Persistent.cs",
    cause="the time of writing replaces the time that the event had",
    killed_by="J-20",
)
class TimesAreReplaced(WardJournal):
    """Events that are moved from one journal to another all happened today."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, timestamp=self._clock())


@family.animal(
    bug="SEEN-25",
    system="Akka.Persistence.Sql (writer_uuid)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Journal/Dao/ByteArrayJournalSerializer.cs",
    cause="the id of the journal is stored where that of the writer belongs",
    killed_by="J-19",
)
class WriterIsTheJournal(WardJournal):
    """The replay filter cannot tell two writers apart that overlapped."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, writer_uuid=event.writer_uuid and "6b7a1d0e-journal")


@family.animal(
    bug="SEEN-26",
    system="Akka.Persistence.Sql (EventManifest ?? Manifest)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Journal/Dao/ByteArrayJournalSerializer.cs",
    cause="one column for two manifests",
    killed_by="J-21",
)
class AdapterGetsTheSerializersManifest(WardJournal):
    """The event adapter is asked to read a type that it has never heard of."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, manifest=event.payload.manifest or event.manifest)


@family.animal(
    bug="BUG-111",
    system="Akka.Persistence.MongoDB (in its queries); Akka.NET's TCK asserts Contains",
    source="https://github.com/akkadotnet/akka.net/issues/8438",
    cause="one tag is kept of several",
    killed_by="J-22",
)
class OneTagIsKept(WardJournal):
    """The event is found by its first tag, and by no other."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, tags=frozenset(sorted(event.tags)[:1]))


@family.animal(
    bug="BUG-120",
    system="Akka.Persistence.Sql, akka-persistence-jdbc",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/pull/115",
    cause="tags are joined with a separator that a tag may hold",
    killed_by="J-22",
)
class TagsJoinedWithASemicolon(WardJournal):
    """One tag goes in, two come out."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, tags=frozenset(tag for tag in ";".join(sorted(event.tags)).split(";") if tag))


@family.animal(
    bug="SEEN-27",
    system="journals of Akka on the JVM, where metadata are optional and off in the TCK",
    source="https://github.com/akka/akka-core/blob/main/akka-persistence-tck/src/main/scala/akka/persistence/journal/JournalSpec.scala",
    cause="there is no column for metadata, and no claim says so",
    killed_by="J-35",
)
class MetadataAreLost(WardJournal):
    """The event is readable and no longer attributable."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, metadata=None)


@family.animal(
    bug="BUG-166",
    system="equinox",
    source="https://github.com/jet/equinox/issues/210",
    cause="metadata or None: empty is taken for absent",
    killed_by="J-35",
)
class EmptyMetadataAreAbsent(WardJournal):
    """NULL and empty are two things."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, metadata=event.metadata if event.metadata and event.metadata.data else None)


@family.animal(
    bug="BUG-166b",
    system="equinox",
    source="https://github.com/jet/equinox/issues/210",
    cause="an empty payload is written as null",
    killed_by="J-27 J-23",
)
class EmptyPayloadIsNull(WardJournal):
    """An event whose whole content is that it happened."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return with_data(event, event.payload.data or b"null")


@family.animal(
    bug="BUG-164",
    system="hatchet, OpenMetadata, hyperindex (JSON columns of PostgreSQL)",
    source="https://github.com/hatchet-dev/hatchet/pull/4619",
    cause="NUL characters are removed, because the column refuses them",
    killed_by="J-23 J-27",
)
class NulIsRemoved(WardJournal):
    """The repair of a poisoned batch: the write goes through, and the payload is another one."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return with_data(event, event.payload.data.replace(b"\0", b""))


@family.animal(
    bug="BUG-164b",
    system="hyperindex (a JSON column of PostgreSQL)",
    source="https://github.com/enviodev/hyperindex/issues/1195",
    cause="one NUL character fails the insert of the whole batch",
    killed_by="J-23 J-27",
)
class NulPoisonsTheBatch(WardJournal):
    """Nothing of the batch is stored, and the actor cannot know why."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if any(b"\0" in event.payload.data for write in writes for event in write.events):
            raise RuntimeError("unsupported Unicode escape sequence")
        return await super().write_messages(writes)


@family.animal(
    bug="BUG-165",
    system="huginn, prooph, ChurchCRM (utf8mb3 in MySQL)",
    source="https://github.com/huginn/huginn/pull/1049",
    cause="text is cut at the first character outside the basic plane",
    killed_by="J-23",
)
class TextIsCutAtAnEmoji(WardJournal):
    """What stands behind the first emoji is gone."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        data = event.payload.data
        starts = [at for at, byte in enumerate(data) if byte >= 0xF0] if _is_text(data) else []
        return with_data(event, data[: starts[0]] if starts else data)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@family.animal(
    bug="SEEN-28",
    system="NEventStore on MySQL",
    source="https://github.com/NEventStore/NEventStore/issues/133",
    cause="a column that holds 65 535 bytes, and a mode in which what is longer is cut",
    killed_by="J-27",
)
class PayloadCutAtSixtyFourKib(WardJournal):
    """It works until an event is large."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return with_data(event, event.payload.data[:65_535])


@family.animal(
    bug="SEEN-29",
    system="none reported: encode(errors='replace') in front of a text column",
    source="https://github.com/hatchet-dev/hatchet/pull/4619",
    cause="text that cannot be kept is replaced instead of rejected",
    killed_by="J-25",
)
class UnstorableTextIsReplaced(WardJournal):
    """The write goes on, and the tag by which the event should be found has a question mark in it."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        return await super().write_messages([AtomicWrite(tuple(map(_replaced, write.events))) for write in writes])


def _replaced(event: PersistentRepr) -> PersistentRepr:
    def text(value: Any) -> Any:
        return value.encode(errors="replace").decode() if isinstance(value, str) else value

    return replace(
        event,
        payload=replace(event.payload, manifest=text(event.payload.manifest)),
        manifest=text(event.manifest),
        writer_uuid=text(event.writer_uuid),
        tags=frozenset(map(text, event.tags)),
    )


@family.animal(
    bug="SEEN-22",
    system="Akka.NET's SQL journals before 1.4 (rows without a serializer id)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence.TCK/Serialization/JournalSerializationSpec.cs",
    cause="the serializer is not stored; every event is read with the default one",
    killed_by="J-23",
)
class SerializerIsForgotten(WardJournal):
    """The bytes are right, and nobody knows how to read them."""

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return replace(event, payload=replace(event.payload, serializer_id=4))


@family.animal(
    bug="BUG-169",
    system="akka-persistence-mongo, akka-persistence-cassandra",
    source="https://github.com/scullxbones/akka-persistence-mongo/issues/109",
    cause="a snapshot above the limit of a document is cut",
    killed_by="S-29",
)
class SnapshotCutAtAMegabyte(WardSnapshots):
    """Akka.NET's TCK saves a big snapshot and does not load it."""

    def put(self, metadata: SnapshotMetadata, selected: SelectedSnapshot) -> None:
        super().put(metadata, SelectedSnapshot(selected.metadata, _cut(selected.snapshot, 1_000_000)))


@family.animal(
    bug="BUG-169b",
    system="akka-persistence-cassandra",
    source="https://github.com/akka/akka-persistence-cassandra/issues/543",
    cause="a column for small values",
    killed_by="S-28",
)
class SnapshotCutAtEightKilobytes(WardSnapshots):
    """A store made for small values says yes to large ones."""

    def put(self, metadata: SnapshotMetadata, selected: SelectedSnapshot) -> None:
        super().put(metadata, SelectedSnapshot(selected.metadata, _cut(selected.snapshot, 8_000)))


def _cut(payload: Payload, size: int) -> Payload:
    return replace(payload, data=payload.data[:size])
