"""Persistent actors: state that is the sum of its events."""

from ._health import Health as Health
from ._overflow import DiscardToDeadLetters as DiscardToDeadLetters
from ._overflow import ReplyToSender as ReplyToSender
from ._overflow import StashOverflowStrategy as StashOverflowStrategy
from ._overflow import ThrowOverflow as ThrowOverflow
from ._payloads import EventAdapters as EventAdapters
from ._payloads import NamedTypes as NamedTypes
from ._payloads import Serialization as Serialization
from ._persistent_actor import PersistentActor as PersistentActor
from ._protocol import NO_SNAPSHOT as NO_SNAPSHOT
from ._protocol import DeleteMessagesFailure as DeleteMessagesFailure
from ._protocol import DeleteMessagesSuccess as DeleteMessagesSuccess
from ._protocol import DeleteSnapshotFailure as DeleteSnapshotFailure
from ._protocol import DeleteSnapshotsFailure as DeleteSnapshotsFailure
from ._protocol import DeleteSnapshotsSuccess as DeleteSnapshotsSuccess
from ._protocol import DeleteSnapshotSuccess as DeleteSnapshotSuccess
from ._protocol import Recovery as Recovery
from ._protocol import RecoveryCompleted as RecoveryCompleted
from ._protocol import SaveSnapshotFailure as SaveSnapshotFailure
from ._protocol import SaveSnapshotSuccess as SaveSnapshotSuccess
from ._protocol import SnapshotOffer as SnapshotOffer
from ._replay_filter import OverlappingWriters as OverlappingWriters
from ._replay_filter import ReplayFilter as ReplayFilter
from ._settings import BreakerSettings as BreakerSettings
from ._settings import PersistenceSettings as PersistenceSettings
from ._system import ActorSystem as ActorSystem
