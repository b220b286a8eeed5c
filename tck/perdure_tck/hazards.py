"""Hazards: what strikes a program, as frozen values that know their text form.

They stand behind the steps of a program: `kill at every io`. A program with hazards is not run as it stands; a sweep
runs it in a process of its own, strikes it at every point that its hazards name, and looks at what is left. What each
means is in `docs/scenario-files.md`; nothing here strikes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from .operations import AnyOperation, renamed

Kind = Literal["kill", "power cut", "fail", "disk full", "disk read-only", "damage"]

AT: dict[Kind, str] = {
    "kill": "at every io",
    "power cut": "at every io",
    "fail": "every io",
    "disk full": "at every byte",
    "disk read-only": "at every io",
    "damage": "every file",
}
"""Where each kind strikes: the words behind it, and behind what it is limited to."""

TROUBLES = ("EIO", "ENOSPC", "EDQUOT", "EINTR", "EACCES", "short write", "failed read", "failed sync", "lying sync")
"""What `fail every io with ...` may say: an error number, or how a call goes wrong without saying so."""


class Hazard(msgspec.Struct, frozen=True):
    """One line: what strikes, for `fail` with which trouble, and during which operation (None: the whole program)."""

    kind: Kind
    trouble: str = ""
    during: AnyOperation | None = None

    def __str__(self) -> str:
        during = f" during {self.during}" if self.during else ""
        trouble = f" with {self.trouble}" if self.trouble else ""
        if self.kind == "fail":  # the limit comes last, since `with` belongs to what is said of the call
            return f"fail every io{trouble}{during}"
        return f"{self.kind}{during} {AT[self.kind]}"

    def renamed(self, rename: Callable[[str], str]) -> Hazard:
        """The same hazard of a program whose persistence ids have changed."""
        return self if self.during is None else msgspec.structs.replace(self, during=renamed(self.during, rename))
