"""Offsets of projections in a SQLite database of the application, beside the tables that the projections fill.

That makes exactly-once possible: what the handler writes and the new offset are one transaction. Whatever is waiting
becomes one transaction, and nobody waits for a fuller one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from perdure import NO_OFFSET, EventEnvelope, Offset, ResumableQuery, close_query
from perdure.errors import OffsetConflict, OpenFailed, StorageClosed

from ._worker import Answer, Future, Worker

SqlHandler = Callable[[sqlite3.Connection, EventEnvelope], None]
"""Is called in a thread, within a transaction that it must neither commit nor roll back."""

Task = Callable[[sqlite3.Connection], object]

_TABLE = "CREATE TABLE IF NOT EXISTS perdure_offset (projection TEXT NOT NULL PRIMARY KEY, offset TEXT NOT NULL)"
_READ = "SELECT offset FROM perdure_offset WHERE projection = ?"
_SAVE = "INSERT OR REPLACE INTO perdure_offset (projection, offset) VALUES (?, ?)"


class SqliteOffsets:
    """A `perdure.OffsetStore`, and `project` for projections that fill tables of the same database exactly once.

    An async context manager around one connection, which lives in a thread. The database is the application's: its
    journal mode is left as it is, and one table, `perdure_offset`, is added. It should be another file than that of the
    journal, where a long transaction of a handler would hold up every writer. Raises `OpenFailed`.
    """

    def __init__(self, path: Path, busy_timeout_s: float = 5.0) -> None:
        self._connecting = _Connecting(path, busy_timeout_s)

    async def __aenter__(self) -> SqliteOffsets:
        self._worker: Worker[Task] = Worker("perdure-sqlite-offsets", self._connecting)
        await self._worker.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._worker.__aexit__()

    async def read_offset(self, name: str) -> Offset:
        offset: Offset = await self._ask("read_offset", lambda connection: _read(connection, name))
        return offset

    async def save_offset(self, name: str, offset: Offset) -> None:
        await self._ask("save_offset", lambda connection: _save(connection, name, offset))

    async def project(self, name: str, query: ResumableQuery, handler: SqlHandler, batch_max: int = 500) -> None:
        """Run a handler over the events behind the stored offset: each **exactly once**, whatever crashes when.

        Up to `batch_max` events that are there already share a transaction. If the handler raises, what it did for this
        event is undone, the events before it are committed, and the exception is passed on; calling `project` again
        begins with this event. Two runners of one projection do not apply an event twice: the transaction finds the
        offset moved, nothing is done, and `OffsetConflict` is raised.
        """
        if batch_max < 1:
            raise ValueError(f"batch_max {batch_max} is out of range; 1 or more is allowed")
        behind = await self.read_offset(name)
        events = query(behind)
        try:
            async with aclosing(_batches(events, batch_max)) as batches:
                async for batch in batches:
                    await self._ask("project", Step(name, behind, batch, handler).apply)
                    behind = batch[-1].offset
        finally:
            await close_query(events)

    def _ask(self, operation: str, task: Task) -> Future:
        if self._worker.closed:
            raise StorageClosed(operation)
        return self._worker.ask(task)


class Step:
    """One transaction of a projection."""

    def __init__(self, name: str, behind: Offset, batch: Sequence[EventEnvelope], handler: SqlHandler) -> None:
        self._name = name
        self._behind = behind
        self._batch = batch
        self._handler = handler

    def apply(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._refuse_moved(_read(connection, self._name))
            failure = self._handle_all(connection)
            if self._behind != NO_OFFSET:
                _save(connection, self._name, self._behind)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if failure is not None:
            raise failure

    def _refuse_moved(self, stored: Offset) -> None:
        if stored != self._behind:
            raise OffsetConflict(self._name, self._behind, stored)

    def _handle_all(self, connection: sqlite3.Connection) -> Exception | None:
        """Up to the first failure, which leaves nothing of its own event."""
        for envelope in self._batch:
            connection.execute("SAVEPOINT perdure_event")
            try:
                self._handler(connection, envelope)
                self._refuse_ended(connection)
            except Exception as error:
                if not connection.in_transaction:
                    raise  # SQLite gave up the whole transaction, as it does when the disk is full
                connection.execute("ROLLBACK TO perdure_event")
                connection.execute("RELEASE perdure_event")
                return error
            connection.execute("RELEASE perdure_event")
            self._behind = envelope.offset
        return None

    def _refuse_ended(self, connection: sqlite3.Connection) -> None:
        if not connection.in_transaction:
            raise RuntimeError(
                f"the handler of projection {self._name!r} has ended the transaction, so that its work and the offset "
                f"are not one any more; leave COMMIT and ROLLBACK to the projection"
            )


def _read(connection: sqlite3.Connection, name: str) -> Offset:
    row = connection.execute(_READ, (name,)).fetchone()
    return NO_OFFSET if row is None else Offset.parse(row[0])


def _save(connection: sqlite3.Connection, name: str, offset: Offset) -> None:
    connection.execute(_SAVE, (name, str(offset)))


async def _batches(events: AsyncIterator[EventEnvelope], size: int) -> AsyncGenerator[list[EventEnvelope], None]:
    """What has come while the batch before was handled, up to so many at a time. Fetches one batch ahead."""
    queue: asyncio.Queue[EventEnvelope | BaseException | None] = asyncio.Queue()
    room = asyncio.Semaphore(size)
    filling = asyncio.create_task(_fill(queue, room, events))
    try:
        while True:
            item = await queue.get()
            batch: list[EventEnvelope] = []
            while isinstance(item, EventEnvelope):
                room.release()
                batch.append(item)
                if len(batch) == size or queue.empty():
                    break
                item = queue.get_nowait()
            if batch:
                yield batch
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
    finally:
        filling.cancel()
        await asyncio.wait([filling])


async def _fill(
    queue: asyncio.Queue[EventEnvelope | BaseException | None],
    room: asyncio.Semaphore,
    events: AsyncIterator[EventEnvelope],
) -> None:
    """Put what comes into the queue, and how it ended: with None, or with an exception."""
    ending: BaseException | None = None
    try:
        await room.acquire()
        async for envelope in events:
            queue.put_nowait(envelope)
            await room.acquire()
    except BaseException as error:
        ending = error
        if not isinstance(error, Exception):
            raise
    finally:
        queue.put_nowait(ending)


class _Connecting:
    """See `_worker.Work`."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection | None = None

    def start(self) -> None:
        try:
            self._connection = sqlite3.connect(self._path, timeout=self._busy_timeout_s, isolation_level=None)
            self._connection.execute(_TABLE)
        except sqlite3.Error as error:
            raise OpenFailed(
                f"{self._path}: {error}; give the path of a SQLite database that may be written"
            ) from error

    def serve(self, pending: deque[tuple[Future, Task]]) -> list[Answer]:
        future, task = pending.popleft()
        assert self._connection is not None
        try:
            return [(future, task(self._connection))]
        except Exception as error:
            return [(future, error)]

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
