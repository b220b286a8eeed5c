"""The backend on PostgreSQL: one schema a namespace, in the database that the location's endpoint names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

try:
    import asyncpg
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('the backend postgres needs asyncpg; pip install "perdure[postgres]"') from missing
from perdure import Backend, Claims, Location, Storage

from ._connection import Database
from ._journal import PostgresJournal as PostgresJournal
from ._queries import PostgresQueries as PostgresQueries
from ._settings import Settings, parsed
from ._snapshots import PostgresSnapshotStore as PostgresSnapshotStore
from ._watch import Watch
from ._writer import Writer

PERSISTENCE_ID_LENGTH_MAX = 600
"""Code points: of four bytes each, this is what an entry of an index holds."""


def postgres_backend(
    synchronous_commit: str = "on", fsync: str = "on", pool_size: int = 10, timeout_s: float = 30.0
) -> Backend:
    """The backend on PostgreSQL. Raises `ValueError` for a value that it does not know. See `_settings.Settings`."""
    settings = Settings(synchronous_commit=synchronous_commit, fsync=fsync, pool_size=pool_size, timeout_s=timeout_s)

    @asynccontextmanager
    async def open_postgres(location: Location) -> AsyncIterator[Storage]:
        database = Database(location, settings)
        await database.open()
        try:
            async with Watch(database, location.refresh_interval_s) as watch, Writer(database, watch.wrote) as writer:
                yield Storage(
                    PostgresJournal(database, writer, location.clock, location.page_size),
                    PostgresSnapshotStore(database, writer, location.clock),
                    PostgresQueries(database, watch, location.page_size),
                )
        finally:
            await database.close()

    def configured(given: Mapping[str, str]) -> Backend:
        return postgres_backend(**(settings.asdict() | dict(parsed(given))))

    return Backend(
        name="postgres",
        open=open_postgres,
        claims=_claims(settings),
        version=f"asyncpg {asyncpg.__version__}",
        settings=settings.described(),
        configured=configured,
    )


def _claims(settings: Settings) -> Claims:
    return Claims(
        survives_close=True,
        shared=True,
        # a server that was killed replays its log; what it had not yet given to the system is not in there
        kill_durable=settings.synchronous_commit != "off",
        power_durable=settings.power_durable,
        live_queries=True,
        deleted_events_in_feeds="dropped",
        persistence_id_length_max=PERSISTENCE_ID_LENGTH_MAX,
    )


backend = postgres_backend()
