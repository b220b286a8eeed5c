"""The writer: whatever waits becomes one statement, and is acknowledged when that has answered.

Nobody waits for a fuller group: while one is under way the next gathers. If the server refuses a group, which stores
nothing of it, every call of it is tried alone, so that exactly the offenders fail. If nobody knows what became of a
group, every call of it is told so, and nothing is tried again: that is how events are written twice.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import msgspec
from perdure import AtomicWrite
from perdure.errors import SequenceConflict, WriteFailed

from ._connection import AWAY, Database, provably_nothing
from ._rows import Columns
from ._schema import CONFLICT, GAP, TAKEN
from ._text import loaded, stored

EVENTS_MAX = 1000
BYTES_MAX = 4 * 2**20
"""A group takes no further call once it has this many events, or bytes of payloads. One call alone may be larger."""


class Call(msgspec.Struct, eq=False):
    """One call of `write_messages`, without what was rejected of it."""

    writes: Sequence[AtomicWrite]
    now: int
    answer: asyncio.Future[None]

    @property
    def size(self) -> int:
        return sum(len(event.payload.data) for write in self.writes for event in write.events)


class Writer:
    """An async context manager around one task. Leaving it writes what is queued, and then ends."""

    def __init__(self, database: Database, wrote: Callable[[], None]) -> None:
        self._database = database
        self._wrote = wrote
        self._queue: deque[Call] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    async def __aenter__(self) -> Writer:
        self._task = asyncio.create_task(self._serve(), name="perdure-postgres-writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True
        self._wake()
        assert self._task is not None
        await self._task

    async def write(self, writes: Sequence[AtomicWrite], now: int) -> None:
        """Store all of it or nothing. It is written also if this is cancelled."""
        _refuse_going_back(writes)
        call = Call(writes, now, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._wake()
        await call.answer

    async def quiet(self) -> None:
        """Wait until everything that was queued before is answered. (J-47)"""
        await self.write((), 0)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _serve(self) -> None:
        while not (self.closed and not self._queue):
            if not self._queue:
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
                continue
            group = self._group()
            await self._commit(group)
            if any(call.writes for call in group):
                self._wrote()

    def _group(self) -> list[Call]:
        group = [self._queue.popleft()]
        reached: dict[str, int] = {}
        whole = _goes_on(reached, group[0])
        events, size = _count(group[0]), group[0].size
        # a call with a gap, or one that does not go on where the group leaves off, is looked at alone
        while whole and self._queue and events < EVENTS_MAX and size < BYTES_MAX:
            if not _goes_on(reached, self._queue[0]):
                break
            call = self._queue.popleft()
            events, size = events + _count(call), size + call.size
            group.append(call)
        return group

    async def _commit(self, group: Sequence[Call]) -> None:
        if not any(call.writes for call in group):
            _answer(group, None)
            return
        try:
            connection = await self._database.line("writer")
        except (*AWAY, asyncpg.PostgresError) as error:
            _answer(group, _failed(error))
            return
        try:
            await self._append(connection, group)
        except Exception as error:
            await self._not_stored(group, error)
        else:
            _answer(group, None)

    async def _append(self, connection: Any, group: Sequence[Call]) -> None:
        firsts: dict[str, int] = {}
        columns = Columns()
        for call in group:
            for write in call.writes:
                firsts.setdefault(stored(write.persistence_id), write.events[0].sequence_nr)
                for event in write.events:
                    columns.add(event, call.now)
        arguments = list(firsts), list(firsts.values()), *columns.events, *columns.tags
        try:
            await self._call(connection, "append", arguments)
        except asyncpg.PostgresError as error:
            if error.sqlstate != GAP:
                raise
            await self._call(connection, "append_above_gap", arguments)

    async def _call(self, connection: Any, name: str, arguments: Sequence[Any]) -> None:
        places = ", ".join(f"${place}" for place in range(1, len(arguments) + 1))
        await connection.fetchval(f"SELECT {self._database.schema}.{name}({places})", *arguments)

    async def _not_stored(self, group: Sequence[Call], error: Exception) -> None:
        if not provably_nothing(error):
            _answer(group, error)
        elif len(group) > 1:
            for call in group:
                await self._commit([call])
        elif getattr(error, "constraint_name", "") == TAKEN:  # another writer was faster: the next look says how far
            await self._commit(group)
        else:
            _answer(group, _conflict(group[0], error) or _failed(error))


def _refuse_going_back(writes: Sequence[AtomicWrite]) -> None:
    """A call that is in conflict with itself."""
    highest: dict[str, int] = {}
    for write in writes:
        known = highest.get(write.persistence_id, 0)
        if write.lowest_sequence_nr <= known:
            raise SequenceConflict(write.persistence_id, write.lowest_sequence_nr, known)
        highest[write.persistence_id] = write.highest_sequence_nr


def _count(call: Call) -> int:
    return sum(len(write.events) for write in call.writes)


def _goes_on(reached: dict[str, int], call: Call) -> bool:
    """Whether each write begins where the one before it of its id ends; if so, `reached` goes on with it.

    What is in there afterwards of a call that does not is of no use to anybody: its group ends before it.
    """
    for write in call.writes:
        last = reached.get(write.persistence_id)
        if last is not None and write.lowest_sequence_nr != last + 1:
            return False
        reached[write.persistence_id] = write.highest_sequence_nr
    return True


def _answer(group: Sequence[Call], error: Exception | None) -> None:
    for call in group:
        if call.answer.done():
            continue  # the caller was cancelled
        if error is None:
            call.answer.set_result(None)
        else:
            call.answer.set_exception(error if len(group) == 1 else copy.copy(error))


def _failed(error: Exception) -> WriteFailed:
    failed = WriteFailed(f"nothing of this call was stored: {error or type(error).__name__}")
    failed.__cause__ = error
    return failed


def _conflict(call: Call, error: Exception) -> SequenceConflict | None:
    if not isinstance(error, asyncpg.PostgresError) or error.sqlstate != CONFLICT:
        return None
    persistence_id, highest = loaded(str(error.detail)), int(error.args[0])
    taken = next(write.events[0] for write in call.writes if write.persistence_id == persistence_id)
    return SequenceConflict(persistence_id, taken.sequence_nr, highest)
