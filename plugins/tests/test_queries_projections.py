"""Projections into SQLite: each event exactly once, whatever fails, is cancelled, is killed, or runs twice."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from perdure import (
    NO_OFFSET,
    AtomicWrite,
    EventEnvelope,
    Location,
    Offset,
    Payload,
    PersistentRepr,
    ReadJournal,
    Storage,
    project,
)
from perdure.errors import OffsetConflict, OpenFailed, StorageClosed
from perdure_sqlite import SqliteOffsets, backend

PROCESS = Path(__file__).with_name("projection_process.py")
WAIT_S = 60


def queries_of(storage: Storage) -> ReadJournal:
    assert isinstance(storage.queries, ReadJournal)
    return storage.queries


def write(first: int, last: int) -> AtomicWrite:
    events = (PersistentRepr("p", number, Payload(1, "", b"x" * number)) for number in range(first, last + 1))
    return AtomicWrite(tuple(events))


def view_in(directory: Path) -> Path:
    path = directory / "view.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE handled (persistence_id TEXT, sequence_nr INTEGER)")  # not unique: it counts
        connection.execute("CREATE TABLE balance (amount INTEGER)")
        connection.execute("INSERT INTO balance VALUES (0)")
    return path


def handled_in(view: Path) -> list[int]:
    with closing(sqlite3.connect(view)) as connection:
        return [number for (number,) in connection.execute("SELECT sequence_nr FROM handled ORDER BY rowid")]


async def until_handled(view: Path, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while handled_in(view) != list(range(1, count + 1)):  # noqa: ASYNC110 (a database tells nobody)
            await asyncio.sleep(0.002)


def handle(connection: sqlite3.Connection, envelope: EventEnvelope) -> None:
    connection.execute("INSERT INTO handled VALUES (?, ?)", (envelope.persistence_id, envelope.sequence_nr))


def test_offsets_are_kept_by_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteOffsets(tmp_path / "view.db") as offsets:
            assert await offsets.read_offset("a") == NO_OFFSET
            await offsets.save_offset("a", Offset("sqlite", 3))
            await offsets.save_offset("b", Offset("some:where", 4))
            await offsets.save_offset("a", Offset("sqlite", 5))
        async with SqliteOffsets(tmp_path / "view.db") as offsets:
            assert await offsets.read_offset("a") == Offset("sqlite", 5)
            assert await offsets.read_offset("b") == Offset("some:where", 4)
        with pytest.raises(StorageClosed, match="read_offset"):
            await offsets.read_offset("a")

    asyncio.run(main())


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, however long it may be read" * 20)

    async def main() -> None:
        with pytest.raises(OpenFailed, match="text: file is not a database; give the path"):
            async with SqliteOffsets(tmp_path / "text"):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("batch_max", [1, 3, 500])
def test_a_projection_handles_each_event_once_and_goes_on_where_it_stopped(tmp_path: Path, batch_max: int) -> None:
    view = view_in(tmp_path)

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path, page_size=4)) as storage:
            query = queries_of(storage).current_all_events
            for first in (1, 11, 21):
                await storage.journal.write_messages([write(first, first + 9)])
                async with SqliteOffsets(view) as offsets:
                    await offsets.project("p", query, handle, batch_max)
                    await offsets.project("p", query, handle, batch_max)
            assert handled_in(view) == list(range(1, 31))

    asyncio.run(main())


def test_what_is_waiting_shares_a_transaction_and_nobody_waits_for_a_fuller_one(tmp_path: Path) -> None:
    view = view_in(tmp_path)

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage, SqliteOffsets(view) as offsets:
            running = asyncio.create_task(offsets.project("p", queries_of(storage).all_events, handle))
            for number in range(1, 6):
                await storage.journal.write_messages([write(number, number)])
                await until_handled(view, number)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(main())


def test_a_handler_that_fails_leaves_nothing_of_its_event_and_keeps_those_before(tmp_path: Path) -> None:
    view = view_in(tmp_path)

    def fails_at(broken: int, connection: sqlite3.Connection, envelope: EventEnvelope) -> None:
        handle(connection, envelope)
        if envelope.sequence_nr == broken:
            raise LookupError("no such account")

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage, SqliteOffsets(view) as offsets:
            await storage.journal.write_messages([write(1, 9)])
            query = queries_of(storage).current_all_events
            for broken in (5, 5, 6, 1):
                done = handled_in(view)
                if broken in done:
                    continue
                with pytest.raises(LookupError, match="no such account"):
                    await offsets.project("p", query, partial(fails_at, broken))
                assert handled_in(view) == list(range(1, broken))
            await offsets.project("p", query, handle)
            assert handled_in(view) == list(range(1, 10))

    asyncio.run(main())


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_handler_that_ends_the_transaction_is_told(tmp_path: Path, statement: str) -> None:
    view = view_in(tmp_path)

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage, SqliteOffsets(view) as offsets:
            await storage.journal.write_messages([write(1, 2)])
            with pytest.raises(RuntimeError, match="the handler of projection 'p' has ended the transaction"):
                await offsets.project(
                    "p", queries_of(storage).current_all_events, lambda connection, _: _end(connection, statement)
                )
            assert await offsets.read_offset("p") == NO_OFFSET

    asyncio.run(main())


def _end(connection: sqlite3.Connection, statement: str) -> None:
    connection.execute(statement)


def test_two_runners_of_one_projection_apply_no_event_twice(tmp_path: Path) -> None:
    view = view_in(tmp_path)

    async def main() -> None:
        location = Location(directory=tmp_path)
        async with backend.open(location) as storage, SqliteOffsets(view, 60) as one, SqliteOffsets(view, 60) as other:
            query = queries_of(storage).all_events
            runners = [asyncio.create_task(offsets.project("p", query, handle, 2)) for offsets in (one, other)]
            number = 0
            while not any(runner.done() for runner in runners):
                number += 1
                await storage.journal.write_messages([write(number, number)])
            (beaten,), (running,) = await asyncio.wait(runners, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(OffsetConflict, match="projection 'p' stands at sqlite:"):
                await beaten
            await until_handled(view, number)
            running.cancel()
            await asyncio.wait([running])
        assert handled_in(view) == list(range(1, number + 1))

    asyncio.run(main())


def test_a_projection_ends_with_its_query(tmp_path: Path) -> None:
    view = view_in(tmp_path)

    async def main() -> None:
        async with SqliteOffsets(view) as offsets:
            async with backend.open(Location(directory=tmp_path)) as storage:
                await storage.journal.write_messages([write(1, 2)])
                running = asyncio.create_task(offsets.project("p", queries_of(storage).all_events, handle))
                await until_handled(view, 2)
            with pytest.raises(StorageClosed, match="all_events"):
                await running
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_the_same_offsets_serve_a_handler_that_writes_elsewhere(tmp_path: Path) -> None:
    async def main() -> None:
        seen: list[int] = []

        async def see(envelope: EventEnvelope) -> None:
            seen.append(envelope.sequence_nr)

        async with backend.open(Location(directory=tmp_path)) as storage, SqliteOffsets(tmp_path / "o.db") as offsets:
            for first in (1, 4):
                await storage.journal.write_messages([write(first, first + 2)])
                await project("mails", queries_of(storage).current_all_events, see, offsets)
        assert seen == [1, 2, 3, 4, 5, 6]

    asyncio.run(main())


def test_a_projection_that_is_killed_again_and_again_has_each_event_exactly_once(tmp_path: Path) -> None:
    count = 400
    view = view_in(tmp_path)

    async def fill() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write(1, count)])

    asyncio.run(fill())
    chance, kills = random.Random(5), 0
    while run_until_killed(tmp_path, view, chance):
        kills += 1
        assert kills < 100
    assert handled_in(view) == list(range(1, count + 1))
    with closing(sqlite3.connect(view)) as connection:
        assert connection.execute("SELECT amount FROM balance").fetchone() == (sum(range(1, count + 1)),)
    assert kills >= 3, "it was hardly killed"


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_wherever_it_is_killed_it_resumes_without_loss_or_repetition(tmp_path: Path, journal_mode: str) -> None:
    """A kill leaves the files as they are. So they are copied before every statement, and each copy is resumed."""
    directory = tmp_path / "view"
    directory.mkdir()
    view = view_in(directory)
    with closing(sqlite3.connect(view)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    copies: list[Path] = []

    def copy(_: str) -> None:
        copies.append(Path(shutil.copytree(directory, tmp_path / f"copy-{len(copies)}")))

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write(1, 5)])
            query = queries_of(storage).current_all_events
            async with SqliteOffsets(view) as offsets:
                await offsets._ask("trace", lambda connection: connection.set_trace_callback(copy))
                await offsets.project("p", query, handle, batch_max=2)
                await offsets._ask("trace", lambda connection: connection.set_trace_callback(None))
            copy("after the last one")
            found = set()
            for one in copies:
                async with SqliteOffsets(one / "view.db") as offsets:
                    found.add(len(handled_in(one / "view.db")))
                    await offsets.project("p", query, handle)
                assert handled_in(one / "view.db") == [1, 2, 3, 4, 5]
            assert {0, 5} < found, "it was killed before, between and after its transactions"

    asyncio.run(main())


def run_until_killed(directory: Path, view: Path, chance: random.Random) -> bool:
    """Kill it at some moment after some events. False: it had come to the end before."""
    after = chance.randint(20, 60)
    command = [sys.executable, str(PROCESS), str(directory), str(view), str(after + 60)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = sum(1 for _, _ in zip(range(after), process.stdout, strict=False))
        time.sleep(chance.random() * 0.003)
        if lines == after:
            process.kill()
    return process.returncode != 0
