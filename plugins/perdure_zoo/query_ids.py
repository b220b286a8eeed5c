"""Animals that go wrong with one id, or with the list of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from perdure import EventEnvelope, PersistentRepr

from ._query_ward import QueryFamily, Wanted, WardQueries

family = QueryFamily()
MANUAL = "https://github.com/akkadotnet/akka.net/blob/dev/docs/articles/persistence/persistence-query.md"
SQL = "https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs"


@family.animal(
    bug="SEEN-69",
    system="none reported: < for <=",
    source=MANUAL,
    cause="the upper bound of a query by id is left out",
    killed_by="Q-11",
)
class UpperBoundIsLeftOut(WardQueries):
    """The last event is always the one that matters."""

    def in_window(self, event: PersistentRepr, persistence_id: str, first: int, last: int) -> bool:
        return super().in_window(event, persistence_id, first, last) and event.sequence_nr != last


@family.animal(
    bug="SEEN-70",
    system="none reported: > for >=, which tests that begin at 0 do not see",
    source=MANUAL,
    cause="the lower bound of a query by id is left out",
    killed_by="Q-11",
)
class LowerBoundIsLeftOut(WardQueries):
    """Every test begins at 0."""

    def in_window(self, event: PersistentRepr, persistence_id: str, first: int, last: int) -> bool:
        within = super().in_window(event, persistence_id, first, last)
        return within and (first <= 1 or event.sequence_nr != first)


@family.animal(
    bug="BUG-085",
    system="akka-persistence-cassandra",
    source="https://github.com/akka/akka-persistence-cassandra/issues/606",
    cause="a live query waits for the event at its upper bound, which is deleted or was never there",
    killed_by="Q-11",
)
class UpperBoundIsWaitedFor(WardQueries):
    """The last number of the range was rejected."""

    def bound_is_reached(self, persistence_id: str, last: int) -> bool:
        return bool(self.shelf.window(persistence_id, last, last))


@family.animal(
    bug="SEEN-71",
    system="none reported: numbers in a column of text",
    source=MANUAL,
    cause="sequence numbers are compared as text: 10 is below 9",
    killed_by="Q-12 Q-20",
)
class NumbersAreSortedAsText(WardQueries):
    """Nine events are a good test."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        page = super().page(rows, behind, wanted)
        alike = len({row.persistence_id for row in page}) == 1
        return sorted(page, key=lambda row: str(row.sequence_nr)) if alike else page


@family.animal(
    bug="BUG-008b",
    system="pekko-persistence-jdbc",
    source="https://github.com/apache/pekko-persistence-jdbc/issues/516",
    cause="a query by id ends at the first gap",
    killed_by="Q-12 Q-20",
)
class GapEndsAQueryById(WardQueries):
    """One rejected event, and the rest of the history is gone."""

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        page = super().page(rows, behind, wanted)
        one_id = len({row.persistence_id for row in rows if wanted(row)}) == 1
        last = next((row.sequence_nr for row in rows if row.offset.position == behind), 0)
        for place, row in enumerate(page if one_id and self._from_the_start(rows, wanted) else ()):
            if row.sequence_nr != last + 1:
                return page[:place]
            last = row.sequence_nr
        return page

    @staticmethod
    def _from_the_start(rows: Sequence[EventEnvelope], wanted: Wanted) -> bool:
        return next((row.sequence_nr for row in rows if wanted(row)), 0) == 1


@family.animal(
    bug="SEEN-53",
    system="none reported: the first page is all that a demonstration shows",
    source=MANUAL,
    cause="of one id the first page is the whole answer",
    killed_by="Q-20",
)
class FirstPageOfAnIdIsAll(WardQueries):
    """Five hundred events are enough for everybody."""

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        given = 0
        async for row in super().by_id(persistence_id, first, last, live):
            if not live and given == self.page_size:
                return
            given += 1
            yield row


