"""How live queries learn that something was written, in whatever threads and event loops they wait.

For backends that hear of a write inside their own process. What another process wrote they must find out themselves,
and announce it here.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

Waiter = asyncio.Future[None]


class Changes:
    """A count of what was announced, and whoever waits for it to grow.

    A reader takes the count *before* it looks, and waits with `after(count)` if it has seen everything: what was
    announced in between ends the waiting at once, so no change is missed.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._waiting: set[Waiter] = set()

    def announce(self) -> None:
        """Something may be new. From any thread; cheap when nobody waits. Announcing too often does no harm."""
        with self._lock:
            self.count += 1
            if not self._waiting:
                return
            woken, self._waiting = self._waiting, set()
        for waiter in woken:
            _wake(waiter)

    async def after(self, count: int) -> None:
        """Wait until more than `count` was announced. Cancelling leaves nothing behind."""
        with self._lock:
            if self.count != count:
                return
            waiter: Waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
        try:
            await waiter
        finally:
            with self._lock:
                self._waiting.discard(waiter)


def _wake(waiter: Waiter) -> None:
    loop = waiter.get_loop()
    if loop is asyncio._get_running_loop():
        _settle(waiter)
        return
    with suppress(RuntimeError):  # its loop was closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, waiter)


def _settle(waiter: Waiter) -> None:
    if not waiter.done():  # else whoever waited was cancelled
        waiter.set_result(None)
