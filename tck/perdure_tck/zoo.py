"""The zoo as the kit sees it: broken backends that are installed, and which of them falls on the same rules as another.

Zoos are found through the entry points of `perdure.zoo`: each names the animals of a module, which may have a
`CATALOGUE` of known bugs beside them. What the kit finds when it judges an animal is in `kill_matrix`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from importlib.metadata import entry_points
from typing import Protocol

from perdure import Backend

from .document import Diagnosis, RuleResult
from .verdict import Word

GROUP = "perdure.zoo"

ALIKE_MIN = 0.5
"""How much of all rules that either falls on two backends must have in common to be called alike."""

TIED_MAX = 2


class Animal(Protocol):
    """A broken backend. Of the rules in `killed_by` one must fall; each of them names the cause.

    `bug` is its number in a catalogue, with a letter for a second variant. `signature` are all rules that fall on it,
    in the order of the table; empty if that was never found out. `chosen` are the words by which another process can
    load its backend, if only sweeps can show what is wrong with it; else "".
    """

    @property
    def name(self) -> str: ...
    @property
    def bug(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def killed_by(self) -> tuple[str, ...]: ...
    @property
    def signature(self) -> tuple[str, ...]: ...
    @property
    def backend(self) -> Backend: ...
    @property
    def chosen(self) -> str: ...


class KnownBug(Protocol):
    """A bug of a real system: it has animals, or `awaits` a chapter of the kit, or is `not_ours` for a reason."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def awaits(self) -> str: ...
    @property
    def not_ours(self) -> str: ...


class BrokenZoo(ValueError):
    """A zoo is installed and cannot be loaded. The message names its entry point."""


def installed_animals() -> Sequence[Animal]:
    """Every animal of every installed zoo. Raises `BrokenZoo`."""
    return [animal for _, animals in _zoos() for animal in animals]


def installed_bugs() -> Sequence[KnownBug]:
    """Every bug of the catalogues of the installed zoos. Raises `BrokenZoo`."""
    return [bug for module, _ in _zoos() for bug in getattr(sys.modules[module], "CATALOGUE", ())]


def _zoos() -> Iterator[tuple[str, Sequence[Animal]]]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            yield point.module, point.load()
        except Exception as error:  # whatever an import raises
            raise BrokenZoo(f"zoo {point.name!r} ({point.value}) cannot be loaded: {error!r}") from error


def bug_of(animal: Animal) -> str:
    """The number in the catalogue, without the letter of a variant."""
    return re.sub(r"(?<=\d)[a-z]$", "", animal.bug)


# ----------------------------------------------------------------------------------------------------- the same shape


def nearest(violated: Set[str], animals: Iterable[Animal], judged: Set[str] | None = None) -> Sequence[Animal]:
    """The animals that fall on nearly the same rules, at most two that fall on the same; none if none is near enough.

    `judged` are the rules that could have fallen, all if None. A signature of which less than half was asked says
    nothing, and neither does one whose cause no violated rule names.
    """
    named = [animal for animal in animals if violated & {*animal.killed_by}]
    asked = [(animal, _asked(animal, judged)) for animal in named]
    known = [(animal, rules) for animal, rules in asked if 2 * len(rules) >= len(animal.signature) > 0]
    best = max((rules for _, rules in known), key=lambda rules: _likeness(violated, rules), default=frozenset())
    if _likeness(violated, best) < (ALIKE_MIN, 0):
        return []
    return [animal for animal, rules in known if rules == best][:TIED_MAX]


def _likeness(violated: Set[str], signature: Set[str]) -> tuple[float, int]:
    """How much two sets of rules have in common, from 0 to 1; then, the fewer rules stood the better."""
    union = violated | signature
    return (len(violated & signature) / len(union) if union else 0.0), -len(signature - violated)


def _asked(animal: Animal, judged: Set[str] | None) -> frozenset[str]:
    return frozenset(rule_id for rule_id in animal.signature if judged is None or rule_id in judged)


def diagnoses(results: Sequence[RuleResult], animals: Sequence[Animal]) -> Sequence[Diagnosis]:
    """What the violated rules of a run look like, nearest first.

    Where an animal explains only some of them, the rest may have another cause, and are looked at by themselves.
    """
    judged = {result.id for result in results if result.word in _JUDGED}
    violated = _violated(results)
    left, asked, found = set(violated), set(judged), list[Diagnosis]()
    while alike := nearest(left, animals, asked):
        explained = _asked(alike[0], judged)
        found += [_diagnosis(animal, violated, judged) for animal in alike]
        left -= explained
        asked -= explained
    return found


def _violated(results: Sequence[RuleResult]) -> set[str]:
    """The rules that fell in scenarios, as those of a signature do; only if there are none, in whatever else ran."""
    scenarios = {name for result in results for name in result.scenarios}
    fallen = {result.id: {witness.scenario for witness in result.witnesses} for result in results if result.witnesses}
    return {rule_id for rule_id, seen_in in fallen.items() if seen_in & scenarios} or {*fallen}


_JUDGED = (Word.CONFORMS, Word.VIOLATED, Word.WAIVED)


def _diagnosis(animal: Animal, violated: Set[str], judged: Set[str]) -> Diagnosis:
    asked = [rule_id for rule_id in animal.signature if rule_id in judged]
    common = tuple(rule_id for rule_id in asked if rule_id in violated)
    return Diagnosis(animal.name, animal.cause, common, len(asked))
