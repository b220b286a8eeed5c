"""A trial: one run of one program, judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .history import Execution
from .judge import Deviation
from .program import Program


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of one program, judged: with its prefix, which is taken out of all that people read."""

    program: Program
    prefix: str
    execution: Execution
    deviations: tuple[Deviation, ...]
    coverage: Mapping[str, int]
    runs: int = 1
    """How often the program ran until this one."""

    def told(self, text: str) -> str:
        return readable(text.replace(self.prefix, "") if self.prefix else text)


def readable(text: str) -> str:
    """Text from outside as it can be written down: what no encoding holds is shown by its escape."""
    return text.encode(errors="backslashreplace").decode()
