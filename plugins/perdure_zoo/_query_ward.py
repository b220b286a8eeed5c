"""The queries of an animal: all eight, page by page over what memory keeps, in pieces that can be got wrong one by one.

They are right as they stand here. What is stored as the feed (`rows`), where a query begins (`start`), which events it
wants (`has_tag`, `in_window`), how the next page is found (`page`) and how an event is shown (`shown`) are methods of
their own, and an animal overrides one of them. Deleted events are dropped from feeds.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from perdure import (
    MAX_SEQUENCE_NR,
    NO_OFFSET,
    AtomicWrite,
    Backend,
    Claims,
    EventEnvelope,
    Location,
    Offset,
    PersistentRepr,
    Storage,
    WriteRejected,
    check_offset,
    check_replay,
    check_tag,
)
from perdure.errors import StorageClosed, WriteFailed

from ._animal import Animal, Ward, WardJournal, WardSnapshots, one_ward_for_each_location

ORIGIN = "memory"
Wanted = Callable[[EventEnvelope], bool]


class FedJournal(WardJournal):
    """The journal of an animal with queries: it notes the AtomicWrite of each event, and what calls named."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.last_written = 0

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        self.ward.named.update((write.persistence_id, None) for write in writes)
        try:
            answers = await super().write_messages(writes)
        except WriteFailed:
            self.ward.failures += 1
            raise
        self.last_written = self.ward.events.highest_offset
        return answers

    def _append(self, write: AtomicWrite) -> None:
        super()._append(write)
        for event in write.events:
            self.ward.batches[event.persistence_id, event.sequence_nr] = write.events


