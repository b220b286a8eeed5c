"""A look into a file of either layout, read-only: what `perdure events` shows.

It reads in the thread of its caller: a command line has no event loop to keep free.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from perdure import MAX_SEQUENCE_NR, IdSummary, Inspection, PersistentRepr, SelectedSnapshot
from perdure.errors import OpenFailed

from ._connection import connect_read_only, explained, layout_found
from ._layout import Layout, NotThisLayout, select_events, text_or_bytes
from ._snapshots import select_snapshots, snapshot_of


@asynccontextmanager
async def inspect_sqlite(path: Path) -> AsyncIterator[Inspection]:
    """Look into a file of either layout. Raises `OpenFailed`; leaves the file and its directory as they are."""
    if not path.is_file():  # noqa: ASYNC240 (as above)
        raise OpenFailed(f"{path}: there is no such file; give the path of a database")
    with explained(str(path)):
        connection = connect_read_only(path)
    with closing(connection):
        with explained(str(path)):
            layout = layout_found(connection)
            if layout is None:
                raise NotThisLayout("it is empty; open it as a location once, or give another file")
        connection.text_factory = text_or_bytes
        yield SqliteInspection(connection, layout)


class SqliteInspection:
    """See `perdure.Inspection`. Rows are fetched one by one while they are looked at."""

    def __init__(self, connection: sqlite3.Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout

    @property
    def layout(self) -> str:
        return self._layout.description

    def ids(self) -> Iterable[IdSummary]:
        layout = self._layout
        of_id = f"FROM {layout.event_table} WHERE persistence_id = i.persistence_id AND {layout.event_visible}"
        every_id = " UNION ".join(
            f"SELECT persistence_id FROM {table}" for table in (layout.event_table, layout.highest_table, "snapshot")
        )
        for row in self._connection.execute(
            f"SELECT persistence_id, (SELECT count(*) {of_id}), "
            f"coalesce((SELECT min(sequence_nr) {of_id}), 0), coalesce((SELECT max(sequence_nr) {of_id}), 0), "
            f"(SELECT count(*) FROM snapshot WHERE persistence_id = i.persistence_id) "
            f"FROM ({every_id}) AS i ORDER BY persistence_id"
        ):
            yield IdSummary(*row)

    def events(self, persistence_id: str | None = None) -> Iterable[PersistentRepr]:
        layout = self._layout
        if persistence_id is None:
            for owner, *row in self._connection.execute(
                f"SELECT persistence_id, {layout.event_columns} FROM {layout.event_table} "
                f"WHERE {layout.event_visible} ORDER BY ordering"
            ):
                yield from layout.events_of(owner, [tuple(row)])
        else:
            window = (persistence_id, 0, MAX_SEQUENCE_NR, MAX_SEQUENCE_NR)
            for row in self._connection.execute(select_events(layout), window):
                yield from layout.events_of(persistence_id, [row])

    def snapshots(self, persistence_id: str | None = None) -> Iterable[SelectedSnapshot]:
        chosen, parameters = ("TRUE", ()) if persistence_id is None else ("persistence_id = ?", (persistence_id,))
        for row in self._connection.execute(
            f"{select_snapshots(self._layout)} WHERE {chosen} ORDER BY persistence_id, sequence_nr",
            parameters,
        ):
            yield snapshot_of(self._layout, row)
