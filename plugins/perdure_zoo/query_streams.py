"""Animals that get the life of a query wrong: when it ends, what it shares with others, what wakes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from perdure import NO_OFFSET, EventEnvelope, Location, Offset

from ._animal import Ward
from ._query_ward import QueryFamily, Wanted, WardQueries

family = QueryFamily()
MANUAL = "https://github.com/akkadotnet/akka.net/blob/dev/docs/articles/persistence/persistence-query.md"


@family.animal(
    bug="SEEN-84",
    system="none reported: a live query that is a current one, asked again",
    source=MANUAL,
    cause="a live query ends when it has caught up",
    killed_by="Q-01 Q-19 Q-25",
)
class LiveQueryEndsWhenItHasCaughtUp(WardQueries):
    """In a test somebody is always writing."""

    def ends_when_idle(self, given: int) -> bool:
        return given > 0


@family.animal(
    bug="SEEN-85",
    system="none reported: Akka on the JVM has a test for each of its own plugins",
    source="https://github.com/akka/akka-core/tree/main/akka-persistence-query",
    cause="a live query that finds nothing at first ends",
    killed_by="Q-01 Q-19 Q-25",
)
class LiveQueryEndsWhereNothingIs(WardQueries):
    """The projection is deployed before the first event."""

    def ends_when_idle(self, given: int) -> bool:
        return given == 0


@family.animal(
    bug="SEEN-86",
    system="none reported: a current query, made of a live one",
    source=MANUAL,
    cause="a current query of an empty store waits for the first event",
    killed_by="Q-02",
)
class EmptyStoreIsWaitedFor(WardQueries):
    """It hangs in a new environment only."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        async for row in super().feed(subject, behind, tag, live or not self.shelf.feed):
            yield row


@family.animal(
    bug="BUG-098",
    system="commanded/eventstore",
    source="https://github.com/commanded/eventstore/issues/81",
    cause="of several pages that are ready, a live query gives one, and waits for the next write",
    killed_by="Q-01",
)
class OnePageForEachWakening(WardQueries):
    """It never catches up, and as long as somebody writes it looks as if it did."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        seen, given = self.shelf.changes.count, 0
        async for row in super().feed(subject, behind, tag, live):
            if live and given >= self.page_size:
                await self.shelf.changes.after(seen)
                self.refuse_closed()
            if seen != self.shelf.changes.count:
                seen, given = self.shelf.changes.count, 0
            given += 1
            yield row


@family.animal(
    bug="SEEN-87",
    system="none reported: an index of positions that match",
    source=MANUAL,
    cause="a live query by tag does not move on over events without the tag, once they fill a page",
    killed_by="Q-25",
)
class OtherEventsBlockALiveQuery(WardQueries):
    """A rare tag is followed well in tests, where all others are rare as well."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        self.stuck = live and subject == "events by tag"
        async for row in super().feed(subject, behind, tag, live):
            yield row

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        following = [row for row in rows if row.offset.position > behind]
        if self.page_size < 100 and any(wanted(row) for row in following) and getattr(self, "stuck", False):
            following = following[: self.page_size]
        return [row for row in following if wanted(row)][: self.page_size]


@family.animal(
    bug="SEEN-88",
    system="none reported: a task that fills a queue",
    source="https://github.com/akka/akka-core/tree/main/akka-persistence-query",
    cause="everything that is there is fetched when the first event is asked for",
    killed_by="Q-04",
)
class EverythingIsFetchedAhead(WardQueries):
    """A slow handler behind a long history fills the memory, and handles what was deleted long ago."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        return [row for row in rows if row.offset.position > behind and wanted(row)]

    def is_last(self, page: Sequence[EventEnvelope]) -> bool:
        return True


@family.animal(
    bug="BUG-110b",
    system="akka-persistence-jdbc",
    source="https://github.com/akka/akka-persistence-jdbc/issues/95",
    cause="an error while reading ends the query without a word; here that its storage was closed",
    killed_by="Q-05",
)
class ErrorIsTheEnd(WardQueries):
    """The projection stores its offset and stops for good."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        async for row in super().feed(subject, behind, tag, live):
            yield row
            if self.closed:
                return


