"""Virtual time: an event loop whose clock stands still until the test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

Parameters = ParamSpec("Parameters")

_SETTLE_STEPS_MAX = 100_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Timers fire only when `advance` moves the clock past them. Threads and files work as ever."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def next_timer(self) -> float | None:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # of BaseEventLoop
        return min((timer.when() for timer in scheduled if not timer.cancelled()), default=None)

    def is_idle(self) -> bool:
        return not self._ready  # type: ignore[attr-defined]  # of BaseEventLoop

    def move_to(self, now: float) -> None:
        self._now = max(self._now, now)


async def settle() -> None:
    """Return when nothing more can happen at this moment of virtual time. Threads are not waited for."""
    loop = _running()
    for _ in range(_SETTLE_STEPS_MAX):
        await asyncio.sleep(0)
        if loop.is_idle():
            return
    raise RuntimeError(f"something is still busy after {_SETTLE_STEPS_MAX} steps in which no time passed")


async def advance(seconds: float) -> None:
    """Let time pass: each timer fires at its own moment, and what it causes happens before the next one fires."""
    loop = _running()
    end = loop.time() + seconds
    await settle()
    while (when := loop.next_timer()) is not None and when <= end:
        loop.move_to(when)
        await settle()
    loop.move_to(end)


def virtual_time(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Makes an async function a test that runs on a `VirtualLoop` of its own."""

    @wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def _running() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("the clock can be moved only on a VirtualLoop; decorate the test with @virtual_time")
    return loop
