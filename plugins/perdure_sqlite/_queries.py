"""The queries: arguments are checked here, and pages are asked of the reader, one when it is needed.

Between any two items a query asks whether the storage is still open.
"""

from __future__ import annotations

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

from ._feed import Feed, Numbers
from ._reader import Read, Reader
from ._view import Item, View, envelopes, ids
from ._watch import Watch
from ._worker import Future, Worker


class SqliteQueries:
    """See `perdure.ReadJournal`."""

    def __init__(self, reader: Worker[Read], watch: Watch, origin: str, page_size: int) -> None:
        self._reader = reader
        self._watch = watch
        self._origin = origin
        self._page_size = page_size

    def current_persistence_ids(self) -> AsyncIterator[str]:
        return self._view("current_persistence_ids", ids(0, self._page_size))

    def current_events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        view = envelopes(persistence_id, from_sequence_nr, to_sequence_nr, self._page_size)
        return self._view("current_events_by_persistence_id", view)

    def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self._current("current_events_by_tag", self._feed(tag, offset))

    def events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self._live("events_by_tag", self._feed(tag, offset))

    def current_all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self._current("current_all_events", self._feed(None, offset))

    def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self._live("all_events", self._feed(None, offset))

    def events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        numbers = Numbers(persistence_id, from_sequence_nr, to_sequence_nr, self._page_size)
        return self._live("events_by_persistence_id", numbers)

    async def persistence_ids(self) -> AsyncIterator[str]:
        """Each look takes the ids of which something was written since the one before; those met before are known."""
        query = "persistence_ids"
        known: set[str] = set()
        behind = 0
        while True:
            seen = self._watch.count
            reached = await self._ask(query, Reader.highest_ordering)
            view = ids(behind, self._page_size)
            try:
                while not view.ended:
                    for persistence_id in await self._ask(query, view.next_page):
                        if persistence_id not in known:
                            known.add(persistence_id)
                            yield persistence_id
                            self._refuse_closed(query)
            finally:
                self._release(view)
            behind = reached
            await self._watch.after(seen)

    def _feed(self, tag: str | None, offset: Offset) -> Feed:
        return Feed(tag, check_offset(offset, self._origin), self._page_size)

    async def _view(self, query: str, view: View[Item]) -> AsyncIterator[Item]:
        try:
            while not view.ended:
                for item in await self._ask(query, view.next_page):
                    yield item
                    self._refuse_closed(query)
        finally:
            self._release(view)

    async def _current(self, query: str, feed: Feed) -> AsyncIterator[EventEnvelope]:
        while True:
            for envelope in await self._ask(query, feed.next_page):
                yield envelope
                self._refuse_closed(query)
            if feed.ended:
                return

    async def _live(self, query: str, feed: Feed | Numbers) -> AsyncIterator[EventEnvelope]:
        seen = self._watch.count
        while True:
            if feed.ended:
                seen = self._watch.count  # the next page is a new look: what is announced from here on may be missing
            for envelope in await self._ask(query, feed.next_page):
                yield envelope
                self._refuse_closed(query)
            if feed.completed:
                return
            if feed.ended:
                await self._watch.after(seen)

    def _ask(self, query: str, read: Read) -> Future:
        self._refuse_closed(query)
        return self._reader.ask(read)

    def _refuse_closed(self, query: str) -> None:
        if self._watch.closed:
            raise StorageClosed(query)

    def _release(self, view: View[Item]) -> None:
        if not view.ended and not self._reader.closed:  # closed early, cancelled, or forgotten by its caller
            self._reader.ask(view.release)
