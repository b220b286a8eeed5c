"""Animals that select, replace and delete the wrong snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from perdure import (
    MAX_TIMESTAMP,
    Location,
    Payload,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)

from ._animal import Family, Ward, WardSnapshots

Criteria = SnapshotSelectionCriteria

family = Family()

SECOND = 1_000_000_000


# ------------------------------------------------------------------------------------------------------------- loading


@family.animal(
    bug="BUG-134",
    system="akka-persistence-inmemory",
    source="https://github.com/dnvriend/akka-persistence-inmemory/issues/30",
    cause="the upper bound of the time is not in the query",
    killed_by="S-03",
)
class LoadIgnoresTheLatestTime(WardSnapshots):
    """A snapshot of the time that one wanted to go back behind."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return super().matching(persistence_id, replace(criteria, max_timestamp=MAX_TIMESTAMP))


@family.animal(
    bug="BUG-153",
    system="Akka.Persistence.PostgreSql",
    source="https://github.com/akkadotnet/Akka.Persistence.PostgreSql/issues/66",
    cause="the query for a bounded time reads the table of the journal",
    killed_by="S-03",
)
class BoundedTimeReadsAnotherTable(WardSnapshots):
    """With an upper bound on the time, nothing is found."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return super().matching(persistence_id, criteria) if criteria.max_timestamp == MAX_TIMESTAMP else []


@family.animal(
    bug="BUG-136",
    system="Akka.Persistence.Azure",
    source="https://github.com/petabridge/Akka.Persistence.Azure/pull/27",
    cause="<= where >= is meant, for the lower bound of the time",
    killed_by="S-05",
)
class EarliestTimeIsInverted(WardSnapshots):
    """Shipped, because no case of the TCK sets that bound."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        found = super().matching(persistence_id, replace(criteria, min_timestamp=0))
        least = criteria.min_timestamp
        return [one for one in found if not least or one.metadata.timestamp <= least]


@family.animal(
    bug="SEEN-30",
    system="Akka.NET's MemorySnapshotStore and SQL stores",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Snapshot/MemorySnapshotStore.cs",
    cause="the lower bounds are not in the query",
    killed_by="S-04 S-05",
)
class LoadIgnoresLowerBounds(WardSnapshots):
    """The criteria have four bounds, and most stores know two of them."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return super().matching(persistence_id, replace(criteria, min_sequence_nr=0, min_timestamp=0))


@family.animal(
    bug="SEEN-31",
    system="Akka.NET's MemorySnapshotStore and Sql.Common",
    source="https://github.com/akkadotnet/akka.net/issues/3179",
    cause="a largest number of 0 is taken for no bound",
    killed_by="S-06 S-07",
)
class ZeroIsNoBound(WardSnapshots):
    """Akka says `no snapshot, please` this way, and gets the newest one."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return super().matching(persistence_id, criteria if criteria.max_sequence_nr else Criteria())


@family.animal(
    bug="SEEN-32",
    system="none reported: < where <= is meant",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence.TCK/Snapshot/SnapshotStoreSpec.cs",
    cause="the upper bound of the number is exclusive",
    killed_by="S-02",
)
class UpperBoundIsExclusive(WardSnapshots):
    """Recovery up to a number starts from the snapshot before the one at exactly that number."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        found = super().matching(persistence_id, criteria)
        return [one for one in found if one.metadata.sequence_nr != criteria.max_sequence_nr]


@family.animal(
    bug="BUG-145",
    system="Proto.Actor for .NET",
    source="https://github.com/asynkron/protoactor-dotnet/pull/453",
    cause="the first snapshot instead of the last",
    killed_by="S-01",
)
class FirstInsteadOfNewest(WardSnapshots):
    """Sorted on the wrong field, where the latest is asked for; with a single snapshot nobody notices."""

    async def load(self, persistence_id: str, criteria: Criteria) -> SelectedSnapshot | None:
        newest = await super().load(persistence_id, criteria)
        return self.of(persistence_id)[0] if newest and criteria == Criteria() else newest


@family.animal(
    bug="BUG-140",
    system="langgraph4j, spring-ai-alibaba, LangGraph's savers, BossConsole",
    source="https://github.com/langgraph4j/langgraph4j/issues/347",
    cause="ORDER BY a time in seconds",
    killed_by="S-01",
)
class NewestBySeconds(WardSnapshots):
    """Of two snapshots in one second, the older one comes back; a clock that goes back does the same."""

    def newest(self, candidates: Sequence[SelectedSnapshot]) -> SelectedSnapshot | None:
        return max(candidates, key=lambda one: one.metadata.timestamp // SECOND, default=None)


@family.animal(
    bug="BUG-158b",
    system="LangGraph (and every number kept as text)",
    source="https://github.com/langchain-ai/langgraph/issues/8550",
    cause="the largest of numbers that are stored as text: 9 is above 10",
    killed_by="S-01",
)
class NewestAsText(WardSnapshots):
    """Right until the tenth snapshot."""

    def newest(self, candidates: Sequence[SelectedSnapshot]) -> SelectedSnapshot | None:
        return max(candidates, key=lambda one: str(one.metadata.sequence_nr), default=None)


@family.animal(
    bug="BUG-149",
    system="commanded",
    source="https://github.com/commanded/commanded/pull/196",
    cause="saved without the version of its schema, looked for with it",
    killed_by="S-30",
)
class VersionedSnapshotIsNeverFound(WardSnapshots):
    """Nothing fails: every recovery replays the whole history. Here a payload's manifest stands for the version."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return [one for one in super().matching(persistence_id, criteria) if not one.snapshot.manifest]


