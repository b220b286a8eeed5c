"""Animals whose queries lose events where somebody writes at that moment: between two looks, or before a commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from perdure import AtomicWrite, EventEnvelope, Location, WriteRejected
from perdure.errors import StorageClosed

from ._animal import Ward
from ._query_ward import FedJournal, QueryFamily, WardQueries
from .races import driver

family = QueryFamily()


class _CommitsLater(FedJournal):
    """Positions are given at once; the events can be read some moments later."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        feed = self.ward.events.feed
        known = len(feed)
        answers = await super().write_messages(writes)
        late = feed[known:]
        del feed[known:]
        for _ in range(3):
            await driver()
        feed[:] = sorted([*feed, *late], key=lambda row: row.offset.position)
        self.committed()
        return answers

    def committed(self) -> None:
        self.ward.events.changes.announce()


@family.animal(
    bug="BUG-067",
    system="commanded/eventstore, akka-persistence-jdbc, Lagom, Eventuous, SQLStreamStore, prooph and others",
    source="https://github.com/commanded/eventstore/issues/3",
    cause="a position is given when the event is inserted, and the event is seen when it is committed",
    killed_by="Q-08",
)
class PassesALateCommit(WardQueries):
    """The slower of two writers has the smaller position. The reader has passed it when it can be seen."""

    journal_type = _CommitsLater


class _AnnouncesFirst(_CommitsLater):
    def committed(self) -> None:
        """Whoever waits was woken when the position was given."""


@family.animal(
    bug="BUG-132",
    system="sliceworkz eventstore",
    source="https://github.com/sliceworkz/eventstore/pull/155",
    cause="a reader is woken before the event can be read, finds nothing, and sleeps on",
    killed_by="Q-08",
)
class WokenTooEarly(WardQueries):
    """The event arrives with the next one. If there is no next one, it never arrives."""

    journal_type = _AnnouncesFirst


@family.animal(
    bug="BUG-100",
    system="Occurrent catch-up",
    source="https://github.com/johanhaleby/occurrent/pull/208",
    cause="a subscription reads what is there and then goes live from the end that there is by then",
    killed_by="Q-08",
)
class GoesLiveFromTheEnd(WardQueries):
    """What was written between the last page and going live is in neither."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        async for row in super().feed(subject, behind, tag, live=False):
            yield row
        if live:
            await driver()
            async for row in super().feed(subject, self.last_position(), tag, live=True):
                yield row


@family.animal(
    bug="SEEN-112",
    system="none reported: a subscription that is registered after the first read",
    source="https://github.com/johanhaleby/occurrent/pull/208",
    cause="a reader looks first, and only then asks to be woken",
    killed_by="Q-08",
)
class AsksToBeWokenTooLate(WardQueries):
    """The event came after the look and before the request. Nothing wakes the reader until another one comes."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        async for row in super().feed(subject, behind, tag, live=False):
            behind = row.offset.position
            yield row
        while live:
            await driver()
            await self.shelf.changes.after(self.shelf.changes.count)
            async for row in super().feed(subject, behind, tag, live=False):
                behind = row.offset.position
                yield row


@family.animal(
    bug="BUG-097",
    system="commanded/eventstore",
    source="https://github.com/commanded/eventstore/pull/327",
    cause="a timer that stores the position declares a subscription live that is still catching up",
    killed_by="Q-01 Q-08",
)
class TimerEndsCatchingUp(WardQueries):
    """What it had still to catch up with is skipped."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        caught_up = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(0.0015, caught_up.set)
        try:
            async for row in super().feed(subject, behind, tag, live):
                if live and caught_up.is_set() and row.offset.position < self.last_position():
                    continue
                yield row
                await asyncio.sleep(0.001)
        finally:
            timer.cancel()


@family.animal(
    bug="BUG-105",
    system="nats.go",
    source="https://github.com/nats-io/nats.go/pull/2137",
    cause="the position moves on before an event is delivered, and a full buffer drops the event",
    killed_by="Q-01 Q-08 Q-25 Q-28",
)
class FullBufferDrops(WardQueries):
    """A reader that is slower than the writers loses what does not fit into the buffer."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        if not live:
            async for row in super().feed(subject, behind, tag, live):
                yield row
            return
        buffer: asyncio.Queue[EventEnvelope] = asyncio.Queue(2)
        pump = asyncio.create_task(self._pumped(super().feed(subject, behind, tag, live), buffer))
        try:
            while True:
                yield await buffer.get()
        finally:
            pump.cancel()

    async def _pumped(self, rows: AsyncIterator[EventEnvelope], buffer: asyncio.Queue[EventEnvelope]) -> None:
        async for row in rows:
            if not buffer.full():
                buffer.put_nowait(row)


@family.animal(
    bug="SEEN-113",
    system="none reported: a task that fills a buffer, and a query that is closed without it",
    source="https://github.com/nats-io/nats.go/pull/2137",
    cause="the task that fills the buffer of a live query goes on when the query is closed",
    killed_by="Q-46",
)
class PumpOutlivesItsQuery(WardQueries):
    """Each query that was closed leaves a task that reads everything that is written from then on."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        if not live:
            async for row in super().feed(subject, behind, tag, live):
                yield row
            return
        room = asyncio.Semaphore(self.page_size)
        buffer: asyncio.Queue[EventEnvelope | StorageClosed] = asyncio.Queue()
        pump = asyncio.create_task(_pumped(super().feed(subject, behind, tag, live), room, buffer))
        self.ward.tasks.append(pump)  # or it would end as garbage
        while True:
            item = await buffer.get()
            if isinstance(item, StorageClosed):
                raise item
            yield item
            room.release()
            self.refuse_closed()


async def _pumped(
    rows: AsyncIterator[EventEnvelope], room: asyncio.Semaphore, buffer: asyncio.Queue[EventEnvelope | StorageClosed]
) -> None:
    try:
        async for row in rows:
            await room.acquire()
            buffer.put_nowait(row)
    except StorageClosed as error:
        buffer.put_nowait(error)


@family.animal(
    bug="SEEN-114",
    system="none reported: a poller that is started with the first query and stopped by nobody",
    source="https://github.com/akkadotnet/akka.net/issues/3590",
    cause="the poller that live queries share is not stopped when the storage is closed",
    killed_by="Q-46",
)
class PollerOutlivesItsStorage(WardQueries):
    """Each time that the storage is opened one more task asks a closed store for news, for ever."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._poller: asyncio.Task[None] | None = None

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        if live and self._poller is None:
            self._poller = asyncio.create_task(self._polled())
            self.ward.tasks.append(self._poller)
        async for row in super().feed(subject, behind, tag, live):
            yield row

    async def _polled(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self.shelf.changes.announce()
