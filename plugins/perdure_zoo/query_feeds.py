"""Animals whose feeds skip, repeat, end too soon or come in another order."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence

from perdure import EventEnvelope, Location, Offset

from ._animal import Ward
from ._query_ward import ORIGIN, QueryFamily, Wanted, WardQueries

family = QueryFamily()


@family.animal(
    bug="BUG-128",
    system="NATS JetStream",
    source="https://github.com/nats-io/nats-server/issues/1580",
    cause="the offset is included: a reader that resumes gets the last event once more",
    killed_by="Q-06",
)
class OffsetIsIncluded(WardQueries):
    """Every restart applies one event twice."""

    def start(self, offset: Offset) -> int:
        return super().start(offset) - 1


@family.animal(
    bug="BUG-094",
    system="Eventuous SQL Server",
    source="https://github.com/Eventuous/eventuous/issues/291",
    cause="one is added to the offset, which is then excluded",
    killed_by="Q-06",
)
class OneIsAddedToTheOffset(WardQueries):
    """Every restart loses one event."""

    def start(self, offset: Offset) -> int:
        return super().start(offset) + (offset.position > 0)


@family.animal(
    bug="BUG-096",
    system="WegenenVerkeer akka-persistence-postgresql",
    source="https://github.com/WegenenVerkeer/akka-persistence-postgresql/issues/63",
    cause="the offset is ignored",
    killed_by="Q-06",
)
class OffsetIsIgnored(WardQueries):
    """Each restart is a rebuild."""

    def start(self, offset: Offset) -> int:
        super().start(offset)
        return 0


@family.animal(
    bug="SEEN-50",
    system="Akka.NET's journal in memory (Sequence(0))",
    source="https://github.com/akkadotnet/akka.net/tree/dev/src/core/Akka.Persistence.Query.InMemory",
    cause="the offset of the first event of all is taken for the start",
    killed_by="Q-06",
)
class FirstOffsetIsTheStart(WardQueries):
    """Tests resume in the middle, and never behind the first event."""

    def start(self, offset: Offset) -> int:
        position = super().start(offset)
        return 0 if self.shelf.feed and position == self.shelf.feed[0].offset.position else position


@family.animal(
    bug="BUG-131",
    system="KurrentDB",
    source="https://github.com/kurrent-io/KurrentDB/issues/4970",
    cause="the newest event is handed out with the position of the one to come",
    killed_by="Q-06 Q-16",
)
class NewestOffsetIsOneTooHigh(WardQueries):
    """Whoever was up to date when it stopped misses the first event after it."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        position = row.offset.position
        newest = position == self.shelf.highest_offset
        return EventEnvelope(Offset(ORIGIN, position + newest), row.event)


@family.animal(
    bug="SEEN-51",
    system="Akka.Persistence.Sql (a TimeBasedUuid is 0)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs",
    cause="an offset of another kind is taken for 0",
    killed_by="Q-07",
)
class ForeignOffsetIsZero(WardQueries):
    """A projection that was moved to another database starts anew without a word."""

    def start(self, offset: Offset) -> int:
        return offset.position if offset.origin == ORIGIN else 0


@family.animal(
    bug="SEEN-52",
    system="none reported: the comparison of pages, mistaken once",
    source="https://github.com/akkadotnet/akka.net/blob/dev/docs/articles/persistence/persistence-query.md",
    cause="every page behind the second begins one too far on",
    killed_by="Q-24 Q-20",
)
class PageBordersLoseAnEvent(WardQueries):
    """One event in five hundred is missing, and none of the first thousand."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        matching = [row for row in rows if wanted(row)]
        begun = sum(row.offset.position <= behind for row in matching)
        return matching[begun + (begun > self.page_size and begun % self.page_size == 0) :][: self.page_size]


@family.animal(
    bug="BUG-092b",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/61",
    cause="rows are counted off before they are filtered, and a short page is taken for the end",
    killed_by="Q-24",
)
class FilteredPageIsTheEnd(WardQueries):
    """A tag that is rare is found near the beginning only."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        following = [row for row in rows if row.offset.position > behind][: self.page_size]
        return [row for row in following if wanted(row)]