@family.animal(
    bug="SEEN-33",
    system="Akka.NET (DateTime.MaxValue for no bound), 32-bit columns",
    source="https://github.com/kurrent-io/KurrentDB/issues/1541",
    cause="numbers pass through 32 bits",
    killed_by="S-36",
)
class LargeNumbersAreOutOfSight(WardSnapshots):
    """A default bound that is smaller than the largest number."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return [one for one in super().matching(persistence_id, criteria) if one.metadata.sequence_nr < 2**31]


@family.animal(
    bug="SEEN-34",
    system="NEventStore.Domain (a cache of snapshots in the repository)",
    source="https://github.com/NEventStore/NEventStore.Domain/issues/5",
    cause="a load is answered from what the handle has loaded before",
    killed_by="S-37 S-40",
)
class LoadsAreCached(WardSnapshots):
    """Nothing that was saved or deleted since the first load is seen."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._seen: dict[tuple[str, Criteria], SelectedSnapshot] = {}

    async def load(self, persistence_id: str, criteria: Criteria) -> SelectedSnapshot | None:
        found = await super().load(persistence_id, criteria)
        key = persistence_id, criteria
        return self._seen.setdefault(key, found) if found else self._seen.get(key)


@family.animal(
    bug="SEEN-35",
    system="edomata, Truxify (snapshots in the memory of one instance)",
    source="https://github.com/hnaderi/edomata/issues/389",
    cause="the index of snapshots is read when a handle is opened, and then only by its own saves",
    killed_by="S-40",
)
class HandlesSeeTheirOwnSnapshots(WardSnapshots):
    """An entity moves to another node and meets the snapshot that this node saved a year ago."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._index = set(self._shelf.snapshots)

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await super().save(metadata, snapshot)
        self._index.add((metadata.persistence_id, metadata.sequence_nr))

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        found = super().matching(persistence_id, criteria)
        return [one for one in found if (persistence_id, one.metadata.sequence_nr) in self._index]


# -------------------------------------------------------------------------------------------------------------- saving


@family.animal(
    bug="SEEN-36",
    system="akka-persistence-jdbc, akka-persistence-mongo",
    source="https://github.com/akka/akka-persistence-jdbc/issues/25",
    cause="INSERT where an upsert is meant",
    killed_by="S-12 S-08",
)
class SecondSaveRaises(WardSnapshots):
    """Two snapshots at one number: the second save fails on the primary key."""

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        if any(one.metadata.sequence_nr == metadata.sequence_nr for one in self.of(metadata.persistence_id)):
            raise RuntimeError("duplicate key value violates unique constraint")
        await super().save(metadata, snapshot)


@family.animal(
    bug="SEEN-37",
    system="NEventStore (its SQL stores ignore the second snapshot)",
    source="https://github.com/NEventStore/NEventStore/pull/484",
    cause="INSERT ... ON CONFLICT DO NOTHING",
    killed_by="S-08",
)
class FirstSnapshotStays(WardSnapshots):
    """The state was computed again, for a reason, and the old one comes back."""

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        if all(one.metadata.sequence_nr != metadata.sequence_nr for one in self.of(metadata.persistence_id)):
            await super().save(metadata, snapshot)


@family.animal(
    bug="SEEN-38",
    system="none reported: an upsert with WHERE created <= excluded.created",
    source="https://github.com/akkadotnet/akka.net/issues/7312",
    cause="a snapshot with an older time does not replace a newer one",
    killed_by="S-10",
)
class OlderTimeDoesNotReplace(WardSnapshots):
    """Clocks go back, and the actor believes in the snapshot that it saved last."""

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        stored = [one for one in self.of(metadata.persistence_id) if one.metadata.sequence_nr == metadata.sequence_nr]
        if not stored or (metadata.timestamp or self.clock()) >= stored[0].metadata.timestamp:
            await super().save(metadata, snapshot)


@family.animal(
    bug="SEEN-39",
    system="Akka.NET's LocalSnapshotStore (a file for each number and time)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/issues/432",
    cause="the time is part of the key",
    killed_by="S-09",
)
class ReplacedSnapshotIsKept(WardSnapshots):
    """Both are kept: the replaced one comes back as soon as the new one is deleted or out of bounds."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._replaced: dict[tuple[str, int], list[SelectedSnapshot]] = {}

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        key = metadata.persistence_id, metadata.sequence_nr
        if key in self._shelf.snapshots:
            self._replaced.setdefault(key, []).append(self._shelf.snapshots[key])
        await super().save(metadata, snapshot)

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        old = [one for (owner, _), ones in self._replaced.items() if owner == persistence_id for one in ones]
        return super().matching(persistence_id, criteria) + [one for one in old if criteria.matches(one.metadata)]


