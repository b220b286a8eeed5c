"""Animals that know of gaps in the order of a feed and deal with them wrongly, where writes overlap.

A position is given when a write begins, and can be read when it is committed. The right way, from which each of them
strays in one thing, is to stop before the lowest position that is still under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from perdure import MAX_SEQUENCE_NR, AtomicWrite, EventEnvelope, Location, WriteRejected

from ._animal import Ward
from ._query_ward import FedJournal, QueryFamily, Wanted, WardQueries
from .races import driver

Answers = Sequence[WriteRejected | None]

PATIENCE_NS = 1_000_000_000

family = QueryFamily()


class _TellsWhatIsUnderWay(FedJournal):
    """Commits some moments later. What was cancelled meanwhile is committed all the same."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        feed = self.ward.events.feed
        known = len(feed)
        answers = await super().write_messages(writes)
        late = feed[known:]
        del feed[known:]
        positions = {row.offset.position for row in late}
        self.ward.under_way |= positions
        try:
            for _ in range(3):
                await driver()
        finally:
            self.ward.under_way -= positions
            feed[:] = sorted([*feed, *late], key=lambda row: row.offset.position)
            self.committed(late)
        return answers

    def committed(self, late: Sequence[EventEnvelope]) -> None:
        self.ward.events.changes.announce()


class _StopsAtGaps(WardQueries):
    """Right: no page goes beyond a position that is under way, and a current query waits for those before its end."""

    journal_type = _TellsWhatIsUnderWay

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        gap = self.gap(rows, behind)
        return super().page([row for row in rows if row.offset.position < gap], behind, wanted)

    def gap(self, rows: Sequence[EventEnvelope], behind: int) -> int:
        """The position before which a page has to stop."""
        return min((one for one in self.ward.under_way if one > behind), default=MAX_SEQUENCE_NR)

    def bound_is_reached(self, persistence_id: str, last: int) -> bool:
        return not self.ward.under_way and super().bound_is_reached(persistence_id, last)

    def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        rows = super().feed(subject, behind, tag, live)
        return rows if live else self._settled(rows)

    def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        rows = super().by_id(persistence_id, first, last, live)
        return rows if live else self._settled(rows)

    async def _settled(self, rows: AsyncIterator[EventEnvelope]) -> AsyncIterator[EventEnvelope]:
        until = self.last_position()
        while any(one <= until for one in self.ward.under_way):
            await driver()
        async for row in rows:
            yield row


@family.animal(
    bug="BUG-069",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/313",
    cause="a wake-up by the one who gives positions takes the reader past those that cannot be read yet",
    killed_by="Q-08",
)
class MovesOnToWhatWasGiven(_StopsAtGaps):
    """The writer tells the position, the reader looks at once, finds nothing there, and goes on behind it."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        if not live:
            async for row in super().feed(subject, behind, tag, live):
                yield row
        while live:
            self.refuse_closed()
            seen, given = self.shelf.changes.count, self.last_position()
            for row in [row for row in self.rows(subject) if row.offset.position > behind]:
                if subject == "all events" or self.has_tag(row.event, tag):
                    yield row
                    self.refuse_closed()
            behind = given
            await self.shelf.changes.after(seen)


@family.animal(
    bug="BUG-072",
    system="Marten",
    source="https://github.com/JasperFx/marten/issues/2370",
    cause="a gap is given up by the time since anything came, not since the gap was seen",
    killed_by="Q-08",
)
class GapIsTimedFromTheLastEvent(_StopsAtGaps):
    """After a quiet hour the first gap is skipped at once, and with it the event that is just being written."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._known = 0
        self._came = self.clock()

    def gap(self, rows: Sequence[EventEnvelope], behind: int) -> int:
        waited = self.clock() - self._came
        if len(rows) != self._known:
            self._known, self._came = len(rows), self.clock()
        return MAX_SEQUENCE_NR if waited > PATIENCE_NS else super().gap(rows, behind)


