"""How the live queries of one handle wait: woken by what this process writes, and by a look at what others wrote.

SQLite tells nobody that another process has committed, so somebody must look. One timer looks for all queries of a
handle, and only while one of them waits; there is no task and no thread to it. A look reads one number from an index.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from perdure import Changes

from ._reader import Read, Reader
from ._worker import Future, Worker

GATHER_S = 0.005
"""How long a query that has seen everything rests before it can be woken. Under many small writes it would otherwise
look after each of them, and take from the writers the time that they need. The first event after a rest is not late."""


class Watch:
    """A context manager, of which the end makes all who wait look once more: they find it `closed`."""

    def __init__(self, changes: Changes, reader: Worker[Read], interval_s: float) -> None:
        self._changes = changes
        self._reader = reader
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._look: Future | None = None
        self._ordering: int | None = None
        self.closed = False

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.closed = True
        self._rest()
        self._changes.announce()

    @property
    def count(self) -> int:
        """To be taken before looking, for `after`."""
        return self._changes.count

    async def after(self, count: int) -> None:
        """Wait until there may be something that a look after `count` was taken could not see."""
        await asyncio.sleep(GATHER_S)
        if self.closed:
            return
        self._waiting += 1
        self._look_later()
        try:
            await self._changes.after(count)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._rest()

    def _look_later(self) -> None:
        if self._timer is None and self._look is None:
            self._timer = self._loop.call_later(self._interval_s, self._ask)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        self._timer = None
        if not self._reader.closed:
            self._look = self._reader.ask(Reader.highest_ordering)
            self._look.add_done_callback(self._looked)

    def _looked(self, look: Future) -> None:
        """Wake everybody if the number is not that of the look before, and after an error, which they will meet.

        A query that waits has itself looked after one of our looks and before the next. If the two agree, it has seen
        everything.
        """
        self._look = None
        ordering = None if look.cancelled() or look.exception() else look.result()
        if ordering is None or ordering != self._ordering:
            self._changes.announce()
        self._ordering = ordering
        if self._waiting and not self.closed:
            self._look_later()
