"""What a reader must know of a machine to judge a figure: cores, versions, and how fast its disk really syncs."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

_SYNCS = 300
_RECORD = b"x" * 100


def machine_facts(directory: Path) -> Sequence[str]:
    """A few lines for the head of a table."""
    kind = filesystem_of(directory)
    warning = "; nothing is synced there: choose another --directory" if kind in ("tmpfs", "ramfs") else ""
    return (
        f"{_cores()} cores, {platform.system()} {platform.machine()}, {_python()}, SQLite {sqlite3.sqlite_version}",
        f"file system {kind}, {syncs_per_second(directory):,.0f} fdatasync/s of {len(_RECORD)} bytes each{warning}",
    )


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def filesystem_of(directory: Path) -> str:
    """The type of the file system, as far as the system tells."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "unknown"
    path = str(directory.resolve())
    found = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    around = [(len(mount), kind) for mount, kind in found if f"{path}/".startswith(mount.rstrip("/") + "/")]
    return max(around, default=(0, "unknown"))[1]


def syncs_per_second(directory: Path) -> float:
    """How many small records a file takes if each is synced: what no durable write can beat one at a time."""
    sync = getattr(os, "fdatasync", os.fsync)
    descriptor = os.open(directory / "syncs", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        start = time.perf_counter()
        for _ in range(_SYNCS):
            os.write(descriptor, _RECORD)
            sync(descriptor)
        return _SYNCS / (time.perf_counter() - start)
    finally:
        os.close(descriptor)
