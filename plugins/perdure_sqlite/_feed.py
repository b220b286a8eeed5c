"""Walks along the events of a database, page by page and by key: nothing is held between two pages.

A walk reads up to the highest ordering that was visible when it looked, and knows when it has come there. What is
behind that is seen by looking again. An ordering is given out and committed under SQLite's write lock, so everything
up to the one that was seen is there, whoever writes and however slowly. (Q-08)

Everything here is called in the reader's thread.
"""

from __future__ import annotations

from perdure import EventEnvelope

from ._layout import Layout, Row, envelopes_of, select_envelopes, select_feed
from ._reader import Reader
from ._tables import read_highest
from ._view import fetched


class Feed:
    """The events of all ids, or those with a tag, behind a position."""

    def __init__(self, tag: str | None, position: int, page_size: int) -> None:
        self._tag = tag
        self._position = position
        self._page_size = page_size
        self._limit = position
        self.completed = False
        """A feed always goes on."""

    @property
    def ended(self) -> bool:
        """Whether everything was given that was there at the last look. Then the next page is a new look."""
        return self._position >= self._limit

    def next_page(self, reader: Reader) -> list[EventEnvelope]:
        """Up to a page; it may be empty although there are more."""
        if self.ended:
            self._limit = max(self._position, reader.highest_ordering())
        found = fetched(reader, self._select(reader.layout), self._parameters(), envelopes_of)
        self._position = found[-1].offset.position if len(found) == self._page_size else self._limit
        return found if self._tag is None else [one for one in found if self._tag in one.event.tags]

    def _select(self, layout: Layout) -> str:
        return select_feed(layout) if self._tag is None else layout.select_tagged

    def _parameters(self) -> Row:
        tag = () if self._tag is None else (self._tag,)
        return (*tag, self._position, self._limit, self._page_size)


class Numbers:
    """The events of one id between two numbers, as they come."""

    def __init__(self, persistence_id: str, first: int, last: int, page_size: int) -> None:
        self._persistence_id = persistence_id
        self._next = first
        self._last = last
        self._page_size = page_size
        self.ended = True
        """Whether everything was given that was there at the last look."""
        self.completed = False
        """Whether nothing can ever follow: the id has reached the last number. (Q-11)"""

    def next_page(self, reader: Reader) -> list[EventEnvelope]:
        reached = self._highest(reader) >= self._last  # first: what is below it is there by now
        window = (self._persistence_id, self._next, self._last, self._page_size)
        found = fetched(reader, select_envelopes(reader.layout), window, envelopes_of)
        if found:
            self._next = found[-1].sequence_nr + 1
        self.ended = len(found) < self._page_size
        self.completed = self.ended and reached
        return found

    def _highest(self, reader: Reader) -> int:
        with reader.lent() as connection:
            return read_highest(connection, reader.layout, self._persistence_id)
