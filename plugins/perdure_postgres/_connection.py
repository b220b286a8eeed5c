"""Connections to one database: made when they are needed, and made again when the server was away.

asyncpg hides some lost connections behind an `InternalClientError`; whoever asks whether nothing was stored asks
`provably_nothing`, which knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from perdure import Location
from perdure.errors import OpenFailed

from ._schema import VERSION, quoted, statements
from ._settings import Settings

Connection = Any
"""An `asyncpg.Connection`, which is not typed."""

NAMESPACE_BYTES_MAX = 63

AWAY = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, TimeoutError)
"""What it may be that a connection cannot be had."""


LOST = (ConnectionError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)
"""What a connection answers that was lost before it was asked. The last one says nothing of that, and is what comes."""

Found = TypeVar("Found")


class Database:
    """One namespace of one database. Call `close` when done; until then it may be used by one event loop."""

    def __init__(self, location: Location, settings: Settings) -> None:
        self._endpoint = _endpoint(location)
        self._settings = settings
        self.namespace = _namespace(location)
        self.schema = quoted(self.namespace)
        self._pool: Any = None
        self._lines: dict[str, Connection] = {}
        self._held: set[Connection] = set()
        self._holding = asyncio.Semaphore(settings.pool_size)
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect and lay the schema out if it is not there. Raises `OpenFailed`."""
        try:
            self._pool = await asyncpg.create_pool(
                self._endpoint,
                min_size=1,
                max_size=self._settings.pool_size,
                reset=_as_it_is,
                **self._options(),
            )
            async with self._pool.acquire() as connection:
                await self._refuse_lies(connection)
                await self._lay_out(connection)
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            await self.close()
            raise OpenFailed(f"{_without_password(self._endpoint)} cannot be opened: {error or 'no answer'}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        for connection in self._held:
            connection.terminate()
        lines, self._lines = list(self._lines.values()), {}
        for connection in lines:
            await _closed(connection)
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Connection]:
        """A connection for reading, given back at the end."""
        async with self._pool.acquire(timeout=self._settings.timeout_s) as connection:
            yield connection

    async def read(self, ask: Callable[[Connection], Awaitable[Found]]) -> Found:
        """What a question that changes nothing gives. It is asked once more if its connection turns out to be lost.

        A server that was restarted leaves a pool full of such connections behind; all of them are replaced then.
        """
        try:
            async with self.lent() as connection:
                return await ask(connection)
        except LOST:
            await self._pool.expire_connections()
        async with self.lent() as connection:
            return await ask(connection)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Connection]:
        """A connection of the caller's own, for as long as it likes. It is gone when the database is closed."""
        async with asyncio.timeout(self._settings.timeout_s):
            await self._holding.acquire()
        try:
            connection = await asyncpg.connect(self._endpoint, **self._options())
            self._held.add(connection)
            try:
                yield connection
            finally:
                self._held.discard(connection)
                connection.terminate()
        finally:
            self._holding.release()

    async def line(self, purpose: str) -> Connection:
        """The connection for one purpose: always the same one, as long as it lives."""
        async with self._opening:
            connection = self._lines.get(purpose)
            if connection is None or connection.is_closed():
                connection = self._lines[purpose] = await asyncpg.connect(self._endpoint, **self._options())
            return connection

    def _options(self) -> dict[str, Any]:
        return {
            "command_timeout": self._settings.timeout_s,
            "timeout": self._settings.timeout_s,
            "server_settings": {
                "application_name": "perdure",
                "synchronous_commit": self._settings.synchronous_commit,
                "client_min_messages": "error",
                "jit": "off",  # our statements are short
            },
        }

    async def _refuse_lies(self, connection: Connection) -> None:
        if await connection.fetchval("SHOW fsync") != "on" and self._settings.fsync == "on":
            raise OpenFailed(
                f"the server at {_without_password(self._endpoint)} runs with fsync=off and loses data when the power "
                f"goes; turn it on, or open with the setting fsync=off"
            )

    async def _lay_out(self, connection: Connection) -> None:
        found = await self._version(connection)
        if found is None:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", self.namespace)
                found = await self._version(connection)
                if found is None:
                    await connection.execute(statements(self.namespace))
                    return
        if found != f"perdure {VERSION}":
            raise OpenFailed(
                f"schema {self.schema} is not one of ours: it says {found!r}, and 'perdure {VERSION}' is known; "
                f"choose another namespace"
            )

    async def _version(self, connection: Connection) -> str | None:
        """What the schema says of itself; None where there is none."""
        row = await connection.fetchrow(
            "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = $1",
            self.namespace,
        )
        return None if row is None else str(row[0])


def provably_nothing(error: Exception) -> bool:
    """Whether a statement that failed like this has changed nothing, nor ever will.

    The server said so itself, and not since it was ending: then a commit may have been on its way.
    """
    return isinstance(error, asyncpg.PostgresError) and not isinstance(
        error, (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
    )


async def _as_it_is(connection: Connection) -> None:
    """Nothing is reset between two loans: we leave nothing behind, and a reset is a round trip."""


async def _closed(connection: Connection) -> None:
    try:
        await connection.close(timeout=1.0)
    except (*AWAY, asyncpg.PostgresError):
        connection.terminate()


def _endpoint(location: Location) -> str:
    if not location.endpoint:
        raise OpenFailed(
            "a PostgreSQL location needs an endpoint: the URL of a database, "
            "as in Location(endpoint='postgresql://user:password@host/database')"
        )
    return location.endpoint


def _namespace(location: Location) -> str:
    name = location.namespace
    if not name or "\0" in name or len(name.encode(errors="surrogatepass")) > NAMESPACE_BYTES_MAX:
        raise OpenFailed(
            f"namespace {name!r} cannot be the name of a schema; "
            f"1 to {NAMESPACE_BYTES_MAX} bytes without NUL are allowed"
        )
    return name


def _without_password(endpoint: str) -> str:
    """The URL as an error may show it."""
    scheme, found, rest = endpoint.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{found}{user.partition(':')[0]}{at}{host}"
