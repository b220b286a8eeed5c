"""What a power cut took from a journal: from what was written and what was found, the verdict. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

Pattern = Literal["none", "suffix", "whole", "prefix", "middle"]
Severity = Literal["kept", "lost a suffix", "worse"]
SEVERITIES: tuple[Severity, ...] = ("kept", "lost a suffix", "worse")


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One AtomicWrite: which events, and when it was asked for and acknowledged, counted along one line of both."""

    persistence_id: str
    first: int
    last: int
    invoked: int
    acknowledged: int | None = None

    @property
    def numbers(self) -> range:
        return range(self.first, self.last + 1)


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one power cut. `acknowledged` and `lost` count events, `torn` counts AtomicWrites.

    `pattern` says which of the acknowledged AtomicWrites are gone: none; a suffix (the latest of them: nothing that is
    still there was asked for after one of them had been acknowledged); the whole; a prefix (the earliest); or, if
    neither, something from the middle. Of writes that were under way together any one may be the later.

    `torn` AtomicWrites are there in part, acknowledged or not. `damaged` events are there, but are not what was
    written, or were never written. `unopenable` is the reason why the journal could not be opened and read, or
    not be written to afterwards, or "".
    """

    acknowledged: int
    lost: int = 0
    pattern: Pattern = "none"
    torn: int = 0
    damaged: int = 0
    unopenable: str = ""

    @property
    def severity(self) -> Severity:
        if self.unopenable or self.torn or self.damaged or self.pattern in ("prefix", "middle"):
            return "worse"
        return "lost a suffix" if self.lost else "kept"

    def breaks(self, power_durable: Literal["yes", "prefix", "no"]) -> str:
        """Why this does not keep the claim, or ""."""
        allowed = {"yes": 0, "prefix": 1, "no": 2}[power_durable]
        if SEVERITIES.index(self.severity) <= allowed:
            return ""
        if self.unopenable:
            return f"could not be used again: {self.unopenable}"
        parts = [
            f"lost {self.lost} of {self.acknowledged} acknowledged events ({self.pattern})" if self.lost else "",
            f"{self.torn} AtomicWrites torn" if self.torn else "",
            f"{self.damaged} events damaged" if self.damaged else "",
        ]
        return ", ".join(filter(None, parts))


def judged(batches: Iterable[Batch], found: Mapping[str, Collection[int]], damaged: int = 0) -> Lost:
    """The verdict on a journal that could be opened: `found` has the numbers of the events of each persistence id."""
    batches = list(batches)
    there = {batch: _count(batch, found) for batch in batches}
    acknowledged = [batch for batch in batches if batch.acknowledged is not None]
    gone = [batch for batch in acknowledged if there[batch] < len(batch.numbers)]
    kept = [batch for batch in batches if there[batch] == len(batch.numbers)]
    return Lost(
        acknowledged=sum(len(batch.numbers) for batch in acknowledged),
        lost=sum(len(batch.numbers) - there[batch] for batch in gone),
        pattern=_pattern(gone, kept),
        torn=sum(0 < there[batch] < len(batch.numbers) for batch in batches),
        damaged=damaged + _never_written(batches, found),
    )


def unopenable(batches: Iterable[Batch], reason: str) -> Lost:
    """The verdict on a journal that could not be opened or read: all of it is lost until somebody mends it."""
    acknowledged = sum(len(batch.numbers) for batch in batches if batch.acknowledged is not None)
    return Lost(acknowledged=acknowledged, lost=acknowledged, pattern="whole", unopenable=reason)


def _count(batch: Batch, found: Mapping[str, Collection[int]]) -> int:
    numbers = found.get(batch.persistence_id, ())
    return sum(number in numbers for number in batch.numbers)


def _pattern(gone: list[Batch], kept: list[Batch]) -> Pattern:
    if not gone:
        return "none"
    if not any(batch.acknowledged is not None for batch in kept):
        return "whole"
    if _all_after(gone, kept):
        return "suffix"
    return "prefix" if _all_after(kept, gone) else "middle"


def _all_after(later: list[Batch], earlier: list[Batch]) -> bool:
    """No `earlier` one was asked for only after one of the `later` had been acknowledged."""
    first_end = min(math.inf if batch.acknowledged is None else batch.acknowledged for batch in later)
    return all(batch.invoked < first_end for batch in earlier)


def _never_written(batches: list[Batch], found: Mapping[str, Collection[int]]) -> int:
    written: dict[str, set[int]] = {}
    for batch in batches:
        written.setdefault(batch.persistence_id, set()).update(batch.numbers)
    return sum(len(set(numbers) - written.get(persistence_id, set())) for persistence_id, numbers in found.items())