class WardQueries:
    """See `perdure.ReadJournal`."""

    journal_type: type[FedJournal] = FedJournal

    def __init__(self, ward: Ward, location: Location) -> None:
        self.ward = ward
        self.journal: FedJournal
        self.shelf = ward.events
        self.page_size = location.page_size
        self.clock = location.clock
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self.shelf.changes.announce()

    # ---------------------------------------------------------------------------------------------------- the pieces

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        """The feed as it is stored for a kind of query, in its order."""
        return [row for row in self.shelf.feed if self.shelf.holds(row)]

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return tag in event.tags

    def in_window(self, event: PersistentRepr, persistence_id: str, first: int, last: int) -> bool:
        return event.persistence_id == persistence_id and first <= event.sequence_nr <= last

    def start(self, offset: Offset) -> int:
        """The position behind which a feed begins."""
        return check_offset(offset, ORIGIN)

    def page(self, rows: Sequence[EventEnvelope], behind: int, wanted: Wanted) -> Sequence[EventEnvelope]:
        """The next rows behind a position, as many as fit on a page."""
        return [row for row in rows if row.offset.position > behind and wanted(row)][: self.page_size]

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        """A row as a query gives it."""
        return row

    def is_last(self, page: Sequence[EventEnvelope]) -> bool:
        """Whether a page is the last one for now."""
        return len(page) < self.page_size

    def ids(self) -> Iterable[str]:
        """The ids with an event, as they became known."""
        return list(self.shelf.logs)

    def last_position(self) -> int:
        """Where a current query ends that begins now."""
        return self.shelf.highest_offset

    def bound_is_reached(self, persistence_id: str, last: int) -> bool:
        """Whether a live query by id has nothing more to wait for."""
        return self.shelf.highest(persistence_id) >= last

    def ends_when_idle(self, given: int) -> bool:
        """Whether a live query ends that has given so many events and has no more for now."""
        return False

    # --------------------------------------------------------------------------------------------------- the queries

    def current_all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self.feed("all events", self.start(offset), "", live=False)

    def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self.feed("all events", self.start(offset), "", live=True)

    def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self.feed("events by tag", self.start(offset), tag, live=False)

    def events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self.feed("events by tag", self.start(offset), tag, live=True)

    def current_events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        self.check(persistence_id, from_sequence_nr, to_sequence_nr)
        return self.by_id(persistence_id, from_sequence_nr, to_sequence_nr, live=False)

    def events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        self.check(persistence_id, from_sequence_nr, to_sequence_nr)
        return self.by_id(persistence_id, from_sequence_nr, to_sequence_nr, live=True)

    def check(self, persistence_id: str, first: int, last: int) -> None:
        check_replay(persistence_id, first, last, MAX_SEQUENCE_NR)

    def current_persistence_ids(self) -> AsyncIterator[str]:
        return self.list_ids(live=False)

    def persistence_ids(self) -> AsyncIterator[str]:
        return self.list_ids(live=True)

    # ---------------------------------------------------------------------------------------------- what all of them do

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        self.refuse_closed()
        until = None if live else self.last_position()

        def wanted(row: EventEnvelope) -> bool:
            return subject == "all events" or self.has_tag(row.event, tag)

        given = 0
        while True:
            seen = self.shelf.changes.count
            page = self.page(self._up_to(self.rows(subject), until), behind, wanted)
            for row in page:
                behind = max(behind, row.offset.position)
                given += 1
                yield self.shown(row, subject, tag)
                self.refuse_closed()
            if self.is_last(page):
                if not live or self.ends_when_idle(given):
                    return
                await self.shelf.changes.after(seen)
                self.refuse_closed()

    async def by_id(self, persistence_id: str, first: int, last: int, live: bool) -> AsyncIterator[EventEnvelope]:
        self.refuse_closed()
        until = None if live else self.last_position()
        behind = given = 0

        def wanted(row: EventEnvelope) -> bool:
            return self.in_window(row.event, persistence_id, first, last)

        while True:
            seen = self.shelf.changes.count
            reached = self.bound_is_reached(persistence_id, last)
            page = self.page(self._up_to(self.rows("events by persistence id"), until), behind, wanted)
            for row in page:
                behind = max(behind, row.offset.position)
                given += 1
                yield self.shown(row, "events by persistence id", "")
                self.refuse_closed()
            if self.is_last(page):
                if not live or reached or self.ends_when_idle(given):
                    return
                await self.shelf.changes.after(seen)
                self.refuse_closed()

    @staticmethod
    def _up_to(rows: Sequence[EventEnvelope], until: int | None) -> Sequence[EventEnvelope]:
        return rows if until is None else [row for row in rows if row.offset.position <= until]

    async def list_ids(self, live: bool) -> AsyncIterator[str]:
        self.refuse_closed()
        given: set[str] = set()
        while True:
            seen = self.shelf.changes.count
            for persistence_id in [one for one in self.ids() if one not in given]:
                given.add(persistence_id)
                yield persistence_id
                self.refuse_closed()
            if not live:
                return
            await self.shelf.changes.after(seen)
            self.refuse_closed()

    def refuse_closed(self) -> None:
        if self.closed:
            raise StorageClosed("a query")


def caged_with_queries(name: str, queries: type[WardQueries]) -> Backend:
    """The backend in memory with these queries and the journal that they go with; everything else is right."""
    find_ward = one_ward_for_each_location()

    @asynccontextmanager
    async def open_cage(location: Location) -> AsyncIterator[Storage]:
        ward = find_ward(location)
        parts = queries.journal_type(ward, location), WardSnapshots(ward, location), queries(ward, location)
        parts[2].journal = parts[0]
        try:
            yield Storage(*parts)
        finally:
            for part in parts:
                part.close()

    claims = Claims(survives_close=True, shared=True, live_queries=True)
    return Backend(name, open_cage, claims, version="broken on purpose")


class QueryFamily:
    """The animals of one module of queries, in the order in which they stand there."""

    def __init__(self) -> None:
        self.animals: list[Animal] = []

    def animal(
        self, *, bug: str, system: str, source: str, cause: str, killed_by: str
    ) -> Callable[[type[WardQueries]], type[WardQueries]]:
        """Make an animal of the class below: its name is that of the class, its story the docstring."""

        def add(queries: type[WardQueries]) -> type[WardQueries]:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", queries.__name__).lower()
            self.animals.append(
                Animal(
                    name=name,
                    bug=bug,
                    system=system,
                    source=source,
                    cause=cause,
                    story=(queries.__doc__ or "").strip(),
                    killed_by=tuple(killed_by.split()),
                    backend=caged_with_queries(name, queries),
                )
            )
            return queries

        return add
