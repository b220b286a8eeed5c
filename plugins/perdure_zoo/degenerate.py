"""Backends that do nothing right. No rule may conform on any of them: a rule that does has no positive control.

Each stands for a suite somewhere that was green on such a store: one that loaded nothing, one that refused everything.
They refuse bad arguments as they should, so that nothing but the missing work is wrong with them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from perdure import (
    MAX_SEQUENCE_NR,
    NO_OFFSET,
    AtomicWrite,
    Backend,
    Claims,
    EventEnvelope,
    Location,
    Offset,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    WriteRejected,
    check_delete,
    check_offset,
    check_persistence_id,
    check_read_highest,
    check_replay,
)
from perdure.errors import StorageClosed, WriteFailed

CLAIMS = Claims(survives_close=True, shared=True, live_queries=True)
BLOCKED_S = 0.15


class NullJournal:
    """Acknowledges everything, keeps nothing, and is always empty."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        await self.instead("write_messages")
        return [None for _ in writes]

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        await self.instead("replay_messages")
        nothing: tuple[PersistentRepr, ...] = ()
        for event in nothing:
            yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        await self.instead("read_highest_sequence_nr")
        return 0

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        await self.instead("delete_messages_to")

    async def instead(self, operation: str) -> None:
        """What happens instead of the work: here nothing."""


class NullSnapshots:
    """Acknowledges everything, keeps nothing, and is always empty."""

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        await self.instead("load")
        return None

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await self.instead("save")

    async def delete(self, metadata: SnapshotMetadata) -> None:
        await self.instead("delete")

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        check_persistence_id(persistence_id)
        await self.instead("delete_matching")

    async def instead(self, operation: str) -> None:
        """What happens instead of the work: here nothing."""


class NullQueries:
    """Current queries end at once, live ones wait for ever."""

    async def current_persistence_ids(self) -> AsyncIterator[str]:
        async for nothing in self._stream("current_persistence_ids"):
            yield nothing

    async def persistence_ids(self) -> AsyncIterator[str]:
        async for nothing in self._stream("persistence_ids"):
            yield nothing

    async def current_events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        async for nothing in self._stream("current_events_by_persistence_id"):
            yield nothing

    async def events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        async for nothing in self._stream("events_by_persistence_id"):
            yield nothing

    async def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_offset(offset, "nothing")
        async for nothing in self._stream("current_events_by_tag"):
            yield nothing

    async def events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_offset(offset, "nothing")
        async for nothing in self._stream("events_by_tag"):
            yield nothing

    async def current_all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_offset(offset, "nothing")
        async for nothing in self._stream("current_all_events"):
            yield nothing

    async def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_offset(offset, "nothing")
        async for nothing in self._stream("all_events"):
            yield nothing

    async def _stream(self, query: str) -> AsyncIterator[Any]:
        await self.instead(query)
        things: tuple[Any, ...] = self.things
        for thing in things:
            yield thing
        if not query.startswith("current_"):
            await asyncio.Event().wait()

    things: tuple[Any, ...] = ()

    async def instead(self, operation: str) -> None:
        """What happens instead of the work: here nothing."""


class NonsenseQueries(NullQueries):
    """Gives things that are not of the contract's types."""

    things = ("once", b"upon", None)


class RefusingJournal(NullJournal):
    """Rejects every write."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        return [WriteRejected("not today") for _ in writes]


class RefusingSnapshots(NullSnapshots):
    """Fails every save."""

    async def instead(self, operation: str) -> None:
        if operation == "save":
            raise WriteFailed("not today")


class ConflictingJournal(NullJournal):
    """Fails every write."""

    async def instead(self, operation: str) -> None:
        if operation == "write_messages":
            raise WriteFailed("not today")


async def _raise_closed(operation: str) -> None:
    if operation in ("write_messages", "save"):
        raise WriteFailed("the storage is closed")
    raise StorageClosed(operation)


async def _wait_for_ever(_: str) -> None:
    await asyncio.Event().wait()


async def _block_the_loop(_: str) -> None:
    time.sleep(BLOCKED_S)  # noqa: ASYNC251 - that is the point
    await asyncio.sleep(0)


class NonsenseJournal(NullJournal):
    """Answers with things that are not of the contract's types."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Any:
        return {"written": len(writes)}

    async def replay_messages(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for thing in ("once", b"upon", None):
            yield thing

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> Any:
        return "many"


class NonsenseSnapshots(NullSnapshots):
    """Answers with things that are not of the contract's types."""

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> Any:
        return b"a snapshot"


def _doing(instead: Callable[[str], Any]) -> tuple[NullJournal, NullSnapshots, NullQueries]:
    """Stores that do one thing in place of every operation."""
    journal, snapshots, queries = NullJournal(), NullSnapshots(), NullQueries()
    for part in (journal, snapshots, queries):
        part.instead = instead  # type: ignore[assignment, method-assign]  # three stores, one behaviour
    return journal, snapshots, queries


def degenerate(
    name: str, journal: NullJournal, snapshots: NullSnapshots, queries: NullQueries | None = None
) -> Backend:
    """A backend of stores that have nothing to keep."""

    @asynccontextmanager
    async def open_degenerate(_: Location) -> AsyncIterator[Storage]:
        yield Storage(journal, snapshots, queries or NullQueries())

    return Backend(name, open_degenerate, CLAIMS, version="does nothing right")


@asynccontextmanager
async def _open_raises(location: Location) -> AsyncIterator[Storage]:
    raise ConnectionRefusedError(f"nothing listens at {location.namespace}")
    yield Storage()


@asynccontextmanager
async def _open_never_ends(_: Location) -> AsyncIterator[Storage]:
    await asyncio.Event().wait()
    yield Storage()


DEGENERATES = (
    degenerate("always_empty", NullJournal(), NullSnapshots()),
    degenerate("refuses_everything", RefusingJournal(), RefusingSnapshots()),
    degenerate("fails_every_write", ConflictingJournal(), RefusingSnapshots()),
    degenerate("closed", *_doing(_raise_closed)),
    degenerate("never_answers", *_doing(_wait_for_ever)),
    degenerate("blocks_the_loop", *_doing(_block_the_loop)),
    degenerate("answers_nonsense", NonsenseJournal(), NonsenseSnapshots(), NonsenseQueries()),
)
"""They open, and then nothing works."""

UNOPENABLE = (
    Backend("open_raises", _open_raises, CLAIMS, version="does nothing right"),
    Backend("open_never_ends", _open_never_ends, CLAIMS, version="does nothing right"),
)
"""They cannot even be opened, so nothing can be said for or against them."""
