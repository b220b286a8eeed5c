"""Blame for actors: which rule a step breaks in a program that names none, told by what is missing or too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .actor_operations import ACTOR_OPERATIONS, Act, Disturb, StartActor, acts_of
from .outcomes import AnyOutcome, Notes
from .scene import Scene


def blamed_for_notes(scene: Scene) -> str:
    """The rule that a step of an actor breaks; most telling first."""
    seen, due = _notes(scene.observed), _notes(scene.allowed)
    extra, missing = Counter(seen) - Counter(due), Counter(due) - Counter(seen)
    if "two writes at once" in extra:
        return "A-21"
    if not extra and not missing:
        return _order(scene, seen)
    if any(note.startswith("snapshot ") for note in (*extra, *missing)):
        return "A-25"
    if any(note.endswith(" of another sender") for note in extra):
        return "A-05"
    if any("rejected" in note for note in (*extra, *missing)) or _struck(scene, "rejects"):
        return "A-18"
    if any(note.startswith("recovery failed") for note in (*extra, *missing)):
        return "A-19"
    if any(note.startswith("failed ") for note in (*extra, *missing)):
        return "A-17"
    if _about_requests((*extra, *missing)):
        return "A-26" if _struck(scene, "fails") else "A-25"
    return _recovery(scene, seen, due)


def _recovery(scene: Scene, seen: Sequence[str], due: Sequence[str]) -> str:
    if seen.count("completed") != due.count("completed"):
        return "A-14"
    if isinstance(scene.operation, StartActor) or any(note.startswith("replayed") for note in (*seen, *due)):
        return "A-12" if any(act.deed == "raise" for act in _acts(scene)) else "A-02"
    return "A-04"


def _order(scene: Scene, seen: Sequence[str]) -> str:
    """The right notes in the wrong order."""
    if any(note.startswith("replayed") for note in seen):
        return "A-02"
    deeds = {act.deed for act in _acts(scene)}
    if deeds & {"defer", "defer_async"}:
        return "A-09"
    if any(act.handler for act in _acts(scene)):
        return "A-10"
    return "A-08" if any(deed.endswith("async") for deed in deeds) else "A-03"


def _acts(scene: Scene) -> list[Act]:
    steps = (*scene.earlier, scene.operation)
    return [act for one in steps if isinstance(one, ACTOR_OPERATIONS) for act in acts_of(one)]


def _struck(scene: Scene, trouble: str) -> bool:
    return any(isinstance(one, Disturb) and one.trouble == trouble for one in scene.earlier)


def _about_requests(notes: Iterable[str]) -> bool:
    return any(note.startswith(("saved", "save failed", "deleted", "delete failed", "snapshot")) for note in notes)


def _notes(outcome: AnyOutcome) -> tuple[str, ...]:
    return outcome.told if isinstance(outcome, Notes) else ()
