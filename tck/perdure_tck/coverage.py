"""Coverage: what a judged program really exercised, as counts, so that a rule that nothing tested cannot look green.

Each count is taken from the model's state before a step and the outcome that was observed and found right. The floors
that the counts must reach stand in `rules.toml`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property

from .coverage_actors import ACTOR_COUNTS, count_notes
from .model import State
from .operations import (
    ACTOR_OPERATIONS,
    AnyOperation,
    Close,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    Reopen,
    Replay,
    SaveSnapshot,
    Take,
)
from .outcomes import Answers, AnyOutcome, Conflict, Events, Invalid, Loaded, Notes, Number, Taken, TakenIds
from .program import Step

OVERLAP_COUNTS = (
    "interleavings",
    "schedules",
    "real_runs",
    "overlaps",
    "contended",
    "cancelled",
    "looks",
)
"""Of programs with overlapping steps only, see `overlap`: how often one was run with its calls in another order, and
whether a schedule was chosen for that or the run was left to a real event loop."""

COUNTS = (
    *OVERLAP_COUNTS,
    "writes",
    "rejections",
    "conflicts",
    "invalid",
    "empty_calls",
    "events_replayed",
    "empty_replays",
    "windows",
    "gaps",
    "pages",
    "highest_read",
    "highest_unknown",
    "hints",
    "deletions",
    "idle_deletions",
    "reopenings",
    "handles",
    "saves",
    "loads",
    "empty_loads",
    "replaced",
    "snapshot_deletions",
    "idle_snapshot_deletions",
    "events_taken",
    "taken_by_id",
    "taken_by_tag",
    "taken_of_all",
    "taken_live",
    "ids_taken",
    "resumed",
    "withheld",
    "feed_pages",
    "ends",
    "empty_feeds",
    "pauses",
    "refused_queries",
    "closed_takes",
    "closes",
    *ACTOR_COUNTS,
)

STRUCK = (
    "kills",
    "kills_inside",
    "kills_in_recovery",
    "kills_by_chance",
    "kills_at_failpoints",
    "recoveries",
    "writes_after",
    "batches_struck",
    "calls_struck",
    "deletions_struck",
    "deletions_kept",
    "saves_struck",
    "saves_kept",
    "power_cuts",
    "power_cuts_inside",
    "power_cuts_by_chance",
    "batches_cut",
    "failures",
    "failed_answers",
    "deletions_failed",
    "disks_full",
    "full_answers",
    "damages",
)
"""What sweeps count (`sweep.py`): states that were judged, by what struck and during what, and calls that failed."""

Counts = Mapping[str, int]


class Exercised(Mapping[str, int]):
    """What the steps of a program exercised, by the names of the counts that are above 0.

    It is counted when it is first asked for: of most generated programs nobody asks.
    """

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._steps: list[tuple[Step, State, State, AnyOutcome]] = []

    def add(self, step: Step, before: State, after: State, outcome: AnyOutcome) -> None:
        """One step more, observed and found right, between two states of the model."""
        self._steps.append((step, before, after, outcome))

    @cached_property
    def _counts(self) -> Counts:
        counts: Counter[str] = Counter()
        for seen in self._steps:
            for name, number in count(*seen, self._page_size).items():
                counts[name] += number
        return +counts

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)


def count(step: Step, before: State, after: State, outcome: AnyOutcome, page_size: int) -> Counts:
    """What one step exercised; some counts may be 0."""
    found = _counted(step, before, after, outcome, page_size)
    return {**found, "handles": 1} if step.client else found


def _counted(step: Step, before: State, after: State, outcome: AnyOutcome, page_size: int) -> Counts:
    match outcome:
        case Notes() if isinstance(step.operation, ACTOR_OPERATIONS):
            owner = getattr(step.operation, "persistence_id", "")  # waiting is for all
            told = count_notes(step.operation, before.actors.get(owner), after.actors.get(owner), outcome)
            fewer = len(after.log(owner).events) < len(before.log(owner).events)
            return {**told, "deletions": fewer}
        case Answers(rejected=rejected):
            return {"rejections": sum(rejected), "writes": rejected.count(False), "empty_calls": not rejected}
        case Conflict():
            return {"conflicts": 1}
        case Invalid():
            return {"invalid": 1}
        case Events():
            return _replayed(step.operation, before, outcome, page_size)
        case Number(value=value):
            return {"highest_read": value > 0, "highest_unknown": value == 0, "hints": _hinted(step.operation)}
        case Taken() | TakenIds():
            return _taken(step.operation, before, after, outcome, page_size)
        case Loaded(selected=selected):
            return {"empty_loads" if selected is None else "loads": 1}
        case _:
            return _done(step, before, after)


def _hinted(operation: AnyOperation) -> bool:
    return isinstance(operation, Highest) and operation.hint > 0


def _replayed(operation: AnyOperation, before: State, outcome: Events, page_size: int) -> Counts:
    assert isinstance(operation, Replay)
    stored = before.log(operation.persistence_id).events
    numbers = [event.sequence_nr for event in outcome.events]
    steps = itertools.pairwise([max(operation.from_sequence_nr, 1) - 1, *numbers])
    return {
        "events_replayed": len(numbers),
        "empty_replays": not numbers,
        "windows": len(numbers) < len(stored),
        "gaps": sum(later > earlier + 1 for earlier, later in steps),
        "pages": len(numbers) > page_size,
    }


_BY_SUBJECT = {
    "events by persistence id": "taken_by_id",
    "events by tag": "taken_by_tag",
    "all events": "taken_of_all",
    "persistence ids": "ids_taken",
}


def _taken(operation: AnyOperation, before: State, after: State, outcome: Taken | TakenIds, page_size: int) -> Counts:
    """`withheld` counts queries that ended or paused with deleted events behind them that they rightly left out."""
    assert isinstance(operation, Take)
    one, later = before.queries[operation.name], after.queries[operation.name]
    items = len(outcome.envelopes) if isinstance(outcome, Taken) else len(outcome.ids)
    so_far = len(later.taken) + len(later.taken_ids)
    complete = outcome.ended in ("end", "pending")
    return {
        _BY_SUBJECT[one.query.subject]: items,
        "events_taken": items if isinstance(outcome, Taken) else 0,
        "taken_live": items if not one.query.current else 0,
        "resumed": items > 0 and one.query.after is not None,
        "withheld": complete and bool(set(one.gone | one.loose) - set(later.taken)),
        "feed_pages": so_far > page_size >= so_far - items,
        "ends": outcome.ended == "end",
        "empty_feeds": complete and so_far == 0,
        "pauses": outcome.ended == "pending",
        "refused_queries": outcome.ended == "invalid",
        "closed_takes": outcome.ended == "closed",
    }


def _done(step: Step, before: State, after: State) -> Counts:
    match step.operation:
        case Delete() | DeleteSnapshot() | DeleteSnapshots():
            kind = "deletions" if isinstance(step.operation, Delete) else "snapshot_deletions"
            return {kind if _removed(step.operation.persistence_id, before, after) else f"idle_{kind}": 1}
        case SaveSnapshot():
            known = before.snapshots.get(step.operation.persistence_id, {})
            return {"saves": 1, "replaced": step.operation.sequence_nr in known}
        case Reopen():
            return {"reopenings": 1}
        case Close():
            return {"closes": 1}
        case _:
            return {}


def _removed(persistence_id: str, before: State, after: State) -> bool:
    snapshots = before.snapshots.get(persistence_id, {}), after.snapshots.get(persistence_id, {})
    return before.log(persistence_id).events != after.log(persistence_id).events or snapshots[0] != snapshots[1]
