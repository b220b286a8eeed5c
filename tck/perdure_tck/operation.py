"""What all operations have in common, and how strings, numbers and ranges look in a scenario file."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import msgspec
from perdure import MAX_SEQUENCE_NR

BARE_WORD = r"[A-Za-z_][A-Za-z0-9_-]*"
_BARE = re.compile(BARE_WORD)
RESERVED = frozenset(
    {"snapshot", "snapshots", "each", "nothing", "empty", "max", "end", "pending", "closed", "invalid", "unreadable"}
)


def quoted(text: str) -> str:
    """A string as a scenario file shows it: a bare word, a JSON string, or one character many times."""
    if _BARE.fullmatch(text) and text not in RESERVED:
        return text
    if len(text) > 40 and len(set(text)) == 1:
        return f"{_json(text[0])}*{len(text)}"
    return _json(text)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def shown_number(number: int) -> str:
    return "max" if number == MAX_SEQUENCE_NR else str(number)


def shown_range(first: int, last: int) -> str:
    return shown_number(first) if first == last else f"{shown_number(first)}..{shown_number(last)}"


def shown_window(first: int, last: int, least: int, most: int) -> str:
    """A window with the bounds that are not the default: `2..4`, `2..`, `..4`, or nothing."""
    if (first, last) == (least, most):
        return ""
    lower = "" if first == least else str(first)
    return f" {lower}..{'' if last == most else shown_number(last)}"


class Operation(msgspec.Struct, frozen=True, tag=True):
    """One line of a program. `kind` is its name in histories and counts; `str()` is its text form."""

    kind: ClassVar[str] = ""
