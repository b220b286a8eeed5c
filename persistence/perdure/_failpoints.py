"""Named moments at which a backend may be killed, where nobody can watch its system calls.

A backend in Python calls `failpoint("after the commit")` where a crash would hurt. It does nothing unless the
environment variable `PERDURE_FAILPOINT` is set: to "" it counts the points that are passed, so that a run can name all
of them; to `name@n` it kills the process at the n-th passing of that name, as by `kill -9`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_armed = os.environ.get("PERDURE_FAILPOINT")
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Pass a named moment. Costs one comparison in a process that was not started with `PERDURE_FAILPOINT`."""
    if _armed is None:
        return
    _passed[name] += 1
    if _armed == f"{name}@{_passed[name]}":
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows SIGTERM ends at once as well


def passed() -> dict[str, int]:
    """How often each failpoint was passed in this process; nothing unless `PERDURE_FAILPOINT` is set."""
    return dict(_passed)
