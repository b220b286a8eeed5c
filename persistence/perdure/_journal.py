"""The contract of a journal. Mostly prose: the numbers behind the sentences are the rules of `perdure rules`.

Backends implement it by having these methods; there is nothing to inherit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from ._arguments import MAX_SEQUENCE_NR
from ._events import AtomicWrite, PersistentRepr, WriteRejected


class Journal(Protocol):
    """Keeps the events of persistence ids, each id an append-only log whose head may be deleted.

    Persistence ids are any non-empty strings, told apart by code point: nothing is folded, trimmed or normalised
    (J-28). Ids do not influence each other (J-75). Sequence numbers are 1 to 2**63-1 (J-29). An argument outside its
    limits raises `ValueError` before anything is touched (J-84).

    Calls may overlap, also for the same id (J-17). Every call is answered in bounded time (J-61). A call that is
    cancelled has either not happened or happened whole (J-33); the caller treats it as unknown.
    """

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        """Store every AtomicWrite, in order, and answer with one entry for each, in the same order. (J-08)

        `None` means stored: visible to every operation that begins from now on, through any handle on the location
        (J-04), whole (J-02), unchanged (J-19 to J-23), and as durable as the backend claims (J-31).

        `WriteRejected` means that the journal refused this one before storing anything of it (J-06): it is larger than
        the claimed `atomic_batch` (J-03), or it holds something that the backend cannot keep as it is (J-25). The other
        writes of the call are stored nevertheless. A gap is left where the rejected numbers were: a write may begin
        anywhere above the highest number of its id.

        A write that cannot be kept and whose number is taken besides may be answered as either.

        No write: the answer is `[]` and nothing is touched (J-15). An event whose timestamp is 0 gets the location's
        clock (J-20).

        Raises:
            SequenceConflict: a number is at or below the highest of its id, also if that event was deleted since.
                Nothing of this call is stored, and what was stored before stays (J-16).
            WriteFailed: nothing of this call is stored or will be (J-05). Trouble with the storage is reported by this
                or by any other exception, never as a rejection (J-07).
            Exception: any other exception, a time-out or a cancellation leaves the outcome unknown. Then each
                AtomicWrite is stored whole or not at all, and those stored of one id are a prefix of what the call
                held of that id (J-13).
        """
        ...

    def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        """The stored events of one id in ascending order, as they were written. (J-50)

        Both bounds are inclusive, and `from_sequence_nr` 0 means 1; a window that is empty or beyond the highest number
        yields nothing (J-52, J-55). At most `max_count` events are yielded; 0 yields none (J-51). Deleted events and
        gaps are passed over, however wide, and end nothing (J-56 to J-58). An unknown id yields nothing (J-54).

        A replay is a consistent view: it shows no AtomicWrite in part, and no hole where a write or a deletion happened
        while it ran (J-65, J-66). Closing the iterator early releases everything it holds.

        Raises:
            Unreadable: an event within the window cannot be read. Events before it may have been yielded (J-60).
            StorageClosed: the storage was closed.
        """
        ...

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        """The highest number ever stored under this id; 0 for an unknown id. (J-40)

        It never decreases: not after deletion (J-41), not after everything was deleted, once (J-42) or again (J-43),
        and not after closing and opening (J-45). Rejected and failed writes do not raise it (J-48).

        `from_sequence_nr` is a hint that the number is probably not below it, so that a search may begin there. The
        answer is the true highest number whatever the hint (J-46). Writes of this id that began earlier are waited for
        (J-47).
        """
        ...

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        """Delete the events of one id up to and including a number, for good and as one step. (J-70, J-72)

        A number above the highest deletes what is there and hides nothing that is written later (J-73). Deleting again,
        less, or of an unknown id changes nothing and leaves no trace (J-74). The highest number stays (J-41).

        Raises:
            StorageClosed: the storage was closed.
            Exception: nothing or everything was deleted (J-76).
        """
        ...


@runtime_checkable
class GroupJournal(Journal, Protocol):
    """A journal that can take several calls of `write_messages` at once, for less than they cost one by one.

    Nobody is obliged to offer it. Actors use it where it is there: what many of them write at the same moment then is
    one call. Whoever overrides `write_messages` overrides this as well.
    """

    async def write_group(
        self, calls: Sequence[Sequence[AtomicWrite]]
    ) -> Sequence[Sequence[WriteRejected | None] | Exception]:
        """Do what `write_messages` does for each, in this order, and answer with one entry for each.

        An entry is what `write_messages` would have returned for that call, or the exception that it would have raised.
        One call's failure or rejection is none of another's. What this raises itself, a time-out or a cancellation
        leaves the outcome of every call unknown.
        """
        ...


@runtime_checkable
class PagedJournal(Journal, Protocol):
    """A journal that can hand over many events of a replay at once, for less than they cost one by one.

    Nobody is obliged to offer it. Actors recover by it where it is there. Whoever overrides `replay_messages` overrides
    this as well.
    """

    def replay_pages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[Sequence[PersistentRepr]]:
        """What `replay_messages` gives, in the same order and with the same promises, some events at a time.

        A page is small enough to be handled without a pause, and takes the place of one event in every bound on time.
        """
        ...


class NoJournal:
    """Stands where a backend offers no journal. Every operation raises `NotImplementedError`."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        raise NotImplementedError("this backend offers no journal")

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        raise NotImplementedError("this backend offers no journal")
        yield  # makes this an async generator

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        raise NotImplementedError("this backend offers no journal")

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        raise NotImplementedError("this backend offers no journal")