@family.animal(
    bug="BUG-124",
    system="akka-persistence-r2dbc",
    source="https://github.com/akka/akka-persistence-r2dbc/pull/445",
    cause="events of one time as the last one are filtered out, and the page that is then short ends the query",
    killed_by="Q-24",
)
class LookBackEndsTooEarly(WardQueries):
    """A bulk import has one time for a thousand events."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        page = super().page(rows, behind, wanted)
        last = next((row.event.timestamp for row in rows if row.offset.position == behind), None)
        now = self.clock()
        return [row for row in page if row.event.timestamp != last or row.event.timestamp == now]


@family.animal(
    bug="BUG-082",
    system="akka-persistence-r2dbc",
    source="https://github.com/akka/akka-persistence-r2dbc/issues/211",
    cause="pages are cut by time, and more events have one time than fit on a page",
    killed_by="Q-24",
)
class PagesAreCutByTime(WardQueries):
    """Those that did not fit are never looked at again."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        last = next((row.event.timestamp for row in rows if row.offset.position == behind), 0)
        if last == 1000:  # a time that events brought with them, so that a clock that stands still is no matter
            rows = [row for row in rows if row.event.timestamp != last]
        return super().page(rows, behind, wanted)


@family.animal(
    bug="BUG-089",
    system="akka-persistence-cassandra",
    source="https://github.com/akka/akka-persistence-cassandra/issues/706",
    cause="the feed is in the order of time, and a clock goes back",
    killed_by="Q-23",
)
class FeedFollowsTheClock(WardQueries):
    """What is written with an earlier time is behind every reader."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        last = next((row.event.timestamp for row in rows if row.offset.position == behind), 0)
        return super().page([row for row in rows if row.event.timestamp >= last], behind, wanted)


@family.animal(
    bug="SEEN-54",
    system="Akka.Persistence.Sql on PostgreSQL",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/issues/176",
    cause="there is no order, and the key of the table gives one",
    killed_by="Q-23",
)
class FeedFollowsTheKey(WardQueries):
    """It comes in the order of writing as long as there is one id."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        return sorted(super().page(rows, behind, wanted), key=lambda row: (row.persistence_id, row.sequence_nr))


@family.animal(
    bug="BUG-127",
    system="NATS JetStream",
    source="https://github.com/nats-io/nats-server/issues/2607",
    cause="a place in a feed is a count of what is left, and a deletion moves it",
    killed_by="Q-06 Q-33 Q-37",
)
class DeletionMovesReaders(WardQueries):
    """One id is cleaned up, and every projection loses events of the others."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        count = sum(row.offset.position <= behind for row in self.shelf.feed)
        return [row for row in rows[count:] if wanted(row)][: self.page_size]


@family.animal(
    bug="BUG-108",
    system="Akka.Persistence.EventStore",
    source="https://github.com/akkadotnet/Akka.Persistence.EventStore/issues/44",
    cause="the index of tags leads to an event that is deleted, and the query fails",
    killed_by="Q-30",
)
class DeletedTagFailsTheQuery(WardQueries):
    """A projection is stuck at the first event that was cleaned up."""

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        return self.shelf.feed if subject == "events by tag" else super().rows(subject)

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        if not self.shelf.holds(row):
            raise LookupError(f"there is no event at {row.offset}")
        return row


@family.animal(
    bug="SEEN-55",
    system="none reported: an empty row, read as the last one",
    source="https://github.com/akkadotnet/Akka.Persistence.EventStore/issues/44",
    cause="a deleted event ends the feed",
    killed_by="Q-30 Q-31",
)
class DeletedEventEndsTheFeed(WardQueries):
    """The projection says that it is up to date."""

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        if subject == "events by persistence id":
            return super().rows(subject)
        rows = self.shelf.feed
        gone = next((place for place, row in enumerate(rows) if not self.shelf.holds(row)), len(rows))
        return rows[:gone]


@family.animal(
    bug="SEEN-56",
    system="Akka.Persistence.Sql (rows of tags and rows of events are deleted by different statements)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs",
    cause="deleted events are kept in feeds by tag and dropped from that of all events",
    killed_by="Q-30 Q-31",
)
class FeedsDisagreeOnDeletedEvents(WardQueries):
    """Counted by tag there are more than there are."""

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        return self.shelf.feed if subject == "events by tag" else super().rows(subject)


@family.animal(
    bug="BUG-015",
    system="akka-persistence-inmemory, Akka.Persistence.Sql, akka-persistence-jdbc",
    source="https://github.com/dnvriend/akka-persistence-inmemory/issues/33",
    cause="deleted events are left out of replays, and not of queries by id",
    killed_by="Q-33",
)
class DeletedEventsInQueriesById(WardQueries):
    """The mark of deletion is looked at by one statement of two."""

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        return self.shelf.feed if subject == "events by persistence id" else super().rows(subject)


@family.animal(
    bug="BUG-081",
    system="akka-persistence-jdbc",
    source="https://github.com/akka/akka-persistence-jdbc/issues/124",
    cause="the first query after opening does not wait until the highest position is known",
    killed_by="Q-50 Q-37",
)
class FirstQueryFindsNothing(WardQueries):
    """In tests there is always a query before."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.known = False

    def last_position(self) -> int:
        known, self.known = self.known, True
        return super().last_position() if known or not self.ward.marks.get("opened before") else 0

    def close(self) -> None:
        super().close()
        self.ward.marks["opened before"] = 1


