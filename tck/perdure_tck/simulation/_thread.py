"""A thread in which simulated loops run, one after the other, so that one that is blocked can be left behind.

Within a loop nothing takes time; but code under test may block the thread itself, and then nobody in it could say so.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..stage import Pulse, Silent, watched
from ._loop import SimulatedLoop
from ._schedule import Choose

Result = TypeVar("Result")
Job = Callable[[], None]

END_S = 5.0

_here = threading.local()
"""In a simulated thread, `thread` is the object that it belongs to."""


class SimulatedThread:
    """Runs the coroutines of one stage after the other: `begin` with each, `leave` at the end of all."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="perdure-simulation", daemon=True)
        self._thread.start()
        self._loop = SimulatedLoop()
        self._loop.close()
        self.left: list[str] = []
        """The tasks that were left when the last loop was stopped."""
        self.blocked = False
        """Whether something holds the thread; it is then good for nothing any more."""

    def _serve(self) -> None:
        _here.thread = self
        while job := self._jobs.get():
            job()

    def begin(self) -> SimulatedThread:
        """Take a new loop."""
        self._refuse_left_behind()
        self._loop = SimulatedLoop()
        return self

    def choosing(self, choose: Choose | None) -> None:
        self._loop.choosing(choose)

    @property
    def steps(self) -> int:
        return self._loop.steps

    @property
    def refused(self) -> str:
        """What the code under test asked for that a simulation does not have; "" if nothing."""
        return self._loop.refused

    def run(self, work: Coroutine[Any, Any, Result], pulse: Pulse) -> Result:
        """The result of a coroutine. Raises `Deadlock` or `Livelock`, and `Silent` if it blocks the thread."""
        return self.do(lambda: self._loop.run_until_complete(work), pulse)

    def stop(self) -> None:
        """End the loop and whatever is still under way on it."""
        if not self.blocked:
            pulse = Pulse()
            pulse.begin(END_S)
            with contextlib.suppress(Silent):
                self.left = self.do(self._loop.end, pulse)

    def leave(self) -> None:
        """Let the thread end, and its last loop with it, as soon as nothing holds it."""
        self._jobs.put(self._end_what_is_open)
        self._jobs.put(None)

    def join(self, limit_s: float | None = None) -> None:
        """Wait until the thread has ended, but not longer than this; after `leave`."""
        self._thread.join(limit_s)

    def _end_what_is_open(self) -> None:
        if not self._loop.is_closed():
            self._loop.end()

    def do(self, call: Callable[[], Result], pulse: Pulse) -> Result:
        """What a function gives that is called in this thread. Raises `Silent` if the pulse says that it is overdue."""
        self._refuse_left_behind()
        if threading.get_ident() == self._thread.ident:
            return call()
        try:
            return watched(self._asked(call), pulse)
        finally:
            self.blocked = self.blocked or pulse.given_up

    def _refuse_left_behind(self) -> None:
        """Whoever was left behind in another such thread, and goes on after all, is not to disturb this one."""
        if getattr(_here, "thread", self) is not self:
            raise Silent(0)

    def _asked(self, call: Callable[[], Result]) -> concurrent.futures.Future[Result]:
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                answer = call()
            except BaseException as error:  # for whoever waits, whatever it is
                future.set_exception(error)
            else:
                future.set_result(answer)

        self._jobs.put(job)
        return future
