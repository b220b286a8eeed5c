"""Animals that lose count: the highest sequence number, and what deletion does to it and to the events."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from perdure import AtomicWrite, PersistentRepr

from ._animal import Family, WardJournal

family = Family()


@family.animal(
    bug="BUG-001",
    system="akka-persistence-inmemory, okumin's sql-async, Akka's InmemJournal, Akka.NET's SQL journals",
    source="https://github.com/akka/akka-core/issues/18559",
    cause="SELECT MAX(sequence_nr) over the rows that are left",
    killed_by="J-42 J-43 J-44",
)
class HighestRewinds(WardJournal):
    """Five code bases in eleven years computed the highest number from the events that are left.

    When the last one is deleted, the numbers begin at 1 again, below the number of the snapshot that covers them.
    """

    def _highest(self, persistence_id: str) -> int:
        return max(self.log(persistence_id).events, default=0)


@family.animal(
    bug="BUG-001b",
    system="actor-ts",
    source="https://github.com/pathosDev/actor-ts/issues/379",
    cause="the number is kept only when a deletion leaves events behind",
    killed_by="J-42 J-44",
)
class HighestKeptByPartialDeletions(WardJournal):
    """actor-ts had a test for this very rule, and it deleted only a part of the events."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        log = self.log(persistence_id)
        if log.events:
            self.ward.marks[persistence_id] = log.highest_sequence_nr
        else:
            log.highest_sequence_nr = self.ward.marks.get(persistence_id, 0)


@family.animal(
    bug="SEEN-01",
    system="Akka.NET's MemoryJournal",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Journal/MemoryJournal.cs",
    cause="a deletion that finds nothing writes down what it found: 0",
    killed_by="J-43",
)
class SecondDeletionRewinds(WardJournal):
    """The first deletion of everything keeps the number; the second finds no events and keeps 0."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        log = self.log(persistence_id)
        if not log.events:
            log.highest_sequence_nr = 0
        await super().delete_messages_to(persistence_id, to_sequence_nr)


@family.animal(
    bug="BUG-004",
    system="akka-persistence-cassandra",
    source="https://github.com/akka/akka-core/issues/18296",
    cause="where nothing is found, the hint is the answer",
    killed_by="J-46",
)
class HintIsTheAnswer(WardJournal):
    """A new entity asked with the hint 1 and started with event 2."""

    def highest(self, persistence_id: str, hint: int) -> int:
        return super().highest(persistence_id, hint) or hint


@family.animal(
    bug="SEEN-02",
    system="Akka.Persistence.Sql and other SQL journals, where plugins disagree",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql",
    cause="WHERE sequence_nr > hint finds nothing when the hint is not below the highest number",
    killed_by="J-46",
)
class HintIsABound(WardJournal):
    """A snapshot newer than the last event makes the journal answer 0, as if the entity were new."""

    def highest(self, persistence_id: str, hint: int) -> int:
        found = super().highest(persistence_id, hint)
        return found if not hint or found > hint else 0


@family.animal(
    bug="BUG-005",
    system="Akka, akka-persistence-cassandra",
    source="https://github.com/akka/akka-core/issues/25487",
    cause="the requested number is stored as the border, not min(requested, highest)",
    killed_by="J-73",
)
class DeletionHidesLaterEvents(WardJournal):
    """Deleting up to the largest number hides what is written later. Akka's TCK deletes so and never writes again."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        marks = self.ward.marks
        marks[persistence_id] = max(marks.get(persistence_id, 0), to_sequence_nr)

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return super().selected(persistence_id, max(first, self.ward.marks.get(persistence_id, 0) + 1), last, limit)


@family.animal(
    bug="BUG-005b",
    system="none reported: what is left of BUG-005 when its border is capped and its events are only hidden",
    source="https://github.com/akka/akka-persistence-cassandra/pull/385",
    cause="the border is overwritten, so that a smaller deletion moves it back",
    killed_by="J-74",
)
class SmallerDeletionUncovers(WardJournal):
    """Deleting less than before, as a repeated request may, brings deleted events back."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        if persistence_id in self._shelf.logs:
            self.ward.marks[persistence_id] = min(to_sequence_nr, self._highest(persistence_id))

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return super().window(persistence_id, max(first, self.ward.marks.get(persistence_id, 0) + 1), last)


@family.animal(
    bug="BUG-007",
    system="akka-persistence-jdbc (in its queries)",
    source="https://github.com/akka/akka-persistence-jdbc/issues/551",
    cause="the last row is only marked as deleted, and the reader does not know the mark",
    killed_by="J-70",
)
class BoundaryEventStays(WardJournal):
    """The last event is kept to keep its number, and where a deletion names it, it is still there to be read."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        last = max(self.log(persistence_id).events, default=0)
        await super().delete_messages_to(
            persistence_id, to_sequence_nr - 1 if to_sequence_nr == last else to_sequence_nr
        )


