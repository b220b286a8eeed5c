"""One statement, fetched page by page in the reader's thread, as one consistent view.

SQLite has such a view to give: a statement that is not finished keeps its snapshot. So a view of more than one page
holds a connection of its own until it ends, and its pages come from one open statement. In WAL mode that disturbs
nobody. With a rollback journal it would shut out every writer for as long as somebody reads slowly; there the rest of a
long view is copied to a temporary table first, within the same snapshot.

Bounding a replay by the highest number at its start would do without a snapshot against writers, but not against
deletions: those would tear a hole between a page that was read before and one after. (J-65, J-66)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from perdure import MAX_SEQUENCE_NR as MAX
from perdure import EventEnvelope, PersistentRepr
from perdure.errors import Unreadable

from ._layout import Layout, Row, envelopes_of, ids_of, select_envelopes, select_events, select_ids, text_or_bytes
from ._reader import Reader

Item = TypeVar("Item")

Decode = Callable[[Layout, Sequence[Row]], list[Item]]
"""Rows as items, or `Unreadable`."""


class View(Generic[Item]):
    """Its methods are called in the reader's thread, one after the other.

    `select` makes a statement that takes `parameters` and then how many rows it gives at most.
    """

    def __init__(
        self,
        select: Callable[[Layout], str],
        parameters: tuple[object, ...],
        decode: Decode[Item],
        max_count: int,
        page_size: int,
    ) -> None:
        self._select = select
        self._parameters = parameters
        self._decode = decode
        self._max_count = self._rest = max_count
        self._page_size = page_size
        self._connection: sqlite3.Connection | None = None
        self._rows: sqlite3.Cursor | None = None
        self.ended = False

    def next_page(self, reader: Reader) -> list[Item]:
        """Up to a page of items. With the last one, or an error, `ended` is set and nothing is held any more."""
        try:
            rows = self._first_rows(reader) if self._rows is None else self._rows.fetchmany(self._page_size)
            items = self._decode(reader.layout, rows)
        except BaseException as error:
            self._drop(reader)
            if isinstance(error, sqlite3.OperationalError):
                name_unreadable(reader, self._select(reader.layout), (*self._parameters, self._max_count), self._decode)
            raise
        self._rest -= len(items)
        if len(items) < self._page_size or not self._rest:
            self.release(reader)
        return items

    def _first_rows(self, reader: Reader) -> list[Row]:
        self._connection = reader.take()
        if reader.spools:
            return self._first_rows_and_spool(self._connection, self._select(reader.layout))
        self._rows = self._connection.execute(self._select(reader.layout), (*self._parameters, self._rest))
        return self._rows.fetchmany(self._page_size)

    def _first_rows_and_spool(self, connection: sqlite3.Connection, select: str) -> list[Row]:
        rest = self._rest - self._page_size
        connection.execute("BEGIN")
        rows = connection.execute(select, (*self._parameters, min(self._rest, self._page_size))).fetchall()
        more = len(rows) == self._page_size and rest > 0  # most views are shorter
        if more:
            copy = f"CREATE TEMP TABLE rest AS {select} OFFSET {self._page_size}"
            connection.execute(copy, (*self._parameters, rest))
        connection.execute("COMMIT")
        if more:
            self._rows = connection.execute("SELECT * FROM temp.rest ORDER BY rowid")
        return rows

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


def fetched(reader: Reader, select: str, parameters: tuple[object, ...], decode: Decode[Item]) -> list[Item]:
    """All items of one statement, at once: nothing is held afterwards."""
    try:
        with reader.lent() as connection:
            return decode(reader.layout, connection.execute(select, parameters).fetchall())
    except sqlite3.OperationalError:
        name_unreadable(reader, select, parameters, decode)
        raise


def name_unreadable(reader: Reader, select: str, parameters: tuple[object, ...], decode: Decode[Item]) -> None:
    """SQLite could not read a row and does not say which: text that is not UTF-8 is one reason. Name it."""
    connection = reader.take()
    connection.text_factory = text_or_bytes
    try:
        for row in connection.execute(select, parameters):
            decode(reader.layout, [row])
    except Unreadable as found:
        raise found from None
    finally:
        reader.drop(connection)


def replay(persistence_id: str, first: int, last: int, max_count: int, page_size: int) -> View[PersistentRepr]:
    """A window of one id's events."""

    def decode(layout: Layout, rows: Sequence[Row]) -> list[PersistentRepr]:
        return layout.events_of(persistence_id, rows)

    return View(select_events, (persistence_id, first, last), decode, max_count, page_size)


def envelopes(persistence_id: str, first: int, last: int, page_size: int) -> View[EventEnvelope]:
    """The same with offsets."""
    return View(select_envelopes, (persistence_id, first, last), envelopes_of, MAX, page_size)


def ids(behind: int, page_size: int) -> View[str]:
    """The ids of which something was written behind a position in the feeds; at 0, all that are known."""
    return View(lambda layout: select_ids(layout, behind), (behind,), ids_of, MAX, page_size)
