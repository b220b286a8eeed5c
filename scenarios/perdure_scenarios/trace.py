"""What a process did to the files under one directory, call by call: the input of every sweep over files.

A trace is made by a recorder (`recording/`) and read by the models of disks (`disk.py`) and by the kill sweep. It holds
only calls that succeeded and that change a file, a directory, or what of them is on the disk; paths are relative to the
directory and use `/`. Nothing here traces or judges.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Call(msgspec.Struct, frozen=True, tag=True):
    """One system call. `step` is the step of the program that was under way (0: opening, before the first step; the
    number of steps plus one: closing), `told` how many acknowledgements the parent had received before it."""

    step: int
    told: int
    path: str


class Created(Call, frozen=True):
    """A file came into being under `path`, empty."""


class MadeDirectory(Call, frozen=True):
    """A directory came into being."""


class Wrote(Call, frozen=True):
    """Bytes were written at an offset; a file that was shorter is filled with zeros up to it."""

    offset: int
    data: bytes


class Truncated(Call, frozen=True):
    """A file was cut, or extended with zeros, to a size."""

    size: int


class Renamed(Call, frozen=True):
    """`path` became `to`, which was replaced if it was there."""

    to: str


class Linked(Call, frozen=True):
    """`to` became a second name of the file at `path`."""

    to: str


class Unlinked(Call, frozen=True):
    """A name was removed. The file goes on for whoever has it open: later calls on it name no path and are left out."""


class RemovedDirectory(Call, frozen=True):
    """An empty directory was removed."""


class Synced(Call, frozen=True):
    """Everything of a file reached the disk; `data_only` for fdatasync, which may leave times behind, never sizes."""

    data_only: bool = False


class SyncedDirectory(Call, frozen=True):
    """The names in a directory reached the disk. `path` is "" for the directory itself that was recorded."""


class SyncedAll(Call, frozen=True):
    """`sync` or `syncfs`: everything reached the disk. `path` is ""."""


AnyCall = (
    Created
    | MadeDirectory
    | Wrote
    | Truncated
    | Renamed
    | Linked
    | Unlinked
    | RemovedDirectory
    | Synced
    | SyncedDirectory
    | SyncedAll
)

Reason = Literal["mmap", "io_uring", "splice", "unknown"]


class GivenUp(msgspec.Struct, frozen=True):
    """Why a recording cannot be believed: the process changed files in a way that no call shows."""

    reason: Reason
    detail: str


class Trace(msgspec.Struct, frozen=True):
    """Everything that happened to one directory while one program ran.

    `before` are the files that were there at the start, with their contents, all of them on the disk; directories end
    in `/`. `given_up` is set if the recording must not be used.
    """

    before: dict[str, bytes]
    calls: tuple[AnyCall, ...]
    given_up: GivenUp | None = None
