"""Projections: a handler that is run over a query and goes on where it stopped, also after a crash.

What a projection needs is a query that can resume, a handler, and a place for the offset. Everything else, such as what
to do when the handler fails, is left to whoever runs it: `project` raises, and may be called again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from ._offsets import NO_OFFSET, Offset
from ._queries import EventEnvelope

ResumableQuery = Callable[[Offset], AsyncIterator[EventEnvelope]]
"""`queries.all_events`, or `partial(queries.events_by_tag, "money")`; a current query ends the projection with it."""

Handler = Callable[[EventEnvelope], Awaitable[None]]


class OffsetStore(Protocol):
    """Remembers how far each projection has come, by its name."""

    async def read_offset(self, name: str) -> Offset:
        """What was last saved under this name; `NO_OFFSET` if nothing was."""
        ...

    async def save_offset(self, name: str, offset: Offset) -> None:
        """Remember it, as durably as the work of the handler is."""
        ...


async def project(
    name: str, query: ResumableQuery, handler: Handler, offsets: OffsetStore, save_every: int = 1
) -> None:
    """Run a handler over the events behind the stored offset, one after the other: each **at least once**.

    The offset is saved after every `save_every` events, and when the projection ends for any reason that leaves time
    for it: the query has ended, it or the handler has raised, the task was cancelled. So the handler sees again at most
    `save_every` events after a crash, and the one that it failed on. It must bear that. A handler that writes to a
    database of its own can have each event exactly once, with an offset store in the same database
    (`perdure_sqlite.SqliteOffsets`).
    """
    if save_every < 1:
        raise ValueError(f"save_every {save_every} is out of range; 1 or more is allowed")
    saved = handled = await offsets.read_offset(name)
    unsaved = 0
    events = query(handled)
    try:
        async for envelope in events:
            await handler(envelope)
            handled = envelope.offset
            unsaved += 1
            if unsaved >= save_every:
                await offsets.save_offset(name, handled)
                saved, unsaved = handled, 0
    finally:
        try:
            await close_query(events)
        finally:
            if handled != saved:
                await offsets.save_offset(name, handled)


async def close_query(events: AsyncIterator[EventEnvelope]) -> None:
    """End a query now, and not when it is collected as garbage."""
    if isinstance(events, AsyncGenerator):
        await events.aclose()


class MemoryOffsets:
    """An offset store for tests, and for projections that are built anew with every start."""

    def __init__(self) -> None:
        self._offsets: dict[str, Offset] = {}

    async def read_offset(self, name: str) -> Offset:
        return self._offsets.get(name, NO_OFFSET)

    async def save_offset(self, name: str, offset: Offset) -> None:
        self._offsets[name] = offset
