"""What is written down of the zoo: the generated parts of its page, and the rules that fall on each animal.

Nothing of it depends on the time or the machine, so that a test can tell whether it is still true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .kill_matrix import FALLS_MAX, Kill, awaiting, idle_rules, wide, with_animals
from .zoo import Animal, KnownBug


def signatures(kills: Iterable[Kill]) -> str:
    """The rules that fall on each animal, as TOML: what a diagnosis is made from. Of one that sweeps show only the
    rules that name its cause are asked, so that it has no signature."""
    head = "# Which rules fall on which animal, found and written by `perdure zoo --write`.\n\n"
    return head + "".join(f'{kill.animal} = "{" ".join(kill.fell)}"\n' for kill in kills if not kill.struck)


def page(text: str, animals: Sequence[Animal], kills: Sequence[Kill], bugs: Sequence[KnownBug]) -> str:
    """The page with its generated parts made anew. Raises `ValueError` if it lacks one of the comments around them."""
    shown = [(animal, kill) for animal, kill in zip(animals, kills, strict=True) if not animal.chosen]
    swept = [(animal, kill) for animal, kill in zip(animals, kills, strict=True) if animal.chosen]
    unharmed, fell = [animal for animal, _ in shown], [kill for _, kill in shown]
    parts = {
        "matrix": matrix(unharmed, fell),
        "questions": _questions(unharmed, fell, bugs),
        "awaiting": _awaiting(bugs),
        "not ours": _not_ours(bugs),
    }
    if swept:
        parts["swept"] = _swept(swept)
    for name, part in parts.items():
        text = _renewed(text, name, part)
    return text


def _renewed(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- {name}: written by `perdure zoo --write` -->\n", f"<!-- end of {name} -->"
    head, begun, rest = text.partition(begin)
    _, ended, tail = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"the page lacks '{begin.strip()}' or '{end}' below it")
    return f"{head}{begin}\n{part}\n{end}{tail}"


def matrix(animals: Iterable[Animal], kills: Iterable[Kill]) -> str:
    """The kill matrix as a Markdown table. The rules that name the cause are bold."""
    heads = ["animal", "bug", "what is wrong", "rules that fall", "witness"]
    return _table(heads, (_matrix_row(animal, kill) for animal, kill in zip(animals, kills, strict=True)))


def _swept(swept: Sequence[tuple[Animal, Kill]]) -> str:
    """The animals that only sweeps show, with what struck them."""
    heads = ["animal", "bug", "what is wrong", "rules that fall", "struck by"]
    rows = ([*_matrix_row(animal, kill)[:-1], _plain(kill.struck) or "nothing"] for animal, kill in swept)
    killed = sum(kill.killed for _, kill in swept)
    return f"{_table(heads, rows)}\nKilled by a rule that names the cause: {killed} of {len(swept)}.\n"


def _matrix_row(animal: Animal, kill: Kill) -> Sequence[str]:
    rules = (f"**{rule_id}**" if rule_id in kill.naming else rule_id for rule_id in kill.fell)
    bug = f"[{animal.bug}]({animal.source})"
    return f"`{animal.name}`", bug, _plain(animal.cause), " ".join(rules) or "none", steps(kill.steps)


def steps(number: int) -> str:
    return f"{number} step{'' if number == 1 else 's'}"


def _questions(animals: Sequence[Animal], kills: Sequence[Kill], bugs: Sequence[KnownBug]) -> str:
    return "".join(f"- {line}\n" for line in questions(animals, kills, bugs))


def questions(animals: Sequence[Animal], kills: Sequence[Kill], bugs: Sequence[KnownBug]) -> Sequence[str]:
    """What the matrix says as a whole, and asks."""
    many = ", ".join(f"{kill.animal} ({len(kill.fell)})" for kill in wide(kills))
    return [
        f"animals killed by a rule that names the cause: {sum(kill.killed for kill in kills)} of {len(kills)}",
        f"rules that kill no animal: {' '.join(idle_rules(kills)) or 'none'}",
        f"animals on which more than {FALLS_MAX} rules fall: {many or 'none'}",
        f"bugs of the catalogue that have an animal: {len(with_animals(bugs, animals))} of {len(bugs)}",
    ]


def _awaiting(bugs: Iterable[KnownBug]) -> str:
    rows = ([*_bug_row(bug), chapter] for chapter, found in awaiting(bugs).items() for bug in found)
    return _table(["bug", "what is wrong", "seen in", "awaits"], rows)


def _not_ours(bugs: Iterable[KnownBug]) -> str:
    rows = ([*_bug_row(bug), _plain(bug.not_ours)] for bug in bugs if bug.not_ours)
    return _table(["bug", "what is wrong", "seen in", "why it is none here"], rows)


def _bug_row(bug: KnownBug) -> Sequence[str]:
    return f"[{bug.id}]({bug.source})", _plain(bug.title), _plain(bug.system)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, ["---"] * len(heads), *rows))


def _plain(text: str) -> str:
    """The text with nothing in it left to be taken for Markdown; an underscore within a word has no meaning."""
    return re.sub(r"[\\`*\[\]<>|]", r"\\\g<0>", text)
