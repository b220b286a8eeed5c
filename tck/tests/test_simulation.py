"""The simulated event loop does what asyncio promises, in whatever order, and says so where it cannot."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from perdure_tck.simulation import (
    Deadlock,
    Livelock,
    NotSimulated,
    Schedule,
    SimulatedLoop,
    SimulatedThread,
    following,
    schedules,
)
from perdure_tck.stage import Pulse, Silent

Work = Callable[[], Coroutine[Any, Any, Any]]
ORDERS = range(25)


def played(work: Work, choose: Callable[[int], int] | None = None, steps_max: int = 20_000) -> Any:
    loop = SimulatedLoop(choose, steps_max)
    try:
        return loop.run_until_complete(work())
    finally:
        loop.end()


def in_every_order(work: Work) -> list[Any]:
    return [played(work, random.Random(seed).randrange) for seed in ORDERS]


async def written_in_turn() -> list[str]:
    """Three tasks that give way: which of them comes first is all that differs."""
    seen: list[str] = []

    async def task(name: str) -> None:
        for number in range(2):
            await asyncio.sleep(0)
            seen.append(f"{name}{number}")

    await asyncio.gather(task("a"), task("b"), task("c"))
    return seen


def test_without_a_choice_the_order_is_that_of_asyncio() -> None:
    assert played(written_in_turn) == asyncio.run(written_in_turn())


def test_choices_change_the_order_and_repeat_it_exactly() -> None:
    found = in_every_order(written_in_turn)
    assert len({tuple(one) for one in found}) > 5
    assert found == in_every_order(written_in_turn)


def test_what_was_chosen_can_be_followed_again() -> None:
    schedule = Schedule(random.Random(7).randrange)
    first = played(written_in_turn, schedule)
    assert schedule.asked
    assert schedule.choices[-1] != 0
    again = Schedule(following(schedule.choices))
    assert played(written_in_turn, again) == first
    assert again.choices == schedule.choices


def test_a_schedule_too_short_or_too_high_is_still_one() -> None:
    assert sorted(played(written_in_turn, Schedule(following([99, 99])))) == ["a0", "a1", "b0", "b1", "c0", "c1"]


def test_schedules_begin_with_both_plain_orders_and_are_the_same_each_time() -> None:
    def orders() -> list[list[str]]:
        return [played(written_in_turn, choose) for choose in schedules(1, 12)]

    assert orders() == orders()
    assert orders()[0] == played(written_in_turn)
    assert orders()[1] != orders()[0]


def test_a_year_passes_at_once() -> None:
    async def year() -> float:
        await asyncio.sleep(365 * 86_400)
        return asyncio.get_running_loop().time()

    assert played(year) == 365 * 86_400


def test_timers_fire_in_their_order_and_cancelled_ones_never() -> None:
    async def timers() -> list[int]:
        loop, fired = asyncio.get_running_loop(), list[int]()
        for after in (3, 1, 2):
            loop.call_later(after, fired.append, after)
        loop.call_later(2.5, fired.append, 99).cancel()
        await asyncio.sleep(4)
        return fired

    assert in_every_order(timers) == [[1, 2, 3]] * len(ORDERS)


def test_a_time_out_ends_what_would_wait_for_ever() -> None:
    async def impatient() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert played(impatient) == 120


def test_locks_and_queues_hold_in_every_order() -> None:
    async def counted() -> tuple[int, list[int]]:
        lock, total, queue, taken = asyncio.Lock(), 0, asyncio.Queue[int](1), list[int]()

        async def count() -> None:
            nonlocal total
            async with lock:
                known = total
                await asyncio.sleep(0)
                total = known + 1

        async def put() -> None:
            for number in range(3):
                await queue.put(number)

        async def take() -> None:
            for _ in range(3):
                taken.append(await queue.get())

        await asyncio.gather(count(), count(), count(), put(), take())
        return total, taken

    assert in_every_order(counted) == [(3, [0, 1, 2])] * len(ORDERS)


def test_without_the_lock_some_order_loses_a_count_and_first_come_first_served_is_not_needed_for_that() -> None:
    async def counted() -> int:
        total = 0

        async def count() -> None:
            nonlocal total
            known = total
            await asyncio.sleep(0)
            total = known + 1

        await asyncio.gather(count(), count())
        return total

    assert {1, 2} == set(in_every_order(counted))


def test_exceptions_and_cancellation_arrive_where_they_belong() -> None:
    async def failing() -> list[str]:
        seen: list[str] = []

        async def fail() -> None:
            await asyncio.sleep(0)
            raise LookupError("gone")

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(1)
        waiting.cancel()
        results = await asyncio.gather(fail(), waiting, return_exceptions=True)
        return [*seen, *(type(result).__name__ for result in results)]

    assert in_every_order(failing) == [["cancelled", "LookupError", "CancelledError"]] * len(ORDERS)


def test_work_for_a_thread_runs_within_the_loop() -> None:
    async def threaded() -> tuple[bool, str]:
        owner = threading.get_ident()
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(_refuse)
        return await asyncio.to_thread(threading.get_ident) == owner, "done"

    assert in_every_order(threaded) == [(True, "done")] * len(ORDERS)


def _refuse() -> None:
    raise ValueError("no")


def test_waiting_for_nobody_is_a_deadlock() -> None:
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="nothing can run"):
        played(stuck)


def test_going_round_for_ever_is_a_livelock() -> None:
    async def busy() -> None:
        await asyncio.sleep(0.001)
        await busy()

    with pytest.raises(Livelock, match="after 100 steps"):
        played(busy, steps_max=100)


def test_sockets_and_foreign_threads_are_refused_and_named() -> None:
    async def connected() -> None:
        await asyncio.open_connection("localhost", 1)

    loop = SimulatedLoop()
    with pytest.raises(NotSimulated):
        loop.run_until_complete(connected())
    assert "input and output" in loop.refused
    loop.end()

    async def called_from_outside() -> None:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(print,))
        thread.start()
        thread.join()

    loop = SimulatedLoop()
    loop.run_until_complete(called_from_outside())
    assert loop.refused == "a thread of its own"
    loop.end()


def test_what_is_left_at_the_end_is_named_and_ended() -> None:
    ended: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("generator")

    kept: list[Any] = []

    async def leaves_something() -> None:
        kept.extend((asyncio.create_task(forgotten()), numbers()))
        await anext(kept[1])

    loop = SimulatedLoop()
    loop.run_until_complete(leaves_something())
    loop.run_until_complete(asyncio.sleep(0))
    left = loop.end()
    assert len(left) == 1
    assert left[0].endswith("forgotten")
    assert sorted(ended) == ["generator", "task"]
    assert loop.is_closed()


@pytest.fixture
def thread() -> Iterator[SimulatedThread]:
    one = SimulatedThread()
    yield one
    one.leave()
    one.join()


def test_a_blocked_thread_is_left_behind(thread: SimulatedThread) -> None:
    release = threading.Event()

    async def blocking() -> None:
        release.wait(60)

    pulse = Pulse()
    pulse.begin(0.05)
    with pytest.raises(Silent):
        thread.begin().run(blocking(), pulse)
    assert thread.blocked
    release.set()


def test_a_call_from_within_the_thread_does_not_wait_for_itself(thread: SimulatedThread) -> None:
    async def answer() -> int:
        return 42

    def nested() -> int:
        return thread.begin().run(answer(), Pulse())

    assert thread.do(nested, Pulse()) == 42
    thread.stop()
    assert thread.left == []
