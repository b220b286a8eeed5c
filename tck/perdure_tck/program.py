"""Programs: who does what, in which order, as data. Read from scenario files, generated, shrunk: all the same type."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from .actor_operations import asks_for_snapshots
from .hazards import Hazard
from .operations import (
    ACTOR_OPERATIONS,
    JOURNAL_OPERATIONS,
    QUERY_OPERATIONS,
    SNAPSHOT_OPERATIONS,
    AnyOperation,
    Close,
    Query,
    Take,
    renamed,
)
from .query_operations import FOREIGN

_QUERIES = frozenset(QUERY_OPERATIONS)


class Step(msgspec.Struct, frozen=True):
    """One operation of one client, with the outcomes that the author allows (none written: what the model says).

    A client is a name (`""` for the unnamed one), or a name and another namespace of the same location: `b@other`.
    Each client has a handle of its own, unless its program has one handle.

    Neighbouring steps of one `block` overlap, those of one client in their order; block 0 is none.
    """

    operation: AnyOperation
    client: str = ""
    expected: tuple[str, ...] = ()
    block: int = 0

    @property
    def namespace(self) -> str:
        return self.client.partition("@")[2] if self.client else ""

    def __str__(self) -> str:
        client = f"{self.client}: " if self.client else ""
        expected = f" -> {' | '.join(self.expected)}" if self.expected else ""
        return f"{client}{self.operation}{expected}"


class Program(msgspec.Struct, frozen=True):
    """A program: the rules that it is about, what it needs of its location, and its steps.

    A `private` program has a location of its own and its ids as they stand. All others share a location, one for each
    page size, and get a prefix on each id, which keeps the relations between ids (prefixes, case, trailing blanks),
    needs no cleaning, and is safe in parallel.

    `one_handle`: all clients of a namespace use one handle. `schedule` is what a simulated event loop chooses where
    steps overlap; None: many schedules are tried.
    """

    name: str
    prose: str
    rules: tuple[str, ...]
    steps: tuple[Step, ...]
    level: str = "core"
    page_size: int | None = None
    private: bool = False
    one_handle: bool = False
    schedule: tuple[int, ...] | None = None
    hazards: tuple[Hazard, ...] = ()
    """What strikes it. A program with hazards is run by sweeps only."""

    @property
    def overlaps(self) -> bool:
        return any(step.block for step in self.steps)

    @property
    def blocks(self) -> Iterator[tuple[int, Sequence[tuple[int, Step]]]]:
        """The steps with their numbers, those of one block together; each step outside of blocks by itself."""
        numbered = enumerate(self.steps, 1)
        for key, group in itertools.groupby(numbered, lambda one: (one[1].block, one[1].block or one[0])):
            yield key[0], tuple(group)

    def handle_of(self, client: str) -> str:
        """The name under which the handle of a client is open."""
        namespace = client.partition("@")[2]
        return (f"@{namespace}" if namespace else "") if self.one_handle else client

    @property
    def own_location(self) -> bool:
        return self.private or any(client.partition("@")[2] for client in {step.client for step in self.steps})

    @property
    def uses_journal(self) -> bool:
        return any(isinstance(step.operation, JOURNAL_OPERATIONS + ACTOR_OPERATIONS) for step in self.steps)

    @property
    def uses_actors(self) -> bool:
        return any(isinstance(step.operation, ACTOR_OPERATIONS) for step in self.steps)

    @property
    def uses_snapshots(self) -> bool:
        return any(
            isinstance(step.operation, SNAPSHOT_OPERATIONS)
            or (isinstance(step.operation, ACTOR_OPERATIONS) and asks_for_snapshots(step.operation))
            for step in self.steps
        )

    @property
    def uses_queries(self) -> bool:
        return not _QUERIES.isdisjoint([type(step.operation) for step in self.steps])

    def with_prefix(self, prefix: str) -> Program:
        """The same program with a prefix on each persistence id, except on empty ids, which are there to be refused."""
        if self.private:
            return self

        def rename(persistence_id: str) -> str:
            return prefix + persistence_id if persistence_id else ""

        steps = tuple(
            [Step(renamed(step.operation, rename), step.client, step.expected, step.block) for step in self.steps]
        )
        hazards = tuple(hazard.renamed(rename) for hazard in self.hazards)
        return msgspec.structs.replace(self, steps=steps, hazards=hazards)


def without_loose_ends(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps without those that take from or close what was never opened, and queries that resume only what was."""
    opened: set[tuple[str, str]] = set()
    known: set[tuple[str, str]] = set()
    kept = []
    for step in steps:
        operation = step.operation
        if isinstance(operation, Query):
            after = operation.after
            if after is not None and after != FOREIGN and (step.namespace, after.name) not in known:
                operation = msgspec.structs.replace(operation, after=None)
                step = msgspec.structs.replace(step, operation=operation)
            opened.add((step.namespace, operation.name))
            known.add((step.namespace, operation.name))
        elif isinstance(operation, Take | Close):
            if (step.namespace, operation.name) not in opened:
                continue
            if isinstance(operation, Close):
                opened.discard((step.namespace, operation.name))
        kept.append(step)
    return tuple(kept)
