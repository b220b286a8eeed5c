"""One process of a server with all its children: started, killed, stopped for a while, and ended.

It ends with the process that started it, however that ends: Linux kills it then. Everything it writes is in one
directory, which goes with it. Signals go to the group of processes that was started here, and to nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from perdure_tck.endpoints import NoServer
from perdure_tck.scratch import scratch

READY_S = 30.0
"""How long a server may take until it answers, in seconds."""

END_S = 10.0
NOBODY = 65534
UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
PR_SET_PDEATHSIG = 1


class ServerProcess:
    """Where a server runs, as whom, and the process if it runs."""

    def __init__(self, name: str, program: Path, above: Path | None = None) -> None:
        """`program` is what will run; `above` is where its directory is made: in memory by default, if there is room.

        Servers refuse to run as root. For root they run as nobody, or, where nobody may not come to the program, as
        nobody of a name space of users, in which all files are still root's.
        """
        # short: the path of a unix socket has at most 107 bytes
        self.directory = Path(tempfile.mkdtemp(prefix=f"perdure-{name}-", dir=above or scratch()))
        root = os.name == "posix" and os.geteuid() == 0
        self.account = NOBODY if root and _open_to_all(program) else None
        self._prefix = [*UNSHARE] if root and self.account is None else []
        if self.account is not None:
            os.chown(self.directory, self.account, self.account)
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Run a command to its end, as whom the server runs. Raises `NoServer` with what it said if it fails."""
        done = subprocess.run(
            [*self._prefix, *command],
            cwd=self.directory,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            user=self.account,
            group=self.account,
            extra_groups=[] if self.account is not None else None,
        )
        if done.returncode:
            raise NoServer(f"{command[0]} failed: {_last_line(done.stdout.decode(errors='replace'))}")

    def start(self, command: Sequence[str]) -> None:
        """Start the server; it need not answer yet."""
        assert not self.running, "it runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, *command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                user=self.account,
                group=self.account,
                extra_groups=[] if self.account is not None else None,
            )

    def until_ready(self, answers: Callable[[], bool]) -> None:
        """Wait until it answers. Raises `NoServer` if it ends before, or takes longer than `READY_S`."""
        latest = time.monotonic() + READY_S
        while not answers():
            if not self.running:
                raise NoServer(f"the server ended before it answered: {_last_line(self.log())}")
            if time.monotonic() > latest:
                raise NoServer(f"the server gave no answer in {READY_S:g} s: {_last_line(self.log())}")
            time.sleep(0.02)

    def log(self) -> str:
        """Everything it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def send(self, number: int) -> None:
        """Send a signal to the server and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """As if the machine's memory were gone: the whole group at once, without a word."""
        self.send(signal.SIGKILL)
        self._wait()

    def kill_master(self) -> None:
        """Only the process that was started; what becomes of its children is up to them."""
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it in peace, or kill it if it does not end; harmless if it does not run."""
        if not self.running:
            return
        assert self._process is not None
        self._process.send_signal(number)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def remove(self) -> None:
        """End it and remove all that it wrote."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _wait(self) -> None:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)


def binary(name: str, folders: Sequence[Path]) -> Path | None:
    """A program of this name: on PATH, or in one of the folders."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))
    return Path(found) if found else None


def _open_to_all(program: Path) -> bool:
    place = program.resolve()
    return all(one.stat().st_mode & 0o001 for one in (place, *place.parents))


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
