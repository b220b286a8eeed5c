"""Whose turn it is: cells that have something to do, in the order in which they came to have it.

One callback of the event loop serves all that are ready, since a callback for each would cost more than most messages
do. Whoever becomes ready meanwhile is served by the next callback, so that input and output have their turn between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

Turn = Callable[[], None]


class Dispatcher:
    """Belongs to one runtime."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: deque[Turn] = deque()
        self._scheduled = False

    def add(self, turn: Turn) -> None:
        """Call it soon, once, and never before this returns."""
        self._ready.append(turn)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        ready = self._ready
        try:
            for _ in range(len(ready)):
                ready.popleft()()
        finally:  # also when one raised: the others must not wait for ever
            self._scheduled = bool(ready)
            if ready:
                self._loop.call_soon(self._serve)
