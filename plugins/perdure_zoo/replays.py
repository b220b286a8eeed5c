"""Animals that read badly: gaps, pages, limits, windows, the order of events, and where there is nothing to read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator

from perdure import MAX_SEQUENCE_NR, PersistentRepr

from ._animal import Family, WardJournal

family = Family()


@family.animal(
    bug="BUG-008",
    system="pekko-persistence-jdbc 1.1.0",
    source="https://github.com/apache/pekko-persistence-jdbc/issues/516",
    cause="a page is a range of numbers, and a page that is not full is taken for the end",
    killed_by="J-58",
)
class GapEndsTheReplay(WardJournal):
    """Two years in production, every event behind a wide enough gap was silently left out of recovery."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return itertools.islice(self._pages(persistence_id, max(first, 1), last), limit)

    def _pages(self, persistence_id: str, first: int, last: int) -> Iterator[PersistentRepr]:
        if not super().window(persistence_id, 1, first):
            first = min(self.log(persistence_id).events, default=first)
        full = True
        while full and first <= last:
            page = super().window(persistence_id, first, min(last, first + self.page_size - 1))
            yield from page
            full = len(page) == self.page_size
            first += self.page_size


@family.animal(
    bug="BUG-062",
    system="commanded/eventstore",
    source="https://github.com/commanded/eventstore/pull/297",
    cause="the next page begins at the number of events read so far, not behind the last number read",
    killed_by="J-58",
)
class NextPageByCount(WardJournal):
    """With a gap or a deleted prefix, pages overlap and events are read twice."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return itertools.islice(self._pages(persistence_id, max(first, 1), last), limit)

    def _pages(self, persistence_id: str, first: int, last: int) -> Iterator[PersistentRepr]:
        read, there = 0, len(super().window(persistence_id, first, last))
        while read < there:
            page = super().window(persistence_id, first + read, last)[: self.page_size]
            yield from page
            read += len(page)


@family.animal(
    bug="BUG-092",
    system="Akka.Persistence.MongoDB (a query stalls after 500 events)",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/80",
    cause="the end is computed from the first page",
    killed_by="J-59",
)
class FirstPageOnly(WardJournal):
    """Akka.NET's TCK writes 150 events at most, and a page holds 500."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return super().selected(persistence_id, first, last, min(limit, self.page_size))


@family.animal(
    bug="BUG-060",
    system="node-eventstore on MongoDB (streamEventsByRevision)",
    source="https://github.com/thenativeweb/node-eventstore/issues/168",
    cause="a prefetching iterator drops the first event and gives the last one twice",
    killed_by="J-50",
)
class FirstOmittedLastRepeated(WardJournal):
    """The count is right. It happens where both bounds of the window are given."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        found = [*super().selected(persistence_id, first, last, limit)]
        return [*found[1:], *found[-1:]] if last < MAX_SEQUENCE_NR else found


@family.animal(
    bug="BUG-065",
    system="LangGraph's checkpoint savers",
    source="https://github.com/langchain-ai/langgraph/issues/8656",
    cause="LIMIT {limit or -1}",
    killed_by="J-51",
)
class LimitZeroIsNoLimit(WardJournal):
    """Nothing was asked for, everything comes."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return super().selected(persistence_id, first, last, limit or MAX_SEQUENCE_NR)


@family.animal(
    bug="BUG-065b",
    system="LangGraph's checkpoint savers",
    source="https://github.com/langchain-ai/langgraph/issues/8656",
    cause="a negative number is handed to the database, where it means no limit",
    killed_by="J-84",
)
class NegativeNumbersAreNoBounds(WardJournal):
    """What one database takes for no limit is an error in the next."""

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        upper = MAX_SEQUENCE_NR if to_sequence_nr < 0 else to_sequence_nr
        limit = MAX_SEQUENCE_NR if max_count < 0 else max_count
        async for event in super().replay_messages(persistence_id, max(from_sequence_nr, 0), upper, limit):
            yield event


@family.animal(
    bug="SEEN-14",
    system="akka-persistence-dynamodb 1.x",
    source="https://github.com/akka/akka-persistence-dynamodb-1.x/issues/10",
    cause="the upper bound is not handed down to the search",
    killed_by="J-50",
)
class UpperBoundIgnored(WardJournal):
    """Recovery to a point in the past arrives in the present."""

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return super().window(persistence_id, first, MAX_SEQUENCE_NR if first <= last else last)


