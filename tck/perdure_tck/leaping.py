"""An event loop whose clock can be moved forward, so that limits of minutes are over at once."""

from __future__ import annotations

import asyncio

IDLE_STEPS_MAX = 100_000


class LeapingLoop(asyncio.SelectorEventLoop):
    """Its time is the real one, and what was leapt over. Threads, files and sockets work as ever."""

    def __init__(self) -> None:
        super().__init__()
        self._leapt_s = 0.0

    def time(self) -> float:
        return super().time() + self._leapt_s

    def leap(self, seconds: float) -> None:
        self._leapt_s += seconds

    def has_ready(self) -> bool:
        return bool(self._ready)  # type: ignore[attr-defined]  # of BaseEventLoop


async def until_idle() -> None:
    """Return when nothing on this loop can go on by itself; threads and timers are not waited for."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LeapingLoop), "actors are judged on a stage of their own"
    for _ in range(IDLE_STEPS_MAX):
        await asyncio.sleep(0)
        if not loop.has_ready():
            return
