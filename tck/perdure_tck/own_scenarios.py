"""The author's own scenarios: folders of scenario files that are run beside the installed ones.

A frozen find belongs to the backend on which it was found before it belongs to everybody. Names are told apart across
all of them, since a verdict names a scenario and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from .packs import GROUP, scenario_files
from .program import Program
from .scenario_text import read_scenario


class FolderError(ValueError):
    """A folder of scenarios that cannot be used. The message names it and the way out."""


def with_own(installed: Sequence[Program], folders: Iterable[Path]) -> Sequence[Program]:
    """The installed programs and those of further folders, by name. Raises `FolderError` or `ScenarioError`."""
    found = {program.name: program for program in installed}
    places: dict[str, Path] = {}
    for path in (path for folder in folders for path in _files_of(folder)):
        if path.stem in found:
            raise FolderError(f"{path}: its name is taken by {taken(path.stem, places)}; rename one of the two")
        places[path.stem] = path
        found[path.stem] = read_scenario(path)
    return tuple(found[name] for name in sorted(found))


def _files_of(folder: Path) -> Sequence[Path]:
    paths = scenario_files(folder)
    if not paths:
        reason = "has no scenario files" if folder.is_dir() else "is not a folder"
        raise FolderError(f"{folder}: {reason}; write some with 'perdure freeze', or leave it out")
    return paths


def taken(name: str, places: Mapping[str, Path]) -> Path | str:
    """Where the scenario of a name lies: among these places, or installed."""
    if name in places:
        return places[name]
    for point in entry_points(group=GROUP):
        for path in scenario_files(Path(str(files(point.value)))):
            if path.stem == name:
                return path
    return f"the installed scenario {name}"
