"""The contracts of the read side: one small protocol for each query, so that a backend may offer some of them.

The numbers behind the sentences are the rules of `perdure rules`. What holds for every query:

A query is an async iterator. It fetches nothing before the first item is asked for, and never more than one page ahead
of what is asked for (Q-04). Closing or cancelling it ends it promptly (Q-43) and leaves nothing behind: no task, no
thread, no open file; what queries share may stay until the storage is closed (Q-46). When the storage fails, the query
fails, with `Unreadable` for an event that is there and cannot be read (Q-10), with `StorageClosed` once the storage was
closed, and with whatever was raised otherwise; it never ends instead (Q-05).

A *current* query ends after what was there when it was started: events acknowledged before are in it (Q-50), those
written later may be (Q-03). A *live* query goes on with what is written later, through any handle on the location, and
never ends by itself, with the one exception at `EventsByPersistenceId` (Q-01). A live query is claimed by
`live_queries`.

Feeds (by tag, all events) are in the order of their offsets, which is the order of sequence numbers within each
persistence id (Q-23). An offset is exclusive: a query that resumes at the offset of an envelope begins with the one
behind it (Q-06). `NO_OFFSET` is the start; an offset of another backend raises `ValueError` (Q-07). **A reader that
has passed an offset has seen every event at or below it that will ever be visible**, whatever overlapping writers do
(Q-08). The events of one AtomicWrite appear in order, all or none (Q-26). What was rejected or failed never
appears (Q-52).

Deleted events are never in the queries by persistence id (Q-33). In the feeds they are as the backend claims
(`deleted_events_in_feeds`), the same in both (Q-30, Q-31). A persistence id stays known when its events are deleted
(Q-32). Bad arguments raise `ValueError` before anything is touched, at the first item at the latest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

import msgspec

from ._arguments import MAX_SEQUENCE_NR
from ._events import PersistentRepr
from ._offsets import NO_OFFSET, Offset


class EventEnvelope(msgspec.Struct, frozen=True, gc=False):
    """An event as a query yields it: as it was stored, with all its tags (Q-17, Q-18), and where it stands.

    The offset is that of the event in the feeds of its backend, whichever query yielded it (Q-16).
    """

    offset: Offset
    event: PersistentRepr

    @property
    def persistence_id(self) -> str:
        return self.event.persistence_id

    @property
    def sequence_nr(self) -> int:
        return self.event.sequence_nr


@runtime_checkable
class CurrentPersistenceIds(Protocol):
    def current_persistence_ids(self) -> AsyncIterator[str]:
        """Every id that has or had an event, once, in any order; then the end. (Q-40, Q-32)

        Ids that have snapshots only are not in it (Q-42).
        """
        ...


@runtime_checkable
class PersistenceIds(Protocol):
    def persistence_ids(self) -> AsyncIterator[str]:
        """Every id that has or had an event, and every new one when its first event is there, each once. (Q-41)"""
        ...


@runtime_checkable
class CurrentEventsByPersistenceId(Protocol):
    def current_events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        """The stored events of one id within both inclusive bounds, ascending; then the end. (Q-11 to Q-15)

        What it yields is what a replay yields (Q-51).
        """
        ...


@runtime_checkable
class EventsByPersistenceId(Protocol):
    def events_by_persistence_id(
        self, persistence_id: str, from_sequence_nr: int = 1, to_sequence_nr: int = MAX_SEQUENCE_NR
    ) -> AsyncIterator[EventEnvelope]:
        """The events of one id within both bounds, as they come. The id may be unknown as yet. (Q-19)

        It ends when the highest number of the id has reached `to_sequence_nr` and what is there was yielded, also if
        that event is deleted or a gap (Q-11). Otherwise it never ends.
        """
        ...


@runtime_checkable
class CurrentEventsByTag(Protocol):
    def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        """The events that have exactly this tag among theirs, behind the offset; then the end. (Q-21, Q-22)"""
        ...


@runtime_checkable
class EventsByTag(Protocol):
    def events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        """The events that have exactly this tag among theirs, behind the offset, as they come. (Q-25)"""
        ...


@runtime_checkable
class CurrentAllEvents(Protocol):
    def current_all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        """The events of all ids, tagged or not, behind the offset; then the end. (Q-28)"""
        ...


@runtime_checkable
class AllEvents(Protocol):
    def all_events(self, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        """The events of all ids, tagged or not, behind the offset, as they come. (Q-28)"""
        ...


class NoQueries:
    """Stands where a backend offers no query."""


Queries = (
    CurrentPersistenceIds
    | PersistenceIds
    | CurrentEventsByPersistenceId
    | EventsByPersistenceId
    | CurrentEventsByTag
    | EventsByTag
    | CurrentAllEvents
    | AllEvents
    | NoQueries
)
"""What a backend may offer to read: an object with any of the eight methods."""


@runtime_checkable
class ReadJournal(
    CurrentPersistenceIds,
    PersistenceIds,
    CurrentEventsByPersistenceId,
    EventsByPersistenceId,
    CurrentEventsByTag,
    EventsByTag,
    CurrentAllEvents,
    AllEvents,
    Protocol,
):
    """All eight queries together, as the reference backends offer them.

    `isinstance(storage.queries, ReadJournal)` tells, and tells the type checker.
    """
