"""The journal on plain files beside the bare calls of the system: `python benchmarks/files_journal.py`.

The limit is a loop that writes as many bytes as the journal does, and syncs them: no event loop, no thread, no checks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from _table import Beside, Case, Goal, OpenSuite, Suite, main, rate, seconds_since
from _work import Calls, calls_of, replayed, write_at_once, write_in_turn, writes_of
from perdure import Location, Storage, load_backend

FRAME_SIZE = 32 + 12 + 190
"""About what an event of 100 bytes takes: header of a frame, header of an entry, the fields."""


@asynccontextmanager
async def one_writer(place: Path) -> AsyncIterator[Suite]:
    count = 1000
    limit = f"write and fsync of {FRAME_SIZE} bytes"
    yield Suite(
        "one task, each call writes one event of 100 bytes, durable",
        [
            Case(limit, partial(_raw_rate, place, count, FRAME_SIZE)),
            Case("one task, 1 event", partial(_one_rate, place, count), (Beside(limit, Goal(0.5)),)),
        ],
    )


@asynccontextmanager
async def writers(place: Path) -> AsyncIterator[Suite]:
    calls = calls_of(1000, rounds=20)
    limit = "write and fsync of 1000 events at a time"
    yield Suite(
        "1000 tasks, each writes one event of 100 bytes a call and waits for it",
        [
            Case(limit, partial(_raw_group_rate, place, 20, 1000)),
            Case("1000 tasks, 1 event", partial(_at_once_rate, place, calls), (Beside(limit),)),
        ],
    )


@asynccontextmanager
async def reading(place: Path) -> AsyncIterator[Suite]:
    count = 50_000
    with TemporaryDirectory(dir=place) as directory:
        location = Location(directory=Path(directory))
        async with load_backend("files").open(location) as storage:
            await storage.journal.write_messages(writes_of("account-0", count // 1000, 1000))
        yield Suite(
            f"{count} events of one id",
            [
                Case("read the file", partial(_raw_read_rate, location, count)),
                Case("open, with its index made", partial(_open_rate, location, count), (Beside("read the file"),)),
                Case("replay", partial(_replay_rate, location, count), (Beside("read the file"),)),
            ],
        )


async def _raw_rate(place: Path, count: int, size: int) -> float:
    return count / _raw_seconds(place, count, size)


async def _raw_group_rate(place: Path, groups: int, events: int) -> float:
    return groups * events / _raw_seconds(place, groups, events * FRAME_SIZE)


def _raw_seconds(place: Path, count: int, size: int) -> float:
    with TemporaryDirectory(dir=place) as directory:
        descriptor = os.open(Path(directory) / "raw", os.O_RDWR | os.O_CREAT)
        content = bytes(size)
        try:
            start = time.perf_counter()
            for _ in range(count):
                os.write(descriptor, content)
                os.fsync(descriptor)
            return seconds_since(start)
        finally:
            os.close(descriptor)


@asynccontextmanager
async def _fresh_files(place: Path) -> AsyncIterator[Storage]:
    with TemporaryDirectory(dir=place) as directory:
        async with load_backend("files").open(Location(directory=Path(directory))) as storage:
            yield storage


async def _one_rate(place: Path, count: int) -> float:
    writes = writes_of("account-0", count)
    async with _fresh_files(place) as storage:
        return await rate(count, write_in_turn(storage.journal, writes))


async def _at_once_rate(place: Path, calls: Calls) -> float:
    async with _fresh_files(place) as storage:
        return await rate(sum(map(len, calls)), write_at_once(storage.journal, calls))


async def _raw_read_rate(location: Location, count: int) -> float:
    assert location.directory is not None
    start = time.perf_counter()
    for path in location.directory.glob("*/*.log"):
        await asyncio.to_thread(path.read_bytes)
    return count / seconds_since(start)


async def _open_rate(location: Location, count: int) -> float:
    start = time.perf_counter()
    async with load_backend("files").open(location):
        return count / seconds_since(start)


async def _replay_rate(location: Location, count: int) -> float:
    async with load_backend("files").open(location) as storage:
        return await rate(count, replayed(storage.journal, "account-0", count))


SUITES: dict[str, OpenSuite] = {"one_writer": one_writer, "writers": writers, "reading": reading}

if __name__ == "__main__":
    main("The journal on plain files beside the bare calls of the system.", SUITES)
