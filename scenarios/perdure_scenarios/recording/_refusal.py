"""Whether processes can be recorded here, found out by recording one."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache

from ..trace import Wrote
from ._machine import MACHINES, this_machine
from ._record import RecordingRefused, record_command

REFUSE = "PERDURE_REFUSE"
"""An environment variable that names mechanisms, with commas between them, which are to be taken for refused."""


def refusal() -> str:
    """Why nothing can be recorded here, in one line; "" if it can. The answer of the machine is asked for once.

    `PERDURE_REFUSE=ptrace` makes the answer a refusal, to see what becomes of a run without recordings.
    """
    if "ptrace" in os.environ.get(REFUSE, "").split(","):
        return f"ptrace is refused by {REFUSE}"
    return _found()


@cache
def _found() -> str:
    if sys.platform != "linux":
        return f"recording system calls needs Linux, and this is {sys.platform}"
    if this_machine() is None or sys.maxsize < 1 << 32:
        return f"recording system calls needs one of {', '.join(MACHINES)} with 64 bits"
    if not hasattr(os, "pidfd_open"):
        return "recording system calls needs a Python with pidfd_open"
    with tempfile.TemporaryDirectory(prefix="perdure-") as directory:
        return _tried(directory)


def _tried(directory: str) -> str:
    script = "import sys; open(sys.argv[1], 'wb', 0).write(b'x')"
    command = [sys.executable, "-I", "-S", "-c", script, os.path.join(directory, "file")]
    try:
        recording = record_command(command, directory)
    except (RecordingRefused, OSError) as error:
        return f"ptrace and seccomp: {str(error).splitlines()[-1]}"
    if recording.exit or not any(isinstance(call, Wrote) for call in recording.trace.calls):
        return f"ptrace and seccomp show no calls (the process ended with {recording.exit})"
    return ""
