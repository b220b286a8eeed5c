"""Many calls become one transaction: each fails or succeeds by itself all the same, also beside other processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from perdure import (
    AtomicWrite,
    GroupJournal,
    Journal,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    WriteRejected,
)
from perdure.errors import SequenceConflict, WriteFailed
from perdure_sqlite import backend, sqlite_backend
from perdure_sqlite._connection import Place


def write(
    persistence_id: str, first: int, last: int | None = None, data: bytes = b"x", manifest: str = ""
) -> AtomicWrite:
    numbers = range(first, (last or first) + 1)
    return AtomicWrite(tuple(PersistentRepr(persistence_id, number, Payload(1, manifest, data)) for number in numbers))


async def numbers(journal: Journal, persistence_id: str) -> list[int]:
    return [event.sequence_nr async for event in journal.replay_messages(persistence_id)]


class Together(Protocol):
    """Makes calls that are queued in this order before the writer sees any of them."""

    async def __call__(self, journal: Journal, *calls: Sequence[AtomicWrite]) -> list[object]: ...


async def at_once(journal: Journal, *calls: Sequence[AtomicWrite]) -> list[object]:
    return list(await asyncio.gather(*(journal.write_messages(call) for call in calls), return_exceptions=True))


async def as_a_group(journal: Journal, *calls: Sequence[AtomicWrite]) -> list[object]:
    assert isinstance(journal, GroupJournal)
    return list(await journal.write_group(calls))


@pytest.fixture(params=[at_once, as_a_group])
def together(request: pytest.FixtureRequest) -> Together:
    way: Together = request.param
    return way


def test_only_the_calls_in_conflict_fail(tmp_path: Path, together: Together) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            journal = storage.journal
            await journal.write_messages([write("a", 1, 3)])
            answers = await together(
                journal,
                [write("b", 1)],
                [write("c", 1), write("a", 3)],  # a conflict: nothing of this call is stored
                [write("a", 4)],
                [write("a", 4)],  # a conflict with the call before it
                [write("c", 1), write("a", 5)],
            )
            assert [type(answer) for answer in answers] == [list, SequenceConflict, list, SequenceConflict, list]
            assert await numbers(journal, "a") == [1, 2, 3, 4, 5]
            assert await numbers(journal, "b") == await numbers(journal, "c") == [1]

    asyncio.run(main())


def test_a_number_that_was_deleted_is_still_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write("p", 5, 6)])
            await storage.journal.delete_messages_to("p", 6)
        async with backend.open(Location(directory=tmp_path)) as storage:
            for number in (1, 5, 6):
                with pytest.raises(SequenceConflict, match="the highest is 6"):
                    await storage.journal.write_messages([write("p", number)])
            await storage.journal.write_messages([write("p", 9)])
            assert await numbers(storage.journal, "p") == [9]

    asyncio.run(main())


def test_what_cannot_be_stored_is_rejected_alone(tmp_path: Path, together: Together) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            journal = storage.journal
            answers = await together(
                journal,
                [write("a", 1)],
                [write("b", 1), write("b", 2, manifest="\ud800"), write("b", 3)],
                [write("a", 1)],
                [write("a", 2)],
            )
            assert answers[0] == answers[3] == [None]
            assert isinstance(answers[2], SequenceConflict)
            assert isinstance(answers[1], list)
            assert [type(answer) for answer in answers[1]] == [type(None), WriteRejected, type(None)]
            assert (await numbers(journal, "a"), await numbers(journal, "b")) == ([1, 2], [1, 3])

    asyncio.run(main())


def opened_with(monkeypatch: pytest.MonkeyPatch, limit: Callable[[sqlite3.Connection], object]) -> None:
    """Let every connection that writes have some limit."""
    original = Place.open

    def open_limited(self: Place) -> sqlite3.Connection:
        connection = original(self)
        limit(connection)
        return connection

    monkeypatch.setattr(Place, "open", open_limited)


def test_a_call_that_sqlite_refuses_fails_alone(
    tmp_path: Path, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_with(monkeypatch, lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000))

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            journal = storage.journal
            large = [write("b", 1), write("b", 2, data=bytes(200_000))]
            answers = await together(journal, [write("a", 1)], large, [write("a", 2)])
            assert answers[0] == answers[2] == [None]
            assert isinstance(answers[1], WriteFailed)
            assert isinstance(answers[1].__cause__, sqlite3.DataError)
            assert (await numbers(journal, "a"), await numbers(journal, "b")) == ([1, 2], [])

    asyncio.run(main())


def test_a_full_disk_fails_the_whole_group_and_stores_nothing(
    tmp_path: Path, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite gives up the transaction then, so there is nothing left to keep apart."""
    opened_with(monkeypatch, lambda connection: connection.execute("PRAGMA max_page_count = 40"))

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            journal = storage.journal
            answers = await together(journal, [write("a", 1)], [write("b", 1, data=bytes(10**6))])
            assert [type(answer) for answer in answers] == [WriteFailed, WriteFailed]
            assert (await numbers(journal, "a"), await numbers(journal, "b")) == ([], [])
            assert await journal.write_messages([write("a", 1)]) == [None]

    asyncio.run(main())


