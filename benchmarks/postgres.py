"""The PostgreSQL backend beside raw limits of the same server: `python benchmarks/postgres.py`.

The server is started for it, with its data on the disk that `--directory` names. Raw is asyncpg with one statement of a
thousand rows; psycopg does the same beside it where it is installed. What the figures mean is told in
`docs/benchmarks.md`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
from _table import Beside, Case, Goal, NotRun, OpenSuite, Suite, main, rate, seconds_since
from _work import PAYLOAD, calls_of, events_in_turn, replayed, write_at_once
from perdure import AtomicWrite, Location, Payload, PersistentRepr, load_backend
from perdure_scenarios.servers import Postgres
from perdure_tck.endpoints import NoServer

ACTORS = 1000
ROUNDS = 5
GROUP = 1000
POOL = 8
EVENTS = 20_000

_TABLE = """
    CREATE TABLE {name} (
        ordering bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, persistence_id text NOT NULL,
        sequence_nr bigint NOT NULL, timestamp bigint NOT NULL, serializer_id bigint NOT NULL,
        payload_manifest text NOT NULL, manifest text NOT NULL, writer_uuid text NOT NULL, payload bytea NOT NULL,
        UNIQUE (persistence_id, sequence_nr))
"""
_COLUMNS = "persistence_id, sequence_nr, timestamp, serializer_id, payload_manifest, manifest, writer_uuid, payload"
_SELECT = "SELECT sequence_nr, timestamp, serializer_id, payload_manifest, manifest, writer_uuid, payload FROM {}"
_tables = itertools.count(1)

Server = Any
"""A connection of asyncpg, which has no types."""


@asynccontextmanager
async def started(place: Path) -> AsyncIterator[tuple[Postgres, Server]]:
    for folder in (place.parent, place):  # both are the benchmark's own; the server may run as somebody else
        folder.chmod(0o755)
    try:
        with Postgres(above=place) as server:
            connection = await asyncpg.connect(server.endpoint)
            try:
                yield server, connection
            finally:
                await connection.close()
    except NoServer as reason:
        raise NotRun(str(reason)) from reason


async def _table(connection: Server) -> str:
    name = f"raw_{next(_tables)}"
    await connection.execute(_TABLE.format(name=name))
    return name


# Writing


@asynccontextmanager
async def writing(place: Path) -> AsyncIterator[Suite]:
    async with started(place) as (server, connection):
        raw, pool = f"raw: unnest of {GROUP} rows, RETURNING", f"raw: one INSERT a commit, {POOL} connections"
        cases = [
            Case(raw, partial(_unnested, connection)),
            Case(pool, partial(_one_by_one, server)),
            Case(
                f"{ACTORS} writers at once",
                partial(_written, server, ACTORS, ROUNDS),
                (Beside(raw, Goal(0.7)), Beside(pool, Goal(10))),
            ),
            Case("8 writers at once", partial(_written, server, 8, 100), (Beside(pool),)),
        ]
        if find_spec("psycopg"):
            cases.insert(1, Case("the same by psycopg", partial(_unnested_by_psycopg, server, connection)))
        yield Suite(f"events of {len(PAYLOAD.data)} bytes, one a call; events a second", cases)


def _columns(events: Sequence[PersistentRepr]) -> list[list[Any]]:
    rows = [
        (
            one.persistence_id,
            one.sequence_nr,
            1,
            one.payload.serializer_id,
            one.payload.manifest,
            one.manifest,
            one.writer_uuid,
            one.payload.data,
        )
        for one in events
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _groups() -> list[list[list[Any]]]:
    events = events_in_turn(calls_of(ACTORS, ROUNDS))
    return [_columns(events[first : first + GROUP]) for first in range(0, len(events), GROUP)]


async def _unnested(connection: Server) -> float:
    groups, table = _groups(), await _table(connection)
    types = ["text[]", "bigint[]", "bigint[]", "bigint[]", "text[]", "text[]", "text[]", "bytea[]"]
    places = ", ".join(f"${place}::{kind}" for place, kind in enumerate(types, 1))
    insert = f"INSERT INTO {table} ({_COLUMNS}) SELECT * FROM unnest({places}) RETURNING ordering"
    start = time.perf_counter()
    for group in groups:
        await connection.fetch(insert, *group)
    return ACTORS * ROUNDS / seconds_since(start)


async def _unnested_by_psycopg(server: Postgres, connection: Server) -> float:
    import psycopg

    groups, table = _groups(), await _table(connection)
    types = ["text[]", "bigint[]", "bigint[]", "bigint[]", "text[]", "text[]", "text[]", "bytea[]"]
    places = ", ".join(f"%b::{kind}" for kind in types)
    insert = f"INSERT INTO {table} ({_COLUMNS}) SELECT * FROM unnest({places}) RETURNING ordering"
    async with await psycopg.AsyncConnection.connect(server.endpoint, autocommit=True) as other:
        start = time.perf_counter()
        for group in groups:
            await (await other.execute(insert, group, binary=True)).fetchall()
        return ACTORS * ROUNDS / seconds_since(start)


async def _one_by_one(server: Postgres) -> float:
    count = 800
    lines = [await asyncpg.connect(server.endpoint) for _ in range(POOL)]
    table = await _table(lines[0])
    insert = f"INSERT INTO {table} ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    rows = [list(row) for row in zip(*_columns(events_in_turn(calls_of(POOL, count // POOL))), strict=True)]

    async def one(line: Server, mine: Sequence[list[Any]]) -> None:
        for row in mine:
            await line.execute(insert, *row)

    figure = await rate(count, asyncio.gather(*(one(line, rows[place::POOL]) for place, line in enumerate(lines))))
    for line in lines:
        await line.close()
    return figure


async def _written(server: Postgres, writers: int, rounds: int) -> float:
    calls = calls_of(writers, rounds)
    async with load_backend("postgres").open(_fresh(server)) as storage:
        return await rate(writers * rounds, write_at_once(storage.journal, calls))


def _fresh(server: Postgres) -> Location:
    return Location(endpoint=server.endpoint, namespace=f"bench_{next(_tables)}")


# Reading


@asynccontextmanager
async def reading(place: Path) -> AsyncIterator[Suite]:
    async with started(place) as (server, connection):
        location = _fresh(server)
        async with load_backend("postgres").open(location) as storage:
            events = [event for write in calls_of(1, EVENTS // 100, 100)[0] for event in write.events]
            for first in range(0, EVENTS, 100):
                await storage.journal.write_messages([AtomicWrite(tuple(events[first : first + 100]))])
            table = f"{location.namespace}.event ORDER BY sequence_nr"
            raw = "raw SELECT by asyncpg, decoded"
            cases = [
                Case(raw, partial(_selected, connection, table)),
                Case(
                    "replay, pages of 500",
                    lambda: rate(EVENTS, replayed(storage.journal, "account-0", EVENTS)),
                    (Beside(raw, Goal(0.7)),),
                ),
            ]
            if find_spec("psycopg"):
                cases.insert(1, Case("the same by psycopg", partial(_selected_by_psycopg, server, table)))
            yield Suite(f"{EVENTS:,} events of {len(PAYLOAD.data)} bytes of one id; events a second", cases)


async def _selected(connection: Server, table: str) -> float:
    start = time.perf_counter()
    assert _decoded(await connection.fetch(_SELECT.format(table))) == EVENTS
    return EVENTS / seconds_since(start)


async def _selected_by_psycopg(server: Postgres, table: str) -> float:
    import psycopg

    async with await psycopg.AsyncConnection.connect(server.endpoint) as other:
        start = time.perf_counter()
        rows = await (await other.execute(_SELECT.format(table), binary=True)).fetchall()
        assert _decoded(rows) == EVENTS
        return EVENTS / seconds_since(start)


def _decoded(rows: Sequence[Any]) -> int:
    count = 0
    for number, timestamp, serializer_id, name, manifest, writer_uuid, data in rows:
        payload = Payload(serializer_id, name, data)
        PersistentRepr("account-0", number, payload, manifest, writer_uuid, timestamp)
        count += 1
    return count


SUITES: dict[str, OpenSuite] = {"writing": writing, "reading": reading}


if __name__ == "__main__":
    main("The PostgreSQL backend beside raw limits of the same server.", SUITES)