@family.animal(
    bug="BUG-010",
    system="akka-entity-replication on Cassandra",
    source="https://github.com/lerna-stack/akka-entity-replication/issues/207",
    cause="the search through segments of events gives up behind two empty ones",
    killed_by="J-41",
)
class SearchGivesUpBehindEmptySegments(WardJournal):
    """Delete 1 to 20, keep 24 to 26: the highest number is not found any more."""

    def highest(self, persistence_id: str, hint: int) -> int:
        last_of = {number // 10: number for number in self.log(persistence_id).events}
        if not last_of:
            return super().highest(persistence_id, hint)
        found = segment = empty = 0
        while empty < 2:
            empty = 0 if segment in last_of else empty + 1
            found = last_of.get(segment, found)
            segment += 1
        return found


@family.animal(
    bug="BUG-011",
    system="akka-persistence-dynamodb 1.x",
    source="https://github.com/akka/akka-persistence-dynamodb-1.x/issues/98",
    cause="a batch that begins at the border of a partition does not move the marker of the newest partition",
    killed_by="J-40",
)
class AlignedBatchMissesTheMarker(WardJournal):
    """The highest number is looked for in the partition of 100 that the marker names, and nowhere else."""

    def _append(self, write: AtomicWrite) -> None:
        super()._append(write)
        first, last = write.lowest_sequence_nr // 100, write.highest_sequence_nr // 100
        if first != last or len(write.events) == 1:
            self.ward.marks[write.persistence_id] = last

    def highest(self, persistence_id: str, hint: int) -> int:
        partition = self.ward.marks.get(persistence_id, 0)
        found = (number for number in self.log(persistence_id).events if number // 100 == partition)
        return max(found, default=super().highest(persistence_id, hint))


@family.animal(
    bug="BUG-012",
    system="Redis streams",
    source="https://github.com/redis/redis/pull/5426",
    cause="the log is rewritten from the events that live, without the last number given out",
    killed_by="J-45",
)
class RewriteForgetsTheLastNumber(WardJournal):
    """Right until it is closed; what is written down at the end knows only the events that are left."""

    def close(self) -> None:
        for log in self._shelf.logs.values():
            log.highest_sequence_nr = max(log.events, default=0)
        super().close()


@family.animal(
    bug="SEEN-03",
    system="Akka.NET's MemoryJournal (a checked cast to int)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Journal/MemoryJournal.cs",
    cause="the highest number passes through 32 bits",
    killed_by="J-29",
)
class HighestInThirtyTwoBits(WardJournal):
    """No test that writes five events finds it."""

    def highest(self, persistence_id: str, hint: int) -> int:
        return min(super().highest(persistence_id, hint), 2**31 - 1)


@family.animal(
    bug="SEEN-04",
    system="Akka.Persistence.EventStore",
    source="https://github.com/akkadotnet/Akka.Persistence.EventStore/issues/6",
    cause="the number up to which was truncated is taken for the highest number",
    killed_by="J-42 J-43",
)
class TruncationIsTheHighestNumber(WardJournal):
    """After everything was deleted, the metadata name the largest number there is, and none follows it."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        if persistence_id in self._shelf.logs:
            self.ward.marks[persistence_id] = to_sequence_nr

    def highest(self, persistence_id: str, hint: int) -> int:
        return max(super().highest(persistence_id, hint), self.ward.marks.get(persistence_id, 0))


@family.animal(
    bug="BUG-099",
    system="prooph (a position that is a count of events)",
    source="https://github.com/commanded/eventstore/pull/238",
    cause="COUNT(*) where MAX(sequence_nr) is meant",
    killed_by="J-40",
)
class HighestIsACount(WardJournal):
    """Right as long as there is no gap. The numbers are counted on from the first event that is left."""

    def highest(self, persistence_id: str, hint: int) -> int:
        events = self.log(persistence_id).events
        return min(events) + len(events) - 1 if events else super().highest(persistence_id, hint)


@family.animal(
    bug="SEEN-05",
    system="Polecat, MapDB",
    source="https://github.com/JasperFx/polecat/issues/436",
    cause="DELETE ... WHERE persistence_id LIKE id || '%'",
    killed_by="J-75",
)
class DeletionByPrefix(WardJournal):
    """What is deleted for one id is deleted for each that begins with it."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        for other in [known for known in self._shelf.logs if persistence_id and known.startswith(persistence_id)]:
            await super().delete_messages_to(other, to_sequence_nr)


@family.animal(
    bug="SEEN-06",
    system="none reported: a table of tags without the number in its WHERE",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql",
    cause="the rows of tags are deleted by persistence id alone",
    killed_by="J-79",
)
class DeletionStripsTheSurvivors(WardJournal):
    """The events that stay lose their tags; no projection will find them again."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        events = self.log(persistence_id).events
        for number, event in events.items():
            if to_sequence_nr:
                events[number] = msgspec.structs.replace(event, tags=frozenset())
