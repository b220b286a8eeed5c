"""A thread that serves requests of an event loop, in the order in which they were made.

SQLite blocks, so all of it happens in such threads. What a hop costs is the waking, so a worker is given all requests
that are waiting, and the loop is woken once for all of their answers. What is served is not decided here.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

Task = TypeVar("Task")

Future = asyncio.Future[Any]
Answer = tuple[Future, object]
"""A future with the value, or the exception, that it will be given."""


class Work(Protocol[Task]):
    """What a worker does. Every method is called in the worker's thread."""

    def start(self) -> None:
        """Make ready; an exception is handed to whoever starts the worker."""

    def serve(self, pending: deque[tuple[Future, Task]]) -> list[Answer]:
        """Take at least one request from the left, and answer every one that was taken. Never raises."""
        ...

    def stop(self) -> None:
        """Release everything, also after `start` has failed."""


class Worker(Generic[Task]):
    """An async context manager around one thread. Leaving it serves what is queued and then joins the thread."""

    def __init__(self, name: str, work: Work[Task]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[Future, Task] | None] = SimpleQueue()
        self._started: Future = self._loop.create_future()
        self._ended: Future = self._loop.create_future()
        # A daemon: a program that forgets to close its storage must still be able to end. SQLite survives a kill.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.closed = False

    async def __aenter__(self) -> Worker[Task]:
        self._thread.start()
        try:
            await self._started
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        self.closed = True
        self._queue.put(None)
        try:
            await asyncio.shield(self._ended)
        finally:
            self._thread.join()  # waits only if this task was cancelled while requests were still being served

    def ask(self, task: Task) -> Future:
        """Queue a task. The future may be cancelled at any time; the task may be served nevertheless."""
        future = self._loop.create_future()
        self._queue.put((future, task))
        return future

    def _run(self) -> None:
        try:
            self._serve_all()
        finally:
            self._post([(self._ended, self._stopped())])

    def _serve_all(self) -> None:
        try:
            self._work.start()
        except Exception as error:
            self._post([(self._started, error)])
            return
        self._post([(self._started, None)])
        pending: deque[tuple[Future, Task]] = deque()
        more = True
        while more:
            more = self._take(pending)
            while pending:
                self._post(self._work.serve(pending))

    def _take(self, pending: deque[tuple[Future, Task]]) -> bool:
        """Wait for a request, then take all that are there. False: the last one has been taken."""
        request = self._queue.get()
        try:
            while request is not None:
                pending.append(request)
                request = self._queue.get_nowait()
        except Empty:
            return True
        return False

    def _stopped(self) -> Exception | None:
        try:
            self._work.stop()
        except Exception as error:
            return error
        return None

    def _post(self, answers: list[Answer]) -> None:
        with suppress(RuntimeError):  # the loop was closed under us: nobody waits for these answers any more
            self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Iterable[Answer]) -> None:
    for future, answer in answers:
        if future.done():
            continue  # the caller was cancelled
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
