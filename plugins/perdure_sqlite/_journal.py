"""The journal: arguments are checked here, and the rest is asked of the writer and of the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    PersistentRepr,
    WriteRejected,
    check_delete,
    check_read_highest,
    check_replay,
)
from perdure.errors import StorageClosed, WriteFailed

from ._change import Change, apply_apart
from ._reader import Read
from ._tables import Tables
from ._view import replay
from ._worker import Worker

_GROUP_MAX = 250
"""How many calls of a group are one change, so that a large group can end one transaction and go on in another."""


class SqliteJournal:
    """See `perdure.Journal`."""

    def __init__(self, writer: Worker[Change], reader: Worker[Read], clock: Callable[[], int], page_size: int) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._page_size = page_size

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if self._writer.closed:
            raise _closed()
        if not writes:
            return []
        answers: list[WriteRejected | None] = await self._writer.ask(Append(writes, self._clock()))
        return answers

    async def write_group(
        self, calls: Sequence[Sequence[AtomicWrite]]
    ) -> Sequence[Sequence[WriteRejected | None] | Exception]:
        if self._writer.closed:
            return [_closed() for _ in calls]
        now = self._clock()
        groups = [calls[start : start + _GROUP_MAX] for start in range(0, len(calls), _GROUP_MAX)]
        asked = [self._writer.ask(AppendEach(group, now)) for group in groups]
        outcomes: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        answers: list[Sequence[WriteRejected | None] | Exception] = []
        for group, answer in zip(groups, outcomes, strict=True):
            answers += [answer] * len(group) if isinstance(answer, Exception) else answer
        return answers

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        async with aclosing(self.replay_pages(persistence_id, from_sequence_nr, to_sequence_nr, max_count)) as pages:
            async for page in pages:
                for event in page:
                    yield event

    async def replay_pages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncGenerator[Sequence[PersistentRepr], None]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        view = replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count, self._page_size)
        try:
            while not view.ended:
                self._refuse_closed("replay_messages")
                yield await self._reader.ask(view.next_page)
        finally:
            if not view.ended and not self._reader.closed:  # closed early, cancelled, or forgotten by its caller
                self._reader.ask(view.release)

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        self._refuse_closed("read_highest_sequence_nr")
        highest: int = await self._writer.ask(Highest(persistence_id))
        return highest

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        self._refuse_closed("delete_messages_to")
        await self._writer.ask(Erase(persistence_id, to_sequence_nr))

    def _refuse_closed(self, operation: str) -> None:
        if self._reader.closed:
            raise StorageClosed(operation)


def _closed() -> WriteFailed:
    return WriteFailed("the storage is closed; open its location again")


class Append(msgspec.Struct, frozen=True, gc=False):
    """One call of `write_messages`."""

    writes: Sequence[AtomicWrite]
    now: int

    def apply(self, tables: Tables) -> Sequence[WriteRejected | None]:
        return tables.append(self.writes, self.now)

    def apply_carefully(self, tables: Tables) -> Sequence[WriteRejected | None]:
        """What cannot be kept is looked for only here: usually all can, and SQLite notices if not."""
        answers = [tables.layout.rejection(write) for write in self.writes]
        accepted = [write for write, answer in zip(self.writes, answers, strict=True) if answer is None]
        tables.append(accepted, self.now)
        return answers

    def failure(self, error: Exception) -> Exception:
        return WriteFailed(f"nothing of this call was stored: {error}")


class AppendEach(msgspec.Struct, frozen=True, gc=False):
    """One call of `write_group`, or a part of it: what many would be who call `write_messages` at the same moment."""

    calls: Sequence[Sequence[AtomicWrite]]
    now: int

    def apply(self, tables: Tables) -> Sequence[Sequence[WriteRejected | None] | Exception]:
        return tables.append_each(self.calls, self.now)

    def apply_carefully(self, tables: Tables) -> Sequence[Sequence[WriteRejected | None] | Exception]:
        answers = [apply_apart(Append(writes, self.now), tables) for writes in self.calls]
        return cast("list[Sequence[WriteRejected | None] | Exception]", answers)

    def failure(self, error: Exception) -> Exception:
        return WriteFailed(f"nothing of this call was stored: {error}")


class Erase(msgspec.Struct, frozen=True, gc=False):
    """One call of `delete_messages_to`."""

    persistence_id: str
    to_sequence_nr: int

    def apply(self, tables: Tables) -> None:
        tables.erase(self.persistence_id, self.to_sequence_nr)

    apply_carefully = apply

    def failure(self, error: Exception) -> Exception:
        return error


class Highest(msgspec.Struct, frozen=True, gc=False):
    """One call of `read_highest_sequence_nr`: a change that changes nothing.

    Being one, it comes after the writes that began earlier, and is answered when those are committed. (J-47)
    """

    persistence_id: str

    def apply(self, tables: Tables) -> int:
        return tables.highest(self.persistence_id)

    apply_carefully = apply

    def failure(self, error: Exception) -> Exception:
        return error
