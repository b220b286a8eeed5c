"""The queries of the SQLite backend beside raw limits and a peer: `python benchmarks/queries.py`.

What each figure means is told in `docs/benchmarks.md`. Events and files are made before the clock starts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from _raw import raw_connection
from _table import Beside, Case, Goal, NotRun, OpenSuite, Suite, main, rate, seconds_since
from _work import calls_of, event, events_in_turn, fresh_sqlite, write_at_once
from perdure import (
    AtomicWrite,
    EventEnvelope,
    Location,
    Offset,
    Payload,
    PersistentRepr,
    ReadJournal,
    Storage,
    load_backend,
)

if TYPE_CHECKING:
    from eventsourcing.application import Application

COUNT = 100_000
IDS = 100
PAGES = (500, 5000)
WRITERS = 8
IDLE_S = 2.0

_SELECT = """
    SELECT event.ordering, persistence_id, sequence_nr, timestamp, serializer_id, payload_manifest, manifest,
        writer_uuid, metadata, payload, {tags}
    FROM {source} ORDER BY event.ordering
"""
_SELECT_ALL = _SELECT.format(tags="NULL", source="event")
_SELECT_TAGGED = _SELECT.format(
    tags="(SELECT json_group_array(tag) FROM event_tag WHERE event_tag.ordering = event.ordering)",
    source="event_tag AS wanted CROSS JOIN event ON event.ordering = wanted.ordering WHERE wanted.tag = 'even'",
)

Query = Callable[[], AsyncIterator[EventEnvelope]]


def queries_of(storage: Storage) -> ReadJournal:
    assert isinstance(storage.queries, ReadJournal)
    return storage.queries


async def _filled(place: Path, count: int, tagged: bool = False) -> Path:
    """A directory whose journal has so many events of a hundred ids; every second one has a tag if asked for."""
    tags = (frozenset(("even", "number")), frozenset[str]()) if tagged else (frozenset[str](),)
    async with load_backend("sqlite").open(Location(directory=place)) as storage:
        for first in range(1, count // IDS + 1, 100):
            numbers = range(first, min(first + 100, count // IDS + 1))
            for writer in range(IDS):
                events = (event(f"account-{writer}", number) for number in numbers)
                labelled = (msgspec.structs.replace(one, tags=tags[one.sequence_nr % len(tags)]) for one in events)
                await storage.journal.write_messages([AtomicWrite(tuple(labelled))])
    return place


@asynccontextmanager
async def _paged(place: Path) -> AsyncIterator[dict[int, ReadJournal]]:
    """One journal, opened with each size of pages."""
    small, large = PAGES
    sqlite = load_backend("sqlite")
    async with (
        sqlite.open(Location(directory=place, page_size=small)) as one,
        sqlite.open(Location(directory=place, page_size=large)) as other,
    ):
        yield {small: queries_of(one), large: queries_of(other)}


# Feeds


@asynccontextmanager
async def all_events(place: Path) -> AsyncIterator[Suite]:
    await _filled(place, COUNT)
    async with _paged(place) as paged:
        with raw_connection(place) as connection:
            yield Suite(
                f"{COUNT:,} events of 100 bytes of {IDS} ids; events a second",
                [
                    Case("raw SELECT, decoded", partial(_raw_rate, connection, _SELECT_ALL, COUNT)),
                    *_feed_cases(paged, "current", lambda queries: queries.current_all_events, COUNT),
                    *_feed_cases(paged, "live", lambda queries: queries.all_events, COUNT),
                ],
            )


@asynccontextmanager
async def by_tag(place: Path) -> AsyncIterator[Suite]:
    await _filled(place, COUNT, tagged=True)
    count = COUNT // 2
    async with _paged(place) as paged:
        with raw_connection(place) as connection:
            yield Suite(
                f"{count:,} of {COUNT:,} events have this tag and another one; events a second",
                [
                    Case("raw SELECT, decoded", partial(_raw_rate, connection, _SELECT_TAGGED, count)),
                    *_feed_cases(paged, "current", lambda one: partial(one.current_events_by_tag, "even"), count),
                    *_feed_cases(paged, "live", lambda one: partial(one.events_by_tag, "even"), count),
                ],
            )


def _feed_cases(
    paged: dict[int, ReadJournal], kind: str, query: Callable[[ReadJournal], Query], count: int
) -> list[Case]:
    return [
        Case(
            f"{kind}, pages of {size}",
            partial(_query_rate, query(queries), count),
            (Beside("raw SELECT, decoded", Goal(0.6)),),
        )
        for size, queries in paged.items()
    ]


async def _query_rate(query: Query, count: int) -> float:
    return await rate(count, _counted(query(), count))


async def _counted(query: AsyncIterator[EventEnvelope], count: int) -> None:
    """Take as many as there are, also of a live query."""
    seen = 0
    async for _ in query:
        seen += 1
        if seen == count:
            return
    raise AssertionError(f"{seen} events instead of {count}")


async def _raw_rate(connection: sqlite3.Connection, select: str, count: int) -> float:
    start = time.perf_counter()
    assert _decoded(connection, select) == count
    return count / seconds_since(start)


def _decoded(connection: sqlite3.Connection, select: str) -> int:
    """Decode every row, keep none, and count them."""
    count = 0
    for (
        ordering,
        persistence_id,
        number,
        timestamp,
        serializer,
        name,
        manifest,
        writer,
        _,
        payload,
        tags,
    ) in connection.execute(select):
        EventEnvelope(
            Offset("raw", ordering),
            PersistentRepr(
                persistence_id,
                number,
                Payload(serializer, name, payload),
                manifest,
                writer,
                timestamp,
                frozenset() if tags is None else msgspec.json.decode(tags, type=frozenset[str]),
            ),
        )
        count += 1
    return count


# The peer


@asynccontextmanager
async def peer(place: Path) -> AsyncIterator[Suite]:
    if find_spec("eventsourcing") is None:
        raise NotRun("the package eventsourcing is not installed; pip install 'perdure[bench]'")
    import _peer

    await _filled(place, COUNT)
    theirs = place / "peer"
    theirs.mkdir()
    async with _paged(place) as paged:
        with _peer.closing_application(theirs) as application:
            _peer.filled(application, COUNT)
            yield Suite(
                f"eventsourcing: {COUNT:,} events of 100 bytes in the order of writing; events a second",
                [
                    *(Case(_log(size), partial(_peer_log_rate, application, size)) for size in PAGES),
                    *(
                        Case(
                            f"all events, pages of {size}",
                            partial(_query_rate, queries.current_all_events, COUNT),
                            (Beside(_log(size), Goal(2)),),
                        )
                        for size, queries in paged.items()
                    ),
                ],
                note="A notification holds the stored state as it is, as an envelope does.",
            )


def _log(size: int) -> str:
    return f"peer, notification log, sections of {size}"


async def _peer_log_rate(application: Application[UUID], size: int) -> float:
    start = time.perf_counter()
    last = count = 0
    while section := application.recorder.select_notifications(last + 1, size):
        count += len(section)
        last = section[-1].id
    assert count == COUNT + 1
    return count / seconds_since(start)


# Writers that are read


@asynccontextmanager
async def read_writers(place: Path) -> AsyncIterator[Suite]:
    plain = f"{WRITERS} writers"
    yield Suite(
        f"{WRITERS} tasks, each writes one event of 100 bytes a call and waits for it; events a second",
        [
            Case(plain, partial(_written_rate, place, 0)),
            Case("... and a live reader of all events", partial(_written_rate, place, 1), (Beside(plain, Goal(0.8)),)),
            Case("... and eight live readers", partial(_written_rate, place, 8), (Beside(plain),)),
        ],
        note="That each reader was given every event once and in order is asserted in each repetition.",
    )


async def _written_rate(place: Path, readers: int) -> float:
    calls = calls_of(WRITERS, rounds=1500)
    count = len(events_in_turn(calls))
    async with fresh_sqlite(place) as storage:
        following = [asyncio.create_task(_positions(storage, count)) for _ in range(readers)]
        await asyncio.sleep(0.05)  # they wait by now
        figure = await rate(count, write_at_once(storage.journal, calls))
        for reader in following:
            assert await reader == list(range(1, count + 1))
    return figure


async def _positions(storage: Storage, count: int) -> list[int]:
    positions = []
    async for one in queries_of(storage).all_events():
        positions.append(one.offset.position)
        if len(positions) == count:
            break
    return positions


# What a query costs besides


@asynccontextmanager
async def memory(place: Path) -> AsyncIterator[Suite]:
    few, many = 10_000, 1_000_000
    paths = place / "few", place / "many"
    for path, count in zip(paths, (few, many), strict=True):
        path.mkdir()
        await _filled(path, count)
    sqlite = load_backend("sqlite")
    async with (
        sqlite.open(Location(directory=paths[0])) as one,
        sqlite.open(Location(directory=paths[1])) as other,
    ):
        yield Suite(
            "how far memory grows at most during a current query over all events, by tracemalloc",
            [
                Case(f"{few:,} events", partial(_growth, queries_of(one), few), unit="B"),
                Case(
                    f"{many:,} events",
                    partial(_growth, queries_of(other), many),
                    (Beside(f"{few:,} events", Goal(1.2, at_most=True)),),
                    unit="B",
                ),
            ],
        )


async def _growth(queries: ReadJournal, count: int) -> float:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await _counted(queries.current_all_events(), count)
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()


@asynccontextmanager
async def idle(place: Path) -> AsyncIterator[Suite]:
    core = "a core"
    async with load_backend("sqlite").open(Location(directory=place)) as storage:
        yield Suite(
            f"live queries that wait, on a file into which nobody writes, for {IDLE_S:g} s each; seconds of a core",
            [
                Case("nothing", partial(_idle_load, storage, 0), unit=" s/s"),
                Case(
                    "1 live query",
                    partial(_idle_load, storage, 1),
                    (Beside(core, Goal(0.01, at_most=True), constant=1),),
                    unit=" s/s",
                ),
                Case(
                    "100 live queries",
                    partial(_idle_load, storage, 100),
                    (Beside(core, Goal(0.01, at_most=True), constant=1),),
                    unit=" s/s",
                ),
            ],
            note="They share one look at the file every 0.1 s.",
        )


async def _idle_load(storage: Storage, queries: int) -> float:
    waiting = [asyncio.create_task(_counted(queries_of(storage).all_events(), 1)) for _ in range(queries)]
    await asyncio.sleep(0.5)  # all of them wait, and the first look is over
    start, spent = time.perf_counter(), time.process_time()
    await asyncio.sleep(IDLE_S)
    load = (time.process_time() - spent) / seconds_since(start)
    for task in waiting:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return load


SUITES: dict[str, OpenSuite] = {
    "all_events": all_events,
    "by_tag": by_tag,
    "peer": peer,
    "read_writers": read_writers,
    "memory": memory,
    "idle": idle,
}


if __name__ == "__main__":
    main("The queries of the SQLite backend beside raw limits and a peer.", SUITES)
