"""The contract of a snapshot store. The numbers behind the sentences are the rules of `perdure rules`."""

from __future__ import annotations

from typing import Protocol

from ._events import Payload, SelectedSnapshot, SnapshotMetadata, SnapshotSelectionCriteria


class SnapshotStore(Protocol):
    """Keeps snapshots of persistence ids, at most one for each (persistence id, sequence number).

    Ids are told apart as in `Journal` (S-33) and do not influence each other (S-22). Bad arguments raise `ValueError`
    before anything is touched (S-39). What was acknowledged is visible to every later operation through any handle on
    the location (S-37), and as durable as the backend claims (S-34). Calls may overlap (S-35).
    """

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        """The snapshot with the highest number of those that match all four bounds, or None. (S-01 to S-07)

        Metadata and payload are those that were saved (S-14, S-29).

        Raises:
            Unreadable: the selected snapshot is there and cannot be read; never None instead (S-26).
            StorageClosed: the storage was closed.
        """
        ...

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        """Store a snapshot. One with the same id and number is replaced, whatever the timestamps. (S-08, S-10)

        A timestamp of 0 is filled in from the location's clock (S-13). Saves that overlap leave what they
        leave one after the other (S-11). Until the new one is there whole, the old one stays (S-25).

        Raises:
            WriteFailed: nothing was stored, and what was there stays (S-27).
            Exception: any other exception leaves it unknown whether the old or the new one is there.
        """
        ...

    async def delete(self, metadata: SnapshotMetadata) -> None:
        """Delete the snapshot with exactly this id, number and timestamp; timestamp 0 stands for any. (S-16 to S-18)

        Where there is none such, nothing is deleted, and that is no error (S-23).
        """
        ...

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        """Delete every snapshot of the id that matches all four bounds. (S-19 to S-21)"""
        ...


class NoSnapshotStore:
    """Stands where a backend offers no snapshot store, as in Akka: it loads nothing and refuses the rest."""

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        return None

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        raise NotImplementedError("this backend offers no snapshot store")

    async def delete(self, metadata: SnapshotMetadata) -> None:
        raise NotImplementedError("this backend offers no snapshot store")

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        raise NotImplementedError("this backend offers no snapshot store")
