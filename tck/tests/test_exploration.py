"""Exploration: what the gate lets through is found, small, once, again with the same seed, and kept whatever happens."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from click.testing import CliRunner, Result
from perdure import Backend, Claims, Location, Storage, load_backend
from perdure_memory import MemoryJournal, MemorySnapshotStore, World
from perdure_tck import exploration, generation
from perdure_tck.command_line._group import perdure
from perdure_tck.exploration import LENGTHS, Expedition, Quest, explore
from perdure_tck.finds import Find, written
from perdure_tck.judge import disagreement
from perdure_tck.loose import BYTES_MAX, EVENTS_MAX, loose
from perdure_tck.operations import SaveSnapshot, Write
from perdure_tck.scenario_text import parse, read_scenario, show
from perdure_tck.stage import KitFault
from perdure_tck.tally import Tally

FIFTH = 5
Forgets = Callable[[int], bool]


class Ticks:
    """A clock that goes on by a little each time somebody looks: so many looks fit into a search."""

    def __init__(self, tick_s: float = 0.01) -> None:
        self.now = 0.0
        self._tick_s = tick_s

    def __call__(self) -> float:
        self.now += self._tick_s
        return self.now


class Journal(MemoryJournal):
    """From the fifth deletion on of an id that has a snapshot, the highest number is that of the events left.

    `forgets` says whether it does so this time: given how often it could have.
    """

    def __init__(self, world: World, clock: Callable[[], int], forgets: Forgets) -> None:
        super().__init__(world.events, clock, 1)
        self._world, self._forgets = world, forgets
        self._deletions: dict[str, int] = {}
        self._chances = 0

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        log = self._shelf.logs.get(persistence_id)
        before = len(log.events) if log else 0
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        if log and len(log.events) < before and self._world.snapshots.get(persistence_id):
            self._deletions[persistence_id] = self._deletions.get(persistence_id, 0) + 1
            if self._deletions[persistence_id] >= FIFTH:
                self._chances += 1
                if self._forgets(self._chances):
                    log.highest_sequence_nr = max(log.events, default=0)


def planted(forgets: Forgets = lambda _: True) -> Backend:
    worlds: WeakKeyDictionary[Location, World] = WeakKeyDictionary()

    @asynccontextmanager
    async def opened(location: Location) -> AsyncIterator[Storage]:
        world = worlds.setdefault(location, World())
        journal = Journal(world, location.clock, forgets)
        yield Storage(journal, MemorySnapshotStore(world.snapshots, location.clock))

    return Backend("planted", opened, Claims(shared=True))
