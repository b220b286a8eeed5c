"""Directories while calls change them: which node a path leads to, and what changes the names.

Files and directories are nodes with numbers, so that a file that is renamed stays the same file, and one that is made
anew under an old name is another. Node 0 is the directory that was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

ROOT = 0

Names = dict[tuple[int, str], int]
"""What lies in which directory under which name."""


class Entry(msgspec.Struct, frozen=True):
    """A change of names: `name` in the node `directory` leads to `node`, or to nothing if that is None. A rename
    within one directory removes the name `old` in the same moment: no disk shows one half of it."""

    directory: int
    name: str
    node: int | None
    old: str | None = None

    def apply(self, names: Names) -> None:
        if self.old is not None:
            names.pop((self.directory, self.old), None)
        if self.node is None:
            names.pop((self.directory, self.name), None)
        else:
            names[self.directory, self.name] = self.node


class Listing(msgspec.Struct, frozen=True):
    """What can be reached from the root: paths of files with their nodes, and paths of directories."""

    files: tuple[tuple[str, int], ...]
    directories: tuple[str, ...]


def listing(names: Names, folders: Iterable[int]) -> Listing:
    """`folders` are the nodes that are directories. One that would be within itself is left out."""
    inside: dict[int, list[tuple[str, int]]] = {folder: [] for folder in folders}
    for (directory, name), node in names.items():
        inside[directory].append((name, node))
    files: list[tuple[str, int]] = []
    directories: list[str] = []
    waiting: list[tuple[str, int, frozenset[int]]] = [("", ROOT, frozenset({ROOT}))]
    while waiting:
        path, folder, above = waiting.pop()
        for name, node in sorted(inside[folder]):
            if node not in inside:
                files.append((path + name, node))
            elif node not in above:
                directories.append(path + name)
                waiting.append((f"{path}{name}/", node, above | {node}))
    return Listing(tuple(files), tuple(directories))


class Tree:
    """The directories as the process sees them."""

    def __init__(self) -> None:
        self.names: Names = {}
        self.folders: set[int] = {ROOT}
        self._nodes = 0

    def new(self, folder: bool = False) -> int:
        self._nodes += 1
        if folder:
            self.folders.add(self._nodes)
        return self._nodes

    def node(self, path: str) -> int:
        """The node at a path; "" is the root. A path that leads nowhere is an error: the trace is not complete."""
        node: int = ROOT
        for name in path.split("/") if path else ():
            found = self.names.get((node, name))
            if found is None:
                raise ValueError(f"no {path!r} is there at this call; the trace is not complete")
            node = found
        return node

    def place(self, path: str) -> tuple[int, str]:
        """The directory of a path, and the last name of it."""
        above, _, name = path.rpartition("/")
        return self.node(above), name

    def free(self, path: str) -> tuple[int, str]:
        """The place for something new."""
        place = self.place(path)
        if place in self.names:
            raise ValueError(f"{path!r} is there already at this call; the trace is not complete")
        return place
