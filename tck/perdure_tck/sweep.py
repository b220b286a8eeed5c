"""Sweeps: what the kit asks of whoever can strike a backend, and the values that come back.

A sweep runs a program in a process of its own, strikes it at every point that the program's hazards name, and has what
is left looked at and judged (`durability.py`). The kit says what is asked; the processes, recorders and disks are found
through the entry points of `perdure.sweeps`. Nothing here strikes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import msgspec
from perdure import Claims

from .document import Pace, Witness
from .durability import Context, Judged, Loss, Moment
from .hazards import Kind
from .operations import Delete, DeleteSnapshot, DeleteSnapshots, SaveSnapshot, Write
from .past import Past
from .program import Program
from .rules import Rule

GROUP = "perdure.sweeps"

Progress = Callable[[int, int, str], None]
"""Told how many states are judged, of how many that are known by then, and in words what is being swept."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be swept. `words` name the backend as on a command line, since other processes have to load it.

    `states_max` bounds the power cuts of one program by one model of disks, unless it is so long that they are less
    than a few for each call; `runs_max` the runs in which a call fails, of one hazard. Proofs are kept below `keep`, if
    it is given.
    """

    words: str
    claims: Claims
    states_max: int = 120
    runs_max: int = 24
    open_limit_s: float = 60.0
    operation_limit_s: float = 5.0
    keep: Path | None = None


STRUCK_BY: Mapping[Kind, tuple[str, ...]] = {
    "kill": (
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
    ),
    "power cut": ("power_cuts", "power_cuts_inside", "power_cuts_by_chance", "batches_cut"),
    "fail": ("failures", "failed_answers", "deletions_failed"),
    "disk read-only": ("failures", "failed_answers", "deletions_failed"),
    "disk full": ("disks_full", "full_answers"),
    "damage": ("damages",),
}
"""What each kind of hazard makes count."""


def narrowed(program: Program, rules: Iterable[Rule]) -> Program:
    """The program with those hazards alone that some of these rules need."""
    counts = {name for rule in rules if rule.id in program.rules for name in rule.floor}
    hazards = tuple(hazard for hazard in program.hazards if counts & {*STRUCK_BY[hazard.kind]})
    return msgspec.structs.replace(program, hazards=hazards)


class Measure(msgspec.Struct, frozen=True):
    """What one kind of hazard did to a backend, whatever it claims: states judged, and what was wrong in how many.

    `lost_max` is the most operations that a power cut took from the end, `patterns` how the losses lie (`suffix`,
    `whole`, `middle`, `prefix`).
    """

    states: int = 0
    broken: int = 0
    lost_max: int = 0
    patterns: tuple[str, ...] = ()

    def __add__(self, other: Measure) -> Measure:
        patterns = tuple(dict.fromkeys((*self.patterns, *other.patterns)))
        lost = max(self.lost_max, other.lost_max)
        return Measure(self.states + other.states, self.broken + other.broken, lost, patterns)

    def with_state(self, judged: Judged) -> Measure:
        """The measure with one state more."""
        return self + _measured(judged)

    def told(self) -> str:
        """In words what was found of an ability that is not claimed."""
        if not self.states:
            return "nothing was struck"
        if not self.broken:
            return f"nothing was lost in {self.states} states"
        parts = [f"{self.broken} of {self.states} states broke it"]
        if self.lost_max:
            some = "the last acknowledged operation" if self.lost_max == 1 else f"{self.lost_max} operations"
            parts.append(f"lost up to {some}")
        if self.patterns:
            suffix = {*self.patterns} <= {"suffix", "whole"}
            parts.append("always a suffix" if suffix else f"losses: {', '.join(self.patterns)}")
        return ", ".join(parts)


def _measured(judged: Judged) -> Measure:
    loss: Loss | None = judged.loss
    if loss is None:
        return Measure(1, bool(judged.breaches))
    return Measure(1, 1, loss.operations or 0, (loss.pattern,))


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What sweeping one program proved.

    `not_run` names what this machine lacks for a kind of hazard, `unrecorded` why the program was struck without a
    recording, `unproven` why what was found is not to be believed, `untouched` that the backend changed no file, so
    that there was nothing to strike; each empty or false if it is not so. `remarks` are to be told in the report.
    """

    program: str
    witnesses: tuple[Witness, ...] = ()
    coverage: Mapping[str, int] = {}
    measures: Mapping[str, Measure] = {}
    not_run: Mapping[Kind, str] = {}
    unrecorded: str = ""
    unproven: str = ""
    untouched: bool = False
    remarks: tuple[str, ...] = ()
    operations: int = 0
    states: int = 0
    seconds: float = 0.0
    paces: Mapping[str, Pace] = {}
    """By the kind of hazard. What a program took before its first hazard, its recording, belongs to that one."""


