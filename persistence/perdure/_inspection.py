"""The contract of a look into a file: what `perdure events` shows. Read-only.

Not for applications: a journal that is open elsewhere may be looked into, but what is seen is only what was there then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from ._events import PersistentRepr, SelectedSnapshot


class IdSummary(msgspec.Struct, frozen=True):
    """One persistence id of a file: how many events it still has, and the range of their numbers (0 if none)."""

    persistence_id: str
    events: int
    lowest_sequence_nr: int
    highest_sequence_nr: int
    snapshots: int


class Inspection(Protocol):
    """An open look into one file. Each method reads afresh and holds one page at a time."""

    @property
    def layout(self) -> str:
        """Who laid the file out, in a few words: `perdure 1`, `akka-net`."""
        ...

    def ids(self) -> Iterable[IdSummary]:
        """Every persistence id that has events, snapshots or a remembered highest number, by code point."""
        ...

    def events(self, persistence_id: str | None = None) -> Iterable[PersistentRepr]:
        """The events of one id by number, or of all ids in the order in which they were written."""
        ...

    def snapshots(self, persistence_id: str | None = None) -> Iterable[SelectedSnapshot]:
        """The snapshots of one id or of all, by id and number."""
        ...
