"""The journal: arguments are checked here, writes are queued for the writer, and the rest are statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

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

from ._connection import Database
from ._rows import EVENT, events_of, rejection
from ._text import stored
from ._view import view
from ._writer import Writer


class PostgresJournal:
    """See `perdure.Journal`."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int], page_size: int) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._page_size = page_size
        self._replay = (
            f"SELECT {EVENT.format(schema=database.schema)} FROM {database.schema}.event "
            f"WHERE persistence_id = $1 AND sequence_nr BETWEEN $2 AND $3 ORDER BY sequence_nr LIMIT $4"
        )

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if self._writer.closed:
            raise WriteFailed("the storage is closed; open its location again")
        answers = [rejection(write) for write in writes]
        accepted = [write for write, answer in zip(writes, answers, strict=True) if answer is None]
        if accepted:
            await self._writer.write(accepted, self._clock())
        return answers

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        self._refuse_closed("replay_messages")
        window = stored(persistence_id), from_sequence_nr, to_sequence_nr
        pages = view(self._database, self._replay, window, max_count, self._page_size)
        async with aclosing(pages):
            async for page in pages:
                for event in events_of(page):
                    yield event
                    self._refuse_closed("replay_messages")

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        self._refuse_closed("read_highest_sequence_nr")
        await self._writer.quiet()
        select, asked = f"SELECT {self._database.schema}.highest($1)", stored(persistence_id)
        highest: int = await self._database.read(lambda connection: connection.fetchval(select, asked))
        return highest

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        self._refuse_closed("delete_messages_to")
        await self._writer.quiet()
        async with self._database.lent() as connection:
            await connection.execute(
                f"SELECT {self._database.schema}.erase($1, $2)", stored(persistence_id), to_sequence_nr
            )

    def _refuse_closed(self, operation: str) -> None:
        if self._writer.closed:
            raise StorageClosed(operation)
