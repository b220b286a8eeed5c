"""Where locations under test lie: in memory where there is room. A run judges what is kept, not how fast a disk is.

Whoever sets `TMPDIR` has chosen another place, and gets it.

A directory is known from before it is made. What nobody removed, since Ctrl-C came in between, or what a thread that
was left behind wrote there again, is removed when the interpreter ends; from then on no directory is made.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_MIN = 256 * 2**20
"""How much must be free in memory, in bytes, for anything to be put there."""


def scratch() -> Path:
    """The directory below which a new temporary directory is to be made."""
    if "TMPDIR" not in os.environ:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(MEMORY).free >= ROOM_MIN and os.access(MEMORY, os.W_OK):
                return MEMORY
    return Path(tempfile.gettempdir())


_known: dict[Path, int] = {}
"""Every directory that was made, and the process that made it: a fork is not to remove those of its parent."""

_making = threading.Lock()
_ended = threading.Event()

ATTEMPTS = 10
"""How often a directory is removed that a thread which was left behind still writes to."""


def new_directory() -> Path:
    """A new, empty directory for the caller alone. `remove` it when done."""
    path = scratch() / f"perdure-{secrets.token_hex(8)}"
    with _making:
        if _ended.is_set():
            raise OSError(f"{path} is not made: the interpreter is ending")
        _known[path] = os.getpid()
        path.mkdir(mode=0o700)
    return path


def remove(path: Path) -> None:
    """Remove a directory that `new_directory` gave, with what is in it; it may be gone already."""
    for _ in range(ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            break


@atexit.register
def _remove_what_is_left() -> None:
    with _making:
        _ended.set()
    for path, process in list(_known.items()):
        if process == os.getpid():
            remove(path)
