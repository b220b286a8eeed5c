"""One location in memory for each test of actors, with a storage that fails on request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from perdure import ActorSystem, Location
from perdure.testing import FaultyStorage
from perdure_memory import backend


class World:
    """What outlives the systems of one test."""

    def __init__(self) -> None:
        self.location = Location()
        self.faults: FaultyStorage

    @asynccontextmanager
    async def system(self, **settings: Any) -> AsyncIterator[ActorSystem]:
        async with backend.open(self.location) as storage:
            self.faults = FaultyStorage(storage)
            async with ActorSystem(self.faults.storage, **settings) as system:
                yield system

    def written(self) -> list[list[tuple[int, ...]]]:
        """The numbers in each write so far, by AtomicWrite."""
        return [
            [tuple(event.sequence_nr for event in write.events) for write in call.writes]
            for call in self.faults.calls
            if call.operation == "write"
        ]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def world_class() -> type[World]:
    """For tests that need many."""
    return World
