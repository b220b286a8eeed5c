"""Looks: what was seen when a directory was opened after something had struck it, as values that travel.

Somebody opens the backend, reads everything that a program's ids can have, writes one more event to each, closes, opens
again and reads again. Whatever raised is an outcome like any other. Nothing here opens anything, and nothing judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from perdure import PersistentRepr

from .operations import AnyOperation, DeleteSnapshot, SaveSnapshot, Write, ids_of
from .outcomes import AnyOutcome
from .program import Program

Stage = Literal["opening", "reading", "writing", "closing", "opening again", "reading again", "closing again"]


class Trouble(msgspec.Struct, frozen=True):
    """What kept a look from going on: where, and what was raised, or that nothing came. `named` if it is perdure's own
    error for it."""

    stage: Stage
    error: str
    message: str = ""
    named: bool = False

    def __str__(self) -> str:
        return f"{self.stage} raised {self.error}: {self.message}" if self.message else f"{self.stage} {self.error}"


class SeenId(msgspec.Struct, frozen=True):
    """All that was read of one persistence id: its events, its highest number, and the snapshot of each number."""

    persistence_id: str
    events: AnyOutcome
    highest: AnyOutcome
    snapshots: Mapping[int, AnyOutcome] = {}


class Added(msgspec.Struct, frozen=True):
    """An event that was written after the first reading, and how that ended."""

    event: PersistentRepr
    outcome: AnyOutcome


class Look(msgspec.Struct, frozen=True):
    """One look. `again` is empty if nothing was written; `trouble` says where it ended early."""

    seen: tuple[SeenId, ...] = ()
    added: tuple[Added, ...] = ()
    again: tuple[SeenId, ...] = ()
    trouble: Trouble | None = None


class Sights(msgspec.Struct, frozen=True):
    """What a look at a program's location has to read: its ids in journal order, and the numbers of their snapshots."""

    ids: tuple[str, ...]
    snapshots: Mapping[str, tuple[int, ...]]


def sights_of(program: Program) -> Sights:
    """Everything that a program touches, whether it wrote it or only spoke of it."""
    operations = [step.operation for step in program.steps]
    ids = tuple(dict.fromkeys(one for operation in operations for one in ids_of(operation) if one))
    return Sights(ids, {one: tuple(sorted(set(_numbers(operations, one)))) for one in ids})


def _numbers(operations: Iterable[AnyOperation], persistence_id: str) -> Iterable[int]:
    for operation in operations:
        if isinstance(operation, SaveSnapshot | DeleteSnapshot) and operation.persistence_id == persistence_id:
            yield operation.sequence_nr


def writes_events(program: Program) -> bool:
    return any(isinstance(step.operation, Write) for step in program.steps)
