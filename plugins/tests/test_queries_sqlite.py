"""Queries of the SQLite backend: index walks, exact tags, what cannot be read, what is held, and other processes."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

import pytest
from perdure import (
    AtomicWrite,
    Backend,
    Location,
    Payload,
    PersistentRepr,
    ReadJournal,
    Storage,
)
from perdure.errors import StorageClosed, Unreadable
from perdure_sqlite import SqliteQueries, sqlite_backend
from perdure_sqlite._akka_net_layout import AKKA_NET
from perdure_sqlite._layout import Layout, select_envelopes, select_feed, select_ids
from perdure_sqlite._perdure_layout import PERDURE
from perdure_sqlite._reader import Reader

Item = TypeVar("Item")

SQLITE = sqlite_backend()
IN_AKKA_NET = sqlite_backend(layout="akka-net")
LAYOUTS = pytest.mark.parametrize("backend", [SQLITE, IN_AKKA_NET], ids=["perdure", "akka-net"])
DATA = Path(
    os.environ.get("PERDURE_AKKA_NET_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data" / "akka-net"
)
CLUSTERS = ["akka-persistence-sqlite-test-data.1.4.43.db", "akka-persistence-sqlite-test-data.latest.db"]
ODD_TAGS = ["", "a", "A", "ä", "a\x00", "a\x00b", "%", "_", "*", "a%", "😀", '"', "'", "\\", " a", "a ", "ab", "b,a"]
WAIT_S = 60


def event(persistence_id: str, number: int, *tags: str) -> PersistentRepr:
    return PersistentRepr(persistence_id, number, Payload(1, "m", b"x"), timestamp=700, tags=frozenset(tags))


def write(persistence_id: str, first: int, last: int | None = None, *tags: str) -> AtomicWrite:
    return AtomicWrite(tuple(event(persistence_id, number, *tags) for number in range(first, (last or first) + 1)))


def queries_of(storage: Storage) -> ReadJournal:
    assert isinstance(storage.queries, ReadJournal)
    return storage.queries


async def everything(query: AsyncIterator[Item]) -> list[Item]:
    async with asyncio.timeout(WAIT_S):
        return [item async for item in query]


async def take(query: AsyncIterator[Item], count: int) -> list[Item]:
    async with asyncio.timeout(WAIT_S):
        return [await anext(query) for _ in range(count)]


async def close(query: AsyncIterator[Item]) -> None:
    await cast(AsyncGenerator[Item, None], query).aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 (what is waited for must not know of it)
            await asyncio.sleep(0)


async def connections_taken(storage: Storage) -> int:
    count: int = await cast(SqliteQueries, storage.queries)._reader.ask(_taken)
    return count


def _taken(reader: Reader) -> int:
    return len(reader._taken)


# --- the database ----------------------------------------------------------------------------------------------------


def plan(layout: Layout, statement: str, parameters: tuple[object, ...]) -> list[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for one in layout.schema:
            connection.execute(one)
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def test_a_query_by_tag_is_a_walk_along_an_index() -> None:
    steps = plan(PERDURE, PERDURE.select_tagged, ("t", 0, 9, 500))
    assert steps[0] == "SEARCH wanted USING COVERING INDEX event_tag_by_tag (tag=? AND ordering>? AND ordering<?)"
    assert steps[1] == "SEARCH event USING INTEGER PRIMARY KEY (rowid=?)"
    assert not any("B-TREE" in step for step in steps), "nothing is sorted"


@pytest.mark.parametrize("layout", [PERDURE, AKKA_NET], ids=["perdure", "akka-net"])
def test_every_page_begins_where_the_last_one_ended_and_nothing_is_sorted(layout: Layout) -> None:
    table = layout.event_table
    by_ordering = f"SEARCH {table} USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    assert plan(layout, select_feed(layout), (0, 9, 500))[0] == by_ordering
    by_number = f"SEARCH {table} USING INDEX sqlite_autoindex_{table}_1"
    steps = plan(layout, select_envelopes(layout), ("p", 1, 9, 500))
    assert steps[0].startswith(by_number)
    assert not any("B-TREE" in step for step in steps)
    assert plan(AKKA_NET, AKKA_NET.select_tagged, ("t", 0, 9, 500))[0].startswith("SEARCH event_journal USING INTEGER")


@pytest.mark.parametrize("layout", [PERDURE, AKKA_NET], ids=["perdure", "akka-net"])
def test_known_ids_are_found_by_steps_from_one_to_the_next(layout: Layout) -> None:
    walk = " ".join(plan(layout, select_ids(layout, 0), (0, 500)))
    assert f"USING COVERING INDEX sqlite_autoindex_{layout.event_table}_1 (persistence_id>?)" in walk


@LAYOUTS
def test_tags_are_matched_exactly(tmp_path: Path, backend: Backend) -> None:
    held = [tag for tag in ODD_TAGS if tag or not backend.claims.tags_without]

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path, page_size=3)) as storage:
            for number, tag in enumerate(held, 1):
                assert await storage.journal.write_messages([write("p", number, None, tag)]) == [None]
            both = AtomicWrite((event("p", len(held) + 1, *held[-2:]),))
            assert await storage.journal.write_messages([both]) == [None]
            queries = queries_of(storage)
            for number, tag in enumerate(held, 1):
                found = await everything(queries.current_events_by_tag(tag))
                also = [len(held) + 1] if tag in held[-2:] else []
                assert [one.sequence_nr for one in found] == [number, *also], tag
            for other in ("b", "B", "a;A", ";", "a\x00c", "nosuch", "😁", "% OR 1"):
                assert await everything(queries.current_events_by_tag(other)) == [], other

    asyncio.run(main())


def test_a_tag_that_a_list_cannot_hold_is_rejected_and_never_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with IN_AKKA_NET.open(Location(directory=tmp_path)) as storage:
            (answer,) = await storage.journal.write_messages([write("p", 1, None, "a;b")])
            assert answer is not None
            await storage.journal.write_messages([write("p", 1, None, "a", "b")])
            assert await everything(queries_of(storage).current_events_by_tag("a;b")) == []
            assert await everything(queries_of(storage).current_events_by_tag("")) == []
            assert len(await everything(queries_of(storage).current_events_by_tag("b"))) == 1

    asyncio.run(main())


def test_a_page_of_candidates_that_are_none_does_not_end_a_query_by_tag(tmp_path: Path) -> None:
    """In the layout of Akka.NET the statement finds `;a;b;` also for the tag `a;b`: it only narrows the search."""

    async def main() -> None:
        async with IN_AKKA_NET.open(Location(directory=tmp_path, page_size=2)) as storage:
            await storage.journal.write_messages([write("p", 1, 9, "a", "b")])
            with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection, connection:
                connection.execute("UPDATE event_journal SET tags = 'x;b' WHERE sequence_nr = 8")  # no list of ours
            assert await everything(queries_of(storage).current_events_by_tag("a;b")) == []
            numbers = [one.sequence_nr for one in await everything(queries_of(storage).current_events_by_tag("a"))]
            assert numbers == [1, 2, 3, 4, 5, 6, 7, 9]

    asyncio.run(main())


# --- Akka.NET --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLUSTERS)
def test_journals_of_akka_net_are_read_through_the_queries(tmp_path: Path, name: str) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"NOT RUN: no Akka.NET databases at {DATA}")
    shutil.copyfile(DATA / name, tmp_path / "perdure.db")

    async def main() -> None:
        async with IN_AKKA_NET.open(Location(directory=tmp_path)) as storage:
            queries = queries_of(storage)
            ids = await everything(queries.current_persistence_ids())
            entities = [one for one in ids if not one.startswith("/")]
            assert sorted(entities, key=int) == [str(number) for number in range(100)]
            assert len(ids) == len(set(ids))
            for tag, count in (("Tag1", 1600), ("Tag2", 800)):
                found = await everything(queries.current_events_by_tag(tag))
                assert len(found) == count
                assert all(tag in one.event.tags for one in found)
                live = await take(queries.events_by_tag(tag), count)
                assert live == found
            of_entities = Counter(
                one.persistence_id
                for one in await everything(queries.current_all_events())
                if not one.persistence_id.startswith("/")
            )
            assert of_entities == dict.fromkeys(entities, 24)
            for entity in entities:
                events = await everything(queries.current_events_by_persistence_id(entity))
                assert [one.sequence_nr for one in events] == list(range(13, 37))

    asyncio.run(main())


def test_an_ordering_of_a_file_that_akka_net_laid_out_is_not_given_twice_by_us(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection:
        for statement in AKKA_NET.schema:
            connection.execute(statement.replace("AUTOINCREMENT", ""))

    async def main() -> None:
        async with IN_AKKA_NET.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write("p", 1, 3), write("q", 1)])
            await storage.journal.delete_messages_to("p", 3)  # not the newest of all: nothing to remember
            assert "perdure_ordering" not in tables()
            passed = (await everything(queries_of(storage).current_all_events()))[-1].offset
            await storage.journal.delete_messages_to("q", 1)
            assert "perdure_ordering" in tables()
        async with IN_AKKA_NET.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write("r", 1)])
            behind = await everything(queries_of(storage).current_all_events(passed))
            assert [one.persistence_id for one in behind] == ["r"]

    def tables() -> list[str]:
        with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    asyncio.run(main())


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("payload = 'text'", "column payload is 'text', not a BLOB"),
        ("manifest = CAST(x'ff' AS TEXT)", "column manifest is b'.xff', not valid TEXT"),
        ("tag_count = 2", "column tag_count is 2, and event_tag has 1"),
        ("metadata = x'00'", "column metadata"),
    ],
)
def test_an_event_that_cannot_be_read_fails_every_query_that_comes_to_it_and_is_named(
    tmp_path: Path, damage: str, reason: str
) -> None:
    async def main() -> None:
        async with SQLITE.open(Location(directory=tmp_path, page_size=2)) as storage:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("p", 1, 6, "t")])
            with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection, connection:
                connection.execute(f"UPDATE event SET {damage} WHERE sequence_nr = 4")
            for query in (
                queries.current_all_events(),
                queries.all_events(),
                queries.current_events_by_tag("t"),
                queries.events_by_tag("t"),
                queries.current_events_by_persistence_id("p"),
                queries.events_by_persistence_id("p"),
            ):
                assert [one.sequence_nr for one in await take(query, 2)] == [1, 2]
                with pytest.raises(Unreadable, match=f"event 4 of 'p' cannot be read: {reason}"):
                    await everything(query)
            assert await connections_taken(storage) == 0
            assert len(await everything(queries.current_events_by_persistence_id("p", 5))) == 2

    asyncio.run(main())


@LAYOUTS
def test_an_id_that_cannot_be_read_fails_the_queries_that_come_to_it(tmp_path: Path, backend: Backend) -> None:
    table = "event" if backend is SQLITE else "event_journal"

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("p", 1), write("q", 1)])
            for value in ("x'7171'", "CAST(x'ff' AS TEXT)"):
                with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection, connection:
                    connection.execute(f"UPDATE {table} SET persistence_id = {value} WHERE persistence_id <> 'p'")
                for query in (queries.current_all_events(), queries.all_events()):
                    with pytest.raises(Unreadable, match="column persistence_id is b'"):
                        await everything(query)
                with pytest.raises(Unreadable, match="column persistence_id is b'"):
                    await everything(queries.current_persistence_ids())

    asyncio.run(main())


def test_a_torn_database_is_an_error_and_never_the_end_of_a_feed(tmp_path: Path) -> None:
    async def main() -> None:
        async with SQLITE.open(Location(directory=tmp_path)) as storage:
            for first in range(1, 2_000, 100):
                await storage.journal.write_messages([write("p", first, first + 99)])
        path = tmp_path / "perdure.db"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
        async with SQLITE.open(Location(directory=tmp_path)) as storage:
            with pytest.raises(sqlite3.DatabaseError):
                await everything(queries_of(storage).current_all_events())

    asyncio.run(main())


# --- what is held ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_queries_that_end_early_give_back_what_they_hold(tmp_path: Path, journal_mode: str) -> None:
    async def main() -> None:
        location = Location(directory=tmp_path, page_size=1)
        async with sqlite_backend(journal_mode=journal_mode).open(location) as storage:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("p", 1, 4), write("q", 1), write("r", 1)])
            views: list[AsyncIterator[object]] = [
                queries.current_persistence_ids(),
                queries.persistence_ids(),
                queries.current_events_by_persistence_id("p"),
            ]
            for view in views:
                await anext(view)
            assert await connections_taken(storage) == 3
            for feed in (queries.all_events(), queries.current_all_events(), queries.events_by_persistence_id("p")):
                await anext(feed)
            assert await connections_taken(storage) == 3, "a feed holds nothing between two pages"
            for view in views:
                await close(view)
            assert await connections_taken(storage) == 0
            forgotten = queries.current_events_by_persistence_id("p")
            await anext(forgotten)
            del forgotten
            gc.collect()
            while await connections_taken(storage):  # the loop closes the iterator in a task of its own
                pass

    asyncio.run(main())


def test_a_slow_reader_of_a_feed_does_not_keep_a_log_from_being_emptied(tmp_path: Path) -> None:
    async def main() -> None:
        async with SQLITE.open(Location(directory=tmp_path, page_size=1)) as storage:
            await storage.journal.write_messages([write("p", 1, 9)])
            feed = queries_of(storage).current_all_events()
            await anext(feed)
            with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection:
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert busy == 0
            assert len(await everything(feed)) == 8

    asyncio.run(main())


def test_nothing_is_fetched_that_nobody_asked_for_beyond_one_page(tmp_path: Path) -> None:
    async def main() -> None:
        async with SQLITE.open(Location(directory=tmp_path, page_size=2)) as storage:
            await storage.journal.write_messages([write("p", 1, 9)])
            untouched, begun = queries_of(storage).current_all_events(), queries_of(storage).current_all_events()
            await take(begun, 1)
            await storage.journal.delete_messages_to("p", 8)
            assert [one.sequence_nr for one in await everything(begun)] == [2, 9]
            assert [one.sequence_nr for one in await everything(untouched)] == [9]

    asyncio.run(main())


@pytest.mark.parametrize("by_tag", [False, True])
def test_a_long_feed_holds_one_page_at_a_time(tmp_path: Path, by_tag: bool) -> None:
    async def main() -> None:
        async with sqlite_backend(synchronous="OFF").open(Location(directory=tmp_path, page_size=50)) as storage:
            big = Payload(1, "", bytes(500))
            for first in range(1, 20_001, 1000):
                events = [
                    PersistentRepr("p", number, big, tags=frozenset("t")) for number in range(first, first + 1000)
                ]
                await storage.journal.write_messages([AtomicWrite(tuple(events))])
            queries = queries_of(storage)
            tracemalloc.start()
            count = 0
            async for _ in queries.current_events_by_tag("t") if by_tag else queries.current_all_events():
                count += 1
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert count == 20_000
            assert peak < 500_000  # a page has 25 000 bytes of payload, all of it 10 000 000

    asyncio.run(main())


# --- other processes -------------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from pathlib import Path
from perdure import AtomicWrite, Location, Payload, PersistentRepr
from perdure_sqlite import sqlite_backend

async def main():
    async with sqlite_backend(layout=sys.argv[2]).open(Location(directory=Path(sys.argv[1]))) as storage:
        for line in sys.stdin:
            persistence_id, number = line.split()
            event = PersistentRepr(persistence_id, int(number), Payload(1, "", b"x"), tags=frozenset("t"))
            await storage.journal.write_messages([AtomicWrite((event,))])
            print(flush=True)

asyncio.run(main())
"""


