"""How a process submits to a tracer: it asks its parent to trace it, and installs the filter of calls that stop.

Also a script, `python -I -S submission.py FILTER COMMAND...`, which does so and becomes the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PTRACE_TRACEME = 0
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_void_p))


def submitting_command(program: bytes, command: Sequence[str]) -> list[str]:
    """The command line that submits and becomes this command."""
    return [sys.executable, "-I", "-S", __file__, program.hex(), *command]


def submit(program: bytes) -> None:
    """From here on the calling thread, and all that it starts, stop at the calls of the filter. Raises `OSError`.

    The order matters: a call that stops before there is a tracer fails with ENOSYS.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    buffer = ctypes.create_string_buffer(program, len(program))
    rules = _Filter(len(program) // 8, ctypes.addressof(buffer))
    _check("ptrace", library.ptrace(PTRACE_TRACEME, 0, None, None))
    os.kill(os.getpid(), signal.SIGSTOP)  # the tracer sets its options now
    _check("no_new_privs", library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))  # so that seccomp needs no root
    _check("seccomp", library.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(rules), 0, 0))


def _check(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} is refused: {os.strerror(number)}")


if __name__ == "__main__":
    submit(bytes.fromhex(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
