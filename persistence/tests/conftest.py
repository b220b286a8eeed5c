"""One location in memory for each test of actors, with a storage that fails on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from perdure import ActorSystem, AtomicWrite, Journal, Location, Storage, WriteRejected
from perdure.testing import FaultyStorage
from perdure_memory import backend

Wrap = Callable[[Storage], Storage]


class InGroups:
    """A journal that also takes calls in groups: at the same time, as tasks of their own would make them."""

    def __init__(self, journal: Journal) -> None:
        self.write_messages = journal.write_messages
        self.replay_messages = journal.replay_messages
        self.read_highest_sequence_nr = journal.read_highest_sequence_nr
        self.delete_messages_to = journal.delete_messages_to
        self.sizes: list[int] = []

    async def write_group(
        self, calls: Sequence[Sequence[AtomicWrite]]
    ) -> list[Sequence[WriteRejected | None] | Exception]:
        self.sizes.append(len(calls))
        answers = await asyncio.gather(*map(self.write_messages, calls), return_exceptions=True)
        return [_answer(answer) for answer in answers]


def _answer(answer: Sequence[WriteRejected | None] | BaseException) -> Sequence[WriteRejected | None] | Exception:
    assert not isinstance(answer, BaseException) or isinstance(answer, Exception)
    return answer


def in_groups(storage: Storage) -> Storage:
    return Storage(InGroups(storage.journal), storage.snapshots, storage.queries)


class World:
    """What outlives the systems of one test. `wrap` is put around the storage that fails on request."""

    def __init__(self, wrap: Wrap = lambda storage: storage) -> None:
        self.location = Location()
        self.wrap = wrap
        self.faults: FaultyStorage

    @asynccontextmanager
    async def system(self, **settings: Any) -> AsyncIterator[ActorSystem]:
        async with backend.open(self.location) as storage:
            self.faults = FaultyStorage(storage)
            async with ActorSystem(self.wrap(self.faults.storage), **settings) as system:
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


@pytest.fixture
def world_in_groups() -> World:
    """The same over a journal that takes the writes of many actors at once."""
    return World(in_groups)
