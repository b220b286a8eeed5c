"""The journal in memory: what the contract means, in the fewest words.

No operation suspends, so each is one step as far as other tasks can see; a lock does the same for other threads.
Values are frozen and payloads are bytes, so nothing that a caller holds is shared with what is stored.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    Changes,
    EventEnvelope,
    Offset,
    PersistentRepr,
    WriteRejected,
    check_delete,
    check_read_highest,
    check_replay,
    unstorable_text,
)
from perdure.errors import SequenceConflict, StorageClosed, WriteFailed

ORIGIN: Final = "memory"
"""Of the offsets that are made here."""


class Log:
    """One persistence id: its events by number, in order, and the highest number it ever had."""

    def __init__(self) -> None:
        self.events: dict[int, PersistentRepr] = {}
        self.highest_sequence_nr = 0


class Shelf:
    """What one location holds: its logs, and every event ever written, in the order of writing, as `feed`."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.feed: list[EventEnvelope] = []
        self.offsets: dict[tuple[str, int], int] = {}
        self.highest_offset = 0
        self.changes = Changes()
        self.lock = threading.Lock()

    def highest(self, persistence_id: str) -> int:
        log = self.logs.get(persistence_id)
        return log.highest_sequence_nr if log else 0

    def window(self, persistence_id: str, first: int, last: int) -> list[EventEnvelope]:
        """The events of an id between two numbers that are there now, with their offsets."""
        with self.lock:
            log = self.logs.get(persistence_id)
            return [
                EventEnvelope(Offset(ORIGIN, self.offsets[persistence_id, number]), event)
                for number, event in (log.events.items() if log else ())
                if first <= number <= last
            ]

    def holds(self, envelope: EventEnvelope) -> bool:
        return (envelope.persistence_id, envelope.sequence_nr) in self.offsets


class MemoryJournal:
    """See `perdure.Journal`."""

    def __init__(self, shelf: Shelf, clock: Callable[[], int], offset_step: int) -> None:
        self._shelf = shelf
        self._clock = clock
        self._offset_step = offset_step
        self.closed = False

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if self.closed:
            raise WriteFailed("the storage is closed; open its location again")
        answers = [unstorable_text(write) for write in writes]
        accepted = [write for write, rejection in zip(writes, answers, strict=True) if rejection is None]
        with self._shelf.lock:
            self._refuse_conflicts(accepted)
            for write in accepted:
                self._append(write)
        self._shelf.changes.announce()
        return answers

    def _refuse_conflicts(self, writes: Sequence[AtomicWrite]) -> None:
        """Before anything is stored, so that a conflict leaves nothing of the call behind. (J-16)"""
        highest: dict[str, int] = {}
        for write in writes:
            persistence_id = write.persistence_id
            known = highest.get(persistence_id) or self._highest(persistence_id)
            if write.lowest_sequence_nr <= known:
                raise SequenceConflict(persistence_id, write.lowest_sequence_nr, known)
            highest[persistence_id] = write.highest_sequence_nr

    def _append(self, write: AtomicWrite) -> None:
        log = self._shelf.logs.get(write.persistence_id)
        if log is None:
            log = self._shelf.logs[write.persistence_id] = Log()
        envelopes = []
        for event in write.events:
            log.events[event.sequence_nr] = stored = self._stamped(event)
            self._shelf.highest_offset += self._offset_step
            self._shelf.offsets[event.persistence_id, event.sequence_nr] = self._shelf.highest_offset
            envelopes.append(EventEnvelope(Offset(ORIGIN, self._shelf.highest_offset), stored))
        log.highest_sequence_nr = write.highest_sequence_nr
        self._shelf.feed += envelopes  # at once: no reader sees a part of an AtomicWrite

    def _stamped(self, event: PersistentRepr) -> PersistentRepr:
        return event if event.timestamp else msgspec.structs.replace(event, timestamp=self._clock())

    def _highest(self, persistence_id: str) -> int:
        return self._shelf.highest(persistence_id)

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        self._refuse_closed("replay_messages")
        with self._shelf.lock:
            log = self._shelf.logs.get(persistence_id)
            stored = list(log.events.values()) if log else []  # a copy: what happens from here on is not seen
        window = [event for event in stored if from_sequence_nr <= event.sequence_nr <= to_sequence_nr]
        for event in window[:max_count]:
            yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        self._refuse_closed("read_highest_sequence_nr")
        return self._highest(persistence_id)

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        self._refuse_closed("delete_messages_to")
        log = self._shelf.logs.get(persistence_id)
        if log:
            with self._shelf.lock:
                for sequence_nr in [number for number in log.events if number <= to_sequence_nr]:
                    del log.events[sequence_nr]
                    del self._shelf.offsets[persistence_id, sequence_nr]

    def _refuse_closed(self, operation: str) -> None:
        if self.closed:
            raise StorageClosed(operation)


class GroupMemoryJournal(MemoryJournal):
    """See `perdure.GroupJournal`. A class of its own: whoever derives from `MemoryJournal` to write otherwise need not
    know of groups."""

    async def write_group(
        self, calls: Sequence[Sequence[AtomicWrite]]
    ) -> Sequence[Sequence[WriteRejected | None] | Exception]:
        answers: list[Sequence[WriteRejected | None] | Exception] = []
        for writes in calls:
            try:
                answers.append(await self.write_messages(writes))
            except Exception as error:
                answers.append(error)
        return answers
