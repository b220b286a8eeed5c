"""The queries: pages by key up to what is known to be complete. Nothing is held between two pages of a feed. (Q-08)"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from perdure import (
    MAX_SEQUENCE_NR,
    NO_OFFSET,
    EventEnvelope,
    Offset,
    check_offset,
    check_replay,
    check_tag,
)
from perdure.errors import StorageClosed

from ._connection import Database
from ._rows import EVENT, ORIGIN, Row, envelopes_of
from ._text import loaded, stored
from ._view import view
from ._watch import Watch


class PostgresQueries:
    """See `perdure.ReadJournal`."""

    def __init__(self, database: Database, watch: Watch, page_size: int) -> None:
        self._database = database
        self._watch = watch
        self._page_size = page_size
        self._statements = Statements(database.schema)

    async def current_persistence_ids(self) -> AsyncIterator[str]:
        self._refuse_closed("current_persistence_ids")
        async with aclosing(self._ids("current_persistence_ids", 0, await self._number("settled()"))) as ids:
            async for persistence_id in ids:
                yield persistence_id

    async def persistence_ids(self) -> AsyncIterator[str]:
        """Each look takes the ids of which something was written since the one before; those met before are known."""
        query = "persistence_ids"
        known: set[str] = set()
        behind = 0
        while True:
            seen = self._watch.count
            self._refuse_closed(query)
            reached = await self._number("horizon()")
            if reached > behind:
                async for persistence_id in self._ids(query, behind, reached):
                    if persistence_id not in known:
                        known.add(persistence_id)
                        yield persistence_id
                behind = reached
            await self._watch.after(seen)

    async def current_events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        self._refuse_closed("current_events_by_persistence_id")
        window = stored(persistence_id), from_sequence_nr, to_sequence_nr
        pages = view(self._database, self._statements.of_id, window, MAX_SEQUENCE_NR, self._page_size)
        async with aclosing(pages):
            async for page in pages:
                for envelope in envelopes_of(page):
                    yield envelope
                    self._refuse_closed("current_events_by_persistence_id")

    async def events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        query = "events_by_persistence_id"
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, MAX_SEQUENCE_NR)
        following = from_sequence_nr
        while True:
            seen = self._watch.count
            self._refuse_closed(query)
            highest = await self._number("stored_highest($1)", stored(persistence_id))  # what is below it is there
            window = stored(persistence_id), following, to_sequence_nr, self._page_size
            page = await self._fetch(self._statements.of_id, *window)
            for envelope in envelopes_of(page):
                yield envelope
                self._refuse_closed(query)
                following = envelope.sequence_nr + 1
            if len(page) == self._page_size:
                continue
            if highest >= to_sequence_nr:
                return
            await self._watch.after(seen)

    def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self._current("current_events_by_tag", tag, offset)

    def events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        check_tag(tag)
        return self._live("events_by_tag", tag, offset)

    def current_all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self._current("current_all_events", None, offset)

    def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        return self._live("all_events", None, offset)

    async def _current(self, query: str, tag: str | None, offset: Offset) -> AsyncIterator[EventEnvelope]:
        position = check_offset(offset, ORIGIN)
        self._refuse_closed(query)
        reached = await self._number("settled()")
        async for envelope in self._walk(query, tag, position, reached):
            yield envelope

    async def _live(self, query: str, tag: str | None, offset: Offset) -> AsyncIterator[EventEnvelope]:
        position = check_offset(offset, ORIGIN)
        while True:
            seen = self._watch.count
            self._refuse_closed(query)
            reached = await self._number("horizon()")
            if reached > position:
                async for envelope in self._walk(query, tag, position, reached):
                    yield envelope
                position = reached
            else:
                await self._watch.after(seen)

    async def _walk(self, query: str, tag: str | None, behind: int, upto: int) -> AsyncIterator[EventEnvelope]:
        """The events behind a position up to another one, below which nothing is under way any more."""
        select = self._statements.all_events if tag is None else self._statements.tagged
        wanted = () if tag is None else (stored(tag),)
        while behind < upto:
            page = await self._fetch(select, *wanted, behind, upto, self._page_size)
            for envelope in envelopes_of(page):
                yield envelope
                self._refuse_closed(query)
                behind = envelope.offset.position
            if len(page) < self._page_size:
                return

    async def _ids(self, query: str, behind: int, upto: int) -> AsyncGenerator[str, None]:
        last = ""
        while True:
            self._refuse_closed(query)
            select = self._statements.ids if behind else self._statements.all_ids
            window = (behind, upto) if behind else ()
            page = await self._fetch(select, *window, last, self._page_size)
            for row in page:
                last = row[0]
                yield loaded(last)
                self._refuse_closed(query)
            if len(page) < self._page_size:
                return

    async def _fetch(self, select: str, *parameters: object) -> Sequence[Row]:
        rows: Sequence[Row] = await self._database.read(lambda connection: connection.fetch(select, *parameters))
        return rows

    async def _number(self, call: str, *parameters: object) -> int:
        select = f"SELECT {self._database.schema}.{call}"
        number: int = await self._database.read(lambda connection: connection.fetchval(select, *parameters))
        return number

    def _refuse_closed(self, query: str) -> None:
        if self._watch.closed:
            raise StorageClosed(query)


class Statements:
    """The SELECTs of one schema. Those of events give the columns that `envelopes_of` takes."""

    def __init__(self, schema: str) -> None:
        events = f"SELECT {EVENT.format(schema=schema)} FROM {schema}.event"
        self.of_id = (
            f"{events} WHERE persistence_id = $1 AND sequence_nr BETWEEN $2 AND $3 ORDER BY sequence_nr LIMIT $4"
        )
        self.all_events = f"{events} WHERE ordering > $1 AND ordering <= $2 ORDER BY ordering LIMIT $3"
        self.tagged = f"""
            SELECT {EVENT.format(schema=schema)} FROM (
                SELECT ordering AS place FROM {schema}.event_tag
                WHERE md5(tag) = md5($1) AND tag = $1 AND ordering > $2 AND ordering <= $3 ORDER BY ordering LIMIT $4
            ) AS wanted JOIN {schema}.event ON ordering = place ORDER BY ordering
        """
        # each step of the recursion jumps to the next id along the index, however many events it has
        self.all_ids = f"""
            WITH RECURSIVE known (id) AS (
                SELECT {_next_id(schema, "$1")}
                UNION ALL SELECT {_next_id(schema, "id")} FROM known WHERE id IS NOT NULL
            )
            SELECT id FROM known WHERE id IS NOT NULL LIMIT $2
        """
        self.ids = f"""
            SELECT persistence_id FROM (
                SELECT persistence_id FROM {schema}.event WHERE ordering > $1 AND ordering <= $2
                UNION SELECT persistence_id FROM {schema}.emptied WHERE ordering > $1 AND ordering <= $2
            ) AS touched WHERE persistence_id > $3 ORDER BY persistence_id LIMIT $4
        """


def _next_id(schema: str, behind: str) -> str:
    """The next id behind one, in the order of the index, among those that have events and those that had."""
    one = "(SELECT persistence_id FROM {}.{} WHERE persistence_id > {} ORDER BY persistence_id LIMIT 1)"
    return f"least({one.format(schema, 'event', behind)}, {one.format(schema, 'emptied', behind)})"
