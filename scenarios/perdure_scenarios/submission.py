"""How a process submits to a tracer: it asks its parent to trace it, and installs the filter of calls that stop.

Also a script, `python -I -S submission.py SUBMISSION COMMAND...`, which does so and becomes the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PTRACE_TRACEME = 0
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_void_p))


def submission(program: bytes) -> str:
    """What a process is given that shall submit to this one: who its parent is, and the filter."""
    return f"{os.getpid()}:{program.hex()}"


def submitting_command(submission: str, command: Sequence[str]) -> list[str]:
    """The command line that submits and becomes this command."""
    return [sys.executable, "-I", "-S", __file__, submission, *command]


def die_with_parent(submission: str) -> None:
    """Be killed when the thread ends that started this process. Raises `ProcessLookupError` if it has ended already.

    A tracer kills what it traces when it ends, but it may end before there is anything to trace. Whoever submits then
    has the first process of the system for a parent, which would let it stand still for ever.
    """
    die_with(int(submission.partition(":")[0]))


def die_with(parent: int) -> None:
    """Be killed when the thread of this process ends that started the calling one."""
    _check("a signal at the parent's end", _library().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        raise ProcessLookupError("the process that started this one is gone")


def submit(submission: str) -> None:
    """From here on the calling thread, and all that it starts, stop at the calls of the filter. Raises `OSError`.

    The order matters: a call that stops before there is a tracer fails with ENOSYS.
    """
    die_with_parent(submission)
    _check("ptrace", _library().ptrace(PTRACE_TRACEME, 0, None, None))
    os.kill(os.getpid(), signal.SIGSTOP)  # the tracer sets its options now
    stop_at_calls(submission)


def stop_at_calls(submission: str) -> None:
    """Install the filter. Whoever calls this is traced already."""
    program = bytes.fromhex(submission.partition(":")[2])
    buffer = ctypes.create_string_buffer(program, len(program))
    rules = _Filter(len(program) // 8, ctypes.addressof(buffer))
    library = _library()
    _check("no_new_privs", library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))  # so that seccomp needs no root
    _check("seccomp", library.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(rules), 0, 0))


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    return library


def _check(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} is refused: {os.strerror(number)}")


if __name__ == "__main__":
    submit(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])
