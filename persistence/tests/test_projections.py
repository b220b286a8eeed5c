"""`project`: at least once, from the stored offset on, and the offset saved however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from perdure import NO_OFFSET, EventEnvelope, MemoryOffsets, Offset, Payload, PersistentRepr, project


class Query:
    """A query over ten events; `fails_at` raises instead of giving that one."""

    def __init__(self, fails_at: int = 0, live: bool = False) -> None:
        self.started: list[int] = []
        self.closed = 0
        self._fails_at = fails_at
        self._live = live

    async def __call__(self, offset: Offset) -> AsyncIterator[EventEnvelope]:
        self.started.append(offset.position)
        try:
            for number in range(offset.position + 1, 11):
                if number == self._fails_at:
                    raise OSError("disk error")
                yield EventEnvelope(Offset("test", number), PersistentRepr("p", number, Payload(1, "", b"")))
            if self._live:
                await asyncio.get_running_loop().create_future()
        finally:
            self.closed += 1


class Handler:
    def __init__(self, fails_at: int = 0) -> None:
        self.handled: list[int] = []
        self._fails_at = fails_at

    async def __call__(self, envelope: EventEnvelope) -> None:
        if envelope.sequence_nr == self._fails_at:
            raise LookupError("no such account")
        self.handled.append(envelope.sequence_nr)


class CountingOffsets(MemoryOffsets):
    def __init__(self) -> None:
        super().__init__()
        self.saved: list[int] = []

    async def save_offset(self, name: str, offset: Offset) -> None:
        await super().save_offset(name, offset)
        self.saved.append(offset.position)


@pytest.mark.parametrize(("save_every", "saved"), [(1, list(range(1, 11))), (4, [4, 8, 10]), (5, [5, 10]), (100, [10])])
def test_the_offset_is_saved_after_so_many_events_and_at_the_end(save_every: int, saved: list[int]) -> None:
    query, handler, offsets = Query(), Handler(), CountingOffsets()
    asyncio.run(project("p", query, handler, offsets, save_every))
    assert (handler.handled, offsets.saved, query.closed) == (list(range(1, 11)), saved, 1)


def test_it_goes_on_behind_the_stored_offset_and_names_do_not_mix() -> None:
    query, handler, offsets = Query(), Handler(), CountingOffsets()

    async def main() -> None:
        await offsets.save_offset("p", Offset("test", 7))
        await project("p", query, handler, offsets)
        await project("p", query, handler, offsets)
        assert await offsets.read_offset("q") == NO_OFFSET

    asyncio.run(main())
    assert query.started == [7, 10]
    assert handler.handled == [8, 9, 10]


@pytest.mark.parametrize("save_every", [1, 3, 100])
def test_a_handler_that_fails_sees_this_event_again_and_none_before_it(save_every: int) -> None:
    query, handler, offsets = Query(), Handler(fails_at=6), CountingOffsets()
    with pytest.raises(LookupError):
        asyncio.run(project("p", query, handler, offsets, save_every))
    assert (offsets.saved[-1], query.closed) == (5, 1)
    again = Handler()
    asyncio.run(project("p", query, again, offsets, save_every))
    assert again.handled == [6, 7, 8, 9, 10]


def test_a_query_that_fails_is_an_error_and_what_was_handled_is_saved() -> None:
    handler, offsets = Handler(), CountingOffsets()
    with pytest.raises(OSError, match="disk error"):
        asyncio.run(project("p", Query(fails_at=4), handler, offsets, 100))
    assert (handler.handled, offsets.saved) == ([1, 2, 3], [3])


def test_cancelling_closes_the_query_and_saves_what_was_handled() -> None:
    query, handler, offsets = Query(live=True), Handler(), CountingOffsets()

    async def main() -> None:
        running = asyncio.create_task(project("p", query, handler, offsets, 100))
        while len(handler.handled) < 10:  # noqa: ASYNC110 (one loop, and nobody else to tell)
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert (offsets.saved, query.closed) == ([10], 1)


def test_an_offset_that_cannot_be_saved_ends_the_projection() -> None:
    class Full(MemoryOffsets):
        async def save_offset(self, name: str, offset: Offset) -> None:
            raise OSError("disk full")

    query, handler = Query(), Handler()
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(project("p", query, handler, Full()))
    assert (handler.handled, query.closed) == ([1], 1)


def test_a_count_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="save_every 0 is out of range"):
        asyncio.run(project("p", Query(), Handler(), MemoryOffsets(), 0))
