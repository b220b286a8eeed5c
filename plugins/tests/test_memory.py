"""What is peculiar to the backend in memory. The rules of the contracts are judged by `perdure run memory`."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
from perdure import (
    AtomicWrite,
    Backend,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    load_backend,
)
from perdure.errors import StorageClosed, WriteFailed
from perdure_memory import MemoryJournal, backend, memory_backend

WRITE = AtomicWrite((PersistentRepr("p", 1, Payload(4, "", b"x")),))


async def write_and_leave(location: Location, used: Backend = backend) -> Storage:
    async with used.open(location) as storage:
        await storage.journal.write_messages([WRITE])
    return storage


async def highest(location: Location) -> int:
    async with backend.open(location) as storage:
        return await storage.journal.read_highest_sequence_nr("p")


def test_what_was_written_lives_as_long_as_the_location() -> None:
    location = Location()
    asyncio.run(write_and_leave(location))
    assert asyncio.run(highest(location)) == 1
    assert asyncio.run(highest(Location())) == 0


def test_a_location_that_is_gone_takes_its_world_along() -> None:
    location = Location()
    world = weakref.ref(asyncio.run(write_and_leave(location)).journal._shelf)
    del location
    gc.collect()
    assert world() is None


def test_offsets_may_have_gaps() -> None:
    """K-08: a reference backend without gaps would let a kit demand that there are none."""
    storage = asyncio.run(write_and_leave(Location(), memory_backend(offset_step=10)))
    assert isinstance(storage.journal, MemoryJournal)
    assert list(storage.journal._shelf.offsets.values()) == [10]


@pytest.mark.parametrize("step", ["0", "-3", "x", "²"])
def test_an_offset_step_that_is_none_is_refused_by_its_value(step: str) -> None:
    with pytest.raises(ValueError, match="offset_step"):
        load_backend("memory", {"offset_step": step})


def test_a_setting_that_it_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="memory has no setting colour; it has: offset_step"):
        load_backend("memory", {"colour": "red", "offset_step": "1"})


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda storage: storage.journal.write_messages([WRITE]), WriteFailed),
        (lambda storage: storage.journal.write_messages([]), WriteFailed),
        (lambda storage: storage.journal.read_highest_sequence_nr("p"), StorageClosed),
        (lambda storage: storage.journal.delete_messages_to("p", 1), StorageClosed),
        (lambda storage: anext(storage.journal.replay_messages("p")), StorageClosed),
        (lambda storage: storage.snapshots.save(SnapshotMetadata("p", 1), Payload(4, "", b"")), WriteFailed),
        (lambda storage: storage.snapshots.load("p", SnapshotSelectionCriteria()), StorageClosed),
        (lambda storage: storage.snapshots.delete(SnapshotMetadata("p", 1)), StorageClosed),
        (lambda storage: storage.snapshots.delete_matching("p", SnapshotSelectionCriteria()), StorageClosed),
    ],
)
def test_a_closed_storage_refuses_everything(
    call: Callable[[Storage], Awaitable[object]], error: type[Exception]
) -> None:
    async def call_when_closed() -> None:
        storage = await write_and_leave(Location())
        with pytest.raises(error, match="closed"):
            await call(storage)

    asyncio.run(call_when_closed())