def test_a_busy_database_fails_every_call_and_stores_nothing(tmp_path: Path, together: Together) -> None:
    async def main() -> None:
        async with sqlite_backend(busy_timeout_s=0).open(Location(directory=tmp_path)) as storage:
            other = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            answers = await together(storage.journal, [write("a", 1)], [write("b", 1)])
            assert [type(answer) for answer in answers] == [WriteFailed, WriteFailed]
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                await storage.journal.delete_messages_to("a", 1)
            with pytest.raises(WriteFailed):
                await storage.snapshots.save(SnapshotMetadata("a", 1), Payload(1, "", b""))
            other.close()
            assert await storage.journal.write_messages([write("a", 1)]) == [None]

    asyncio.run(main())


def test_a_commit_that_is_refused_and_rolled_back_has_failed(tmp_path: Path) -> None:
    """Without a WAL a reader keeps the writer from committing; what it could not commit it can still roll back."""

    async def main() -> None:
        busy = sqlite_backend(journal_mode="DELETE", busy_timeout_s=0)
        async with busy.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write("a", 1)])
            other = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
            other.execute("BEGIN")
            other.execute("SELECT * FROM event").fetchall()
            with pytest.raises(WriteFailed, match="locked"):
                await storage.journal.write_messages([write("a", 2)])
            other.close()
            assert await storage.journal.write_messages([write("a", 2)]) == [None]

    asyncio.run(main())


def test_many_tasks_at_once_are_all_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:

            async def persist(name: str) -> None:
                for number in range(1, 6):
                    assert await storage.journal.write_messages([write(name, number)]) == [None]

            names = [str(number) for number in range(500)]
            await asyncio.gather(*map(persist, names))
            assert [await numbers(storage.journal, name) for name in names] == [[1, 2, 3, 4, 5]] * 500

    asyncio.run(main())


def test_more_than_a_transaction_takes_is_stored_in_order(tmp_path: Path, together: Together) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            large = [[write("large", number, data=bytes(3 * 2**20))] for number in range(1, 6)]
            many = [[write("many", number * 1000 - 999, number * 1000)] for number in range(1, 7)]
            assert await together(storage.journal, *large, *many) == [[None]] * 11
            assert await numbers(storage.journal, "large") == [1, 2, 3, 4, 5]
            assert await numbers(storage.journal, "many") == list(range(1, 6001))

    asyncio.run(main())


def test_the_order_of_calls_is_kept_within_a_group(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            journal = storage.journal
            _, first, _, _, second = await asyncio.gather(
                journal.write_messages([write("p", 1, 3)]),
                journal.read_highest_sequence_nr("p"),
                journal.delete_messages_to("p", 3),
                journal.write_messages([write("p", 4)]),
                journal.read_highest_sequence_nr("p"),
            )
            assert (first, second) == (3, 4)
            assert await numbers(journal, "p") == [4]

    asyncio.run(main())


def test_a_cancelled_call_breaks_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            tasks = [asyncio.create_task(storage.journal.write_messages([write(str(n), 1)])) for n in range(100)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert answers[1::2] == [[None]] * 50
            for number, answer in enumerate(answers[::2]):
                stored = await numbers(storage.journal, str(2 * number))
                assert isinstance(answer, asyncio.CancelledError)
                assert stored in ([], [1])

    asyncio.run(main())


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE", "in memory"])
def test_two_handles_see_each_others_writes_and_conflicts(tmp_path: Path, journal_mode: str) -> None:
    async def main() -> None:
        location = Location(directory=None if journal_mode == "in memory" else tmp_path)
        chosen = backend if journal_mode == "in memory" else sqlite_backend(journal_mode=journal_mode)
        async with chosen.open(location) as first, chosen.open(location) as second:
            await first.journal.write_messages([write("p", 1)])
            await second.journal.write_messages([write("p", 2)])
            with pytest.raises(SequenceConflict, match="the highest is 2"):
                await first.journal.write_messages([write("p", 2)])
            await first.journal.write_messages([write("p", 3)])
            await second.journal.delete_messages_to("p", 3)
            assert await first.journal.read_highest_sequence_nr("p") == 3
            with pytest.raises(SequenceConflict, match="the highest is 3"):
                await first.journal.write_messages([write("p", 1)])
            await first.snapshots.save(SnapshotMetadata("p", 3, 1), Payload(1, "", b"s"))
            assert await second.snapshots.load("p", SnapshotSelectionCriteria()) is not None

    asyncio.run(main())


def processes(number: int, *arguments: str, names: Sequence[str] = ()) -> list[subprocess.Popen[str]]:
    script = Path(__file__).with_name("sqlite_process.py")
    return [
        subprocess.Popen(
            [sys.executable, str(script), *arguments, *names[at : at + 1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for at in range(number)
    ]


def ended(started: Sequence[subprocess.Popen[str]]) -> list[int]:
    for process in started:
        process.communicate(timeout=120)
    return [process.returncode for process in started]


def test_processes_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    rounds = 50
    started = processes(3, "open", str(tmp_path), str(rounds))
    for _ in range(rounds):
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("now\n")
            process.stdin.flush()
    assert ended(started) == [0, 0, 0]


def test_processes_write_one_file_without_losing_or_doubling_anything(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    assert ended(processes(3, "compete", str(tmp_path / "new"), "40", names=names)) == [0, 0, 0]

    async def main() -> None:
        async with backend.open(Location(directory=tmp_path / "new")) as storage:
            shared = [event async for event in storage.journal.replay_messages("shared")]
            assert [event.sequence_nr for event in shared] == list(range(1, 121))
            assert sorted(event.payload.data for event in shared) == [b"a"] * 40 + [b"b"] * 40 + [b"c"] * 40
            assert [await numbers(storage.journal, name) for name in names] == [list(range(1, 41))] * 3

    asyncio.run(main())
