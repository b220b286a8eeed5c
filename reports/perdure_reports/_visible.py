"""Makes a run safe to show: whatever a backend supplied is seen as it is, and none of it can act.

A persistence id may hold an escape sequence, an error message a line break or half a surrogate pair. Shown raw they
would colour a terminal, break a line that is meant to be one, or make XML that nobody can read. Every report
begins with `visible(run)` and need not think of it again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from perdure_tck.document import Run
from perdure_tck.verdict import Word

_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, formats (they turn the direction of text), surrogates, separators of lines and of paragraphs."""

_OF_SEVERAL_LINES = frozenset({"text", "detail"})
"""The fields of a run document that are meant to have line breaks; every other is one line."""


def visible(run: Run) -> Run:
    """The same run with each acting character written as its escape; one-line fields have no line breaks."""
    shown: Run = _visible(run)
    return shown


def escaped(text: str, keep: str = "") -> str:
    r"""The text, each acting character written as Python would (`\x1b`, `\n`, `\ud800`), except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(_escape(char) if _acts(char) and char not in keep else char for char in text)


def _visible(value: Any, keep: str = "") -> Any:
    match value:
        case Word():
            return value
        case str():
            return escaped(value, keep)
        case tuple():
            return tuple(_visible(item) for item in value)
        case Mapping():
            return {_visible(key): _visible(item) for key, item in value.items()}
        case _:
            return _visible_fields(value) if hasattr(value, "__struct_fields__") else value


def _visible_fields(part: Any) -> Any:
    fields = {
        name: _visible(getattr(part, name), keep="\n" if name in _OF_SEVERAL_LINES else "")
        for name in part.__struct_fields__
    }
    return type(part)(**fields)


def _acts(char: str) -> bool:
    # U+FFFE and U+FFFF of each plane are no characters; XML refuses the first two
    return unicodedata.category(char) in _ACTING or ord(char) & 0xFFFE == 0xFFFE


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
