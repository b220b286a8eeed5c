"""The snapshot store: the contract on one side, files on the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
from perdure import Payload, SelectedSnapshot, SnapshotMetadata, SnapshotSelectionCriteria, check_persistence_id
from perdure.errors import WriteFailed

from ._disk import NothingStored
from ._store import Store

Answer = TypeVar("Answer")


class FilesSnapshotStore:
    """See `perdure.SnapshotStore`."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        return await self._ask("load", partial(self._store.snapshots.load, persistence_id, criteria))

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        if self._store.closed:
            raise WriteFailed("the storage is closed; open its location again")
        stamped = metadata if metadata.timestamp else msgspec.structs.replace(metadata, timestamp=self._clock())
        await self._store.run(partial(self._save, stamped, snapshot))

    def _save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        """In the thread."""
        if self._store.log.broken is not None:
            raise WriteFailed("an earlier sync failed; open the location again") from self._store.log.broken
        try:
            self._store.certainly(partial(self._store.snapshots.save, metadata, snapshot))
        except (NothingStored, ValueError, OverflowError) as error:
            raise WriteFailed(f"the snapshot was not stored: {error}") from error

    async def delete(self, metadata: SnapshotMetadata) -> None:
        await self._ask("delete", partial(self._store.certainly, partial(self._store.snapshots.delete, metadata)))

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        check_persistence_id(persistence_id)
        deletion = partial(self._store.snapshots.delete_matching, persistence_id, criteria)
        await self._ask("delete_matching", partial(self._store.certainly, deletion))

    async def _ask(self, operation: str, work: Callable[[], Answer]) -> Answer:
        self._store.refuse_closed(operation)
        return await self._store.run(partial(self._store.read, operation, work))
