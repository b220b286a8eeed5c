"""The seven words that a rule can end in, and the exit codes that follow. Nothing is green by default."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Word(StrEnum):
    """What the kit says of one rule."""

    CONFORMS = "CONFORMS"
    """Judged, and really exercised: its coverage floor was reached."""

    VIOLATED = "VIOLATED"
    """The backend broke the rule; or a waiver of it has expired or is no longer needed."""

    WAIVED = "WAIVED"
    """Violated, and an unexpired waiver in `conformance.toml` says so."""

    UNSUPPORTED = "UNSUPPORTED"
    """The backend does not claim it, and a probe was made."""

    UNPROVEN = "UNPROVEN"
    """Ran, but below its coverage floor."""

    NOT_RUN = "NOT RUN"
    """This machine lacks something that the rule needs."""

    KIT_FAULT = "KIT FAULT"
    """The adapter, the environment or the kit itself raised. Neither for nor against the backend."""


EXIT_OK = 0
EXIT_VIOLATED = 1
EXIT_USAGE = 2
EXIT_KIT_FAULT = 3
EXIT_UNPROVEN = 4


def exit_code(words: Iterable[Word], partial: bool = False) -> int:
    """The exit code of a run. A fault of the kit hides every other; a violation hides what was not proved.

    `partial` lets NOT RUN pass. No rule at all is a usage error. A run in which every rule is excused has proved
    nothing, and says so.
    """
    seen = set(words)
    if not seen:
        return EXIT_USAGE
    if Word.KIT_FAULT in seen:
        return EXIT_KIT_FAULT
    if Word.VIOLATED in seen:
        return EXIT_VIOLATED
    if Word.UNPROVEN in seen or (Word.NOT_RUN in seen and not partial):
        return EXIT_UNPROVEN
    if not seen & {Word.CONFORMS, Word.WAIVED}:
        return EXIT_UNPROVEN
    return EXIT_OK
