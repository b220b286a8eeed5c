"""How an animal of the files backend is made: the right backend with one of its parts got wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from perdure_files import Compaction, Disk, Parts, Recovery, SegmentLog, SnapshotFiles, files_backend

from ._animal import Animal

Part = TypeVar("Part", bound=type[Any])

SEGMENT_SIZE = 400
"""Small, so that a program of a few events begins new segments and compacts old ones."""

_SLOTS: dict[type[Any], str] = {
    Disk: "disk",
    SegmentLog: "log",
    Recovery: "recovery",
    Compaction: "compaction",
    SnapshotFiles: "snapshots",
}

CAGES = SimpleNamespace()
"""One backend for each animal, under its name: what `perdure_zoo.files:CAGES.<name>` loads."""


class FilesFamily:
    """The animals of one module, in the order in which they stand there."""

    def __init__(self) -> None:
        self.animals: list[Animal] = []

    def animal(self, *, bug: str, system: str, source: str, cause: str, killed_by: str) -> Callable[[Part], Part]:
        """Make an animal of the part below: its name is that of the class, its story the docstring."""

        def add(part: Part) -> Part:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", part.__name__).lower()
            slot = next(slot for base, slot in _SLOTS.items() if issubclass(part, base))
            backend = files_backend(SEGMENT_SIZE, name=name, parts=Parts(**{slot: part}))
            setattr(CAGES, name, backend)
            self.animals.append(
                Animal(
                    name=name,
                    bug=bug,
                    system=system,
                    source=source,
                    cause=cause,
                    story=(part.__doc__ or "").strip(),
                    killed_by=tuple(killed_by.split()),
                    backend=backend,
                    chosen=f"perdure_zoo.files:CAGES.{name}",
                )
            )
            return part

        return add
