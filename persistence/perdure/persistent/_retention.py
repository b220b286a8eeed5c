"""When to save snapshots, and what may be deleted once one is safe."""

from __future__ import annotations

import msgspec

from .._arguments import check_number
from .._events import SnapshotSelectionCriteria
from ._persistent_actor import PersistentActor
from ._protocol import (
    DeleteMessagesFailure,
    DeleteMessagesSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotSuccess,
    SaveSnapshotFailure,
    SaveSnapshotSuccess,
)

ANSWERS = (
    SaveSnapshotSuccess,
    SaveSnapshotFailure,
    DeleteMessagesSuccess,
    DeleteMessagesFailure,
    DeleteSnapshotSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotsFailure,
)
"""What a snapshot store and a journal tell an actor."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot after every so many events, of which the newest `keep` stay.

    With `delete_events`, the events that the oldest kept snapshot stands for are deleted once a snapshot is saved,
    always before the snapshots: whatever happens in between, what is left is enough to recover.
    """

    snapshot_every: int
    keep: int = 2
    delete_events: bool = False

    def __post_init__(self) -> None:
        check_number("snapshot_every", self.snapshot_every, 1, 2**31)
        check_number("keep", self.keep, 1, 2**31)

    def due(self, before: int, after: int) -> bool:
        """Whether the numbers from one to the other pass a multiple."""
        return after // self.snapshot_every > before // self.snapshot_every

    def obsolete(self, sequence_nr: int) -> int:
        """What a snapshot at this number makes superfluous: everything up to the number returned; 0 for nothing."""
        return max(0, sequence_nr - self.keep * self.snapshot_every)


def clean_up(actor: PersistentActor, retention: Retention | None, answer: object) -> object:
    """After a snapshot is safe, delete what it makes superfluous: events first, then snapshots."""
    if retention is not None and isinstance(answer, SaveSnapshotSuccess):
        obsolete = retention.obsolete(answer.metadata.sequence_nr)
        if obsolete and retention.delete_events:
            actor.delete_messages(obsolete)
        elif obsolete:
            actor.delete_snapshots(SnapshotSelectionCriteria(max_sequence_nr=obsolete))
        return None
    if retention is not None and isinstance(answer, DeleteMessagesSuccess):
        actor.delete_snapshots(SnapshotSelectionCriteria(max_sequence_nr=answer.to_sequence_nr))
        return None
    return actor.unhandled(answer)
