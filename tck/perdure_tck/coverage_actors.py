"""What a step of an actor exercised, counted from what it noted and what it left behind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from .actor_operations import AnyActorOperation, Crash, Release, StartActor, Tell, Wait
from .actors_text import NAME
from .cast import Actor
from .outcomes import Notes

ACTOR_COUNTS = (
    "commands",
    "handled",
    "noted",
    "replayed",
    "recovered",
    "offered",
    "rejected_events",
    "failed_events",
    "stopped_actors",
    "failed_recoveries",
    "answered_requests",
    "failed_requests",
    "refused_persists",
    "restarts",
    "crashes",
    "crashes_in_persist",
    "disturbed",
    "released",
    "timed_out",
    "sent",
    "failed_starts",
    "waited_for_permits",
    "admitted",
    "transitions",
    "acknowledged",
    "queue_states",
)
"""Of programs with actors. `disturbed` are calls that failed, were lost, rejected or kept; `crashes_in_persist` those
while something that was persisted had no answer; `admitted` are recoveries that ended after waiting for a permit."""

_OF_ANOTHER = re.compile(rf"^{NAME}: ")
_ADMITTED = re.compile(rf"{NAME}: (completed|recovery failed)")

_KINDS = (
    (r"replayed ", "replayed"),
    (r"completed$", "recovered"),
    (r"snapshot \d+ \[", "offered"),
    (r"sent .* \d+$", "sent"),
    (r"rejected .* \d+$", "rejected_events"),
    (r"failed .* \d+$", "failed_events"),
    (r"stopped$", "stopped_actors"),
    (r"recovery failed", "failed_recoveries"),
    (r"(saved|deleted|snapshots? deleted) \d+$", "answered_requests"),
    (r"(save|delete|snapshots? delete) failed \d+$", "failed_requests"),
    (r"refused$", "refused_persists"),
    (r"stored \d+$", "acknowledged"),
    (r"next \d+ confirmed ", "queue_states"),
    (r"\w+ to \w+$", "transitions"),
    (r".* \d+$", "handled"),
    (r".*", "noted"),
)


def count_notes(
    operation: AnyActorOperation, before: Actor | None, after: Actor | None, outcome: Notes
) -> Mapping[str, int]:
    plain = [_OF_ANOTHER.sub("", note, count=1) for note in outcome.told]
    found = Counter(next(name for pattern, name in _KINDS if re.match(pattern, note)) for note in plain)
    if isinstance(operation, Tell):
        found["commands"] = len(operation.commands) if before is not None and before.phase != "absent" else 0
    if not isinstance(operation, StartActor):
        found["restarts"] = found["recovered"] if after is not None and before is not None else 0
        found["restarts"] = min(found["restarts"], _incarnations(after) - _incarnations(before))
    if before is not None and before.phase != "absent":
        found["crashes"] = isinstance(operation, Crash)
        found["crashes_in_persist"] = isinstance(operation, Crash) and bool(before.under_way or before.gathered)
        found["released"] = isinstance(operation, Release)
    found["timed_out"] = isinstance(operation, Wait) and bool(outcome.told)
    found["failed_starts"] = isinstance(operation, StartActor) and not operation.persistence_id
    found["disturbed"] = max(len(before.troubles) - len(after.troubles), 0) if before and after else 0
    found["waited_for_permits"] = _waits(after) and not _waits(before)
    found["admitted"] = sum(bool(_ADMITTED.match(note)) for note in outcome.told)
    return found


def _waits(actor: Actor | None) -> bool:
    return actor is not None and actor.phase == "queued"


def _incarnations(actor: Actor | None) -> int:
    return actor.incarnations if actor is not None else 0
