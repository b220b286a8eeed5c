"""Replays: pages of any size, one consistent view, and nothing left behind by those that end early."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest
from perdure import AtomicWrite, Location, Payload, PersistentRepr, Storage
from perdure_sqlite import SqliteJournal, sqlite_backend
from perdure_sqlite._reader import Reader

WITH_AND_WITHOUT_A_WAL = pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])


def write(persistence_id: str, first: int, last: int, data: bytes = b"x") -> AtomicWrite:
    tags = (frozenset[str](), frozenset(["odd"]))
    return AtomicWrite(
        tuple(
            PersistentRepr(persistence_id, number, Payload(1, "", data), timestamp=1, tags=tags[number % 2])
            for number in range(first, last + 1)
        )
    )


async def numbers(storage: Storage, *window: int) -> list[int]:
    return [event.sequence_nr async for event in storage.journal.replay_messages("p", *window)]


async def connections_taken(storage: Storage) -> int:
    """How many connections replays hold, after everything that was asked of the reader before."""
    count: int = await cast(SqliteJournal, storage.journal)._reader.ask(_taken)
    return count


def _taken(reader: Reader) -> int:
    return len(reader._taken)


@WITH_AND_WITHOUT_A_WAL
@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 8])
def test_pages_of_any_size_give_every_window(tmp_path: Path, journal_mode: str, page_size: int) -> None:
    async def main() -> None:
        location = Location(directory=tmp_path, page_size=page_size)
        async with sqlite_backend(journal_mode=journal_mode).open(location) as storage:
            await storage.journal.write_messages([write("p", 1, 3), write("p", 6, 9), write("q", 1, 9)])
            stored = [1, 2, 3, 6, 7, 8, 9]
            assert await numbers(storage) == stored
            for first in range(11):
                for last in range(11):
                    for most in (0, 1, 2, 3, 2**63 - 1):
                        wanted = [number for number in stored if first <= number <= last][:most]
                        assert await numbers(storage, first, last, most) == wanted
            assert await connections_taken(storage) == 0

    asyncio.run(main())


@WITH_AND_WITHOUT_A_WAL
def test_tags_come_with_every_page(tmp_path: Path, journal_mode: str) -> None:
    async def main() -> None:
        location = Location(directory=tmp_path, page_size=2)
        async with sqlite_backend(journal_mode=journal_mode).open(location) as storage:
            written = write("p", 1, 9)
            await storage.journal.write_messages([written])
            assert tuple([event async for event in storage.journal.replay_messages("p")]) == written.events

    asyncio.run(main())


@WITH_AND_WITHOUT_A_WAL
@pytest.mark.parametrize("page_size", [1, 3])
def test_a_replay_shows_what_was_there_when_it_began(tmp_path: Path, journal_mode: str, page_size: int) -> None:
    """Also while events behind and before it are deleted and written; neither waits for the other."""

    async def main() -> None:
        location = Location(directory=tmp_path, page_size=page_size)
        configured = sqlite_backend(journal_mode=journal_mode, busy_timeout_s=0.2)
        async with configured.open(location) as storage, configured.open(location) as other:
            await storage.journal.write_messages([write("p", 1, 6)])
            seen = []
            async for event in storage.journal.replay_messages("p"):
                seen.append(event.sequence_nr)
                if event.sequence_nr == 2:
                    await storage.journal.write_messages([write("p", 7, 8)])
                if event.sequence_nr == 3:
                    await other.journal.delete_messages_to("p", 5)
            assert seen == [1, 2, 3, 4, 5, 6]
            assert await numbers(storage) == [6, 7, 8]

    asyncio.run(main())


@WITH_AND_WITHOUT_A_WAL
def test_a_replay_that_is_closed_early_gives_its_connection_back(tmp_path: Path, journal_mode: str) -> None:
    async def main() -> None:
        async with sqlite_backend(journal_mode=journal_mode).open(Location(directory=tmp_path, page_size=1)) as storage:
            await storage.journal.write_messages([write("p", 1, 5)])
            replay = cast(AsyncGenerator[PersistentRepr, None], storage.journal.replay_messages("p"))
            await anext(replay)
            assert await connections_taken(storage) == 1
            await replay.aclose()
            assert await connections_taken(storage) == 0
            assert await numbers(storage) == [1, 2, 3, 4, 5]

    asyncio.run(main())


def test_a_replay_that_is_forgotten_gives_its_connection_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with sqlite_backend().open(Location(directory=tmp_path, page_size=1)) as storage:
            await storage.journal.write_messages([write("p", 1, 5)])
            replay = storage.journal.replay_messages("p")
            await anext(replay)
            del replay
            gc.collect()
            while await connections_taken(storage):  # the loop closes the iterator in a task of its own
                pass

    asyncio.run(main())


def test_a_replay_that_is_cancelled_gives_its_connection_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with sqlite_backend().open(Location(directory=tmp_path, page_size=1)) as storage:
            await storage.journal.write_messages([write("p", 1, 5)])
            task = asyncio.create_task(numbers(storage))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await connections_taken(storage) == 0

    asyncio.run(main())


def test_replays_that_overlap_do_not_mix(tmp_path: Path) -> None:
    async def main() -> None:
        async with sqlite_backend().open(Location(directory=tmp_path, page_size=2)) as storage:
            await storage.journal.write_messages([write("p", 1, 30)])
            many = await asyncio.gather(*(numbers(storage, first) for first in range(1, 31)))
            assert many == [list(range(first, 31)) for first in range(1, 31)]

    asyncio.run(main())


@WITH_AND_WITHOUT_A_WAL
def test_a_long_replay_holds_one_page_at_a_time(tmp_path: Path, journal_mode: str) -> None:
    async def main() -> None:
        location = Location(directory=tmp_path, page_size=50)
        async with sqlite_backend(journal_mode=journal_mode, synchronous="OFF").open(location) as storage:
            for first in range(1, 20_001, 1000):
                await storage.journal.write_messages([write("p", first, first + 999, bytes(500))])
            tracemalloc.start()
            count = 0
            async for _ in storage.journal.replay_messages("p"):
                count += 1
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert count == 20_000
            assert peak < 500_000  # a page has 25 000 bytes of payload, the history 10 000 000

    asyncio.run(main())
