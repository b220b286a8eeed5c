"""Coverage: what a judged program really exercised, as counts, so that a rule that nothing tested cannot look green.

Each count is taken from the model's state before a step and the outcome that was observed and found right. The floors
that the counts must reach stand in `rules.toml`.
"""

from __future__ import annotations

import itertools
from collections import Counter

from .model import State
from .operations import Delete, DeleteSnapshot, DeleteSnapshots, Highest, Reopen, Replay, SaveSnapshot
from .outcomes import Answers, AnyOutcome, Conflict, Events, Invalid, Loaded, Number
from .program import Step

COUNTS = (
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
)


def count(step: Step, before: State, after: State, outcome: AnyOutcome, page_size: int) -> Counter[str]:
    """What one step exercised."""
    found = Counter(handles=bool(step.client))
    match step.operation, outcome:
        case _, Answers(rejected=rejected):
            found.update(rejections=sum(rejected), writes=rejected.count(False), empty_calls=not rejected)
        case _, Conflict():
            found.update(conflicts=1)
        case _, Invalid():
            found.update(invalid=1)
        case Replay() as replay, Events():
            found.update(_replayed(replay, before, outcome, page_size))
        case Highest(hint=hint), Number(value=value):
            found.update(highest_read=value > 0, highest_unknown=value == 0, hints=hint > 0)
        case _, Loaded(selected=selected):
            found.update(loads=selected is not None, empty_loads=selected is None)
        case _:
            found.update(_done(step, before, after))
    return +found


def _replayed(operation: Replay, before: State, outcome: Events, page_size: int) -> Counter[str]:
    stored = before.log(operation.persistence_id).events
    numbers = [event.sequence_nr for event in outcome.events]
    steps = itertools.pairwise([max(operation.from_sequence_nr, 1) - 1, *numbers])
    return Counter(
        events_replayed=len(numbers),
        empty_replays=not numbers,
        windows=len(numbers) < len(stored),
        gaps=sum(later > earlier + 1 for earlier, later in steps),
        pages=len(numbers) > page_size,
    )


def _done(step: Step, before: State, after: State) -> Counter[str]:
    match step.operation:
        case Delete() | DeleteSnapshot() | DeleteSnapshots():
            kind = "deletions" if isinstance(step.operation, Delete) else "snapshot_deletions"
            return Counter({kind if _removed(step.operation.persistence_id, before, after) else f"idle_{kind}": 1})
        case SaveSnapshot():
            known = before.snapshots.get(step.operation.persistence_id, {})
            return Counter(saves=1, replaced=step.operation.sequence_nr in known)
        case Reopen():
            return Counter(reopenings=1)
        case _:
            return Counter()


def _removed(persistence_id: str, before: State, after: State) -> bool:
    snapshots = before.snapshots.get(persistence_id, {}), after.snapshots.get(persistence_id, {})
    return before.log(persistence_id).events != after.log(persistence_id).events or snapshots[0] != snapshots[1]