@family.animal(
    bug="BUG-073",
    system="Marten",
    source="https://github.com/JasperFx/marten/issues/4964",
    cause="gaps are looked for between the rows that were read, and not before the first of them",
    killed_by="Q-08",
)
class GapBeforeTheFirstRow(_StopsAtGaps):
    """The position behind that of the reader is under way, the next is there, and the reader goes on behind both."""

    def gap(self, rows: Sequence[EventEnvelope], behind: int) -> int:
        first = next((row.offset.position for row in rows if row.offset.position > behind), behind)
        return super().gap(rows, first)


class _AnnouncesProgress(_TellsWhatIsUnderWay):
    def committed(self, late: Sequence[EventEnvelope]) -> None:
        """Of what lies behind the highest position nobody is told."""
        if late and late[-1] is self.ward.events.feed[-1]:
            super().committed(late)


@family.animal(
    bug="BUG-125",
    system="akka-persistence-r2dbc",
    source="https://github.com/akka/akka-persistence-r2dbc/issues/109",
    cause="a reader that waits at a gap looks again only when something new has come",
    killed_by="Q-08",
)
class LooksAgainOnlyForNews(_StopsAtGaps):
    """The gap was filled, and nothing is written any more. The last events are never given."""

    journal_type = _AnnouncesProgress


class _LooksAfterWriting(FedJournal):
    """What can be read is found out by a look behind each write; of two looks the earlier one may answer later."""

    _moments = 0

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers = await super().write_messages(writes)
        found = self.ward.events.highest_offset
        self._moments = (self._moments + 2) % 3
        for _ in range(self._moments):
            await driver()
        self.ward.marks["highest position"] = found
        self.ward.events.changes.announce()
        return answers


@family.animal(
    bug="BUG-080",
    system="akka-persistence-jdbc",
    source="https://github.com/akka/akka-persistence-jdbc/issues/126",
    cause="the highest position that is known is replaced by whatever answer comes last",
    killed_by="Q-08 Q-50",
)
class HighestPositionGoesBack(WardQueries):
    """The answer of an earlier look comes after that of a later one, and what was there is not there any more."""

    journal_type = _LooksAfterWriting

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        known = self.ward.marks.get("highest position", 0)
        return [row for row in super().rows(subject) if row.offset.position <= known]


class _InsertsTheLastFirst(FedJournal):
    """The AtomicWrites of a call are sent at once, and the store has them in the order in which they arrive."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        shelf = self.ward.events
        known = len(shelf.feed)
        answers = await super().write_messages(writes)
        rows = shelf.feed[known:]
        arrived = [row.event for write in reversed(writes) for row in rows if _is_of(row, write)]
        for place, (row, event) in enumerate(zip(rows, arrived, strict=False), known):
            shelf.feed[place] = EventEnvelope(row.offset, event)
            shelf.offsets[event.persistence_id, event.sequence_nr] = row.offset.position
        return answers


def _is_of(row: EventEnvelope, write: AtomicWrite) -> bool:
    return any((row.persistence_id, row.sequence_nr) == (one.persistence_id, one.sequence_nr) for one in write.events)


@family.animal(
    bug="BUG-059",
    system="akka-persistence-mongo",
    source="https://github.com/scullxbones/akka-persistence-mongo/issues/125",
    cause="a scan without an order and a filter for repeated numbers",
    killed_by="Q-08 Q-23 Q-28",
)
class FilterOfRepeatedNumbers(WardQueries):
    """5 comes before 4, and whoever has seen 5 takes 4 for a repetition."""

    journal_type = _InsertsTheLastFirst

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        highest: dict[str, int] = {}
        async for row in super().feed(subject, behind, tag, live):
            if row.sequence_nr > highest.get(row.persistence_id, 0):
                highest[row.persistence_id] = row.sequence_nr
                yield row
