"""The nursery: one process that has loaded the kit and a backend, and forks a new process for each recording.

What a process costs is its start: an interpreter and its imports take many times as long as the program that is to be
recorded. A process that is forked has opened nothing and been told nothing, like one that was started from nothing. It
waits until the tracer has attached to it, since ptrace lets only a parent be submitted to.

Where a nursery is of no use, because the backend has threads of its own as soon as it is imported, or cannot be
imported, or because the machine does not let anybody attach, processes are started as usual.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import perdure_tck.runner  # noqa: F401  # a part of what every recorded process needs
from perdure import Backend, load_backend

from ..crew import Pipes, Process, import_path, spawned, submission_in
from ..submission import die_with, stop_at_calls
from ..tasks import Words
from ..worker import Mouth, attend, keep_to_ourselves
from . import _ptrace

REQUEST_MAX = 1 << 16
ATTACHED = b"!"


class Newborn:
    """A process that a nursery has forked and that the calling thread traces. See `crew.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def kill(self) -> None:
        """Its number is ours until its tracer has waited for it."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it is gone. How it ended only its tracer learns."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return -signal.SIGKILL
        try:
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)
        return -signal.SIGKILL


class Nursery:
    """A nursery for one backend. Use it as a context manager; `start` is a `crew.Start`, for processes to be traced."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._lock = threading.Lock()  # recordings are made in several threads
        self._ended = True

    def __enter__(self) -> Nursery:
        """Not when it is first needed: a tracer waits for everything that its thread has started."""
        self._process = self._opened()
        self._ended = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, command: Sequence[str], pipes: Pipes, output: IO[bytes], environment: Mapping[str, str]) -> Process:
        """Start a worker, with the submission that its command names, and attach to it. By the thread that traces."""
        pid = self._born(command, pipes, output) if not environment else None
        return Newborn(pid) if pid is not None else spawned(command, pipes, output, environment)

    def _born(self, command: Sequence[str], pipes: Pipes, output: IO[bytes]) -> int | None:
        with self._lock:
            if self._ended:
                return None
            try:
                return self._asked(command, pipes, output)
            except OSError:
                self._end()
                return None

    def _asked(self, command: Sequence[str], pipes: Pipes, output: IO[bytes]) -> int:
        """Raises `OSError` if the nursery has gone, or if nobody may attach."""
        gate, ours = os.pipe()
        try:
            descriptors = [*pipes[:2], pipes[3], output.fileno(), gate]
            socket.send_fds(self._socket, [submission_in(command).encode()], descriptors)
            answer = self._socket.recv(REQUEST_MAX)
            if not answer:
                raise ConnectionResetError("the nursery has ended")
            _ptrace.request(_ptrace.ATTACH, int(answer))
            os.write(
                ours, ATTACHED
            )  # the stop of attaching comes first, so that the tracer has set its options by then
        finally:
            os.close(gate)
            os.close(ours)
        return int(answer)

    def _opened(self) -> subprocess.Popen[bytes]:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = [f"{name}={value}" for name, value in self._words.settings.items()]
        with theirs:
            return subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), self._words.name, *settings],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what it has to say of a backend, each process that is spawned says again
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": import_path()},
            )

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._socket.close()
            self._process.kill()
            self._process.wait()


# ------------------------------------------------------------------------------------------------ in the nursery itself


def main(arguments: Sequence[str]) -> None:
    """Arguments: the descriptor of a socket, the backend's name, its settings."""
    requests = socket.socket(fileno=int(arguments[0]))
    requests.set_inheritable(False)
    backend = load_backend(arguments[1], dict(setting.split("=", 1) for setting in arguments[2:]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for a child
    gc.freeze()  # what is shared with children stays shared
    while True:
        submission, descriptors, _, _ = socket.recv_fds(requests, REQUEST_MAX, 5)
        if not submission or _threads() > 1:  # only the thread that forks would be there in the child
            return
        nursery = os.getpid()
        pid = os.fork()
        if not pid:
            requests.close()
            _live(nursery, backend, submission.decode(), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(b"%d" % pid)


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _live(nursery: int, backend: Backend, submission: str, descriptors: Sequence[int]) -> None:
    """The life of a child. It never returns, and what its backend leaves open is left as it is."""
    requests, reports, notes, output, gate = descriptors
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        die_with(nursery)
        keep_to_ourselves(requests, reports, notes)
        if os.read(gate, 1) == ATTACHED:
            os.close(gate)
            stop_at_calls(submission)
            attend(requests, backend, Mouth(reports), notes)
            code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