@family.animal(
    bug="BUG-086",
    system="akka-persistence-cassandra",
    source="https://github.com/akka/akka-persistence-cassandra/issues/824",
    cause="a write that failed has used a number of the feed, and a running query skips the event that gets it",
    killed_by="Q-52",
)
class FailedWriteSkipsAnEvent(WardQueries):
    """A conflict in one place, and an event is missing in another."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        failures = self.ward.failures
        async for row in super().feed(subject, behind, tag, live):
            if live and failures != self.ward.failures:
                failures = self.ward.failures
                continue
            yield row


@family.animal(
    bug="SEEN-89",
    system="none reported: a connection that queries share",
    source=MANUAL,
    cause="closing one query closes the cursor of all",
    killed_by="Q-43",
)
class ClosingOneQueryEndsAll(WardQueries):
    """A user closes a window, and the others' stop."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.closings = 0

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        closings, finished = self.closings, False
        try:
            async for row in super().feed(subject, behind, tag, live):
                if closings != self.closings:
                    raise ConnectionError("the cursor is closed")
                yield row
            finished = True
        finally:
            self.closings += not finished


@family.animal(
    bug="SEEN-90",
    system="none reported: a cursor that queries share",
    source=MANUAL,
    cause="two queries at once have one place between them",
    killed_by="Q-45",
)
class QueriesShareAPlace(WardQueries):
    """Each gets a part, and both parts are in order."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.running: dict[str, int] = {}

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        place = f"{subject} {tag} {live} {behind}"
        behind = self.running.get(place, behind)
        try:
            async for row in super().feed(subject, behind, tag, live):
                if row.offset.position > self.running.get(place, -1):
                    self.running[place] = row.offset.position
                    yield row
        finally:
            self.running.pop(place, None)


@family.animal(
    bug="SEEN-91",
    system="Akka.NET's publisher of all persistence ids, shared by its subscribers",
    source="https://github.com/akkadotnet/akka.net/tree/dev/src/core/Akka.Persistence.Query.InMemory",
    cause="a live query that begins while another one runs gets what comes from then on",
    killed_by="Q-45",
)
class SecondSubscriberGetsTheRest(WardQueries):
    """The second dashboard is empty in the morning."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.subscribers = 0

    def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        behind = self.shelf.highest_offset if self.subscribers else self.start(offset)
        return self._counted(behind)

    async def _counted(self, behind: int) -> AsyncIterator[EventEnvelope]:
        self.subscribers += 1
        try:
            async for row in self.feed("all events", behind, "", live=True):
                yield row
        finally:
            self.subscribers -= 1


@family.animal(
    bug="SEEN-92",
    system="none reported: a cache of pages",
    source=MANUAL,
    cause="a handle keeps what it has read of an id, and shows it again",
    killed_by="Q-50 Q-35",
)
class FirstAnswerIsKept(WardQueries):
    """It is fast, and yesterday's."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.kept: dict[tuple[str, int, int], list[EventEnvelope]] = {}

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        kept = self.kept.get((persistence_id, first, last))
        if kept and not live:
            for row in kept:
                self.refuse_closed()
                yield row
            return
        given = []
        async for row in super().by_id(persistence_id, first, last, live):
            given.append(row)
            yield row
        if not live and given[-1:] == self.shelf.window(persistence_id, first, last)[-1:]:
            self.kept[persistence_id, first, last] = given


@family.animal(
    bug="SEEN-93",
    system="none reported: notifications that stay within a handle",
    source=MANUAL,
    cause="a live query is woken by the handle that it belongs to, and by no other",
    killed_by="Q-35",
)
class OtherHandlesAreNotHeard(WardQueries):
    """One process in development, two in production."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        there = self.shelf.highest_offset
        async for row in super().feed(subject, behind, tag, live):
            while live and row.offset.position > max(there, self.journal.last_written):
                await self.shelf.changes.after(self.shelf.changes.count)
                self.refuse_closed()
            yield row


@family.animal(
    bug="SEEN-94",
    system="none reported: a namespace that three statements of four have",
    source=MANUAL,
    cause="the list of ids is that of every namespace",
    killed_by="Q-36",
)
class NamespacesShareTheList(WardQueries):
    """A migration copies the tenants into each other."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.neighbours = neighbours_of(location)
        self.neighbours.append(ward)

    def close(self) -> None:
        super().close()
        self.neighbours.remove(self.ward)

    def ids(self) -> list[str]:
        return list(dict.fromkeys(one for ward in self.neighbours for one in ward.events.logs))


_AT_ONE_PLACE: dict[object, list[Ward]] = {}


def neighbours_of(location: Location) -> list[Ward]:
    """The wards that are open at one directory."""
    return _AT_ONE_PLACE.setdefault(location.directory, [])
