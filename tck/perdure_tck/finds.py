"""Finds: what exploration brings home, by which name it is kept, and how it becomes a frozen scenario.

Nothing here searches. A find is a witness against a rule; frozen, it is a scenario like any other: with an author's
prose, and with the model's outcomes behind its arrows, so that it runs on every backend and says what is right.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
from perdure import PersistentRepr

from . import model
from .document import RuleResult, Witness
from .judge import FULL_CLAIMS, disagreement
from .linear import Explorer
from .model import State
from .operations import SaveSnapshot, Write
from .packs import SUFFIX
from .program import Program, Step
from .rules import all_rules
from .verdict import Word

NAME_LENGTH = 48
NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)+"
SMALL = 20
SILENT = ("clock", "reopen", "cancel", "")
"""Kinds of operations whose outcome goes without saying."""

HEAVY_BYTES = 2_000_000
HEAVY_EVENTS = 2_000
"""Above either, a scenario is of the level full."""


class Find(msgspec.Struct, frozen=True):
    """One way in which a backend breaks a rule. `codes` are the bytes of the program that led to it."""

    witness: Witness
    codes: bytes

    @property
    def rule(self) -> str:
        return self.witness.rules[0]

    @property
    def name(self) -> str:
        """`J-43-deleting-everything-a-second-time-118c`: the rule, its sentence as far as it goes, and a digest."""
        words = re.findall(r"[a-z0-9]+", all_rules()[self.rule].sentence.lower())
        while len("-".join(words)) > NAME_LENGTH:
            words.pop()
        digest = hashlib.sha256(self.witness.text.encode(errors="surrogatepass")).hexdigest()[:4]
        return "-".join([self.rule, *words, digest])

    @property
    def shape(self) -> tuple[str, ...]:
        """What tells one find from another: the rules, what kinds of operations it takes, and which of them shows it.

        How often and in which order would tell more, and tell one bug ten times.
        """
        kinds = [_kind(step.operation) for step in self.witness.steps]
        if len(kinds) > SMALL:  # it could not be made small, so that most of it means nothing
            kinds = kinds[-1:]
        return (*self.witness.rules, *sorted(set(kinds)), kinds[-1])


def _kind(operation: str) -> str:
    return " ".join(re.findall(r"^(?:(?:delete|save|load) snapshots?\b|\w+)", operation))


def written(find: Find, folder: Path) -> Find:
    """The find with the path of its scenario file, which tells in its prose what was observed."""
    last = find.witness.steps[-1]
    told = [f"Its last step gave {last.observed}; allowed is {last.allowed}."]
    if find.witness.intermittent:
        told.append(f"Seen in {find.witness.seen} of {find.witness.repeated} tries.")
    path = folder / f"{find.name}{SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    prose = "".join(f"# {' '.join(line.split())}\n" for line in told)
    path.write_text(
        re.sub("^rules ", lambda _: f"{prose}rules ", find.witness.text, count=1, flags=re.MULTILINE), "utf-8"
    )
    return msgspec.structs.replace(find, witness=msgspec.structs.replace(find.witness, file=str(path)))


def violated(rule_id: str, witness: Witness) -> RuleResult:
    """What is said of a rule that one witness breaks, where no whole run was made."""
    rule = all_rules()[rule_id]
    return RuleResult(
        id=rule.id,
        level=rule.level,
        chapter=rule.chapter,
        sentence=rule.sentence,
        check=rule.check,
        word=Word.VIOLATED,
        reason="",
        scenarios=(),
        coverage={},
        floor=rule.floor,
        witnesses=(witness,),
    )


class CannotFreeze(ValueError):
    """A program, a name or a prose that makes no scenario. The message says what is missing."""


def frozen(program: Program, name: str, prose: str) -> Program:
    """The scenario that a program becomes: with this prose, and the outcomes that the model allows.

    Raises `CannotFreeze` for a name that is no sentence in snake_case, for prose of less than two sentences, and for a
    program that expects what the model does not allow.
    """
    if not re.fullmatch(NAME, name):
        raise CannotFreeze(f"{name!r} is no name of a scenario; write a sentence in snake_case, as in 'it_is_kept'")
    if len(re.findall(r"[.!?](?=\s|$)", prose.strip())) < 2:
        raise CannotFreeze("a scenario begins with two sentences of prose: what must hold, and who got it wrong")
    wrong = disagreement(program)
    if wrong:
        raise CannotFreeze(f"the find contradicts the model: {wrong}")
    scenario = msgspec.structs.replace(
        program,
        name=name,
        prose=textwrap.fill(prose.strip(), 118, break_long_words=False),
        level=_level(program),
        steps=_expecting(program),
    )
    assert not disagreement(scenario), disagreement(scenario)
    return scenario


def _expecting(program: Program) -> tuple[Step, ...]:
    """The steps with the outcomes that the model allows a backend that claims everything.

    Where steps overlap, those are the outcomes of every order of them, and of the steps behind them in each.
    """
    allowed = _in_any_order(program) if program.overlaps else _one_by_one(program)
    return tuple(
        msgspec.structs.replace(step, expected=() if step.operation.kind in SILENT else outcomes)
        for step, outcomes in zip(program.steps, allowed, strict=True)
    )


def _in_any_order(program: Program) -> Iterator[tuple[str, ...]]:
    possible = Explorer(program.steps, FULL_CLAIMS).outcomes()
    return (tuple(sorted({*map(str, possible[number])})) for number in range(1, len(program.steps) + 1))


def _one_by_one(program: Program) -> Iterator[tuple[str, ...]]:
    states: dict[str, State] = {}
    now = State().now
    for number, step in enumerate(program.steps, 1):
        known = states.get(step.namespace, State())
        before = msgspec.structs.replace(known, now=now)
        transitions = model.step(before, step.operation, number, FULL_CLAIMS)
        yield tuple(dict.fromkeys(str(one.outcome) for one in transitions))
        states[step.namespace], now = transitions[0].state, transitions[0].state.now


def _level(program: Program) -> str:
    sizes = [len(data) for number, step in enumerate(program.steps, 1) for data in _contents(step, number)]
    return "full" if sum(sizes) > HEAVY_BYTES or len(sizes) > HEAVY_EVENTS else program.level


def _contents(step: Step, number: int) -> list[bytes]:
    match step.operation:
        case Write(batches=batches):
            events: list[PersistentRepr] = [event for one in batches for event in one.atomic_write(number).events]
            return [event.payload.data for event in events]
        case SaveSnapshot() as save:
            return [save.payload(number).data]
        case _:
            return []
