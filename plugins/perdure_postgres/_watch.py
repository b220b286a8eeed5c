"""How the live queries of one handle wait: woken by what this handle writes, by a notification, and by a look.

A notification is no part of a write: PostgreSQL lets only one transaction commit at a time that notifies. It is sent
after some writes, at most every `TELL_S`, and may be lost with its connection; so one task looks now and then for all
queries of the handle, and only while one of them waits.
"""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
from perdure import Changes

from ._connection import AWAY, Connection, Database

TELL_S = 0.01
"""How long what this handle wrote may gather before others are told of it, in seconds."""


class Watch:
    """An async context manager; its end makes all who wait look once more: they find it `closed`."""

    def __init__(self, database: Database, interval_s: float) -> None:
        self._database = database
        self._interval_s = interval_s
        self._changes = Changes()
        self._channel = f"perdure {database.namespace}"[:60]
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._horizon = -1
        self._listening: Connection | None = None
        self.closed = False

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True
        self._changes.announce()
        for task in (self._looking, self._telling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    @property
    def count(self) -> int:
        """To be taken before looking, for `after`."""
        return self._changes.count

    def wrote(self) -> None:
        """This handle has written: wake who waits here, and soon tell the others."""
        self._changes.announce()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="perdure-postgres-notify")

    async def after(self, count: int) -> None:
        """Wait until there may be something that a look after `count` was taken could not see."""
        if self.closed:
            return
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="perdure-postgres-look")
        try:
            await self._changes.after(count)
        finally:
            self._waiting -= 1
            if not self._waiting and self._looking is not None:
                self._looking.cancel()

    async def _tell(self) -> None:
        await asyncio.sleep(TELL_S)
        with contextlib.suppress(*AWAY, asyncpg.PostgresError):  # then the others look, a little later
            async with self._database.lent() as connection:
                await connection.execute("SELECT pg_notify($1, '')", self._channel)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._listen()
                async with self._database.lent() as connection:
                    horizon: int = await connection.fetchval(f"SELECT {self._database.schema}.horizon()")
            except (*AWAY, asyncpg.PostgresError):
                horizon = -1  # whoever waits will meet the error
            if horizon < 0 or horizon != self._horizon:
                self._changes.announce()
            self._horizon = horizon

    async def _listen(self) -> None:
        line = await self._database.line("listener")
        if line is not self._listening:
            await line.add_listener(self._channel, self._heard)
            self._listening = line

    def _heard(self, *_: object) -> None:
        self._changes.announce()
