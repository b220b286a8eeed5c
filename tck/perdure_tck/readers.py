"""Readers: the queries that a program has open, each driven by a task of its own, item by item, on demand.

A task of its own, since an iterator may hold what must be left by the task that entered it; and because a live query
may still be asked for an item when the program goes on to something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from perdure import NO_OFFSET, EventEnvelope, Offset
from perdure.errors import StorageClosed, Unreadable

from .operations import Close, Query, Resume, Take
from .outcomes import AnyOutcome, Done, Malformed, Taken, TakenIds
from .program import Step
from .query_operations import FOREIGN

FOREIGN_OFFSET = Offset("of-another-backend", 1)
SPINS = 5
"""How often the loop may turn until what nobody expects is looked for: enough for what is ready by then."""

QUIET_S = 0.01
"""How long a step that expects `pending` waits for something to come all the same."""

Item = EventEnvelope | str


class _End(Exception):
    """What comes instead of an item: the word of it, and the reason if there is one."""

    def __init__(self, word: str, reason: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.reason = reason


class _NotAnItem(Exception):
    """Something came that is not of the contract's type."""


class Reader:
    """One open query. At most one item is asked for at any time."""

    def __init__(self, query: Query, start: Offset, prefix: str, iterator: AsyncIterator[Item] | ValueError) -> None:
        self.query = query
        self.start = start
        self.given = 0
        """How many items came of it in all."""
        self.offsets: list[Offset] = []
        self._prefix = prefix
        self._iterator = iterator
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[Item | Exception] | None = None
        self._broken: Exception | None = None
        self._task = asyncio.create_task(self._drive())

    async def _drive(self) -> None:
        abandoned = False
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                answer = self._answer
                assert answer is not None
                try:
                    answer.set_result(await self._next_own())
                except Exception as error:
                    answer.set_result(error)  # as a value: nobody need come for it
        except GeneratorExit:
            abandoned = True  # with its loop, which a backend had blocked: nothing can be awaited any more
            raise
        finally:
            close = None if abandoned else getattr(self._iterator, "aclose", None)
            if close is not None:
                await close()

    async def _next_own(self) -> Item:
        """The next item that is not of another program."""
        if isinstance(self._iterator, ValueError):
            raise _End("invalid", _said(self._iterator))
        try:
            while True:
                item = await anext(self._iterator)
                owner = item.persistence_id if isinstance(item, EventEnvelope) else item
                if not isinstance(owner, str) or isinstance(item, str) == (self.query.subject != "persistence ids"):
                    raise _NotAnItem(repr(item))
                if owner.startswith(self._prefix):
                    return item
        except StopAsyncIteration:
            raise _End("end") from None
        except _NotAnItem:
            raise
        except StorageClosed:
            raise _End("closed") from None
        except Unreadable as error:
            raise _End("unreadable", _said(error)) from error
        except ValueError as error:
            raise _End("invalid", _said(error)) from error
        except Exception as error:
            said = _said(error)
            raise _End(f"raised {type(error).__name__}{': ' if said else ''}{said}") from error

    async def item(self, wait_s: float | None) -> Item | None:
        """The next item, or None if it has not come by then. 0 gives it only what is ready; None waits for good."""
        if self._broken is not None:
            raise self._broken
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            self._asked.set()
        await self._patiently(self._answer, wait_s)
        if not self._answer.done():
            return None
        answer, self._answer = self._answer.result(), None
        if isinstance(answer, Exception):
            self._broken = answer if answer.args != ("end",) else None  # what has ended is asked again: it must stay so
            raise answer
        return answer

    async def _patiently(self, answer: asyncio.Future[Item | Exception], wait_s: float | None) -> None:
        if wait_s == 0:
            for _ in range(SPINS):
                if not answer.done():
                    await asyncio.sleep(0)
        else:
            await asyncio.wait([answer], timeout=wait_s)

    async def close(self) -> None:
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise


def _said(error: BaseException) -> str:
    line = str(error).partition("\n")[0]
    return line if line.isprintable() else repr(line)[1:-1]


