"""The nursery: what it forks is recorded like what is started from nothing; without one nothing is lost but time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from perdure_scenarios import crew
from perdure_scenarios.crew import Pipes, Process
from perdure_scenarios.recording import Fail, Injection, Recording, record, refusal
from perdure_scenarios.recording._nursery import Newborn, Nursery
from perdure_scenarios.tasks import Completed, Run, Words
from perdure_tck.scenario_text import parse
from perdure_tck.stage import KitFault

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")

FILES = Words("files")
TWO = parse("# Two.\nrules D-01\nwrite p 1\nwrite p 2..3\n", "two")


class Started:
    """Starts processes in a nursery, and remembers them."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.processes: list[Process] = []

    def __call__(self, command: list[str], pipes: Pipes, output: IO[bytes], environment: dict[str, str]) -> Process:
        self.processes.append(self.nursery.start(command, pipes, output, environment))
        return self.processes[-1]

    @property
    def forked(self) -> list[bool]:
        return [isinstance(one, Newborn) for one in self.processes]


def recorded(words: Words, room: Path, start: Callable[..., Process], *injections: Injection) -> Recording:
    room.mkdir()
    return record(words, Run(program=TWO, directory=str(room)), injections, process=start)


def calls_of(recording: Recording) -> list[tuple[str, int, int]]:
    return [(type(call).__name__, call.step, call.told) for call in recording.trace.calls]


def is_gone(pid: int) -> bool:
    """Within a moment: a process that was killed takes one to end."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)  # nothing tells a stranger of the end of a process
    return False


@pytest.mark.parametrize("words", [FILES, Words("sqlite", {"journal_mode": "DELETE"})])
def test_a_forked_process_is_recorded_like_one_that_is_started_from_nothing(tmp_path: Path, words: Words) -> None:
    plain = recorded(words, tmp_path / "plain", crew.spawned)
    with Nursery(words) as nursery:
        started = Started(nursery)
        forked = [recorded(words, tmp_path / str(number), started) for number in range(2)]
    assert started.forked == [True, True]
    for recording in forked:
        assert calls_of(recording) == calls_of(plain)
        assert recording.trace.given_up is None
        assert recording.exit == 0
        assert sum(isinstance(report, Completed) for report in recording.reports) == 2


def test_faults_strike_a_forked_process(tmp_path: Path) -> None:
    with Nursery(FILES) as nursery:
        started = Started(nursery)
        recording = recorded(FILES, tmp_path / "room", started, Injection(2, Fail("EIO")))
    assert started.forked == [True]
    assert recording.struck == 1


def test_when_the_nursery_has_ended_processes_are_started_from_nothing(tmp_path: Path) -> None:
    with Nursery(FILES) as nursery:
        started = Started(nursery)
        recorded(FILES, tmp_path / "before", started)
        os.kill(nursery.pid, signal.SIGKILL)
        after = recorded(FILES, tmp_path / "after", started)
    assert started.forked == [True, False]
    assert after.exit == 0


def test_a_backend_with_threads_is_not_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork has only the thread that forked: one that held a lock would hold it for ever."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "threaded_files.py").write_text(
        "import threading\nfrom perdure import load_backend\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\nbackend = load_backend('files')\n"
    )
    words = Words("threaded_files:backend")
    with Nursery(words) as nursery:
        started = Started(nursery)
        recording = recorded(words, tmp_path / "room", started)
    assert started.forked == [False]
    assert recording.trace.calls


def test_a_backend_that_cannot_be_imported_is_said_to_be(tmp_path: Path) -> None:
    words = Words("nosuch_module:backend")
    with Nursery(words) as nursery, pytest.raises(KitFault, match="nosuch_module"):
        recorded(words, tmp_path / "room", nursery.start)


def test_an_environment_of_its_own_needs_a_process_from_nothing(tmp_path: Path) -> None:
    with Nursery(FILES) as nursery:
        started = Started(nursery)
        record(FILES, Run(program=TWO, directory=str(tmp_path)), environment={"SOME": "thing"}, process=started)
    assert started.forked == [False]


def test_a_nursery_that_is_left_is_gone() -> None:
    with Nursery(FILES) as nursery:
        pid = nursery.pid
    assert is_gone(pid)


def test_a_nursery_goes_with_whoever_started_it() -> None:
    script = (
        "from perdure_scenarios.recording._nursery import Nursery\nfrom perdure_scenarios.tasks import Words\n"
        "import os, signal\nwith Nursery(Words('files')) as nursery:\n"
        "    print(nursery.pid, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    assert is_gone(int(done.stdout))
