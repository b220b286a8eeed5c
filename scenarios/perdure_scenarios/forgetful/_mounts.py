"""What is mounted, and how to be rid of it. Linux only; elsewhere nothing is."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

MNT_DETACH = 2
_ATTEMPTS = 8


def mounted(directory: Path) -> bool:
    """Whether a file system is mounted exactly there. Reads a table, so that a mount that hangs cannot hang us."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    return os.fsencode(_written(directory)) in {line.split()[4] for line in lines}


def _written(directory: Path) -> str:
    """A path as the table has it."""
    text = str(directory)
    for character in "\\ \t\n":
        text = text.replace(character, f"\\{ord(character):03o}")
    return text


def unmount(directory: Path) -> bool:
    """Detach whatever is mounted there, in use or not. False: it is still there."""
    for _ in range(_ATTEMPTS):
        if not mounted(directory):
            return True
        if not _detached_by_kernel(directory):
            _detached_by_command(directory)
    return not mounted(directory)


def _detached_by_kernel(directory: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.umount2(os.fsencode(directory), MNT_DETACH) == 0)


def _detached_by_command(directory: Path) -> None:
    """As an ordinary user: the command that may unmount what its user has mounted."""
    command = fusermount()
    if command:
        subprocess.run([command, "-u", "-z", str(directory)], capture_output=True, check=False, timeout=30)


def fusermount() -> str | None:
    return shutil.which("fusermount3") or shutil.which("fusermount")
