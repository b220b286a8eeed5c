"""Programs: who does what, in which order, as data. Read from scenario files, generated, shrunk: all the same type."""

from __future__ import annotations

import msgspec

from .hazards import Hazard
from .operations import JOURNAL_OPERATIONS, SNAPSHOT_OPERATIONS, AnyOperation, renamed


class Step(msgspec.Struct, frozen=True):
    """One operation of one client, with the outcomes that the author allows (none written: what the model says).

    A client is a name (`""` for the unnamed one), or a name and another namespace of the same location: `b@other`.
    Each client has a handle of its own.
    """

    operation: AnyOperation
    client: str = ""
    expected: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return self.client.partition("@")[2]

    def __str__(self) -> str:
        client = f"{self.client}: " if self.client else ""
        expected = f" -> {' | '.join(self.expected)}" if self.expected else ""
        return f"{client}{self.operation}{expected}"


class Program(msgspec.Struct, frozen=True):
    """A program: the rules that it is about, what it needs of its location, and its steps.

    A `private` program has a location of its own and its ids as they stand. All others share a location, one for each
    page size, and get a prefix on each id, which keeps the relations between ids (prefixes, case, trailing blanks),
    needs no cleaning, and is safe in parallel.
    """

    name: str
    prose: str
    rules: tuple[str, ...]
    steps: tuple[Step, ...]
    level: str = "core"
    page_size: int | None = None
    private: bool = False
    hazards: tuple[Hazard, ...] = ()
    """What strikes it. A program with hazards is run by sweeps only."""

    @property
    def own_location(self) -> bool:
        return self.private or any(step.namespace for step in self.steps)

    @property
    def uses_journal(self) -> bool:
        return any(isinstance(step.operation, JOURNAL_OPERATIONS) for step in self.steps)

    @property
    def uses_snapshots(self) -> bool:
        return any(isinstance(step.operation, SNAPSHOT_OPERATIONS) for step in self.steps)

    def with_prefix(self, prefix: str) -> Program:
        """The same program with a prefix on each persistence id, except on empty ids, which are there to be refused."""
        if self.private:
            return self

        def rename(persistence_id: str) -> str:
            return prefix + persistence_id if persistence_id else ""

        steps = tuple(msgspec.structs.replace(step, operation=renamed(step.operation, rename)) for step in self.steps)
        hazards = tuple(hazard.renamed(rename) for hazard in self.hazards)
        return msgspec.structs.replace(self, steps=steps, hazards=hazards)
