"""Sweeps where a machine refuses something, and sweeps that are ended: the words are right, and nothing is left.

The refusals are real where this process may bring them about: another user, and a filter of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from perdure_scenarios.recording import refusal
from perdure_scenarios.recording._machine import this_machine
from perdure_scenarios.rooms import PREFIX

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: this needs Linux")
needs_ptrace = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")
needs_numbers = pytest.mark.skipif(this_machine() is None, reason="NOT RUN: the calls of this machine are not known")

HERE = Path(__file__).parent
NOBODY = 65534
MARK = "PERDURE_TEST_MARK"
WITHIN_S = 120.0

NUMBERS = {
    "x86_64": {"ptrace": 101, "mount": 165, "unshare": 272},
    "aarch64": {"ptrace": 117, "mount": 40, "unshare": 97},
}
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2


def refuse_calls(*names: str) -> None:
    """From here on these system calls fail with EPERM, in this process and all that it starts."""
    numbers = NUMBERS[os.uname().machine]
    lines = [struct.pack("=HBBI", 0x20, 0, 0, 0)]  # the number of the call
    for name in names:
        lines += [struct.pack("=HBBI", 0x15, 0, 1, numbers[name]), struct.pack("=HBBI", 0x06, 0, 0, REFUSE)]
    lines.append(struct.pack("=HBBI", 0x06, 0, 0, ALLOW))
    program = ctypes.create_string_buffer(b"".join(lines))
    rules = struct.pack("=HxxxxxxQ", len(lines), ctypes.addressof(program))
    library = ctypes.CDLL(None, use_errno=True)
    assert library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert library.prctl(PR_SET_SECCOMP, FILTER, rules, 0, 0) == 0


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def refuse_everything() -> None:
    """As little as may be taken away for a sweep to be left with nothing but kills."""
    if os.geteuid() == 0 and interpreter():
        become_nobody()
    refuse_calls("ptrace", "mount", "unshare")


# ------------------------------------------------------------------------------------------------------ what is left


class Traces:
    """What a command and all that it starts leave: told apart from others by a mark in their environment."""

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder
        self.environment = {
            **os.environ,
            MARK: self.mark,
            "TMPDIR": str(folder),
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(open_to_all, sys.path)]),
        }

    def processes(self) -> list[int]:
        return [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit() and self._is_ours(place)]

    def _is_ours(self, place: Path) -> bool:
        try:
            alive = (place / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            return alive and f"{MARK}={self.mark}".encode() in (place / "environ").read_bytes()
        except OSError:
            return False

    def rooms(self, pid: int) -> list[Path]:
        """The rooms of a sweep in a process, by the lock that it holds."""
        try:
            held = [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            return []
        return [Path(one).parent for one in held if f"/{PREFIX}" in one and one.endswith("/lock")]


def mounts() -> set[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return {line.split()[1] for line in lines if line.startswith("perdure-forgetful ")}


def eventually(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def traces() -> Iterator[Traces]:
    """A folder that any user may write into; afterwards nothing is left of what ran with its mark."""
    with tempfile.TemporaryDirectory(prefix="perdure-refused-") as folder:
        os.chmod(folder, 0o777)  # another user works in it
        found = Traces(Path(folder))
        yield found
        assert eventually(lambda: not found.processes()), "a process is left"
        assert not [one for one in mounts() if one.startswith(folder)], "something is left mounted"
        assert [one.name for one in Path(folder).iterdir() if one.name.startswith("perdure")] == []


def judged(traces: Traces, backend: str, before: Callable[[], None] | None) -> Any:
    done = subprocess.run(
        [interpreter() or sys.executable, str(HERE / "judged_here.py"), backend],
        cwd=traces.folder,
        env=traces.environment,
        preexec_fn=before,  # this process has one thread that matters
        capture_output=True,
        text=True,
        timeout=WITHIN_S * 4,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def open_to_all(path: str) -> bool:
    """Whether another user may come to a file, or into a folder."""
    place = Path(path).resolve()
    return place.exists() and all(one.stat().st_mode & 0o001 for one in (place, *place.parents))


def interpreter() -> str:
    """A Python like this one that another user may run with what is installed here, or ""."""
    if not open_to_all(msgspec.__file__):
        return ""
    found = (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    return next((one for one in found if open_to_all(one)), "")


needs_nobody = pytest.mark.skipif(
    os.geteuid() != 0 or not interpreter(), reason="NOT RUN: only root can become another user, who may run Python"
)

# ------------------------------------------------------------------------------------------------------------- refusals


@needs_nobody
@needs_ptrace
def test_an_ordinary_user_records_like_root(traces: Traces) -> None:
    found = judged(traces, "files", become_nobody)
    assert found["words"]["D-02"] == "CONFORMS"
    assert found["words"]["D-12"] == "UNPROVEN"  # it takes more than one scenario
    assert found["struck"]["power_cuts"] > 0
    assert found["faults"] == []
    assert "kills_by_chance" not in found["struck"]


@needs_numbers
def test_where_tracing_and_mounting_are_refused_only_kills_are_left(traces: Traces) -> None:
    found = judged(traces, "files", refuse_everything)
    assert found["faults"] == []
    assert found["struck"]["kills_by_chance"] > 0
    assert found["words"]["D-02"] in ("CONFORMS", "UNPROVEN")  # kills by chance do not always strike a batch five times
    assert "ptrace" in found["reasons"]["D-12"]
    assert "FUSE" in found["reasons"]["D-12"] or "fuse" in found["reasons"]["D-12"]
    assert found["words"]["D-12"] == "NOT RUN"


@needs_numbers
def test_a_broken_store_is_found_though_tracing_is_refused(traces: Traces) -> None:
    found = judged(traces, "perdure_zoo.files:CAGES.acknowledged_in_the_buffer", refuse_everything)
    assert found["words"]["D-12"] == "NOT RUN"
    assert found["words"]["D-01"] == "VIOLATED"


# ---------------------------------------------------------------------------------------------------------- ended early


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("backend", ["files", "mapped_files:backend"])
def test_a_sweep_that_is_ended_says_so_and_leaves_nothing(
    traces: Traces, number: signal.Signals, code: int, word: str, backend: str
) -> None:
    command = [sys.executable, "-m", "perdure_tck", "run", backend, "D-02", "D-12", "--out", str(traces.folder / "run")]
    rooms: list[Path] = []
    process = started(command, traces)
    try:
        assert eventually(lambda: len(traces.processes()) > 2 and bool(traces.rooms(process.pid)))
        rooms = traces.rooms(process.pid)
        assert eventually(lambda: len(list(rooms[0].iterdir())) > 2)  # it is in the middle of a program
        process.send_signal(number)
        _, told = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert told.strip().splitlines() == [f"perdure: {word}; what was not finished is not reported"]
    assert not rooms[0].exists()
    assert not [one for one in mounts() if one.startswith(str(rooms[0]))]
    assert not (traces.folder / "run").exists()


def started(command: Sequence[str], traces: Traces) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=traces.folder,
        env=traces.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
