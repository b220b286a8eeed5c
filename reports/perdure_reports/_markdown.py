"""Markdown that shows any text as it is: no table is broken by a persistence id, no fence closed by a payload."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$#]|(?<!\w)_|_(?!\w)")
"""What Markdown, its tables, its mathematics and HTML give a meaning; an underscore within a word has none."""


def plain(text: str) -> str:
    """The text with nothing in it left to be taken for Markdown."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def fenced(text: str) -> str:
    """The text as a code block, within a fence longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are plain text."""
    lines = [heads, ["---"] * len(heads), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