class Sweeper(Protocol):
    """One backend in the hands of a sweep, with whatever processes that takes."""

    def sweep(self, program: Program, progress: Progress) -> Swept:
        """Strike a program by its hazards. Raises `KitFault` for what is neither for nor against the backend."""
        ...


class Sweeping(Protocol):
    """What an entry point of `perdure.sweeps` names: the factory of sweepers, and the way to judge a proof again."""

    def __call__(self, ask: Ask) -> AbstractContextManager[Sweeper]: ...

    def again(self, proof: Path) -> Again:
        """Open the files of a kept proof again and judge them. Raises `ProofError` for a proof that is incomplete."""
        ...


class Again(msgspec.Struct, frozen=True):
    """What a kept proof says when it is judged once more: lines to show, and the rules that fall."""

    lines: tuple[str, ...]
    rules: tuple[str, ...]


class ProofError(ValueError):
    """A kept proof that cannot be judged again. The message names what is missing."""


@cache
def installed_sweeping() -> Sweeping | None:
    """The installed way to sweep, or None. The first by name, if there are several."""
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        found: Sweeping = point.load()
        return found
    return None


# ------------------------------------------------------------------------------------------------------------- counting


def counted(past: Past, moment: Moment) -> Mapping[str, int]:
    """What one judged state exercised, by the names of `coverage.STRUCK`."""
    context: Context = moment.context
    if context == "recovery":
        return {"kills_in_recovery": 1}
    if context == "damage":
        return {"damages": 1}
    if context not in ("kill", "power cut"):
        return {}
    killed = context == "kill"
    changing = bool(moment.under_way) and isinstance(past.operation(moment.under_way), _CHANGING)
    found = {
        "kills" if killed else "power_cuts": 1,
        "kills_inside" if killed else "power_cuts_inside": int(changing),
        "deletions_kept": int(killed and _told(past, moment, Delete)),
        "saves_kept": int(killed and _told(past, moment, SaveSnapshot)),
    }
    return {**found, **_inside(past, moment)} if changing else found


def _inside(past: Past, moment: Moment) -> Mapping[str, int]:
    operation, killed = past.operation(moment.under_way), moment.context == "kill"
    if not isinstance(operation, Write):
        struck = "deletions_struck" if isinstance(operation, Delete) else "saves_struck"
        return {struck: int(killed)}
    batched = any(batch.last > batch.first for batch in operation.batches)
    ids = [batch.persistence_id for batch in operation.batches]
    return {
        "batches_struck" if killed else "batches_cut": int(batched),
        "calls_struck": int(killed and len(ids) > len({*ids})),
    }


def _told(past: Past, moment: Moment, kind: type[Delete] | type[SaveSnapshot]) -> bool:
    return any(isinstance(seen.step.operation, kind) for seen in past.observations[: moment.told])


_CHANGING = (Write, Delete, SaveSnapshot, DeleteSnapshot, DeleteSnapshots)


def summed(measures: Iterable[Mapping[str, Measure]]) -> Mapping[str, Measure]:
    """The measures of several programs, by what struck."""
    found: dict[str, Measure] = {}
    for measure in measures:
        for context, one in measure.items():
            found[context] = found.get(context, Measure()) + one
    return found
