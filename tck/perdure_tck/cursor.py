"""Reading one line of a scenario file: a place in it that says what it expected, and the errors of such files."""

from __future__ import annotations

import json
import re
from functools import cache

from perdure import MAX_SEQUENCE_NR

from .operation import BARE_WORD

REPEATS_MAX = 1_000_000
STRING = r'"(?:[^"\\]|\\.)*"'
END = r"(?![A-Za-z0-9_-])"
"""The end of a word: `max-1` and `snapshot_2` are bare words, and no `max` or `snapshot` begins there."""


class ScenarioError(ValueError):
    """A scenario file that cannot be read: `file:line: expected ..., found ...`."""

    def __init__(self, place: str, expected: str, found: str) -> None:
        super().__init__(f"{place}: expected {expected}, found {found or 'the end of the line'!s}")
        self.place = place
        self.expected = expected
        self.found = found


class Cursor:
    """A place in one line; every `take` names what it expected if it is not there."""

    def __init__(self, text: str, place: str) -> None:
        self.text = text
        self.place = place

    def peek(self, pattern: str) -> bool:
        return _compiled(pattern).match(self.text) is not None

    def take(self, pattern: str, expected: str) -> str:
        found = _compiled(pattern).match(self.text)
        if not found:
            raise self.error(expected)
        self.text = self.text[found.end() :].lstrip()
        return found.group()

    def accept(self, pattern: str) -> bool:
        found = _compiled(pattern).match(self.text)
        if found:
            self.text = self.text[found.end() :].lstrip()
        return found is not None

    def one_of(self, words: tuple[str, ...]) -> str:
        return self.take(any_of(words), " or ".join(words))

    def number(self, least: int = 0, most: int = MAX_SEQUENCE_NR) -> int:
        text = self.take(rf"-?\d+|max{END}", "a whole number or max")
        value = as_number(text)
        if value < least:
            raise ScenarioError(self.place, f"a number of {least} or more", text)
        if value > most and least >= 0:  # only bounds may be outside their limits, to be refused
            raise ScenarioError(self.place, f"a number up to {'max' if most == MAX_SEQUENCE_NR else most}", text)
        return value

    def string(self, expected: str) -> str:
        if not self.peek(STRING):
            return self.take(BARE_WORD, expected)
        written = self.take(STRING, expected)
        try:
            text: str = json.loads(written)
        except ValueError:
            raise ScenarioError(self.place, f"{expected} as a JSON string", written) from None
        return text * self.number(1, REPEATS_MAX) if self.accept(r"\*") else text

    def rest(self) -> str:
        text, self.text = self.text, ""
        return text

    def end(self) -> None:
        if self.text:
            raise self.error("the end of the line")

    def error(self, expected: str) -> ScenarioError:
        return ScenarioError(self.place, expected, repr(self.text) if self.text else "")


_compiled = cache(re.compile)
"""Patterns are few, and each is asked for on every line: `re` looks longer for what it has compiled than this does."""


@cache
def any_of(words: tuple[str, ...]) -> str:
    """The pattern of any of these words, whole."""
    return f"({'|'.join(words)}){END}"


def as_number(text: str) -> int:
    return MAX_SEQUENCE_NR if text == "max" else int(text)


def read_window(cursor: Cursor, least: int, most: int) -> tuple[int, int]:
    """`2..4`, `2..`, `..4`, or nothing at all."""
    first = cursor.number(-MAX_SEQUENCE_NR) if cursor.peek(r"-?\d|max") else least
    cursor.take(r"\.\.", "'..'")
    last = cursor.number(-MAX_SEQUENCE_NR) if cursor.peek(r"-?\d|max") else most
    return first, last