@family.animal(
    bug="SEEN-72",
    system="none reported: an empty first page",
    source=MANUAL,
    cause="a query by id looks at the numbers of one page from its first one, and takes no event for the end",
    killed_by="Q-14",
)
class DeletedPrefixEndsAQueryById(WardQueries):
    """An id that was cleaned up looks empty."""

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        left = self.shelf.window(persistence_id, 1, self.page_size)
        if not live and first <= 1 and self.shelf.highest(persistence_id) > self.page_size and not left:
            return
        async for row in super().by_id(persistence_id, first, last, live):
            yield row


@family.animal(
    bug="SEEN-73",
    system="none reported: the first event of an id that has none",
    source=MANUAL,
    cause="an id without events is an error",
    killed_by="Q-13",
)
class EmptyIdIsAnError(WardQueries):
    """Emptied between the list and the look."""

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        if not live and first <= 1 < last and not self.shelf.window(persistence_id, 1, self.shelf.highest_offset):
            raise LookupError(f"no events of {persistence_id!r}")
        async for row in super().by_id(persistence_id, first, last, live):
            yield row


@family.animal(
    bug="SEEN-74",
    system="none reported: a current query that is a live one with a bound",
    source=MANUAL,
    cause="a current query that begins above the highest number waits for it",
    killed_by="Q-15",
)
class NumberAboveTheHighestIsWaitedFor(WardQueries):
    """Whoever is up to date hangs."""

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        above = first > self.shelf.highest(persistence_id) > 0 and last >= first
        async for row in super().by_id(persistence_id, first, last, live or above):
            yield row


@family.animal(
    bug="SEEN-75",
    system="none reported: the next number, computed",
    source=MANUAL,
    cause="a live query by id goes on from the last number plus one, and waits for exactly that",
    killed_by="Q-19",
)
class LiveQueryWaitsForTheNextNumber(WardQueries):
    """A rejected event stops every follower of the id."""

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        due = first
        async for row in super().by_id(persistence_id, first, last, live):
            while live and due > 1 and row.sequence_nr != due and not self.closed:
                await self.shelf.changes.after(self.shelf.changes.count)
            due = row.sequence_nr + 1
            yield row


@family.animal(
    bug="SEEN-76",
    system="none reported: an optional filter",
    source=MANUAL,
    cause="an empty id or a negative number is no error, and gives nothing",
    killed_by="Q-34",
)
class BadArgumentsGiveNothing(WardQueries):
    """The slip is found by whoever misses the events."""

    def check(self, persistence_id: str, first: int, last: int) -> None:
        pass


@family.animal(
    bug="SEEN-77",
    system="Akka.Persistence.Sql (where not deleted)",
    source=SQL,
    cause="the list of ids is read from the events that are left",
    killed_by="Q-32",
)
class EmptiedIdsAreNotListed(WardQueries):
    """A rebuild leaves the old state where an id was emptied."""

    def ids(self) -> Iterable[str]:
        return [one for one, log in self.shelf.logs.items() if log.events]


@family.animal(
    bug="BUG-114d",
    system="actor-ts on MariaDB and SQL Server",
    source="https://github.com/pathosDev/actor-ts/issues/707",
    cause="the list of ids is distinct by a collation that ignores case",
    killed_by="Q-40",
)
class ListedIdsIgnoreCase(WardQueries):
    """Order-1 is rebuilt, order-1 is not."""

    def ids(self) -> Iterable[str]:
        return {one.casefold(): one for one in reversed(self.shelf.logs)}.values()


