"""Where locations under test lie: in memory where there is room. A run judges what is kept, not how fast a disk is.

Whoever sets `TMPDIR` has chosen another place, and gets it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
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
