"""What a backend offers of the contracts, and which programs can therefore be asked of it."""

from __future__ import annotations

from typing import NamedTuple

from perdure import NoJournal, NoSnapshotStore, Storage

from .operations import Query
from .program import Program

QUERY_METHODS = {
    "current_persistence_ids": (),
    "persistence_ids": (),
    "current_events_by_persistence_id": ("persistence_id", "from_sequence_nr", "to_sequence_nr"),
    "events_by_persistence_id": ("persistence_id", "from_sequence_nr", "to_sequence_nr"),
    "current_events_by_tag": ("tag", "offset"),
    "events_by_tag": ("tag", "offset"),
    "current_all_events": ("offset",),
    "all_events": ("offset",),
}
"""The eight queries, and the arguments of each."""


class Offers(NamedTuple):
    """A journal, a snapshot store, and queries by the names of their methods."""

    journal: bool = True
    snapshots: bool = True
    queries: frozenset[str] = frozenset(QUERY_METHODS)

    @classmethod
    def of(cls, storage: Storage) -> Offers:
        queries = frozenset(name for name in QUERY_METHODS if hasattr(storage.queries, name))
        return cls(
            not isinstance(storage.journal, NoJournal), not isinstance(storage.snapshots, NoSnapshotStore), queries
        )

    @property
    def live(self) -> bool:
        """Whether one of the queries is a live one."""
        return any(not name.startswith("current_") for name in self.queries)

    def chapter(self, name: str) -> bool:
        """Whether there is anything to judge by the rules of a chapter."""
        present = {"journal": self.journal, "snapshots": self.snapshots, "queries": bool(self.queries)}
        return present.get(name, True)

    def lacking(self, program: Program) -> str:
        """What a program needs and is not offered; "" if nothing."""
        if program.uses_journal and not self.journal:
            return "journal"
        if program.uses_snapshots and not self.snapshots:
            return "snapshot store"
        asked = [step.operation.method for step in program.steps if isinstance(step.operation, Query)]
        return next((method for method in asked if method not in self.queries), "")