@family.animal(
    bug="SEEN-78",
    system="none reported: distinct on each page, and not over all of them",
    source=MANUAL,
    cause="an id is listed once for each page of its events",
    killed_by="Q-40 Q-44",
)
class IdsComeOnceForEachPage(WardQueries):
    """A hundred events are two pages, so it is seen in production only."""

    async def list_ids(self, live: bool) -> AsyncIterator[str]:
        async for persistence_id in super().list_ids(live):
            events = len(self.shelf.logs[persistence_id].events)
            for _ in range(1 if live else max(1, -(-events // self.page_size))):
                yield persistence_id


@family.animal(
    bug="SEEN-79",
    system="none reported: OFFSET and LIMIT over a list that grows",
    source=MANUAL,
    cause="the list of ids is paged by counting, and an id that comes in front moves the others",
    killed_by="Q-44 Q-03",
)
class ListIsPagedByCounting(WardQueries):
    """One id is twice in the list, or another one is missing."""

    async def list_ids(self, live: bool) -> AsyncIterator[str]:
        if live:
            async for persistence_id in super().list_ids(live):
                yield persistence_id
            return
        self.refuse_closed()
        place = 0
        while place < len(self.shelf.logs):
            yield sorted(self.shelf.logs)[::-1][place]
            self.refuse_closed()
            place += 1


@family.animal(
    bug="SEEN-80",
    system="none reported: paging by key, where it is live",
    source=MANUAL,
    cause="a live list goes on behind the largest id that it gave",
    killed_by="Q-41",
)
class LiveListGoesOnBehindTheLargestId(WardQueries):
    """With ids made of times it works for years."""

    async def list_ids(self, live: bool) -> AsyncIterator[str]:
        known = set(self.shelf.logs)  # these come in any order
        async for persistence_id in super().list_ids(live):
            if not live or persistence_id in known or persistence_id > max(known, default=""):
                known.add(persistence_id)
                yield persistence_id


@family.animal(
    bug="SEEN-81",
    system="none reported: a list that is told of events",
    source=MANUAL,
    cause="a live list gives an id again when it gets a new event",
    killed_by="Q-41",
)
class LiveListGivesIdsAgain(WardQueries):
    """A worker is started for each."""

    async def list_ids(self, live: bool) -> AsyncIterator[str]:
        seen: dict[str, int] = {}
        while True:
            changes = self.shelf.changes.count
            self.refuse_closed()
            for persistence_id in self.ids():
                highest = self.shelf.highest(persistence_id)
                if seen.get(persistence_id) != highest:
                    seen[persistence_id] = highest
                    yield persistence_id
                    self.refuse_closed()
            if not live:
                return
            await self.shelf.changes.after(changes)


@family.animal(
    bug="SEEN-82",
    system="Akka.NET's TCK has a test of this name that tests something else",
    source="https://github.com/akkadotnet/akka.net/tree/dev/src/core/Akka.Persistence.TCK/Query",
    cause="ids that have snapshots only are listed",
    killed_by="Q-42",
)
class SnapshotIdsAreListed(WardQueries):
    """A rebuild finds ids without a history."""

    def ids(self) -> Iterable[str]:
        return dict.fromkeys([*self.shelf.logs, *(owner for owner, _ in self.ward.snapshots.snapshots)])


@family.animal(
    bug="SEEN-83",
    system="none reported: a filter on ids that begin with a slash or a dollar",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql",
    cause="what looks internal is left out",
    killed_by="Q-29",
)
class InternalIdsAreHidden(WardQueries):
    """A copy of the journal is without the state of the cluster."""

    def ids(self) -> Iterable[str]:
        return [one for one in self.shelf.logs if not one.startswith(("/", "$", "_"))]

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        return [row for row in super().rows(subject) if not row.persistence_id.startswith(("/", "$", "_"))]


@family.animal(
    bug="SEEN-95",
    system="none reported: an upsert of the id in front of the insertion of events",
    source=MANUAL,
    cause="an id is listed when it is written, before the write is accepted",
    killed_by="Q-52",
)
class RefusedIdsAreListed(WardQueries):
    """Of a conflict or a rejection the list keeps the id."""

    def ids(self) -> Iterable[str]:
        return dict.fromkeys([*self.shelf.logs, *self.ward.named])
