"""What an animal is, and how its backend is made: the backend in memory with one of its two stores broken.

The stores here are right; an animal overrides one of their methods and gets exactly one thing wrong. They split the
operations of the memory backend where bugs live: what is written (`encoded`), found (`selected`), taken for the highest
number (`highest`), and done at the end (`close`).
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from typing import TypeVar
from weakref import WeakKeyDictionary

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    Backend,
    Claims,
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    check_persistence_id,
    check_replay,
)
from perdure_memory import Log, MemoryJournal, MemorySnapshotStore, World


class Animal(msgspec.Struct, frozen=True, kw_only=True):
    """One broken backend.

    `bug` is its number in the catalogue of known bugs, with a letter for a second variant; SEEN-.. stands for one that
    is not in the catalogue. `system` is where it really happened ("none reported: ..." where a rule guards against a
    mistake that we know of nobody to have made), `source` where one can read about it, `cause` the mistake in one line.
    Of the rules in `killed_by` at least one must fall, and each of them names the cause. `chosen` are the words by
    which another process can load its backend, where there are any.
    """

    name: str
    bug: str
    system: str
    source: str
    cause: str
    story: str
    killed_by: tuple[str, ...]
    backend: Backend
    chosen: str = ""

    @property
    def signature(self) -> tuple[str, ...]:
        """Every rule that falls, as it was found when `signatures.toml` was written; none for a new animal."""
        return tuple(_signatures().get(self.name, "").split())


@cache
def _signatures() -> Mapping[str, str]:
    return tomllib.loads((files("perdure_zoo") / "signatures.toml").read_text(encoding="utf-8"))


class Ward(World):
    """All that is kept at one location of an animal: what memory keeps, and one number an id for whatever else."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, int] = {}
        self.batches: dict[tuple[str, int], tuple[PersistentRepr, ...]] = {}
        self.named: dict[str, None] = {}
        self.failures = 0
        self.under_way: set[int] = set()
        self.tasks: list[asyncio.Task[None]] = []


class WardJournal(MemoryJournal):
    """The journal in memory, in pieces that can be got wrong one at a time."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward.events, location.clock, offset_step=1)
        self.ward = ward
        self.page_size = location.page_size

    def close(self) -> None:
        self.closed = True

    def log(self, persistence_id: str) -> Log:
        """The log of an id; an empty one, which is not kept, for an unknown id."""
        return self._shelf.logs.get(persistence_id) or Log()

    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        """The event as it is stored."""
        return event

    def _stamped(self, event: PersistentRepr) -> PersistentRepr:
        return self.encoded(super()._stamped(event))

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        self._refuse_closed("replay_messages")
        for event in self.selected(persistence_id, from_sequence_nr, to_sequence_nr, max_count):
            yield event

    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        """The events of a replay."""
        return self.window(persistence_id, first, last)[:limit]

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        """The events between two numbers."""
        return [event for event in self.log(persistence_id).events.values() if first <= event.sequence_nr <= last]

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        await super().read_highest_sequence_nr(persistence_id, from_sequence_nr)
        return self.highest(persistence_id, from_sequence_nr)

    def highest(self, persistence_id: str, hint: int) -> int:
        """The answer to a read of the highest number; conflicts are found with the true one."""
        return self._highest(persistence_id)


class WardSnapshots(MemorySnapshotStore):
    """The snapshot store in memory, in pieces that can be got wrong one at a time."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward.snapshots, location.clock)
        self.ward = ward
        self.clock = location.clock

    def close(self) -> None:
        self.closed = True

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await super().save(metadata, snapshot)
        self.put(metadata, self._shelf.snapshots[metadata.persistence_id, metadata.sequence_nr])

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        self._refuse_closed("load")
        return self.newest(self.matching(persistence_id, criteria))

    def matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> list[SelectedSnapshot]:
        """The snapshots that a load selects from; a deletion has `_matching` for itself."""
        return self._matching(persistence_id, criteria)

    def newest(self, candidates: Sequence[SelectedSnapshot]) -> SelectedSnapshot | None:
        """The one that a load gives."""
        return max(candidates, key=lambda selected: selected.metadata.sequence_nr, default=None)

    def of(self, persistence_id: str) -> list[SelectedSnapshot]:
        """Every snapshot of an id, in the order in which they were first saved."""
        return [one for (owner, _), one in self._shelf.snapshots.items() if owner == persistence_id]

    def put(self, metadata: SnapshotMetadata, selected: SelectedSnapshot) -> None:
        """Store a snapshot in the place that its metadata name."""
        self._shelf.snapshots[metadata.persistence_id, metadata.sequence_nr] = selected

    def discard(self, selected: SelectedSnapshot) -> None:
        self._shelf.snapshots.pop((selected.metadata.persistence_id, selected.metadata.sequence_nr), None)


Store = TypeVar("Store", bound=WardJournal | WardSnapshots)


def one_ward_for_each_location() -> Callable[[Location], Ward]:
    """What survives closing and opening lives as long as its location, as in the memory backend."""
    wards: WeakKeyDictionary[Location, Ward] = WeakKeyDictionary()
    return lambda location: wards.setdefault(location, Ward())


def caged(
    name: str,
    journal: type[WardJournal] = WardJournal,
    snapshots: type[WardSnapshots] = WardSnapshots,
    ward_of: Callable[[], Callable[[Location], Ward]] = one_ward_for_each_location,
) -> Backend:
    """The backend in memory with other stores; it claims what the backend in memory claims."""
    find_ward = ward_of()

    @asynccontextmanager
    async def open_cage(location: Location) -> AsyncIterator[Storage]:
        ward = find_ward(location)
        stores = journal(ward, location), snapshots(ward, location)
        try:
            yield Storage(*stores)
        finally:
            for store in stores:
                store.close()

    return Backend(name, open_cage, Claims(survives_close=True, shared=True), version="broken on purpose")


class Family:
    """The animals of one module, in the order in which they stand there."""

    def __init__(self) -> None:
        self.animals: list[Animal] = []

    def animal(
        self, *, bug: str, system: str, source: str, cause: str, killed_by: str
    ) -> Callable[[type[Store]], type[Store]]:
        """Make an animal of the class below: its name is that of the class, its story the docstring."""

        def add(store: type[Store]) -> type[Store]:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", store.__name__).lower()
            backend = caged(name, journal=store) if issubclass(store, WardJournal) else caged(name, snapshots=store)
            self.animals.append(
                Animal(
                    name=name,
                    bug=bug,
                    system=system,
                    source=source,
                    cause=cause,
                    story=(store.__doc__ or "").strip(),
                    killed_by=tuple(killed_by.split()),
                    backend=backend,
                )
            )
            return store

        return add