@LAYOUTS
def test_live_queries_see_what_another_process_writes(tmp_path: Path, backend: Backend) -> None:
    """... also while it comes and goes, and many of them share one look."""

    async def main() -> None:
        location = Location(directory=tmp_path, refresh_interval_s=0.02)
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            feeds = [queries.all_events() for _ in range(5)] + [queries.events_by_tag("t") for _ in range(5)]
            feeds += [queries.events_by_persistence_id("p") for _ in range(5)]
            ids = queries.persistence_ids()
            for number in range(1, 4):
                await asyncio.to_thread(run_writer, tmp_path, backend.settings["layout"], f"p {number}")
                for feed in feeds:
                    assert [one.sequence_nr for one in await take(feed, 1)] == [number]
            assert await take(ids, 1) == ["p"]
            tasks = [asyncio.ensure_future(take(feed, 1)) for feed in feeds]
            await asyncio.to_thread(run_writer, tmp_path, backend.settings["layout"], "p 4")
            assert [one.sequence_nr for task in tasks for one in await task] == [4] * 15
            await asyncio.to_thread(run_writer, tmp_path, backend.settings["layout"], "q 1")
            assert await take(ids, 1) == ["q"]
            for feed in feeds:
                await close(feed)
            await close(ids)

    asyncio.run(main())


