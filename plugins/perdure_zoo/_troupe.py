"""How an animal among actors is made: the persistent actor of perdure with one of its parts got wrong.

The backend below is the right one in memory. What is wrong is the runtime that stands between it and the actor's
author: when handlers are called, what is written, what a recovery gives back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from perdure import (
    ActorRuntime,
    ActorSystem,
    AtLeastOnceDelivery,
    EventSourcedProducerQueue,
    PersistentActor,
    PersistentFSM,
)
from perdure.persistent._recovery import Recoverer
from perdure.persistent._writer import Writer

from ._animal import Animal, caged

Part = TypeVar("Part", bound=type[Any])


def runtime_with(part: type[Any], system: type[ActorSystem]) -> ActorRuntime:
    """The right runtime but for one part of it."""
    if issubclass(part, Writer):
        part = type(part.__name__, (PersistentActor,), {"_writer_type": part})
    elif issubclass(part, Recoverer):
        part = type(part.__name__, (PersistentActor,), {"_recoverer_type": part})
    if issubclass(part, AtLeastOnceDelivery):
        return ActorRuntime(at_least_once=part, system=system)
    if issubclass(part, PersistentFSM):
        return ActorRuntime(fsm=part, system=system)
    if issubclass(part, EventSourcedProducerQueue):
        return ActorRuntime(producer_queue=part, system=system)
    assert issubclass(part, PersistentActor)
    return ActorRuntime(persistent_actor=part, system=system)


class ActorFamily:
    """The animals of one module, in the order in which they stand there."""

    def __init__(self) -> None:
        self.animals: list[Animal] = []

    def animal(
        self,
        *,
        bug: str,
        system: str,
        source: str,
        cause: str,
        killed_by: str,
        system_type: type[ActorSystem] = ActorSystem,
    ) -> Callable[[Part], Part]:
        """Make an animal of the part below: its name is that of the class, its story the docstring.

        `system_type` is what its actors live in, where they need a system that is set up otherwise.
        """

        def add(part: Part) -> Part:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", part.__name__).lower()
            self.animals.append(
                Animal(
                    name=name,
                    bug=bug,
                    system=system,
                    source=source,
                    cause=cause,
                    story=(part.__doc__ or "").strip(),
                    killed_by=tuple(killed_by.split()),
                    backend=msgspec.structs.replace(caged(name), actor_runtime=runtime_with(part, system_type)),
                )
            )
            return part

        return add
