"""How this package starts processes of its own: apart from the terminal, from the mount, and with our import path."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO


def start(module: str, *arguments: str, complaints: IO[bytes], listens: bool = False) -> subprocess.Popen[bytes]:
    """`python -m` one of our modules. Its standard output is a pipe, and so is its standard input if it `listens`."""
    return subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.{module}", *arguments],
        stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,  # Ctrl-C is ours to handle, and one kill reaches all that it started itself
        cwd="/",  # a working directory below a mount would keep it busy
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )


def complaint(complaints: IO[bytes] | None) -> str:
    """The end of what a process wrote to its standard error."""
    if complaints is None:
        return ""
    complaints.seek(0)
    return complaints.read().decode(errors="replace")[-2000:].strip()
