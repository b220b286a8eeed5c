"""The kill matrix: which rules fall on which animal of a zoo, which of them name its cause, and how soon.

It asks questions by itself: a rule that kills no animal may never have been looked at, an animal that falls on
everything says nothing of its cause.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from .document import RuleResult, Run
from .engine import Request, conduct
from .program import Program
from .rules import all_rules
from .verdict import Word
from .zoo import Animal, KnownBug, bug_of

FALLS_MAX = 12
"""How many rules may fall on one animal before the matrix asks whether they have to do with its cause."""

OPERATION_LIMIT_S = 1.0

SWEPT_LIMIT_S = 5.0
"""Workers share the machine with each other, so that a second may be too little for an operation."""

SWEEPS_DEVIATING_MAX = 1


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one animal.

    `fell` are the rules that are violated, `naming` those of them that name the cause: without one the animal lives.
    `steps` is the size of the smallest witness against them. `programs` is how many programs ran until the first
    violation, and `seconds` how long that took, shrinking included; both 0 if they were not counted.
    """

    animal: str
    bug: str
    fell: tuple[str, ...]
    naming: tuple[str, ...]
    steps: int
    fault: str = ""
    programs: int = 0
    seconds: float = 0.0
    struck: str = ""
    """For an animal that sweeps show: what struck it, and where."""

    @property
    def killed(self) -> bool:
        return bool(self.naming) and not self.fault


def examine_animal(animal: Animal, programs: Sequence[Program], limit_s: float = OPERATION_LIMIT_S) -> Kill:
    """Judge an animal by every rule. Deterministic but for the seconds."""
    began: dict[str, float] = {}
    request = Request(programs=programs, today=datetime.date.min, operation_limit_s=limit_s)
    if animal.chosen:
        request = _by_sweeps(animal, request)

    def note(_number: int, _total: int, name: str) -> None:
        began.setdefault(name.partition(":")[0], time.monotonic())  # behind the colon a sweep says how far it is

    run = conduct(animal.backend, request, note)
    ended = time.monotonic()
    kill = kill_of(animal, run)
    order = [*began]
    seen = {witness.scenario for result in _fallen(run) for witness in result.witnesses}
    first = next((place for place, name in enumerate(order, 1) if name in seen), 0)
    if not first:
        return kill
    until = began[order[first]] if first < len(order) else ended
    return msgspec.structs.replace(kill, programs=first, seconds=until - began[order[0]])


def _by_sweeps(animal: Animal, request: Request) -> Request:
    """What is asked of an animal that only sweeps can show: the rules that name its cause, until they have fallen.

    All of a sweep takes most of a minute, and what is broken need not be shown everywhere.
    """
    return msgspec.structs.replace(
        request,
        rules=animal.killed_by,
        chosen_by=animal.chosen,
        operation_limit_s=max(request.operation_limit_s, SWEPT_LIMIT_S),
        sweeps_deviating_max=SWEEPS_DEVIATING_MAX,
    )


def kill_of(animal: Animal, run: Run) -> Kill:
    """What a run says of an animal. Nothing in it is a matter of time."""
    fallen = _fallen(run)
    naming = [result for result in fallen if result.id in animal.killed_by]
    return Kill(
        animal=animal.name,
        bug=animal.bug,
        fell=tuple(result.id for result in fallen),
        naming=tuple(result.id for result in naming),
        struck=_struck(naming or fallen),
        steps=min((len(witness.steps) for result in naming or fallen for witness in result.witnesses), default=0),
        fault=run.faults[0].message if run.faults else "",
    )


def _struck(fallen: Sequence[RuleResult]) -> str:
    struck = next((one.struck for result in fallen for one in result.witnesses if one.struck), None)
    return f"{struck.hazard} {struck.moment}" + (f" ({struck.model})" if struck.model else "") if struck else ""


def _fallen(run: Run) -> Sequence[RuleResult]:
    return [result for result in run.rules if result.word is Word.VIOLATED]


# -------------------------------------------------------------------------------------------- questions that it raises


def idle_rules(kills: Iterable[Kill]) -> Sequence[str]:
    """The rules that kill no animal by naming its cause, of those that are judged without sweeps."""
    busy = {rule_id for kill in kills for rule_id in kill.naming}
    return [rule.id for rule in all_rules().values() if rule.judged and not rule.swept and rule.id not in busy]


def wide(kills: Iterable[Kill]) -> Sequence[Kill]:
    """The animals on which so many rules fall that not all of them can have to do with the cause."""
    return [kill for kill in kills if len(kill.fell) > FALLS_MAX]


def with_animals(bugs: Iterable[KnownBug], animals: Iterable[Animal]) -> Sequence[KnownBug]:
    """The bugs of which there is an animal."""
    shown = {bug_of(animal) for animal in animals}
    return [bug for bug in bugs if bug.id in shown]


def awaiting(bugs: Iterable[KnownBug]) -> Mapping[str, Sequence[KnownBug]]:
    """The bugs without an animal, by the chapter of the kit that brings the means to show them; longest list first."""
    found: dict[str, list[KnownBug]] = {}
    for bug in bugs:
        if bug.awaits:
            found.setdefault(bug.awaits, []).append(bug)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))
