"""The snapshot store in memory: what the contract means, in the fewest words."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from perdure import Payload, SelectedSnapshot, SnapshotMetadata, SnapshotSelectionCriteria, check_persistence_id
from perdure.errors import StorageClosed, WriteFailed


class SnapshotShelf:
    """The snapshots of one location, by persistence id and sequence number."""

    def __init__(self) -> None:
        self.snapshots: dict[tuple[str, int], SelectedSnapshot] = {}


class MemorySnapshotStore:
    """See `perdure.SnapshotStore`."""

    def __init__(self, shelf: SnapshotShelf, clock: Callable[[], int]) -> None:
        self._shelf = shelf
        self._clock = clock
        self.closed = False

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        self._refuse_closed("load")
        matching = self._matching(persistence_id, criteria)
        return max(matching, key=lambda selected: selected.metadata.sequence_nr, default=None)

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        if self.closed:
            raise WriteFailed("the storage is closed; open its location again")
        stamped = metadata if metadata.timestamp else msgspec.structs.replace(metadata, timestamp=self._clock())
        self._shelf.snapshots[metadata.persistence_id, metadata.sequence_nr] = SelectedSnapshot(stamped, snapshot)

    async def delete(self, metadata: SnapshotMetadata) -> None:
        self._refuse_closed("delete")
        key = (metadata.persistence_id, metadata.sequence_nr)
        stored = self._shelf.snapshots.get(key)
        if stored and metadata.timestamp in (0, stored.metadata.timestamp):
            del self._shelf.snapshots[key]

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        check_persistence_id(persistence_id)
        self._refuse_closed("delete_matching")
        for selected in self._matching(persistence_id, criteria):
            del self._shelf.snapshots[persistence_id, selected.metadata.sequence_nr]

    def _matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> list[SelectedSnapshot]:
        return [
            selected
            for (owner, _), selected in self._shelf.snapshots.items()
            if owner == persistence_id and criteria.matches(selected.metadata)
        ]

    def _refuse_closed(self, operation: str) -> None:
        if self.closed:
            raise StorageClosed(operation)
