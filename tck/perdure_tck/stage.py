"""A stage: one location of one backend, with the handles that are open on it, on an event loop in a thread of its own.

The thread is there so that an operation which never answers, or which blocks the loop, can be left behind: every
operation has a limit, watched from outside. A test's own time-out would not do, since it ends the whole program.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from perdure import Backend, Location, Storage

from .endpoints import endpoint_of
from .leaping import LeapingLoop
from .model import START_OF_CLOCK
from .scratch import new_directory, remove

Result = TypeVar("Result")
GRACE_S = 0.5
REFRESH_INTERVAL_S = 0.01
"""How soon a live query that polls notices what was written: shorter than an application would have it."""


class KitFault(Exception):
    """The adapter, the environment or the kit itself raised: neither for nor against the backend."""


class Silent(Exception):
    """An operation gave no answer within its limit."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"no answer in {limit_s:g} s")
        self.limit_s = limit_s


class ManualClock:
    """The clock of a location under test: it stands still until a program sets it."""

    def __init__(self) -> None:
        self.now = START_OF_CLOCK

    def __call__(self) -> int:
        return self.now


class Pulse:
    """What is under way on the loop, seen from outside: when it began and how long it may take."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.limit_s = 0.0
        self.given_up = False
        """Whether somebody stopped waiting for what is under way; the stage is then good for nothing but closing."""

    def begin(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.deadline = time.monotonic() + limit_s

    def end(self) -> None:
        self.deadline = None

    @property
    def overdue(self) -> bool:
        deadline = self.deadline
        return deadline is not None and time.monotonic() > deadline


def watched(future: concurrent.futures.Future[Result], pulse: Pulse) -> Result:
    """The result of what runs in another thread; `Silent` as soon as the pulse says that something is overdue."""
    while True:
        try:
            return future.result(timeout=0.05)
        except concurrent.futures.TimeoutError:
            if future.done():  # in this very moment, or with a time-out of its own
                return future.result()
        if pulse.overdue:
            pulse.given_up = True
            future.cancel()
            raise Silent(pulse.limit_s)


class LoopThread:
    """An event loop in a daemon thread, which can be abandoned if something blocks it."""

    def __init__(self) -> None:
        self._loop = LeapingLoop()
        self._thread = threading.Thread(target=self._serve, name="perdure-stage", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Run until stopped, then end what is still under way: in this thread, so that nobody need wait for it."""
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, Result], pulse: Pulse) -> Result:
        """The result of a coroutine; `Silent` as soon as the pulse says that an operation within it is overdue."""
        return watched(asyncio.run_coroutine_threadsafe(work, self._loop), pulse)

    def stop(self) -> None:
        """End the loop if it still answers; a blocked one is left to its daemon thread."""
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE_S)


class RunsLoop(Protocol):
    """A thread in which an event loop runs coroutines."""

    def run(self, work: Coroutine[Any, Any, Result], pulse: Pulse) -> Result: ...

    def stop(self) -> None: ...


async def _cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=GRACE_S)
        for task in done:
            _ = task.cancelled() or task.exception()  # looked at, so that nothing complains about it


class Handle:
    """One open storage, held by a task of its own: a context manager must be left by the task that entered it."""

    def __init__(self, backend: Backend, location: Location) -> None:
        self.opened: Storage | None = None
        """The storage, if opening has come to a good end."""
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[Storage] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(backend, location))

    async def _hold(self, backend: Backend, location: Location) -> None:
        try:
            async with backend.open(location) as storage:
                self.opened = storage
                self._ready.set_result(storage)
                await self._leave.wait()
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def storage(self) -> Storage:
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        self._leave.set()
        await self._task


class Stage:
    """A fresh location in a temporary directory, and one handle for each client that asked for one.

    `open_limit_s` bounds opening and closing. Call `close` when done; it removes the directory.
    """

    def __init__(
        self,
        backend: Backend,
        page_size: int | None = None,
        open_limit_s: float = 60.0,
        thread: RunsLoop | None = None,
        directory: Path | None = None,
    ) -> None:
        """`thread` is what runs the event loop; a thread of its own by default. A given directory is not removed."""
        self.backend = backend
        self.clock = ManualClock()
        self.pulse = Pulse()
        self._removes_directory = directory is None
        self.directory = directory or new_directory()
        self._open_limit_s = open_limit_s
        self._locations: dict[str, Location] = {}
        self._handles: dict[str, Handle] = {}
        self._page_size = page_size
        self._thread = thread or LoopThread()

    @property
    def page_size(self) -> int:
        return self._location("").page_size

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._thread.run(work, self.pulse)

    def open(self) -> None:
        """Open the location for the unnamed client, if it is not open yet. Raises `KitFault` if that cannot be."""
        if "" in self._handles:
            return
        try:
            self.run(self.storage())
        except Silent as silence:
            raise KitFault(f"opening {self.backend.name} gave {silence}") from silence
        except Exception as error:
            raise KitFault(f"opening {self.backend.name} raised {type(error).__name__}: {error}") from error
        finally:
            self.pulse.end()

    def opened(self, client: str) -> Storage | None:
        """The open storage of a client, or None if `storage` has still to open it."""
        handle = self._handles.get(client)
        return handle.opened if handle else None

    async def storage(self, client: str = "") -> Storage:
        """The open storage of a client, opened when it first asks."""
        if client not in self._handles:
            self.pulse.begin(self._open_limit_s)
            self._handles[client] = Handle(self.backend, self._location(client.partition("@")[2]))
        try:
            return await self._handles[client].storage()
        except Exception:
            del self._handles[client]
            raise

    async def reopen(self) -> None:
        """Close every handle, and open those again that were open."""
        clients = list(self._handles)
        await self._close_handles()
        for client in clients:
            await self.storage(client)

    async def _close_handles(self) -> None:
        for client in list(self._handles):
            self.pulse.begin(self._open_limit_s)
            await self._handles.pop(client).close()

    def _location(self, namespace: str) -> Location:
        if namespace not in self._locations:
            endpoint = endpoint_of(self.backend)
            namespace_ = namespace or "perdure"
            location = Location(
                directory=self.directory,
                endpoint=endpoint,
                # a server has no fresh directory to begin in: the names of its namespaces are fresh instead
                namespace=f"{self.directory.name}-{namespace_}" if endpoint else namespace_,
                refresh_interval_s=REFRESH_INTERVAL_S,
                clock=self.clock,
            )
            if self._page_size is not None:
                location = msgspec.structs.replace(location, page_size=self._page_size)
            self._locations[namespace] = location
        return self._locations[namespace]

    def close(self) -> None:
        """Close what is open and remove the directory, also if closing raises `KitFault`."""
        try:
            self._thread.run(self._close_handles(), self.pulse)
        except Silent as silence:
            raise KitFault(f"closing {self.backend.name} gave {silence}") from silence
        except Exception as error:
            raise KitFault(f"closing {self.backend.name} raised {type(error).__name__}: {error}") from error
        finally:
            self.pulse.end()
            self._thread.stop()
            if self._removes_directory:
                remove(self.directory)
