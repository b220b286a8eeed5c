"""The journal: the contract on one side, entries of the log on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    PersistentRepr,
    WriteRejected,
    check_delete,
    check_read_highest,
    check_replay,
    unstorable_text,
)
from perdure.errors import SequenceConflict, Unreadable, WriteFailed

from ._entries import Deletion, Event, as_stored, decoded, event_of
from ._frames import Damaged
from ._index import Place
from ._log import Entry, entry_for
from ._store import Draft, Store

Answer = TypeVar("Answer")
Numbered = tuple[int, Place]


class FilesJournal:
    """See `perdure.Journal`."""

    def __init__(self, store: Store, clock: Callable[[], int], page_size: int) -> None:
        self._store = store
        self._clock = clock
        self._page_size = page_size

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if self._store.closed:
            raise WriteFailed("the storage is closed; open its location again")
        answers = [unstorable_text(write) for write in writes]
        accepted = [write for write, rejection in zip(writes, answers, strict=True) if rejection is None]
        if accepted:
            await self._store.change(Append(accepted, prepared(accepted, self._clock())))
        return answers

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        self._store.refuse_closed("replay_messages")
        self._store.replays += 1
        try:
            window = await self._read(
                lambda: self._store.log.index.window(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
            )
            for start in range(0, len(window), self._page_size):
                self._store.refuse_closed("replay_messages")
                page = window[start : start + self._page_size]
                events, unreadable = await self._read(partial(read_page, self._store, persistence_id, page))
                for event in events:
                    yield event
                if unreadable is not None:
                    raise unreadable
        finally:
            self._store.replays -= 1

    async def _read(self, work: Callable[[], Answer]) -> Answer:
        return await self._store.run(partial(self._store.read, "replay_messages", work))

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        self._store.refuse_closed("read_highest_sequence_nr")
        read = partial(self._store.log.index.highest, persistence_id)
        return await self._store.run(partial(self._store.read, "read_highest_sequence_nr", read))

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        self._store.refuse_closed("delete_messages_to")
        await self._store.change(Erase(persistence_id, to_sequence_nr))


def read_page(
    store: Store, persistence_id: str, page: Sequence[Numbered]
) -> tuple[list[PersistentRepr], Unreadable | None]:
    """The events at these places, up to the first that cannot be read. (J-60)"""
    events: list[PersistentRepr] = []
    number = 0
    try:
        for segment, numbered in groupby(page, key=lambda one: one[1].segment):
            with store.disk.reading(segment.name) as descriptor:
                for number, place in numbered:
                    said = decoded(store.disk.read(descriptor, place.offset, place.length))
                    events.append(checked(said, persistence_id, number))
    except (OSError, Damaged) as error:
        number = number or page[0][0]
        unreadable = Unreadable("event", persistence_id, number, f"{store.directory}: {error}")
        unreadable.__cause__ = error
        return events, unreadable
    return events, None


def checked(said: Event | Deletion, persistence_id: str, number: int) -> PersistentRepr:
    """Raises `Damaged` for something that is whole, and not what was asked for."""
    if not isinstance(said, Event) or (said.persistence_id, said.sequence_nr) != (persistence_id, number):
        raise Damaged("another entry stands in its place")
    return as_stored(said)


def prepared(writes: Sequence[AtomicWrite], now: int) -> Sequence[Sequence[Entry]]:
    """The entries of each write. What the format cannot hold is found out here, before anything is touched."""
    try:
        return [[entry_for(event_of(event, event.timestamp or now)) for event in write.events] for write in writes]
    except (ValueError, OverflowError) as error:
        raise WriteFailed(f"nothing of this call was stored: {error}") from error


class Append(msgspec.Struct, frozen=True):
    """One call of `write_messages`, without what was rejected."""

    writes: Sequence[AtomicWrite]
    prepared: Sequence[Sequence[Entry]]

    def entries(self, draft: Draft) -> tuple[Sequence[Entry], object]:
        """A conflict is looked for in all of the call before the draft learns of any of it. (J-16)"""
        highest: dict[str, int] = {}
        for write in self.writes:
            known = highest.get(write.persistence_id) or draft.highest_sequence_nr(write.persistence_id)
            if write.lowest_sequence_nr <= known:
                raise SequenceConflict(write.persistence_id, write.lowest_sequence_nr, known)
            highest[write.persistence_id] = write.highest_sequence_nr
        draft.highest.update(highest)
        return [entry for entries in self.prepared for entry in entries], None

    def failure(self, error: Exception) -> Exception:
        return caused(WriteFailed(f"nothing of this call was stored: {error}"), error)


class Erase(msgspec.Struct, frozen=True):
    """One call of `delete_messages_to`. It says no more than is there: what is written later is not deleted. (J-73)"""

    persistence_id: str
    to_sequence_nr: int

    def entries(self, draft: Draft) -> tuple[Sequence[Entry], object]:
        highest = draft.highest_sequence_nr(self.persistence_id)
        to_sequence_nr = min(self.to_sequence_nr, highest)
        if to_sequence_nr <= draft.deleted(self.persistence_id):
            return [], None
        draft.deleted_to[self.persistence_id] = to_sequence_nr
        return [entry_for(Deletion(self.persistence_id, to_sequence_nr, highest))], None

    def failure(self, error: Exception) -> Exception:
        return caused(OSError(f"nothing was deleted: {error}"), error)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error