class Readers:
    """The queries of one program, by namespace and name. False if none is open."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._open: dict[tuple[str, str], Reader] = {}
        self._known: dict[tuple[str, str], Reader] = {}
        """The last one of each name, open or closed: others may resume behind it."""

    def __bool__(self) -> bool:
        return bool(self._open)

    async def open(self, step: Step, queries: object) -> AnyOutcome:
        """Open a query. One that refuses its arguments at once says so when it is asked, as others do."""
        query = step.operation
        assert isinstance(query, Query)
        start = self._offset(step.namespace, query.after)
        await self._close(step.namespace, query.name)
        iterator: AsyncIterator[Item] | ValueError
        try:
            iterator = getattr(queries, query.method)(*_arguments(query, start))
        except ValueError as error:
            iterator = error
        if not hasattr(iterator, "__anext__") and not isinstance(iterator, ValueError):
            return Malformed(f"{iterator!r:.60}, which is not an async iterator")
        reader = Reader(query, start, self._prefix, iterator)
        self._open[step.namespace, query.name] = self._known[step.namespace, query.name] = reader
        return Done()

    def _offset(self, namespace: str, after: Resume | None) -> Offset:
        """Where to resume, in the form in which offsets are stored: as text, and back."""
        if after == FOREIGN:
            return FOREIGN_OFFSET
        source = self._known.get((namespace, after.name)) if after else None
        if after is None or source is None:
            return NO_OFFSET
        number = after.number or len(source.offsets)
        if not 0 < number <= len(source.offsets):
            return NO_OFFSET if after.number else source.start
        return Offset.parse(str(source.offsets[number - 1]))

    def given(self, step: Step) -> int:
        """How many items the query of a take has given up to now."""
        assert isinstance(step.operation, Take)
        reader = self._open.get((step.namespace, step.operation.name))
        return reader.given if reader else 0

    async def take(self, step: Step, due: int) -> AnyOutcome:
        """What a query gives; of a live one as many as are due are waited for, and what is ready beyond.

        Cancelling it closes the query, as it does for whoever is in an `async for`.
        """
        take = step.operation
        assert isinstance(take, Take)
        reader = self._open.get((step.namespace, take.name))
        if reader is None:
            return Done()
        try:
            return await self._taken(reader, step, take, due)
        except asyncio.CancelledError:
            await self._close(step.namespace, take.name)
            raise

    async def _taken(self, reader: Reader, step: Step, take: Take, due: int) -> AnyOutcome:
        items: list[Item] = []
        ended, reason = "", ""
        beyond_s = QUIET_S if any("pending" in text for text in step.expected) else 0
        try:
            while len(items) < take.count:
                patient = reader.query.current or len(items) < due
                item = await reader.item(None if patient else beyond_s)
                if item is None:
                    ended = "pending"
                    break
                items.append(item)
                reader.given += 1
        except _End as end:
            ended, reason = end.word, end.reason
        except _NotAnItem as error:
            return Malformed(f"{error!s:.60}")
        return _outcome(reader, items, ended, reason)

    async def close(self, step: Step) -> AnyOutcome:
        assert isinstance(step.operation, Close)
        await self._close(step.namespace, step.operation.name)
        return Done()

    async def _close(self, namespace: str, name: str) -> None:
        reader = self._open.pop((namespace, name), None)
        if reader is not None:
            await reader.close()

    async def close_all(self) -> None:
        """Close what a program left open. What that raises is not asked for: a `close` of the program's own is."""
        for namespace, name in list(self._open):
            try:
                await self._close(namespace, name)
            except Exception:
                continue


def _arguments(query: Query, start: Offset) -> tuple[object, ...]:
    match query.subject:
        case "persistence ids":
            return ()
        case "events by persistence id":
            return query.persistence_id, query.from_sequence_nr, query.to_sequence_nr
        case "events by tag":
            return query.tag, start
        case _:
            return (start,)


def _outcome(reader: Reader, items: list[Item], ended: str, reason: str) -> AnyOutcome:
    if reader.query.subject == "persistence ids":
        return TakenIds(tuple(item for item in items if isinstance(item, str)), ended, reason)
    envelopes = tuple(item for item in items if isinstance(item, EventEnvelope))
    wrong = next((one for one in envelopes if not isinstance(one.offset, Offset)), None)
    if wrong is not None:
        return Malformed(f"the offset {wrong.offset!r:.40} in an envelope")
    reader.offsets.extend(envelope.offset for envelope in envelopes)
    return Taken(envelopes, ended, reason)