@family.animal(
    bug="SEEN-40",
    system="none reported: 0 stored as it is",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/SnapshotProtocol.cs",
    cause="a snapshot without a time gets none",
    killed_by="S-13",
)
class TimeIsNotFilledIn(WardSnapshots):
    """Selection by time finds it always, retention by time deletes it first."""

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await super().save(metadata, snapshot)
        self.put(metadata, SelectedSnapshot(metadata, snapshot))


@family.animal(
    bug="BUG-140b",
    system="langgraph4j, spring-ai-alibaba, LangGraph's savers, BossConsole",
    source="https://github.com/langgraph4j/langgraph4j/issues/347",
    cause="the time is stored in milliseconds, and no claim says so",
    killed_by="S-14",
)
class TimeInMilliseconds(WardSnapshots):
    """Deletion by metadata compares the time, and finds nothing."""

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await super().save(replace(metadata, timestamp=metadata.timestamp // 1_000_000 * 1_000_000), snapshot)


@family.animal(
    bug="BUG-190",
    system="NATS JetStream (the catalogue of its streams)",
    source="https://github.com/nats-io/nats-server/issues/6888",
    cause="what is found after a restart stands in an index that is written now and then",
    killed_by="S-34",
)
class NewestSnapshotIsGoneAfterRestart(WardSnapshots):
    """The newest one is not in the index yet."""

    def close(self) -> None:
        for owner in {owner for owner, _ in self._shelf.snapshots}:
            self.discard(max(self.of(owner), key=lambda one: one.metadata.sequence_nr))
        super().close()


# ------------------------------------------------------------------------------------------------------------ deleting


@family.animal(
    bug="SEEN-41",
    system="Akka.Persistence.Sql and Sql.Common (created <= timestamp)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql",
    cause="<= where = is meant, for the time of the snapshot to delete",
    killed_by="S-18",
)
class NewerTimeDeletesToo(WardSnapshots):
    """Akka's own cleanup after a failed save deletes the good snapshot of the same number this way."""

    async def delete(self, metadata: SnapshotMetadata) -> None:
        for one in self.of(metadata.persistence_id):
            if one.metadata.sequence_nr == metadata.sequence_nr and one.metadata.timestamp <= metadata.timestamp:
                metadata = one.metadata
        await super().delete(metadata)


@family.animal(
    bug="SEEN-42",
    system="Akka's TCK and Akka.NET's used a fresh time and did not notice",
    source="https://github.com/akkadotnet/akka.net/pull/7320",
    cause="the time of the snapshot to delete is ignored",
    killed_by="S-17 S-18",
)
class DeletionIgnoresTheTime(WardSnapshots):
    """What one wanted to delete was replaced since; the new one goes."""

    async def delete(self, metadata: SnapshotMetadata) -> None:
        await super().delete(replace(metadata, timestamp=0))


@family.animal(
    bug="SEEN-43",
    system="none reported: 0 compared as a time",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence.TCK/Snapshot/SnapshotStoreSpec.cs",
    cause="a deletion without a time looks for the time 0",
    killed_by="S-16",
)
class DeletionWithoutATimeFindsNothing(WardSnapshots):
    """Deleting by number alone is what actors do; here it does nothing and says that all is well."""

    async def delete(self, metadata: SnapshotMetadata) -> None:
        if metadata.timestamp:
            await super().delete(metadata)


@family.animal(
    bug="SEEN-44",
    system="Akka's LocalSnapshotStore before 2.4",
    source="https://github.com/akka/akka-core/issues/18112",
    cause="deletion by criteria looks at the number only",
    killed_by="S-19",
)
class DeletionByNumberOnly(WardSnapshots):
    """Older than now and up to this number: the snapshot that was just saved goes too."""

    async def delete_matching(self, persistence_id: str, criteria: Criteria) -> None:
        await super().delete_matching(persistence_id, replace(criteria, max_timestamp=MAX_TIMESTAMP))


@family.animal(
    bug="SEEN-45",
    system="Akka.NET's MemorySnapshotStore and SQL stores",
    source="https://github.com/akka/akka-core/issues/15955",
    cause="the lower bounds are not in the query",
    killed_by="S-20",
)
class DeletionIgnoresLowerBounds(WardSnapshots):
    """Akka's sharding deletes ranges of snapshots; those in front of the range go too."""

    async def delete_matching(self, persistence_id: str, criteria: Criteria) -> None:
        await super().delete_matching(persistence_id, replace(criteria, min_sequence_nr=0, min_timestamp=0))


@family.animal(
    bug="BUG-152",
    system="Akka's LocalSnapshotStore (the snapshot of an earlier incarnation wins)",
    source="https://github.com/akka/akka-core/issues/24649",
    cause="the newest snapshot alone is deleted",
    killed_by="S-21 S-19",
)
class NewestAloneIsDeleted(WardSnapshots):
    """The one below it comes back at the next recovery, from an earlier life."""

    async def delete_matching(self, persistence_id: str, criteria: Criteria) -> None:
        newest = await self.load(persistence_id, criteria)
        if newest:
            self.discard(newest)


@family.animal(
    bug="SEEN-47",
    system="elasticsearch-py, kanister and others: not found is an error of a deletion",
    source="https://github.com/kanisterio/kanister/pull/405",
    cause="deleting what is not there raises",
    killed_by="S-23",
)
class NothingToDeleteRaises(WardSnapshots):
    """Cleanups are repeated after every doubt."""

    async def delete(self, metadata: SnapshotMetadata) -> None:
        if all(one.metadata.sequence_nr != metadata.sequence_nr for one in self.of(metadata.persistence_id)):
            raise FileNotFoundError(f"no snapshot {metadata.sequence_nr}")
        await super().delete(metadata)


@family.animal(
    bug="SEEN-48",
    system="none reported: a pattern made of an empty id",
    source="https://github.com/akkadotnet/akka.net/issues/7009",
    cause="an empty id is not refused",
    killed_by="S-39",
)
class EmptyIdIsAPattern(WardSnapshots):
    """snapshot--* matches nothing, snapshot-* everything."""

    async def load(self, persistence_id: str, criteria: Criteria) -> SelectedSnapshot | None:
        return await super().load(persistence_id, criteria) if persistence_id else None


@family.animal(
    bug="SEEN-49",
    system="none reported: 0 is false",
    source="https://github.com/akkadotnet/akka.net/issues/3179",
    cause="`if sequence_nr` where `is not None` is meant",
    killed_by="S-07",
)
class SnapshotZeroIsNotFound(WardSnapshots):
    """A snapshot taken before the first event is never loaded."""

    def matching(self, persistence_id: str, criteria: Criteria) -> list[SelectedSnapshot]:
        return [one for one in super().matching(persistence_id, criteria) if one.metadata.sequence_nr]
