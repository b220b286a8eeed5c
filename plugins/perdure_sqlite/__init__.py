"""The backend on SQLite: one file a namespace, or memory for a location without a directory.

The claims are those of a file. In memory, what is kept lives as long as the `Location` object does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from perdure import Backend, Claims, Location, Storage

from ._akka_net_layout import NO_SERIALIZER_ID as NO_SERIALIZER_ID
from ._change import Change
from ._connection import Place
from ._inspect import inspect_sqlite as inspect_sqlite
from ._journal import SqliteJournal as SqliteJournal
from ._offsets import SqliteOffsets as SqliteOffsets
from ._queries import SqliteQueries as SqliteQueries
from ._reader import Read, Reader
from ._settings import Settings, parsed, power_durable, settings_of
from ._snapshots import SqliteSnapshotStore as SqliteSnapshotStore
from ._watch import Watch
from ._worker import Worker
from ._writer import Writer


def sqlite_backend(
    layout: str = "perdure",
    journal_mode: str | None = None,
    synchronous: str | None = None,
    busy_timeout_s: float = 5.0,
) -> Backend:
    """The backend on SQLite. Raises `ValueError` for a value that it does not know.

    Layout `perdure` is in WAL mode with `synchronous` FULL unless told otherwise; layout `akka-net` leaves the mode of
    a file as it is and syncs EXTRA.
    """
    settings = settings_of(layout, journal_mode, synchronous, busy_timeout_s)
    given: dict[str, Any] = {
        "layout": layout,
        "journal_mode": journal_mode,
        "synchronous": synchronous,
        "busy_timeout_s": busy_timeout_s,
    }

    @asynccontextmanager
    async def open_sqlite(location: Location) -> AsyncIterator[Storage]:
        place = Place(location, settings)
        writing: Worker[Change] = Worker("perdure-sqlite-writer", Writer(place))
        reading: Worker[Read] = Worker("perdure-sqlite-reader", Reader(place))
        async with writing as writer, reading as reader:
            with Watch(place.changes, reader, location.refresh_interval_s) as watch:
                yield Storage(
                    SqliteJournal(writer, reader, location.clock, location.page_size),
                    SqliteSnapshotStore(writer, reader, location.clock),
                    SqliteQueries(reader, watch, place.layout.origin, location.page_size),
                )

    def configured(settings: Mapping[str, str]) -> Backend:
        return sqlite_backend(**(given | parsed(settings)))

    return Backend(
        name="sqlite",
        open=open_sqlite,
        claims=_claims(settings),
        version=f"SQLite {sqlite3.sqlite_version}",
        settings=settings.described(),
        configured=configured,
        inspect=inspect_sqlite,
    )


def _claims(settings: Settings) -> Claims:
    ours = settings.layout == "perdure"
    return Claims(
        atomic_batch=None,
        survives_close=True,
        shared=True,
        kill_durable=True,  # whatever `synchronous` says: what was written to a file survives its process
        power_durable=power_durable(settings),
        writer_uuid=ours,
        event_manifest=ours,
        metadata=ours,
        live_queries=True,
        deleted_events_in_feeds="dropped",
        tags_without="" if ours else ";",
        timestamp_resolution_ns=1 if ours else 100,
    )


backend = sqlite_backend()