def run_writer(directory: Path, layout: str, line: str) -> None:
    command = [sys.executable, "-c", WRITER, str(directory), layout]
    subprocess.run(command, input=f"{line}\n", text=True, check=True, timeout=WAIT_S, stdout=subprocess.DEVNULL)


def test_one_look_serves_all_and_none_is_made_while_nobody_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with SQLITE.open(Location(directory=tmp_path, refresh_interval_s=0.01)) as storage:
            queries = queries_of(storage)
            watch = cast(SqliteQueries, storage.queries)._watch
            assert watch._timer is None
            feeds = [queries.all_events() for _ in range(20)]
            tasks = [asyncio.ensure_future(take(feed, 1)) for feed in feeds]
            await until(lambda: watch._waiting == 20 and watch._ordering is not None)
            assert watch._timer is not None or watch._look is not None
            count = watch.count
            for _ in range(3):  # looks go on, and wake nobody: nothing was written
                await until(lambda: watch._look is not None)
                await until(lambda: watch._look is None)
            assert watch.count == count
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await until(lambda: watch._look is None)
            assert watch._timer is None

    asyncio.run(main())


def test_a_live_query_on_a_file_that_is_gone_bad_fails_and_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with SQLITE.open(Location(directory=tmp_path, refresh_interval_s=0.02)) as storage:
            task = asyncio.ensure_future(take(queries_of(storage).all_events(), 1))
            await asyncio.sleep(0.02)
            with closing(sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)) as connection:
                connection.execute("DROP TABLE event_tag")
                connection.execute("DROP TABLE event")
            with pytest.raises(sqlite3.OperationalError, match="no such table: event"):
                await task

    asyncio.run(main())


def test_a_database_in_memory_has_live_queries_too() -> None:
    async def main() -> None:
        location = Location(refresh_interval_s=0.02)
        async with SQLITE.open(location) as storage, SQLITE.open(location) as other:
            feed = queries_of(storage).all_events()
            task = asyncio.ensure_future(take(feed, 2))
            await other.journal.write_messages([write("p", 1, 2)])
            assert [one.sequence_nr for one in await task] == [1, 2]
        with pytest.raises(StorageClosed):
            await anext(feed)

    asyncio.run(main())
