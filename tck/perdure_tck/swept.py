"""What sweeps say of rules: the word of one rule, and the faults of a whole run. Pure functions of what was swept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from perdure import Claims

from .document import FaultCoverage, Pace
from .program import Program
from .rules import Rule
from .sweep import STRUCK_BY, Measure, Swept, summed
from .verdict import Word

CONTEXT_OF: Mapping[str, str] = {"kill_durable": "kill", "power_durable": "power cut", "detects_damage": "damage"}
"""What has to strike for a claim to be measured."""


def word_of_sweeps(
    rule: Rule,
    claims: Claims,
    found: Sequence[Swept],
    coverage: Mapping[str, int],
    violations: int,
    fault: Exception | None,
) -> tuple[Word, str]:
    """The word for one rule that sweeps judge, strongest reason first, and the reason in words."""
    if not rule.binds(claims):
        return Word.UNSUPPORTED, _measured(rule, claims, found)
    if violations:
        return Word.VIOLATED, f"seen in {violations} scenario{'' if violations == 1 else 's'}"
    if fault is not None:
        return Word.KIT_FAULT, str(fault)
    if not found:
        return Word.NOT_RUN, "nothing is installed that can sweep"
    missing = {name: least for name, least in rule.floor.items() if coverage.get(name, 0) < least}
    if not missing:
        chance = ", not recorded: struck at moments by chance" if any(one.unrecorded for one in found) else ""
        return Word.CONFORMS, f"{len(found)} sweep{'' if len(found) == 1 else 's'}{chance}"
    told = ", ".join(f"{name} {coverage.get(name, 0)} of {least}" for name, least in missing.items())
    return _unreached(claims, found, missing, told)


def _unreached(claims: Claims, found: Sequence[Swept], missing: Iterable[str], told: str) -> tuple[Word, str]:
    """Why too little was struck: nothing could be, this machine lacks something, or it was not to be believed."""
    if all(one.untouched for one in found):
        if not (claims.kill_durable or claims.power_durable != "no"):
            return Word.UNSUPPORTED, "no file was changed, so nothing could be struck, and no durability is claimed"
        return Word.UNPROVEN, "no file was changed below its directory, so nothing could be struck"
    kinds = [kind for kind, counts in STRUCK_BY.items() if {*counts} & {*missing}]
    lacking = dict.fromkeys(one.not_run[kind] for one in found for kind in kinds if kind in one.not_run)
    if lacking:
        return Word.NOT_RUN, f"{'; '.join(lacking)}; not exercised enough: {told}"
    doubts = dict.fromkeys(one.unproven for one in found if one.unproven)
    return Word.UNPROVEN, "; ".join(doubts) or f"not exercised enough: {told}"


def _measured(rule: Rule, claims: Claims, found: Sequence[Swept]) -> str:
    """What was found about an ability that is not claimed, by striking it all the same."""
    name, _, value = rule.claim.partition("=")
    stated = f"{name} is {getattr(claims, name)!r}" if value or name == "power_durable" else f"{name} is not claimed"
    measure = summed(one.measures for one in found).get(CONTEXT_OF[name], Measure())
    if not measure.states:
        return f"{stated}; nothing was struck"
    if measure.broken:
        return f"{stated}, and a probe confirmed that: {measure.told()}"
    return f"{stated}, yet {measure.told()}: you may claim it"


def not_struck(program: Program, why: str) -> Swept:
    """A program that nothing could strike."""
    return Swept(program=program.name, not_run={hazard.kind: why for hazard in program.hazards})


def struck_in(found: Iterable[Swept]) -> FaultCoverage | None:
    """What all sweeps of a run struck."""
    swept = list(found)
    if not swept:
        return None
    counts: Counter[str] = Counter()
    for one in swept:
        counts.update(one.coverage)
    remarks = dict.fromkeys(
        remark
        for one in swept
        for remark in (*one.remarks, *_without_recording(one, counts), *one.not_run.values(), one.unproven)
        if remark
    )
    seconds = sum(one.seconds for one in swept)
    states = sum(one.states for one in swept)
    return FaultCoverage(dict(+counts), states, round(seconds, 3), tuple(remarks), _paces(swept))


def _paces(swept: Iterable[Swept]) -> Mapping[str, Pace]:
    found: dict[str, Pace] = {}
    for one in swept:
        for kind, pace in one.paces.items():
            found[kind] = found.get(kind, Pace()) + pace
    return found


def _without_recording(one: Swept, counts: Mapping[str, int]) -> Iterable[str]:
    """How it was struck where it could not be recorded, which proves less, and why it could not."""
    if one.unrecorded:
        told = [f"{counts[name]} {words}" for name, words in _BY_CHANCE.items() if counts[name]]
        yield f"{one.unrecorded}; struck without a recording instead: {', '.join(told) or 'nothing'}"


_BY_CHANCE: Mapping[str, str] = {
    "kills_by_chance": "kills at moments by chance",
    "kills_at_failpoints": "kills at failpoints",
    "power_cuts_by_chance": "power cuts of a forgetful disk at moments by chance",
}
