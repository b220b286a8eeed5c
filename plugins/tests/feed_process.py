"""One of several processes on one SQLite file: run by the tests as `python feed_process.py write|read ...`.

A writer holds the write lock for random times inside its transactions, after it has taken orderings for its events. A
reader writes down what it is given, a line an envelope. A script, not a test module: a process of its own must find its
code wherever pytest was started.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from perdure import NO_OFFSET, AtomicWrite, EventEnvelope, Location, Payload, PersistentRepr, ReadJournal
from perdure_sqlite import sqlite_backend
from perdure_sqlite._tables import Tables

HOLD_S_MAX = 0.01
TAGS = ("red", "green", "blue")


async def write(directory: Path, layout: str, name: str, seconds: float) -> None:
    """Write under three ids of its own, several at once, until the time is over; then say how many of each."""
    chance = random.Random(name)
    hold(chance)
    ids = [f"{name}-{place}" for place in range(3)]
    written = dict.fromkeys(ids, 0)
    async with sqlite_backend(layout=layout, busy_timeout_s=600).open(Location(directory=directory)) as storage:
        end = time.monotonic() + seconds

        async def keep_writing(persistence_id: str) -> None:
            while not written[persistence_id] or time.monotonic() < end:
                first, count = written[persistence_id] + 1, chance.randint(1, 4)
                events = (event(persistence_id, number, chance) for number in range(first, first + count))
                await storage.journal.write_messages([AtomicWrite(tuple(events))])
                written[persistence_id] += count

        await asyncio.gather(*map(keep_writing, ids))
    for persistence_id, count in written.items():
        print(persistence_id, count)


def event(persistence_id: str, number: int, chance: random.Random) -> PersistentRepr:
    tags = frozenset(chance.sample(TAGS, chance.randint(0, 2)))
    return PersistentRepr(persistence_id, number, Payload(1, "", b"x" * chance.randint(0, 300)), tags=tags)


def hold(chance: random.Random) -> None:
    """Let every transaction last: its orderings are given out, its rows are not committed."""
    flush = Tables.flush

    def slow_flush(tables: Tables) -> None:
        flush(tables)
        time.sleep(chance.random() * HOLD_S_MAX)

    setattr(Tables, "flush", slow_flush)  # noqa: B010 (only in this process, and mypy need not like it)


async def read(directory: Path, layout: str, what: str, target: Path) -> None:
    """Follow a live query until a line comes on standard input, and then until the offset that it names."""
    location = Location(directory=directory, page_size=7, refresh_interval_s=0.02)
    async with sqlite_backend(layout=layout, busy_timeout_s=600).open(location) as storage:
        assert isinstance(storage.queries, ReadJournal)
        print("ready", flush=True)
        following = asyncio.create_task(follow(query_of(storage.queries, what), target))
        last = int(await asyncio.to_thread(sys.stdin.readline))
        while not following.done() and not has_come_to(target, last):  # noqa: ASYNC110 (a file tells nobody)
            await asyncio.sleep(0.05)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def query_of(queries: ReadJournal, what: str) -> AsyncIterator[EventEnvelope]:
    kind, _, argument = what.partition(":")
    if kind == "tag":
        return queries.events_by_tag(argument)
    return queries.events_by_persistence_id(argument) if kind == "id" else queries.all_events(NO_OFFSET)


async def follow(query: AsyncIterator[EventEnvelope], target: Path) -> None:
    with target.open("w", buffering=1) as file:
        async for one in query:
            file.write(f"{one.offset.position} {one.persistence_id} {one.sequence_nr}\n")


def has_come_to(target: Path, position: int) -> bool:
    """Whether this offset was written down; 0 is there from the start."""
    return not position or any(line.startswith(f"{position} ") for line in target.read_text().splitlines())


if __name__ == "__main__":
    role, where, layout_name, own = sys.argv[1:5]
    if role == "write":
        asyncio.run(write(Path(where), layout_name, own, float(sys.argv[5])))
    else:
        asyncio.run(read(Path(where), layout_name, own, Path(sys.argv[5])))
