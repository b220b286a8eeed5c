"""Scenario packs: installed packages with scenario files, found through the entry points of `perdure.scenarios`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from .program import Program
from .scenario_text import ScenarioError, read_scenario, show

GROUP = "perdure.scenarios"
SUFFIX = ".scenario"


@cache
def installed_programs() -> Sequence[Program]:
    """Every program of every installed pack, by name. Raises `ScenarioError` for a file that cannot be read."""
    found: dict[str, Program] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for path in scenario_files(Path(str(files(point.value)))):
            program = read_scenario(path)
            if program.name in found:
                raise ScenarioError(str(path), "a name that no other scenario has", repr(program.name))
            found[program.name] = program
    return tuple(found[name] for name in sorted(found))


def scenario_files(folder: Path) -> Sequence[Path]:
    return sorted(folder.rglob(f"*{SUFFIX}"))


def digest(programs: Sequence[Program]) -> str:
    """Eight characters that change with every change of a program: which corpus a verdict belongs to."""
    text = "".join(f"{program.name}\n{show(program)}" for program in programs)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
