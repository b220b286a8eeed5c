"""The backend in memory: the reference of meaning, written to be read beside the contracts. Keeps nothing for good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from perdure import Backend, Claims, Location, Storage

from ._journal import GroupMemoryJournal as GroupMemoryJournal
from ._journal import Log as Log
from ._journal import MemoryJournal as MemoryJournal
from ._journal import Shelf
from ._queries import MemoryQueries as MemoryQueries
from ._snapshots import MemorySnapshotStore as MemorySnapshotStore
from ._snapshots import SnapshotShelf


class World:
    """All that is kept at one location. It lives as long as the `Location` object does."""

    def __init__(self) -> None:
        self.events = Shelf()
        self.snapshots = SnapshotShelf()


_worlds: WeakKeyDictionary[Location, World] = WeakKeyDictionary()


def memory_backend(offset_step: int = 1) -> Backend:
    """The backend in memory. `offset_step` above 1 leaves gaps between the offsets of events, as many databases do."""
    if offset_step < 1:
        raise ValueError(f"offset_step {offset_step} is out of range; 1 or more is allowed")

    @asynccontextmanager
    async def open_memory(location: Location) -> AsyncIterator[Storage]:
        world = _worlds.setdefault(location, World())
        journal = GroupMemoryJournal(world.events, location.clock, offset_step)
        snapshots = MemorySnapshotStore(world.snapshots, location.clock)
        queries = MemoryQueries(world.events, location.page_size)
        try:
            yield Storage(journal, snapshots, queries)
        finally:
            journal.closed = snapshots.closed = True
            queries.close()

    return Backend(
        name="memory",
        open=open_memory,
        claims=Claims(
            atomic_batch=None, survives_close=True, shared=True, live_queries=True, deleted_events_in_feeds="kept"
        ),
        version="in this process",
        settings={"offset_step": str(offset_step)},
        configured=_configured,
    )


def _configured(settings: Mapping[str, str]) -> Backend:
    unknown = settings.keys() - {"offset_step"}
    if unknown:
        raise ValueError(f"memory has no setting {', '.join(sorted(unknown))}; it has: offset_step")
    text = settings["offset_step"]
    if not text.isdecimal():
        raise ValueError(f"offset_step {text!r} is not a whole number")
    return memory_backend(int(text))


backend = memory_backend()
