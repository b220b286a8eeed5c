"""How an actor recovers: snapshot, highest number, events, in this order; nothing else happens in between.

The highest number is read before the events, and after every earlier write of this id has ended, so that what is
replayed and what is counted belong together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec

from .._events import PersistentRepr, SnapshotMetadata, SnapshotSelectionCriteria
from .._journal import PagedJournal
from ..actors._actor import UNHANDLED, resolve
from ..errors import RecoveryFailed, Unreadable
from ._payloads import Codec
from ._port import JournalPort, Lane, SnapshotPort
from ._protocol import NO_SNAPSHOT, Recovery, SnapshotOffer
from ._replay_filter import ReplayFilter
from ._settings import PersistenceSettings

log = logging.getLogger("perdure.persistent")

Value = TypeVar("Value")

FAIRNESS = 1000
"""Events that are replayed before others have their turn, where the journal never makes us wait."""


class HandlerFailed(Exception):
    """The actor's own handler raised during recovery."""

    def __init__(self, error: Exception, event: object) -> None:
        super().__init__(repr(error))
        self.error = error
        self.event = event


class Recoverer:
    """The recovery of one incarnation. `moved_to` is told the number of each event before the actor handles it."""

    def __init__(
        self,
        persistence_id: str,
        recovery: Recovery,
        journal: JournalPort,
        snapshots: SnapshotPort,
        settings: PersistenceSettings,
        codec: Codec,
        *,
        snapshot_is_optional: bool,
        handle: Callable[[object], object],
        moved_to: Callable[[int], None],
    ) -> None:
        self._persistence_id = persistence_id
        self._recovery = recovery
        self._journal = journal
        self._snapshots = snapshots
        self._settings = settings
        self._codec = codec
        self._snapshot_is_optional = snapshot_is_optional
        self._handle = handle
        self._moved_to = moved_to
        self._first_expected: int | None = None
        self._arrived = 0
        self._handling = False

    async def run(self, own: Lane) -> int:
        """Recover, and return the highest number that is taken."""
        timeout_s = self._settings.recovery_event_timeout_s
        await self._within(timeout_s, self._journal.quiet(self._persistence_id, own), "an earlier write has not ended")
        snapshot_nr = await self._recover_snapshot()
        highest = await self._journal.highest(self._persistence_id, snapshot_nr)
        last = min(highest, self._recovery.to_sequence_nr)
        if last > snapshot_nr and self._recovery.replay_max > 0:
            await self._replay(snapshot_nr + 1, last)
        return max(highest, snapshot_nr)

    async def _within(self, timeout_s: float, work: Awaitable[Value], reason: str) -> Value:
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError as error:
            raise RecoveryFailed(self._persistence_id, f"{reason} within {timeout_s} s") from error

    # -- the snapshot

    async def _recover_snapshot(self) -> int:
        """Offer the newest snapshot that can be read; give its number, or 0 if none was taken up."""
        criteria = self._criteria()
        if criteria is None:
            return 0
        found = await self._load_optionally(criteria)
        if found is None:
            return 0
        offer = SnapshotOffer(found[0], found[1])
        self._moved_to(found[0].sequence_nr)
        if await self._call_handler(offer) is UNHANDLED:
            self._moved_to(0)
            self._first_expected = None
            return 0
        return found[0].sequence_nr

    def _criteria(self) -> SnapshotSelectionCriteria | None:
        """What the actor wants, within its upper bound; None if nothing can match. (F-31, A-34)"""
        wanted = self._recovery.from_snapshot
        most = min(wanted.max_sequence_nr, self._recovery.to_sequence_nr)
        if wanted == NO_SNAPSHOT or most < wanted.min_sequence_nr:
            return None
        return msgspec.structs.replace(wanted, max_sequence_nr=most)

    async def _load_optionally(self, criteria: SnapshotSelectionCriteria) -> tuple[SnapshotMetadata, object] | None:
        try:
            return await self._load(criteria)
        except Exception as error:
            if not self._snapshot_is_optional:
                raise RecoveryFailed(self._persistence_id, f"its snapshot cannot be loaded: {error}") from error
            log.warning("%r: replaying all events, for its snapshot cannot be loaded: %r", self._persistence_id, error)
            self._first_expected = 1
            return None

    async def _load(self, criteria: SnapshotSelectionCriteria) -> tuple[SnapshotMetadata, object] | None:
        """The newest readable snapshot. The error of the newest one is raised if none of those tried is readable."""
        first_error: Unreadable | None = None
        for _ in range(self._settings.snapshot_load_attempts_max):
            try:
                found = await self._load_one(criteria)
            except Unreadable as error:
                log.warning("%r: %s", self._persistence_id, error)
                first_error = first_error or error
                if error.sequence_nr <= criteria.min_sequence_nr:
                    break
                criteria = msgspec.structs.replace(criteria, max_sequence_nr=error.sequence_nr - 1)
                continue
            if found is None:
                break
            if first_error is not None:
                self._first_expected = found[0].sequence_nr + 1
            return found
        if first_error is not None:
            raise first_error
        return None

    async def _load_one(self, criteria: SnapshotSelectionCriteria) -> tuple[SnapshotMetadata, object] | None:
        persistence_id = self._persistence_id
        timeout_s = self._settings.recovery_event_timeout_s
        loading = self._snapshots.call(lambda store: store.load(persistence_id, criteria))
        found = await self._within(timeout_s, loading, "its snapshot did not arrive")
        if found is None:
            return None
        try:
            return found.metadata, self._codec.serialization.from_payload(found.snapshot)
        except Exception as error:
            raise Unreadable("snapshot", persistence_id, found.metadata.sequence_nr, str(error)) from error

    # -- the events

    async def _replay(self, first: int, last: int) -> None:
        loop = asyncio.get_running_loop()
        interval_s = self._settings.recovery_event_timeout_s
        try:
            async with asyncio.timeout(None) as scope:
                watch = _Watch(self, scope, loop, interval_s)
                try:
                    await self._replay_all(first, last)
                finally:
                    watch.cancel()
        except TimeoutError as error:
            raise RecoveryFailed(self._persistence_id, f"no event arrived within {interval_s} s") from error

    async def _replay_all(self, first: int, last: int) -> None:
        settings = self._settings
        window = settings.replay_filter_window if settings.replay_filter != "off" else 0
        replay_filter = ReplayFilter(settings.replay_filter, window, settings.replay_filter_old_writers_max)
        async with aclosing(self._pages(first, last)) as pages:
            async for page in pages:
                self._arrived += len(page)
                await self._recover_events(replay_filter.push_page(page) if window else page)
        await self._recover_events(replay_filter.rest())

    async def _pages(self, first: int, last: int) -> AsyncGenerator[Sequence[PersistentRepr], None]:
        """The events in pages, as the journal hands them over; between pages others have their turn."""
        journal = self._journal.journal
        window = (self._persistence_id, first, last, self._recovery.replay_max)
        if isinstance(journal, PagedJournal):
            async with aclosing(_generator(journal.replay_pages(*window))) as pages:
                async for page in pages:
                    yield page
            return
        async with aclosing(_generator(journal.replay_messages(*window))) as stream:
            async for event in stream:
                yield (event,)
                if self._arrived % FAIRNESS == 0:
                    await asyncio.sleep(0)

    async def _recover_events(self, events: Iterable[PersistentRepr]) -> None:
        """Hand events to the actor. Whole pages at a time: a coroutine for each event would cost more than it does."""
        decode, handle, moved_to = self._codec.decode, self._handle, self._moved_to
        for event in events:
            if self._first_expected is not None:
                self._refuse_missing(event)
            moved_to(event.sequence_nr)
            try:
                values = decode(event)
            except Exception as error:
                raise Unreadable("event", event.persistence_id, event.sequence_nr, str(error)) from error
            for value in values:
                try:
                    result = handle(value)
                except Exception as error:
                    raise HandlerFailed(error, value) from error
                if result is not None and hasattr(result, "__await__"):
                    await self._await_handler(result, value)

    async def _call_handler(self, message: object) -> object:
        try:
            result = self._handle(message)
        except Exception as error:
            raise HandlerFailed(error, message) from error
        return await self._await_handler(result, message)

    async def _await_handler(self, result: object, message: object) -> object:
        self._handling = True
        try:
            return await resolve(result)
        except Exception as error:
            raise HandlerFailed(error, message) from error
        finally:
            self._handling = False

    def _refuse_missing(self, event: PersistentRepr) -> None:
        """Events instead of an unreadable snapshot are the truth only if none was deleted."""
        if event.sequence_nr != self._first_expected:
            raise RecoveryFailed(
                self._persistence_id,
                f"its snapshot cannot be read, and the events from {self._first_expected} "
                f"to {event.sequence_nr - 1} that could replace it are not there",
            )
        self._first_expected = None


class _Watch:
    """Ends a replay in which nothing arrived for one whole interval. Time spent in its handlers is not counted."""

    def __init__(
        self, recoverer: Recoverer, scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop, interval_s: float
    ) -> None:
        self._recoverer = recoverer
        self._scope = scope
        self._loop = loop
        self._interval_s = interval_s
        self._arm()

    def _arm(self) -> None:
        self._seen = self._recoverer._arrived
        self._timer = self._loop.call_later(self._interval_s, self._tick)

    def _tick(self) -> None:
        if self._recoverer._arrived == self._seen and not self._recoverer._handling:
            self._scope.reschedule(self._loop.time())
        else:
            self._arm()

    def cancel(self) -> None:
        self._timer.cancel()


def _generator(items: AsyncIterator[Value]) -> Any:
    """The same, closable: a journal may answer with any async iterator."""
    return items if hasattr(items, "aclose") else _closable(items)


async def _closable(items: AsyncIterator[Value]) -> AsyncIterator[Value]:
    async for item in items:
        yield item
