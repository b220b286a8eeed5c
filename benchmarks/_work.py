"""The work that is measured, as data made before the clock starts: events of 100 bytes, and who writes which when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from perdure import AtomicWrite, Journal, Location, Payload, PersistentRepr, Storage, load_backend

PAYLOAD = Payload(7, "deposited", bytes(range(100)))
_WRITER = "0f8fad5b-d9cb-469f-a165-70867728950e"

Calls = Sequence[Sequence[AtomicWrite]]
"""For each writer, the AtomicWrites that it makes one after the other, each in a call of its own."""


def writes_of(persistence_id: str, count: int, size: int = 1) -> list[AtomicWrite]:
    """So many AtomicWrites of so many events each, numbered from 1."""
    return [
        AtomicWrite(tuple(event(persistence_id, number) for number in range(first, first + size)))
        for first in range(1, count * size + 1, size)
    ]


def event(persistence_id: str, sequence_nr: int) -> PersistentRepr:
    return PersistentRepr(persistence_id, sequence_nr, PAYLOAD, writer_uuid=_WRITER)


def calls_of(writers: int, rounds: int, size: int = 1) -> Calls:
    return [writes_of(f"account-{writer}", rounds, size) for writer in range(writers)]


def events_in_turn(calls: Calls) -> list[PersistentRepr]:
    """The events in the order in which writers that take turns write them."""
    turns = chain.from_iterable(zip(*calls, strict=True))
    return [one for write in turns for one in write.events]


async def write_in_turn(journal: Journal, writes: Sequence[AtomicWrite]) -> None:
    """One writer: each call waits for the one before it."""
    for write in writes:
        await journal.write_messages((write,))


async def write_at_once(journal: Journal, calls: Calls) -> None:
    """All writers, each in a task of its own."""
    await asyncio.gather(*(write_in_turn(journal, mine) for mine in calls))


async def replayed(journal: Journal, persistence_id: str, count: int) -> None:
    """Replay an id, and make sure that it was all of it."""
    seen = 0
    async for _ in journal.replay_messages(persistence_id):
        seen += 1
    assert seen == count, f"{seen} events instead of {count}"


@asynccontextmanager
async def fresh_sqlite(place: Path) -> AsyncIterator[Storage]:
    """The backend on SQLite, on a file that goes afterwards."""
    with TemporaryDirectory(dir=place) as directory:
        async with load_backend("sqlite").open(Location(directory=Path(directory))) as storage:
            yield storage


@asynccontextmanager
async def fresh_memory() -> AsyncIterator[Storage]:
    async with load_backend("memory").open(Location()) as storage:
        yield storage
