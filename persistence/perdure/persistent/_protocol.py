"""The messages that a persistent actor receives from persistence, and how it says what to recover."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from .._arguments import MAX_SEQUENCE_NR, check_number
from .._events import SnapshotMetadata, SnapshotSelectionCriteria

NO_SNAPSHOT = SnapshotSelectionCriteria(max_sequence_nr=0, max_timestamp=0)
"""Akka's `SnapshotSelectionCriteria.None`: with it the snapshot store is not even asked."""


class Recovery(msgspec.Struct, frozen=True):
    """From which snapshot, and up to which event, an actor recovers.

    The bounds cut what is replayed, never the highest number: new events are appended after the true last one.
    """

    from_snapshot: SnapshotSelectionCriteria = SnapshotSelectionCriteria()
    to_sequence_nr: int = MAX_SEQUENCE_NR
    replay_max: int = MAX_SEQUENCE_NR

    none: ClassVar[Recovery]
    """No snapshot and no event: only the highest number is read."""

    def __post_init__(self) -> None:
        check_number("to_sequence_nr", self.to_sequence_nr, 0, MAX_SEQUENCE_NR)
        check_number("replay_max", self.replay_max, 0, MAX_SEQUENCE_NR)


Recovery.none = Recovery(from_snapshot=NO_SNAPSHOT, to_sequence_nr=0)


class RecoveryCompleted(msgspec.Struct, frozen=True):
    """To `receive_recover`, once, after the last event and before the first command. Persisting is allowed in it."""


class SnapshotOffer(msgspec.Struct, frozen=True):
    """To `receive_recover`, first, if there is a snapshot. Left unhandled, all events are replayed instead."""

    metadata: SnapshotMetadata
    snapshot: object


class SaveSnapshotSuccess(msgspec.Struct, frozen=True):
    metadata: SnapshotMetadata


class SaveSnapshotFailure(msgspec.Struct, frozen=True):
    """Nothing is deleted after it: an earlier snapshot with this number is as good as it was."""

    metadata: SnapshotMetadata
    cause: Exception


class DeleteSnapshotSuccess(msgspec.Struct, frozen=True):
    metadata: SnapshotMetadata


class DeleteSnapshotFailure(msgspec.Struct, frozen=True):
    metadata: SnapshotMetadata
    cause: Exception


class DeleteSnapshotsSuccess(msgspec.Struct, frozen=True):
    criteria: SnapshotSelectionCriteria


class DeleteSnapshotsFailure(msgspec.Struct, frozen=True):
    criteria: SnapshotSelectionCriteria
    cause: Exception


class DeleteMessagesSuccess(msgspec.Struct, frozen=True):
    to_sequence_nr: int


class DeleteMessagesFailure(msgspec.Struct, frozen=True):
    to_sequence_nr: int
    cause: Exception


FAILURES = (SaveSnapshotFailure, DeleteSnapshotFailure, DeleteSnapshotsFailure, DeleteMessagesFailure)