@family.animal(
    bug="SEEN-57",
    system="none reported: a list that is read while it grows",
    source="https://github.com/akkadotnet/akka.net/blob/dev/docs/articles/persistence/persistence-query.md",
    cause="a write makes a running query fail",
    killed_by="Q-03",
)
class WriteBreaksTheQuery(WardQueries):
    """It never happens at night, when nobody writes."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        size = None
        async for row in super().feed(subject, behind, tag, live):
            yield row
            size = size or len(self.shelf.feed)
            if not live and len(self.shelf.feed) != size:
                raise RuntimeError("the list changed while it was read")


@family.animal(
    bug="BUG-079",
    system="EventStoreDB",
    source="https://github.com/kurrent-io/KurrentDB/issues/627",
    cause="the feed of all events leaves out what was written in a transaction of several",
    killed_by="Q-26 Q-28",
)
class BatchesAreNotInTheFeedOfAll(WardQueries):
    """Single events are what everybody tries."""

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        rows = super().rows(subject)
        if subject != "all events":
            return rows
        return [row for row in rows if len(self.ward.batches[row.persistence_id, row.sequence_nr]) == 1]


@family.animal(
    bug="SEEN-59",
    system="Akka.Persistence.Sql (rows of a join with the table of tags)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs",
    cause="an event with several tags comes once for each of them",
    killed_by="Q-28",
)
class EventsComeOnceForEachTag(WardQueries):
    """Totals are too high, and only for what is tagged twice."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        async for row in super().feed(subject, behind, tag, live):
            for _ in row.event.tags if subject == "all events" and len(row.event.tags) > 1 else (tag,):
                yield row


@family.animal(
    bug="BUG-070",
    system="akka-persistence-mongo, NEventStore",
    source="https://github.com/scullxbones/akka-persistence-mongo/pull/238",
    cause="the position is made of a time by whoever asks, and not kept with the event",
    killed_by="Q-16",
)
class OffsetsAreNumberedById(WardQueries):
    """By id the number of the id, in feeds that of the table: a reader of one cannot go on in the other."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        if subject == "events by persistence id":
            return EventEnvelope(Offset(ORIGIN, row.sequence_nr), row.event)
        return row


@family.animal(
    bug="BUG-088",
    system="akka-persistence-cassandra",
    source="https://github.com/akka/akka-persistence-cassandra/issues/312",
    cause="the numbers of a tag begin anew when the store is opened",
    killed_by="Q-37",
)
class PositionsBeginAnew(WardQueries):
    """Readers that stored a large number wait until the new ones have reached it."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.before = ward.events.highest_offset

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        position = row.offset.position
        return EventEnvelope(Offset(ORIGIN, position - self.before if position > self.before else position), row.event)


@family.animal(
    bug="SEEN-60",
    system="none reported: rows of a write that are inserted from its end",
    source="https://github.com/akkadotnet/akka.net/blob/dev/docs/articles/persistence/persistence-query.md",
    cause="the events of one AtomicWrite come in the opposite order",
    killed_by="Q-26",
)
class BatchesComeBackwards(WardQueries):
    """Paid, then ordered."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        page = super().page(rows, behind, wanted)
        runs = itertools.groupby(page, lambda row: self.ward.batches[row.persistence_id, row.sequence_nr])
        return [row for _, run in runs for row in reversed([*run])]
