"""What every report says of a run, in the same words: the verdict sentence, the counts, the causes, the remarks.

How these are laid out is each report's own affair.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from perdure_tck.document import Diagnosis, FaultCoverage, Pace, RuleResult, Run, ShownStep
from perdure_tck.failure_text import told
from perdure_tck.verdict import Word

MEND_FIRST = "Mend this first: it says nothing for or against the backend."
"""What is said of a fault of the kit."""


IDS_IN_A_SENTENCE = 8


class Cause(NamedTuple):
    """One root cause: the violated rule that gets a block, and the ids of those that fall with it."""

    first: RuleResult
    also: tuple[str, ...]


class Remark(NamedTuple):
    """Rules that ended in the same word for the same reason."""

    word: Word
    ids: tuple[str, ...]
    why: str


def head(run: Run) -> str:
    """Who was judged, and by what."""
    header = run.header
    who = f"{header.backend.name} ({header.backend.version})" if header.backend.version else header.backend.name
    return f"{who} · edition {header.edition} · level {header.level} · kit {header.kit}"


def settings(run: Run) -> str:
    """How the backend was set up; a verdict on durability is worth nothing without it."""
    stated = run.header.backend.settings
    return " · ".join(f"{name} {value}" for name, value in stated.items()) or "none stated"


def chapters(run: Run) -> Mapping[str, Sequence[RuleResult]]:
    """The rules of each chapter, in the order of the run."""
    found: dict[str, list[RuleResult]] = {}
    for result in run.rules:
        found.setdefault(result.chapter, []).append(result)
    return found


def ids(run: Run, *words: Word) -> tuple[str, ...]:
    """The rules that ended in one of these words."""
    return tuple(result.id for result in run.rules if result.word in words)


def counts(run: Run) -> Mapping[Word, int]:
    """How many rules ended in each of the seven words: all seven, also those that none ended in."""
    return {word: run.footer.counts.get(word, 0) for word in Word}


def judged(results: Sequence[RuleResult]) -> int:
    """How many ended for or against the backend. A waived rule is told apart: it counts for neither."""
    return sum(result.word in (Word.CONFORMS, Word.VIOLATED) for result in results)


# ------------------------------------------------------------------------------------------- one root cause, one block


def causes(run: Run) -> Sequence[Cause]:
    """The violated rules, those with a common cause folded under the first of them."""
    groups: list[tuple[set[Hashable], list[RuleResult]]] = []
    for result in run.rules:
        if result.word is Word.VIOLATED:
            _join(groups, result)
    return [Cause(fallen[0], tuple(result.id for result in fallen[1:])) for _, fallen in groups]


def _join(groups: list[tuple[set[Hashable], list[RuleResult]]], result: RuleResult) -> None:
    signs = _signs(result)
    for known, fallen in groups:
        if known & signs:
            known.update(signs)
            fallen.append(result)
            return
    groups.append((signs, [result]))


def _signs(result: RuleResult) -> set[Hashable]:
    """What two rules with a common cause share: the smallest history, or where a scenario goes wrong.

    Two scenarios seldom use the same numbers, so a history is compared by their order alone. A rule without a witness
    (its waiver is out of date) shares nothing.
    """
    found: set[Hashable] = set()
    for witness in result.witnesses[:1]:
        if witness.text:
            found.add(witness.text)
        if witness.steps:
            found.update({_shape(witness.steps), (witness.scenario, witness.steps[-1])})
    return found


def _shape(steps: Sequence[ShownStep]) -> Hashable:
    """The history with each number replaced by its rank; 0 stays 0, for nothing and something are different causes."""
    texts = [text for step in steps for text in (step.client, step.operation, step.observed, step.allowed)]
    numbers = {_size(digits) for text in texts for digits in _DIGITS.findall(text)} | {_size("0")}
    rank = {number: place for place, number in enumerate(sorted(numbers))}
    return tuple(_DIGITS.sub(lambda found: f"#{rank[_size(found[0])]}", text) for text in texts)


def _size(digits: str) -> tuple[int, str]:
    stripped = digits.lstrip("0")
    return len(stripped), stripped  # as int() orders them, without its limit on digits


_DIGITS = re.compile("[0-9]+")


def alike(run: Run, rule_ids: Iterable[str]) -> Sequence[str]:
    """The known bugs of whose shape some of these rules are, each with its cause."""
    return [told(diagnosis) for diagnosis in _of(run, rule_ids)]


def alike_by_cause(run: Run) -> Mapping[str, Sequence[str]]:
    """The same for the block of each cause, by its first rule; what an earlier block tells is only referred to."""
    told_by: dict[str, str] = {}
    found = {}
    for first, also in causes(run):
        diagnoses = _of(run, (first.id, *also))
        earlier = dict.fromkeys(f"{told_by[one.animal]} above" for one in diagnoses if one.animal in told_by)
        found[first.id] = [*earlier, *(told(one) for one in diagnoses if one.animal not in told_by)]
        told_by = {one.animal: first.id for one in diagnoses} | told_by
    return found


def _of(run: Run, rule_ids: Iterable[str]) -> Sequence[Diagnosis]:
    asked = set(rule_ids)
    return [diagnosis for diagnosis in run.diagnoses if asked & {*diagnosis.rules}]


# ------------------------------------------------------------------------------------------------------------- remarks


def remarks(run: Run, *words: Word) -> Sequence[Remark]:
    """What is to be said of the rules that ended in these words, word by word, like reasons together."""
    grouped: dict[tuple[Word, str], list[str]] = defaultdict(list)
    for word in words:
        for result in run.rules:
            if result.word is word:
                grouped[word, why(result)].append(result.id)
    return [Remark(word, tuple(found), reason) for (word, reason), found in grouped.items()]


def why(result: RuleResult) -> str:
    """The reason for a word in a line; for UNPROVEN what is missing, for VIOLATED first what was seen and allowed."""
    match result.word:
        case Word.UNPROVEN:
            missing = ", ".join(_missing(result))
            return f"not exercised enough: {missing}" if missing else result.reason
        case Word.VIOLATED:
            return "; ".join(filter(None, [_wrong_step(result), result.reason]))
        case _:
            return result.reason


def _wrong_step(result: RuleResult) -> str:
    steps = result.witnesses[0].steps if result.witnesses else ()
    return f"{steps[-1].operation} gave {steps[-1].observed}, allowed: {steps[-1].allowed}" if steps else ""


def _missing(result: RuleResult) -> Iterator[str]:
    for name, least in result.floor.items():
        seen = result.coverage.get(name, 0)
        if seen < least:
            yield f"{name} {seen} of {least}"


# -------------------------------------------------------------------------------------------------------- what struck


def struck(run: Run) -> str:
    """What the sweeps of a run struck, in one line; "" if none ran."""
    found = run.footer.struck
    if found is None:
        return ""
    parts = [_strikes(found.counts, *one) for one in STRIKES]
    told = "; ".join(filter(None, parts)) or "nothing was struck"
    return f"{told} · {some(found.states, 'state')} judged in {found.seconds:.1f} s{_paces(found)}"


def _paces(found: FaultCoverage) -> str:
    """How fast that was, in all and for the two hazards that leave the most states; and of how many states the
    directory was opened."""
    kinds = [f"{kind}s {_rate(found.paces[kind])}" for kind in ("kill", "power cut") if kind in found.paces]
    rate = f", {_rate(Pace(found.states, 0, found.seconds))} a second"
    opened = sum(pace.opened for pace in found.paces.values())
    told = f"; {number(opened)} of them were opened, the others equal these" if opened else ""
    return rate + (f" ({', '.join(kinds)})" if kinds else "") + told


def _rate(pace: Pace) -> str:
    return number(round(pace.states / pace.seconds)) if pace.seconds else "0"


STRIKES: Sequence[tuple[str, str, Mapping[str, str]]] = (
    (
        "kills",
        "kill",
        {
            "kills_inside": "inside an operation",
            "kills_by_chance": "at moments by chance",
            "kills_at_failpoints": "at failpoints",
            "kills_in_recovery": "more during recovery",
        },
    ),
    (
        "power_cuts",
        "power cut",
        {"power_cuts_inside": "inside an operation", "power_cuts_by_chance": "at moments by chance"},
    ),
    ("failures", "call that failed", {}),
    ("disks_full", "full disk", {}),
    ("damages", "damaged file", {}),
)
"""Counts of sweeps, what each of them is called, and the counts that are told behind it."""


def _strikes(counts: Mapping[str, int], name: str, noun: str, within: Mapping[str, str]) -> str:
    count = counts.get(name, 0)
    if not count:
        return ""
    head, _, tail = noun.partition(" that ")
    told = some(count, head) + (f" that {tail}" if tail else "")
    return ", ".join([told, *(f"{number(counts[one])} {words}" for one, words in within.items() if counts.get(one))])


# ------------------------------------------------------------------------------------------------ the verdict sentence


def verdict(run: Run) -> str:
    """The whole run in one line: what it says of the backend, and what that rests on."""
    footer = run.footer
    return " · ".join(
        [
            claim(run),
            _rests_on(run),
            _effort(run),
            f"{footer.duration_s:.1f} s",
            f"corpus {run.header.corpus}",
        ]
    )


def _effort(run: Run) -> str:
    footer = run.footer
    generated = f" ({number(footer.generated)} generated)" if footer.generated else ""
    return f"{number(footer.programs)} programs{generated}, {number(footer.operations)} operations"


def verdict_word(run: Run) -> Word | None:
    """The word that decides: a fault hides a violation, a violation what is not proved. None if nothing was judged."""
    seen = {word for word, count in counts(run).items() if count}
    if run.faults or Word.KIT_FAULT in seen:
        return Word.KIT_FAULT
    if Word.VIOLATED in seen:
        return Word.VIOLATED
    if Word.UNPROVEN in seen:
        return Word.UNPROVEN
    if Word.NOT_RUN in seen and run.footer.exit_code:
        return Word.NOT_RUN
    return next((word for word in (Word.CONFORMS, Word.WAIVED) if word in seen), None)


def claim(run: Run) -> str:
    """What the run says of the backend."""
    match verdict_word(run):
        case None:
            return f"NOTHING JUDGED of {run.header.backend.name}"
        case Word.CONFORMS:
            part = " in part" if counts(run)[Word.NOT_RUN] else ""
            return f"CONFORMS to {_asked(run)}{part}"
        case Word.KIT_FAULT:
            return "KIT FAULT · says nothing for or against " + run.header.backend.name
        case word:
            found = ids(run, word)
            return f"{word} · {some(len(found), 'rule')} ({_abridged(found)})"


def _asked(run: Run) -> str:
    """What the verdict covers: a level, or no more than the rules that were asked for."""
    chosen = run.header.selection
    return f"{_abridged(chosen)}, of level {run.header.level}" if chosen else run.header.level


def _abridged(found: Sequence[str]) -> str:
    """As many ids as a sentence bears; whoever wants all of them finds them with their chapter."""
    more = len(found) - IDS_IN_A_SENTENCE
    return " ".join(found[:IDS_IN_A_SENTENCE]) + (f" and {more} more" if more > 0 else "")


def _rests_on(run: Run) -> str:
    apart = [word for word in Word if word not in (Word.CONFORMS, Word.VIOLATED)]
    parts = [f"{judged(run.rules)} of {some(len(run.rules), 'rule')} judged"]
    parts += [f"{count} {word.lower()}" for word, count in counts(run).items() if count and word in apart]
    untestable = sum(rule.untestable for rule in run.awaiting)
    at_full = sum(rule.at_full for rule in run.awaiting)
    parts += [f"{at_full} at level full"] if at_full else []
    later = len(run.awaiting) - untestable - at_full
    parts += [f"{later} await{'' if later > 1 else 's'} later chapters"] if later else []
    return ", ".join(parts + ([f"{untestable} untestable"] if untestable else []))


def some(count: int, noun: str) -> str:
    """`1 rule`, `3 rules`."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def number(count: int) -> str:
    """Thousands set apart, as people write them: `9 100`."""
    return f"{count:,}".replace(",", " ")
