"""Which runtime of persistent actors is meant: the one of this library, or another one of the same shape."""

from __future__ import annotations

from typing import Any

import msgspec

from ._delivery import AtLeastOnceDelivery
from ._durable_producer_queue import EventSourcedProducerQueue
from ._fsm import PersistentFSM
from ._persistent_actor import PersistentActor
from ._system import ActorSystem


class ActorRuntime(msgspec.Struct, frozen=True, eq=False):
    """The classes that actors are made of. A fork, or one that is broken on purpose, names its own. (A-01 to A-41)

    `system` is called with the arguments of `ActorSystem`; the others are derived from.
    """

    persistent_actor: type[PersistentActor] = PersistentActor
    at_least_once: type[AtLeastOnceDelivery] = AtLeastOnceDelivery
    system: type[ActorSystem] = ActorSystem
    fsm: type[PersistentFSM[Any, Any, Any]] = PersistentFSM
    producer_queue: type[EventSourcedProducerQueue] = EventSourcedProducerQueue
