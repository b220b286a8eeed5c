"""The queries in memory: what the contracts mean, in the fewest words.

The feed is one list that only grows, in the order of writing, so that a place in it is a number and nothing is fetched
ahead. Deleted events stay in it. Whoever writes announces it, and live queries wait for that, in whatever thread or
event loop they run. Between any two items a query asks whether the storage is still open.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator

from perdure import (
    MAX_SEQUENCE_NR,
    NO_OFFSET,
    EventEnvelope,
    Offset,
    check_offset,
    check_replay,
    check_tag,
)
from perdure.errors import StorageClosed

from ._journal import ORIGIN, Shelf


class MemoryQueries:
    """See `perdure.ReadJournal`."""

    def __init__(self, shelf: Shelf, page_size: int) -> None:
        self._shelf = shelf
        self._page_size = page_size
        self.closed = False

    def close(self) -> None:
        """Live queries stop waiting: they look again, and find the storage closed."""
        self.closed = True
        self._shelf.changes.announce()

    def current_persistence_ids(self) -> AsyncIterator[str]:
        return self._ids("current_persistence_ids", live=False)

    def persistence_ids(self) -> AsyncIterator[str]:
        return self._ids("persistence_ids", live=True)

    def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self._feed("current_events_by_tag", check_offset(offset, ORIGIN), tag, live=False)

    def events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self._feed("events_by_tag", check_offset(offset, ORIGIN), tag, live=True)

    def current_all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self._feed("current_all_events", check_offset(offset, ORIGIN), None, live=False)

    def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self._feed("all_events", check_offset(offset, ORIGIN), None, live=True)

    async def _ids(self, query: str, live: bool) -> AsyncIterator[str]:
        passed = 0
        while True:
            seen = self._shelf.changes.count
            self._refuse_closed(query)
            for persistence_id in list(self._shelf.logs)[passed:]:  # an id that is there is never taken out
                yield persistence_id
                passed += 1
                self._refuse_closed(query)
            if not live:
                return
            await self._shelf.changes.after(seen)

    async def _feed(self, query: str, position: int, tag: str | None, live: bool) -> AsyncIterator[EventEnvelope]:
        self._refuse_closed(query)
        place = bisect_right(self._shelf.feed, position, key=lambda envelope: envelope.offset.position)
        while True:
            seen = self._shelf.changes.count
            self._refuse_closed(query)
            for envelope in self._shelf.feed[place:]:
                place += 1
                if tag is None or tag in envelope.event.tags:
                    yield envelope
                    self._refuse_closed(query)
            if not live:
                return
            await self._shelf.changes.after(seen)

    async def current_events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        """As a replay, it is one view: what is deleted or written while it runs changes nothing in it."""
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        self._refuse_closed("current_events_by_persistence_id")
        for envelope in self._shelf.window(persistence_id, from_sequence_nr, to_sequence_nr):
            yield envelope
            self._refuse_closed("current_events_by_persistence_id")

    async def events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        while True:
            seen = self._shelf.changes.count
            self._refuse_closed("events_by_persistence_id")
            last = self._shelf.highest(persistence_id) >= to_sequence_nr  # first: what is below it is there by now
            page = self._shelf.window(persistence_id, from_sequence_nr, to_sequence_nr)[: self._page_size]
            for envelope in page:
                if self._shelf.holds(envelope):  # it may have been deleted since the page was taken
                    yield envelope
                    self._refuse_closed("events_by_persistence_id")
                from_sequence_nr = envelope.sequence_nr + 1
            if len(page) == self._page_size:
                continue
            if last:
                return
            await self._shelf.changes.after(seen)

    def _refuse_closed(self, query: str) -> None:
        if self.closed:
            raise StorageClosed(query)