@family.animal(
    bug="SEEN-15",
    system="none reported: the neighbour of BUG-062",
    source="https://github.com/commanded/eventstore/pull/297",
    cause="the limit is added to the lower bound: it counts numbers, not events",
    killed_by="J-51 J-57",
)
class LimitCountsNumbers(WardJournal):
    """A window with a gap or a deleted prefix yields fewer events than there are."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return self.window(persistence_id, first, min(last, max(first, 1) + limit - 1))


@family.animal(
    bug="BUG-158",
    system="LangGraph (and every number kept as text)",
    source="https://github.com/langchain-ai/langgraph/issues/8550",
    cause="ORDER BY a number that is stored as text: 10 comes before 9",
    killed_by="J-50",
)
class NumbersSortedAsText(WardJournal):
    """Right for the first nine events."""

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return sorted(super().window(persistence_id, first, last), key=lambda event: str(event.sequence_nr))


@family.animal(
    bug="SEEN-16",
    system="SQLStreamStore (in memory)",
    source="https://github.com/SQLStreamStore/SQLStreamStore/pull/21",
    cause="events.Last() of an empty page",
    killed_by="J-55",
)
class NothingBehindTheEndRaises(WardJournal):
    """Reading on behind the last event is an error instead of nothing: an actor that is up to date cannot start."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        if 0 < self._highest(persistence_id) < first:
            raise RuntimeError("sequence contains no elements")
        return super().selected(persistence_id, first, last, limit)


@family.animal(
    bug="SEEN-17",
    system="KurrentDB 20.10",
    source="https://github.com/kurrent-io/KurrentDB/issues/3471",
    cause="a read behind the end of a stream that was cut waits for an event",
    killed_by="J-55",
)
class ReadBehindTheEndNeverEnds(WardJournal):
    """The caller hangs for ever, and so does whoever waits for it. Here only where events were deleted."""

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        log = self.log(persistence_id)
        if len(log.events) < log.highest_sequence_nr < from_sequence_nr:
            await asyncio.Event().wait()
        async for event in super().replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count):
            yield event


@family.animal(
    bug="SEEN-18",
    system="Neos.EventSourcing, esjc",
    source="https://github.com/neos/Neos.EventSourcing/issues/223",
    cause="an unknown stream is an error",
    killed_by="J-54",
)
class UnknownIdRaises(WardJournal):
    """Every entity is unknown when it starts for the first time."""

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        if persistence_id not in self._shelf.logs:
            raise LookupError(f"no stream {persistence_id!r}")
        return super().selected(persistence_id, first, last, limit)


@family.animal(
    bug="SEEN-19",
    system="none reported: SQL's BETWEEN with its bounds put in order first",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence.TCK/Journal/JournalSpec.cs",
    cause="bounds that are the wrong way round are swapped",
    killed_by="J-52",
)
class BoundsAreSwapped(WardJournal):
    """An empty window yields what lies between its bounds."""

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return super().window(persistence_id, min(first, last), max(first, last))


@family.animal(
    bug="SEEN-20",
    system="pekko-persistence-dynamodb (a test of Pekko's TCK is optional because of it)",
    source="https://github.com/apache/pekko/pull/3083",
    cause="a window that begins within the deleted prefix is answered from its first number, which is gone",
    killed_by="J-57",
)
class DeletedPrefixEndsTheReplay(WardJournal):
    """An empty history is reported where a part of it is left. Only bounded windows take this way."""

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        found = super().window(persistence_id, first, last)
        oldest = min(self.log(persistence_id).events, default=0)
        return [] if last < MAX_SEQUENCE_NR and first < oldest and oldest > 1 else found


@family.animal(
    bug="SEEN-21",
    system="Pekko's TCK was extended for it in 2026: borders of a deleted prefix",
    source="https://github.com/apache/pekko/pull/3083",
    cause="last deleted is taken for first left, so the border event is left out",
    killed_by="J-56",
)
class FirstSurvivorOmitted(WardJournal):
    """Off by one at the border of a deletion, where the window begins exactly behind it."""

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        found = super().window(persistence_id, first, last)
        border = self.ward.marks.get(persistence_id, 0) + 1
        return [event for event in found if event.sequence_nr != border] if first == border > 1 else found

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        if to_sequence_nr < self._highest(persistence_id):
            self.ward.marks[persistence_id] = max(to_sequence_nr, self.ward.marks.get(persistence_id, 0))


@family.animal(
    bug="BUG-201",
    system="akka-persistence-jdbc, Axon",
    source="https://github.com/akka/akka-persistence-jdbc/issues/155",
    cause="the missing numbers of a gap are made into a set, one by one",
    killed_by="J-61",
)
class GapIsMaterialised(WardJournal):
    """One jump of the numbers, and the reader runs out of memory or time. Here it waits, which is kinder to others."""

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        numbers = [event.sequence_nr for event in self.window(persistence_id, from_sequence_nr, to_sequence_nr)]
        if any(later - earlier > 2**31 for earlier, later in itertools.pairwise(numbers)):
            await asyncio.Event().wait()
        async for event in super().replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count):
            yield event
