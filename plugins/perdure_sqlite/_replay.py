"""One replay: a window of one id's events, fetched page by page in the reader's thread, as one consistent view.

SQLite has such a view to give: a statement that is not finished keeps its snapshot. So a replay of more than one page
holds a connection of its own until it ends, and its pages come from one open statement. In WAL mode that disturbs
nobody. With a rollback journal it would shut out every writer for as long as somebody reads slowly; there the rest of a
long replay is copied to a temporary table first, within the same snapshot.

Bounding the replay by the highest number at its start would do without a snapshot against writers, but not against
deletions: those would tear a hole between a page that was read before and one after. (J-65, J-66)
"""

from __future__ import annotations

import sqlite3

from perdure import PersistentRepr
from perdure.errors import Unreadable

from ._layout import Layout, Row, select_events, text_or_bytes
from ._reader import Reader


class Replay:
    """Its methods are called in the reader's thread, one after the other."""

    def __init__(self, persistence_id: str, first: int, last: int, max_count: int, page_size: int) -> None:
        self._persistence_id = persistence_id
        self._next = first
        self._last = last
        self._rest = max_count
        self._page_size = page_size
        self._connection: sqlite3.Connection | None = None
        self._rows: sqlite3.Cursor | None = None
        self.ended = False

    def next_page(self, reader: Reader) -> list[PersistentRepr]:
        """Up to a page of events. With the last one, or an error, `ended` is set and nothing is held any more."""
        try:
            rows = self._first_rows(reader) if self._rows is None else self._rows.fetchmany(self._page_size)
            events = reader.layout.events_of(self._persistence_id, rows)
        except BaseException as error:
            self._drop(reader)
            if isinstance(error, sqlite3.OperationalError):
                self._find_unreadable(reader)
            raise
        self._pass(events)
        if len(events) < self._page_size or not self._rest or self._next > self._last:
            self.release(reader)
        return events

    def _first_rows(self, reader: Reader) -> list[Row]:
        self._connection = reader.take()
        if reader.spools:
            return self._first_rows_and_spool(self._connection, reader.layout)
        self._rows = self._connection.execute(select_events(reader.layout), self._window())
        return self._rows.fetchmany(self._page_size)

    def _first_rows_and_spool(self, connection: sqlite3.Connection, layout: Layout) -> list[Row]:
        window, rest = self._window()[:3], self._rest - self._page_size
        connection.execute("BEGIN")
        rows = connection.execute(select_events(layout), (*window, min(self._rest, self._page_size))).fetchall()
        more = len(rows) == self._page_size and rest > 0  # most replays are shorter
        if more:
            copy = f"CREATE TEMP TABLE rest AS {select_events(layout)} OFFSET {self._page_size}"
            connection.execute(copy, (*window, rest))
        connection.execute("COMMIT")
        if more:
            self._rows = connection.execute("SELECT * FROM temp.rest ORDER BY rowid")
        return rows

    def _window(self) -> tuple[str, int, int, int]:
        return self._persistence_id, self._next, self._last, self._rest

    def _pass(self, events: list[PersistentRepr]) -> None:
        self._rest -= len(events)
        if events:
            self._next = events[-1].sequence_nr + 1

    def release(self, reader: Reader) -> None:
        """Give back what is held; harmless at any time."""
        self.ended = True
        if self._connection is None:
            return
        if self._rows is not None:
            self._rows.close()
        if reader.spools:
            self._connection.execute("DROP TABLE IF EXISTS temp.rest")
        reader.give_back(self._connection)
        self._connection = None

    def _drop(self, reader: Reader) -> None:
        """Instead of `release`, after an error: nobody knows what the connection is left with."""
        self.ended = True
        if self._connection is not None:
            reader.drop(self._connection)
            self._connection = None

    def _find_unreadable(self, reader: Reader) -> None:
        """SQLite could not read a row and does not say which: text that is not UTF-8 is one reason. Name it."""
        connection = reader.take()
        connection.text_factory = text_or_bytes
        try:
            for row in connection.execute(select_events(reader.layout), self._window()):
                reader.layout.events_of(self._persistence_id, [row])
        except Unreadable as found:
            raise found from None
        finally:
            reader.drop(connection)
