"""An event loop of asyncio in which everything that happens is chosen: no I/O, no threads, no time that passes.

Whenever several callbacks are ready, `choose` says which one runs next; that is all the freedom there is, so a list of
choices is a schedule and repeats a run exactly. When nothing is ready, the clock jumps to the next timer. What was
meant for a thread runs within the loop, as one step of the schedule. What needs the world outside (a socket, a process,
a thread of its own) is refused with `NotSimulated`, since an answer from there comes when it likes.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from ._schedule import Choose

Result = TypeVar("Result")

STEPS_MAX = 20_000
"""After so many callbacks a run is taken for one that never ends."""

CLEANING_STEPS_MAX = 2_000


class Deadlock(Exception):
    """Nothing can run, nothing will ever become ready, and somebody is waiting."""


class Livelock(Exception):
    """Something always runs, and nothing gets done."""


class NotSimulated(Exception):
    """The code under test needs what this loop does not have. The message names it."""


class _NoSelector:
    """Stands where a loop asks the operating system: nothing ever comes from there."""

    def select(self, _timeout: float | None) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. One loop is for one run; `close` it afterwards.

    The base class keeps what is ready in `_ready`, timers in `_scheduled`, and calls `_run_once` until it is stopped.
    These three are all that is used of its inside, as every other loop in Python does that is built on it.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, choose: Choose | None = None, steps_max: int = STEPS_MAX) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._clock_resolution = 1e-9
        self._now = 0.0
        self._choose = choose
        self._steps_max = steps_max
        self._owner = 0
        self.refused = ""
        """What was asked for that is not here, since whoever asked may keep the exception to himself."""
        self.steps = 0
        """How many callbacks have run."""
        self.lost: list[str] = []
        """What went wrong where nobody was waiting for it: exceptions of tasks that were never looked at."""
        self.set_exception_handler(lambda _, context: self.lost.append(str(context.get("message"))))

    def choosing(self, choose: Choose | None) -> None:
        """Choose like this from now on; without a choice, first come, first served."""
        self._choose = choose

    def time(self) -> float:
        return self._now

    def run_forever(self) -> None:
        self._owner = threading.get_ident()
        super().run_forever()

    def _run_once(self) -> None:
        self._drop_cancelled_timers()
        if not self._ready:
            if self._stopping:
                return
            if not self._scheduled:
                raise Deadlock("nothing can run any more, and somebody is waiting")
            self._now = max(self._now, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self._now:
            self._ready.append(heapq.heappop(self._scheduled))
        self._run_one()

    def _run_one(self) -> None:
        handle = self._next()
        self.steps += 1
        if self.steps > self._steps_max:
            raise Livelock(f"still going on after {self._steps_max} steps")
        if not handle.cancelled():
            handle._run()

    def _next(self) -> asyncio.Handle:
        count = len(self._ready)
        at = self._choose(count) if self._choose and count > 1 else 0
        if at == 0:
            return self._ready.popleft()
        handle = self._ready[at]
        del self._ready[at]
        return handle

    def _drop_cancelled_timers(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their turn comes; there are few of them."""

    # ------------------------------------------------------------------------------------ what was meant for a thread

    def run_in_executor(  # type: ignore[override]  # the base class leaves its arguments untyped
        self, executor: object, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Run the work here, as one step; like a thread it does not notice that nobody waits for it any more."""
        future: asyncio.Future[Result] = self.create_future()

        def work() -> None:
            try:
                answer = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(answer)

        self.call_soon(work)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as in the base
        pass

    def call_soon_threadsafe(  # type: ignore[override]  # without the generic form of its arguments
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        if threading.get_ident() == self._owner:
            return self.call_soon(callback, *args, context=context)
        self.refused = "a thread of its own"
        return asyncio.Handle(callback, args, self, context)  # which nobody runs; in a thread an exception helps nobody

    def _write_to_self(self) -> None:
        pass

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    # ----------------------------------------------------------------------------------------- what is not there at all

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        self.refused = "input and output on the event loop"
        raise NotSimulated(self.refused)

    add_reader = add_writer = add_signal_handler = _refused  # type: ignore[assignment]  # whatever they are given
    remove_reader = remove_writer = _refused
    create_connection = create_server = create_unix_connection = create_unix_server = _refused
    create_datagram_endpoint = connect_accepted_socket = sendfile = start_tls = _refused
    sock_recv = sock_recv_into = sock_sendall = sock_connect = sock_accept = sock_sendfile = _refused
    connect_read_pipe = connect_write_pipe = subprocess_shell = subprocess_exec = _refused
    getaddrinfo = getnameinfo = _refused

    # ------------------------------------------------------------------------------------------------------- the end

    def end(self) -> list[str]:
        """Cancel what is still under way and close the loop. The answer names the tasks that were left."""
        self._choose = None
        left = [task for task in asyncio.all_tasks(self) if not task.done()]
        names = sorted(_name(task) for task in left)
        self._steps_max = self.steps + CLEANING_STEPS_MAX
        for task in left:
            task.cancel()
        try:
            if left:
                self.run_until_complete(asyncio.wait(left))
            self.run_until_complete(self.shutdown_asyncgens())
        except (Deadlock, Livelock):
            pass  # what does not even end when it is cancelled has been named above
        self._ready.clear()
        self._scheduled.clear()
        self.close()
        return names


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", task.get_name())
