"""A forgetful disk as whoever uses it has it: a directory whose power can be cut."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, get_args

import msgspec

from ._child import complaint, start
from ._disk import Keep, Model
from ._mounts import fusermount, mounted, unmount
from ._process import Answer, Count, Cut, Done, Mount, Refused, Request, SetRules, Survivors, SyncAll
from ._rules import Counters, Rule

ANSWER_WITHIN_S = 60.0
REFUSE = "PERDURE_REFUSE"
"""An environment variable with the names of mechanisms, joined by commas, that shall count as missing; here `fuse`."""


class DiskFailed(Exception):
    """The forgetful disk itself broke: it cannot be mounted, or its process has died or hangs. Never a verdict."""


class ForgetfulDisk:
    """A file system, mounted at a directory for as long as the context lasts, that forgets what was not synced.

        with ForgetfulDisk(directory) as disk:
            ...                       # let a process work in it
            disk.power_cut()          # from here on everything that it tries fails with EIO
            ...                       # kill it
            disk.remount()            # what is there now is what was on the disk

    `directory` must be there and be empty. It begins without files. It is unmounted when the context is left, however;
    when this process dies, the one that serves the file system notices and unmounts.
    """

    def __init__(self, directory: Path, model: Model = "ext4", rules: tuple[Rule, ...] = ()) -> None:
        if model not in get_args(Model):
            raise ValueError(f"model {model!r} is unknown; allowed: {', '.join(get_args(Model))}")
        self.directory = directory.resolve()
        self.model = model
        self._rules = rules
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._heard = b""

    def __enter__(self) -> ForgetfulDisk:
        self._check_directory()
        try:
            self._start()
            self._ask(SetRules(self._rules))
            self._ask(Mount())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_directory(self) -> None:
        if mounted(self.directory):
            raise DiskFailed(f"{self.directory} already has a file system mounted on it; choose an empty directory")
        if not self.directory.is_dir():
            raise DiskFailed(f"there is no directory {self.directory} to mount at; make one")
        if any(self.directory.iterdir()):
            raise DiskFailed(f"{self.directory} is not empty; mounting would hide what is in it")

    def _start(self) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this disk
        self._process = start("_process", str(self.directory), self.model, complaints=self._complaints, listens=True)

    @property
    def process_id(self) -> int:
        """That of the process which serves the file system."""
        if self._process is None:
            raise DiskFailed("this disk is not mounted; use it as a context manager")
        return self._process.pid

    def power_cut(self, keep: Keep = "nothing", seed: int = 0) -> Counters:
        """The power goes: everything fails with EIO until `remount`, and what is there then is what was on the disk.

        `keep` says how much of what was not synced reached the disk all the same: nothing, everything, or a half by
        chance, drawn with `seed`, where writes may be out of order and torn between two sectors of 512 bytes.
        """
        return self._ask(Cut(keep, seed))

    def survivors(self, cuts: Iterable[tuple[Path, Keep, int]]) -> None:
        """Write what each of these power cuts would leave now into an empty directory elsewhere. The power stays on.

        A cut says what is kept, and the seed, as `power_cut` does. All are of one moment, between two operations or
        while one waits, and so one program shows what many cuts would leave.
        """
        self._ask(Survivors(tuple((str(into.resolve()), keep, seed) for into, keep, seed in cuts)))

    def remount(self) -> None:
        """The power is back. Files that are still open go on failing."""
        self._ask(Mount())

    def sync_all(self) -> None:
        """Everything is on the disk now, without any program having asked for it: a quiet disk before a test."""
        self._ask(SyncAll())

    def set_rules(self, *rules: Rule) -> None:
        """These faults from now on, instead of the earlier ones; none heals the disk. They are counted from zero."""
        self._ask(SetRules(rules))

    def counters(self) -> Counters:
        """What has happened so far: the proof that a fault struck."""
        return self._ask(Count())

    def close(self) -> None:
        """Unmount, for certain, and end the process. May be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        left = not unmount(self.directory)
        with contextlib.suppress(OSError):
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(ANSWER_WITHIN_S if not left else 1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
        if self._complaints:
            self._complaints.close()
        if not unmount(self.directory):
            raise DiskFailed(f"{self.directory} cannot be unmounted; try: fusermount3 -uz {self.directory}")

    def _ask(self, request: Request) -> Counters:
        process = self._process
        if process is None or process.stdin is None:
            raise DiskFailed("this disk is not mounted; use it as a context manager")
        try:
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise DiskFailed(
                f"the process of the disk at {self.directory} has died. {complaint(self._complaints)}"
            ) from error
        answer: Done | Refused = msgspec.json.decode(self._line(), type=Answer)
        if isinstance(answer, Refused):
            raise DiskFailed(f"{answer.reason}. {complaint(self._complaints)}")
        return answer.counters

    def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise DiskFailed(f"the disk at {self.directory} has not answered for {ANSWER_WITHIN_S:g} s")
            more = os.read(pipe, 65536)
            if not more:
                raise DiskFailed(f"the process of the disk at {self.directory} has died. {complaint(self._complaints)}")
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line


def refusal() -> str:
    """Why a forgetful disk cannot be used on this machine, and what would help; "" if it can be, which is tried."""
    if "fuse" in os.environ.get(REFUSE, "").replace(" ", "").split(","):
        return f"FUSE is refused by {REFUSE}"
    return _refusal()


@functools.cache
def _refusal() -> str:
    missing = _missing()
    if missing:
        return missing
    with tempfile.TemporaryDirectory(prefix="perdure-fuse-") as directory:
        try:
            with ForgetfulDisk(Path(directory)) as disk:
                (Path(directory) / "try").write_bytes(b"tried")
                disk.power_cut()
        except (DiskFailed, OSError) as error:
            return f"FUSE was tried and failed: {error}"
    return ""


def _missing() -> str:
    if not sys.platform.startswith("linux"):
        return f"FUSE is used on Linux only, and this is {sys.platform}"
    try:
        import mfusepy  # noqa: F401
    except ImportError:
        return "mfusepy is not installed; pip install perdure[fuse]"
    except (OSError, AttributeError) as error:
        return f"the library of FUSE is not installed ({error}); Debian has it in libfuse3-3 or libfuse2"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse; a container needs --device /dev/fuse --cap-add SYS_ADMIN"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be opened by this user; try it in a namespace: unshare -Urm"
    command = fusermount()
    if os.getuid() != 0 and not (command and os.stat(command).st_mode & stat.S_ISUID):
        return "an ordinary user needs fusermount3 with its setuid bit (Debian: fuse3), or a namespace: unshare -Urm"
    return ""
