"""Queries of the reference backends, where they must agree: with a journal, page by page, live, closed, and between
threads. The rules of the contracts are judged by `perdure run`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import perdure_memory
import pytest
from perdure import (
    NO_OFFSET,
    AtomicWrite,
    Backend,
    EventEnvelope,
    Location,
    Offset,
    Payload,
    PersistentRepr,
    ReadJournal,
    Storage,
)
from perdure.errors import StorageClosed
from perdure_sqlite import sqlite_backend

Item = TypeVar("Item")

BACKENDS = {
    "memory": perdure_memory.backend,
    "memory-gaps": perdure_memory.memory_backend(offset_step=10),
    "sqlite": sqlite_backend(),
    "sqlite-delete": sqlite_backend(journal_mode="DELETE"),
    "akka-net": sqlite_backend(layout="akka-net"),
}
PAGE_SIZES = [1, 2, 3, 500]
WAIT_S = 60
"""How long a test waits for what must come; long, since the machine may be busy."""


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(directory=tmp_path, page_size=2, refresh_interval_s=0.02)


def event(persistence_id: str, number: int, *tags: str) -> PersistentRepr:
    return PersistentRepr(persistence_id, number, Payload(1, "m", b"x"), timestamp=700, tags=frozenset(tags))


def write(persistence_id: str, first: int, last: int | None = None, *tags: str) -> AtomicWrite:
    return AtomicWrite(tuple(event(persistence_id, number, *tags) for number in range(first, (last or first) + 1)))


def queries_of(storage: Storage) -> ReadJournal:
    assert isinstance(storage.queries, ReadJournal)
    return storage.queries


def keys(envelopes: list[EventEnvelope]) -> list[str]:
    return [f"{one.persistence_id}{one.sequence_nr}" for one in envelopes]


async def everything(query: AsyncIterator[Item]) -> list[Item]:
    async with asyncio.timeout(WAIT_S):
        return [item async for item in query]


async def take(query: AsyncIterator[Item], count: int) -> list[Item]:
    async with asyncio.timeout(WAIT_S):
        return [await anext(query) for _ in range(count)]


async def close(*queries: AsyncIterator[Item]) -> None:
    for query in queries:
        await cast(AsyncGenerator[Item, None], query).aclose()


async def waiting(query: AsyncIterator[Item]) -> asyncio.Task[Item]:
    """The next item of a live query that has seen everything, as a task that waits for it."""

    async def next_item() -> Item:
        return await anext(query)

    task = asyncio.create_task(next_item())
    await asyncio.sleep(0.03)  # mostly it waits by then; what is asserted afterwards holds either way
    return task


# --- current ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_pages_of_any_size_give_the_same(backend: Backend, tmp_path: Path, page_size: int) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path, page_size=page_size)) as storage:
            journal, queries = storage.journal, queries_of(storage)
            for number in range(1, 8):
                tags_of_q = ("t",) if number % 3 == 0 else ()
                await journal.write_messages([write("p", number, None, "t"), write("q", number, None, *tags_of_q)])
            every = await everything(queries.current_all_events())
            assert keys(every) == [f"{one}{number}" for number in range(1, 8) for one in "pq"]
            offsets = [one.offset for one in every]
            assert offsets == sorted(set(offsets))
            tagged = [one for one in every if "t" in one.event.tags]
            assert await everything(queries.current_events_by_tag("t")) == tagged
            for place, one in enumerate(every):
                assert await everything(queries.current_all_events(one.offset)) == every[place + 1 :]
                assert await everything(queries.current_events_by_tag("t", one.offset)) == [
                    other for other in tagged if other.offset > one.offset
                ]
            of_p = [one for one in every if one.persistence_id == "p"]
            for first in range(9):
                for last in range(9):
                    window = [one for one in of_p if first <= one.sequence_nr <= last]
                    assert await everything(queries.current_events_by_persistence_id("p", first, last)) == window
                    replay = [one async for one in journal.replay_messages("p", first, last)]
                    assert [one.event for one in window] == replay
                    if last <= 7:
                        assert await everything(queries.events_by_persistence_id("p", first, last)) == window
            assert sorted(await everything(queries.current_persistence_ids())) == ["p", "q"]

    asyncio.run(main())


def test_nothing_stored_is_nothing_found(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            for _ in "before", "after":
                assert await everything(queries.current_all_events()) == []
                assert await everything(queries.current_events_by_tag("t")) == []
                assert await everything(queries.current_events_by_persistence_id("p")) == []
                assert await everything(queries.current_persistence_ids()) == []
                assert await everything(queries.events_by_persistence_id("p", 0, 0)) == []
                await storage.journal.delete_messages_to("p", 5)

    asyncio.run(main())


def test_a_current_query_ends_although_others_write_all_the_time(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("p", 1, 5, "t")])
            for query in (queries.current_all_events, partial(queries.current_events_by_tag, "t")):
                highest = await storage.journal.read_highest_sequence_nr("p")
                seen = []
                async for one in query():
                    seen.append(one.sequence_nr)
                    highest += 1
                    await storage.journal.write_messages([write("p", highest, None, "t")])
                    assert len(seen) < 100
                assert seen[:5] == [1, 2, 3, 4, 5]
                assert seen == list(range(1, len(seen) + 1))

            met: list[str] = []
            async for persistence_id in queries.current_persistence_ids():
                met.append(persistence_id)
                await storage.journal.write_messages([write(f"{persistence_id}+", 1)])
                assert len(met) < 100
            assert met[0] == "p"

    asyncio.run(main())


def test_deleted_events_are_in_the_feeds_as_claimed(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            journal, queries = storage.journal, queries_of(storage)
            await journal.write_messages([write("p", 1, 4, "t"), write("q", 1, 1, "t")])
            await journal.delete_messages_to("p", 2)
            await journal.delete_messages_to("q", 1)
            kept = backend.claims.deleted_events_in_feeds == "kept"
            in_feeds = ["p1", "p2", "p3", "p4", "q1"] if kept else ["p3", "p4"]
            assert keys(await everything(queries.current_all_events())) == in_feeds
            assert keys(await everything(queries.current_events_by_tag("t"))) == in_feeds
            assert keys(await everything(queries.current_events_by_persistence_id("p"))) == ["p3", "p4"]
            assert keys(await everything(queries.events_by_persistence_id("p", 1, 4))) == ["p3", "p4"]
            assert keys(await everything(queries.events_by_persistence_id("q", 1, 1))) == []
            assert sorted(await everything(queries.current_persistence_ids())) == ["p", "q"]

    asyncio.run(main())


def test_an_offset_is_never_given_twice(backend: Backend, location: Location) -> None:
    """Not even that of the newest event after its deletion: a reader that has passed it would miss the next one."""

    async def main() -> None:
        async with backend.open(location) as storage:
            journal, queries = storage.journal, queries_of(storage)
            await journal.write_messages([write("p", 1, 3)])
            newest = (await everything(queries.current_all_events()))[-1].offset
            live = queries.all_events(newest)
            await journal.delete_messages_to("p", 3)
            await journal.write_messages([write("p", 4)])
            assert keys(await take(live, 1)) == ["p4"]
            await close(live)
        async with backend.open(location) as storage:
            await storage.journal.delete_messages_to("p", 4)
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("q", 1)])
            one = (await everything(queries.current_all_events(newest)))[-1]
            assert one.persistence_id == "q"
            assert one.offset.position > newest.position + 1

    asyncio.run(main())


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (Offset("elsewhere", 3), "offset elsewhere:3 is not one of"),
        (Offset("", 3), "offset :3 is not one of"),
        (cast(Offset, 3), "3 is not an offset"),
    ],
)
def test_a_foreign_offset_is_refused(backend: Backend, location: Location, offset: Offset, message: str) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            for query in (queries.current_all_events, queries.all_events):
                with pytest.raises(ValueError, match=message):
                    await anext(query(offset))
            for by_tag in (queries.current_events_by_tag, queries.events_by_tag):
                with pytest.raises(ValueError, match=message):
                    await anext(by_tag("t", offset))

    asyncio.run(main())


def test_bad_arguments_are_refused_by_name_and_value(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            for by_id in (queries.current_events_by_persistence_id, queries.events_by_persistence_id):
                with pytest.raises(ValueError, match="persistence_id is empty"):
                    await anext(by_id(""))
                with pytest.raises(ValueError, match="from_sequence_nr -1 is out of range"):
                    await anext(by_id("p", -1))
                with pytest.raises(ValueError, match="to_sequence_nr 9223372036854775808 is out of range"):
                    await anext(by_id("p", 1, 2**63))
            for by_tag in (queries.current_events_by_tag, queries.events_by_tag):
                with pytest.raises(ValueError, match=r"tag .* is not valid Unicode"):
                    await anext(by_tag("\ud800"))

    asyncio.run(main())


# --- live ------------------------------------------------------------------------------------------------------------


def test_a_live_query_goes_on_with_what_is_written_through_any_handle(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage, backend.open(location) as other:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("p", 1, 3, "t")])
            feeds = [queries.all_events(), queries.events_by_tag("t"), queries.events_by_persistence_id("p", 1, 6)]
            ids = queries.persistence_ids()
            for feed in feeds:
                assert keys(await take(feed, 3)) == ["p1", "p2", "p3"]
            assert await take(ids, 1) == ["p"]
            tasks = [await waiting(feed) for feed in feeds]
            new = await waiting(ids)
            assert [task.done() for task in tasks] == [False] * 3
            assert not new.done()
            await other.journal.write_messages([write("p", 4, 6, "t"), write("q", 1)])
            async with asyncio.timeout(WAIT_S):
                assert keys([await task for task in tasks]) == ["p4"] * 3
                assert await new == "q"
            for feed in feeds:
                assert keys(await take(feed, 2)) == ["p5", "p6"]
            assert await everything(feeds[2]) == []  # it has reached its upper bound
            assert keys(await take(feeds[0], 1)) == ["q1"]
            await close(*feeds, ids)

    asyncio.run(main())


def test_a_live_query_of_an_id_ends_at_its_bound_also_if_that_event_is_gone(
    backend: Backend, location: Location
) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            journal, queries = storage.journal, queries_of(storage)
            to_a_gap = queries.events_by_persistence_id("p", 1, 5)
            first = await waiting(to_a_gap)
            await journal.write_messages([write("p", 1, 2)])
            assert (await first).sequence_nr == 1
            await journal.write_messages([write("p", 7)])
            assert keys(await everything(to_a_gap)) == ["p2"]
            to_a_deleted_one = queries.events_by_persistence_id("p", 1, 9)
            assert keys(await take(to_a_deleted_one, 3)) == ["p1", "p2", "p7"]
            await journal.write_messages([write("p", 8, 9)])
            await journal.delete_messages_to("p", 9)
            assert keys(await everything(to_a_deleted_one)) == []

    asyncio.run(main())


def test_live_ids_are_given_once_however_often_their_events_come_and_go(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            journal = storage.journal
            ids = queries_of(storage).persistence_ids()
            await journal.write_messages([write("b", 1), write("c", 1, 3)])
            assert sorted(await take(ids, 2)) == ["b", "c"]
            await journal.write_messages([write("a", 1), write("b", 2)])
            await journal.delete_messages_to("a", 1)
            await journal.delete_messages_to("b", 2)
            assert await take(ids, 1) == ["a"]
            await journal.write_messages([write("a", 2), write("d", 1)])
            assert await take(ids, 1) == ["d"]
            await close(ids)

    asyncio.run(main())


def test_every_query_fails_once_its_storage_was_closed(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            await storage.journal.write_messages([write("p", 1, 3, "t"), write("q", 1)])
            ids = [queries.current_persistence_ids(), queries.persistence_ids()]
            feeds = [
                queries.current_events_by_persistence_id("p"),
                queries.events_by_persistence_id("p"),
                queries.current_events_by_tag("t"),
                queries.events_by_tag("t"),
                queries.current_all_events(),
                queries.all_events(),
            ]
            for feed in feeds:
                await take(feed, 1)
            for one in ids:
                await take(one, 1)
            waits = queries.events_by_tag("never")
            task = await waiting(waits)
        async with asyncio.timeout(WAIT_S):
            for feed in feeds:
                with pytest.raises(StorageClosed):
                    await anext(feed)
            for one in ids:
                with pytest.raises(StorageClosed):
                    await anext(one)
            with pytest.raises(StorageClosed, match="events_by_tag"):
                await task
            with pytest.raises(StorageClosed, match="current_persistence_ids"):
                await anext(queries.current_persistence_ids())

    asyncio.run(main())


def test_a_feed_is_resumed_after_its_storage_was_closed_without_loss_or_repetition(
    backend: Backend, location: Location
) -> None:
    async def main() -> None:
        seen: list[EventEnvelope] = []
        for number in range(1, 40, 3):
            async with backend.open(location) as storage:
                await storage.journal.write_messages([write("p", number, number + 2, "t")])
                feed = queries_of(storage).events_by_tag("t", seen[-1].offset if seen else NO_OFFSET)
                behind = await take(feed, number + (number % 3) - len(seen))  # 2 less than there are
                seen += behind
            with pytest.raises(StorageClosed):
                await anext(feed)
        assert [one.sequence_nr for one in seen] == list(range(1, len(seen) + 1))
        assert len(seen) > 30

    asyncio.run(main())


def test_a_live_query_is_not_disturbed_by_other_handles_that_come_and_go(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            feed = queries_of(storage).all_events()
            task = await waiting(feed)
            for number in range(1, 6):
                async with backend.open(location) as other:
                    await other.journal.write_messages([write("p", number)])
            async with asyncio.timeout(WAIT_S):
                assert keys([await task, *await take(feed, 4)]) == ["p1", "p2", "p3", "p4", "p5"]
            await close(feed)

    asyncio.run(main())


def test_a_live_query_that_is_cancelled_or_closed_leaves_no_task(backend: Backend, location: Location) -> None:
    async def main() -> None:
        async with backend.open(location) as storage:
            queries = queries_of(storage)
            before = asyncio.all_tasks()
            lives = (queries.all_events(), queries.persistence_ids(), queries.events_by_persistence_id("p"))
            for live in cast(tuple[AsyncIterator[object], ...], lives):
                task = await waiting(live)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await close(live)
                with pytest.raises(StopAsyncIteration):
                    await anext(live)
            assert asyncio.all_tasks() == before

    asyncio.run(main())


def test_readers_in_other_threads_see_every_event_in_order_and_no_write_in_part(
    backend: Backend, location: Location
) -> None:
    """Each thread has an event loop and a handle of its own, on one location."""
    count = 300
    seen: dict[int, list[EventEnvelope]] = {}

    async def read(place: int) -> None:
        async with backend.open(location) as storage:
            feed = queries_of(storage).all_events()
            seen[place] = await take(feed, 3 * count)
            await close(feed)

    async def main() -> None:
        async with backend.open(location) as storage:
            threads = [threading.Thread(target=lambda place=place: asyncio.run(read(place))) for place in range(3)]
            for thread in threads:
                thread.start()
            for number in range(1, 3 * count, 3):
                await storage.journal.write_messages([write("p", number, number + 2)])
            for thread in threads:
                await asyncio.to_thread(thread.join, 2 * WAIT_S)

    asyncio.run(main())
    assert [[one.sequence_nr for one in seen[place]] for place in range(3)] == [list(range(1, 3 * count + 1))] * 3
