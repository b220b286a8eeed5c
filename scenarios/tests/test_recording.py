"""Recordings of backends: complete in every mode, and each call knows its step and what was acknowledged before it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from perdure_scenarios import submission
from perdure_scenarios.crew import Crew, Worker
from perdure_scenarios.recording import (
    Fail,
    Injection,
    Kill,
    final_state,
    mapped_files_matter,
    record,
    record_command,
    refusal,
)
from perdure_scenarios.recording._calls import _HANDLERS
from perdure_scenarios.recording._filter import filter_for
from perdure_scenarios.recording._machine import AARCH64, MACHINES, X86_64
from perdure_scenarios.recording._record import _recorded
from perdure_scenarios.recording.faults import Faults
from perdure_scenarios.submission import submitting_command
from perdure_scenarios.tasks import Look, Run, Seen, Words, observations
from perdure_scenarios.trace import Wrote
from perdure_tck.scenario_text import parse
from perdure_tck.stage import KitFault

needs_ptrace = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")

PROGRAM = parse(
    """
# A little of everything.
rules J-01

write p 1..3 -> ok
write q 1 data=size:9000 -> ok
save snapshot p 3 -> ok
delete p ..2 -> ok
reopen
write p 4 -> ok
replay p -> 3..4
""",
    "everything",
)
NOBODY = 65534
PLAIN = Words("plain_files:backend")


@pytest.fixture(autouse=True)
def _plain_files_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*")}


@needs_ptrace
@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_what_sqlite_does_is_recorded_completely(mode: str, close: bool, tmp_path: Path) -> None:
    found = record(
        Words("sqlite", {"journal_mode": mode}), Run(program=PROGRAM, directory=str(tmp_path), page_size=2, close=close)
    )
    assert (found.exit, found.said, found.trace.given_up) == (0, "", None)
    shm = {"perdure.db-shm"} if mode == "WAL" else set()
    assert set(found.mapped) == shm
    left = {path: content for path, content in files_of(tmp_path).items() if path not in shm}
    assert {path: content for path, content in final_state(found.trace).items() if path not in shm} == left
    outcomes = [str(observation.outcome) for observation in observations(PROGRAM, found.reports)]
    assert outcomes == ["ok", "ok", "ok", "ok", "ok", "ok", "3..4"]


@needs_ptrace
def test_a_call_knows_its_step_and_what_was_acknowledged_before_it(tmp_path: Path) -> None:
    found = record(Words("sqlite"), Run(program=PROGRAM, directory=str(tmp_path)))
    assert found.trace.calls[0].step == 0
    assert found.trace.calls[-1].step == len(PROGRAM.steps) + 1
    assert [call.step for call in found.trace.calls] == sorted(call.step for call in found.trace.calls)
    for call in found.trace.calls:
        assert call.told == max(0, call.step - 1)


@needs_ptrace
def test_a_call_that_follows_the_last_acknowledgement_knows_of_it(tmp_path: Path) -> None:
    """No step is invoked after it, so only the order in the pipe tells."""
    program = parse("# Late.\nrules J-01\n\nwrite p 1 -> ok\nwrite late 1 -> ok\n", "late")
    found = record(PLAIN, Run(program=program, directory=str(tmp_path)))
    late = [call for call in found.trace.calls if call.path == "late"]
    assert [call.told for call in late] == [2, 2]


@needs_ptrace
def test_each_of_many_acknowledgements_is_counted_before_the_next_call(tmp_path: Path) -> None:
    """A process that does nothing but tell and write in turn, with another thread that keeps the tracer busy."""
    script = """
import os, sys, threading
os.chdir(sys.argv[1])
def noise():
    f = os.open("noise", os.O_RDWR | os.O_CREAT)
    while not done:
        os.write(f, b"x")
done = []
thread = threading.Thread(target=noise); thread.start()
f = os.open("a", os.O_RDWR | os.O_CREAT)
line = '{"type": "Completed", "number": %d, "at_ns": 0, "outcome": {"type": "Done"}}\\n'
for number in range(1, 101):
    os.write(int(sys.argv[2]), (line % number).encode())
    os.write(f, b"%03d" % number)
done.append(1); thread.join()
"""
    command = [sys.executable, "-I", "-S", "-c", script, str(tmp_path)]
    found = _recorded(
        lambda submission: Worker(lambda pipes: submitting_command(submission, [*command, str(pipes[1])])),
        str(tmp_path),
        None,
        Faults(),
        120.0,
    )
    assert found.exit == 0, found.said
    told = [(call.data, call.told) for call in found.trace.calls if isinstance(call, Wrote) and call.path == "a"]
    assert told == [(b"%03d" % number, number) for number in range(1, 101)]


@needs_ptrace
def test_a_kill_at_a_call_of_a_backend_keeps_what_was_told(tmp_path: Path) -> None:
    whole = record(Words("sqlite"), Run(program=PROGRAM, directory=str(tmp_path)))
    place = next(place for place, call in enumerate(whole.trace.calls, 1) if call.step == 2 and isinstance(call, Wrote))
    again = tmp_path / "again"
    again.mkdir()
    killed = record(Words("sqlite"), Run(program=PROGRAM, directory=str(again)), [Injection(place, Kill("before"))])
    assert (killed.exit, killed.struck, len(killed.trace.calls)) == (-9, 1, place - 1)
    assert len(observations(PROGRAM, killed.reports)) == 1
    with Crew(Words("sqlite"), 1) as crew:
        seen = crew.look(Look(directory=str(again), persistence_ids=("p",)))
    assert isinstance(seen, Seen)
    assert [event.sequence_nr for event in seen.sights[0].events] == [1, 2, 3]


@needs_ptrace
def test_an_error_of_the_disk_reaches_the_backend(tmp_path: Path) -> None:
    program = parse("# Two.\nrules J-01\n\nwrite p 1 -> ok\nwrite p 2 -> ok\nwrite p 2 -> ok\n", "two")
    failing = Injection(4, Fail("EIO"), on=frozenset({"write"}))  # created, written, synced
    found = record(PLAIN, Run(program=program, directory=str(tmp_path)), [failing])
    outcomes = [str(observation.outcome) for observation in observations(program, found.reports)]
    assert outcomes == ["ok", "raised OSError: [Errno 5] Input/output error", "ok"]


@needs_ptrace
def test_the_shared_memory_of_sqlite_does_not_matter(tmp_path: Path) -> None:
    words = Words("sqlite")
    found = record(words, Run(program=PROGRAM, directory=str(tmp_path), close=False))
    assert (tmp_path / "perdure.db-shm").exists()
    with Crew(words, 1) as crew:
        look = Look(directory=str(tmp_path), persistence_ids=("p", "q"))
        assert mapped_files_matter(found, look, crew) is False


@needs_ptrace
def test_a_mapped_file_that_holds_events_matters(tmp_path: Path) -> None:
    """The plain store's file as if it had been written through memory: the trace has only its size."""
    line = '{"persistence_id":"p","sequence_nr":1,"payload":{"serializer_id":1,"manifest":"","data":""}}\\n'
    script = f"""
import mmap, os
content = {line!r}.encode().decode("unicode_escape").encode()
with open({str(tmp_path / "events")!r}, "w+b") as file:
    file.truncate(len(content))
    with mmap.mmap(file.fileno(), len(content)) as memory:
        memory[:] = content
"""
    found = record_command([sys.executable, "-I", "-c", script], str(tmp_path))
    assert (found.exit, found.mapped) == (0, ("events",)), found.said
    with Crew(PLAIN, 1) as crew:
        assert mapped_files_matter(found, Look(directory=str(tmp_path), persistence_ids=("p",)), crew) is True


@needs_ptrace
def test_a_backend_that_cannot_be_loaded_is_a_fault_of_its_words(tmp_path: Path) -> None:
    with pytest.raises(KitFault, match="nosuch"):
        record(Words("nosuch"), Run(program=PROGRAM, directory=str(tmp_path)))


A_PARENT_THAT_DIES = """
import os, sys
from perdure_scenarios.crew import Worker, worker_command
from perdure_scenarios.recording._filter import filter_for
from perdure_scenarios.recording._machine import this_machine
from perdure_scenarios.submission import submission
from perdure_scenarios.tasks import Words
own = submission(filter_for(this_machine()))
print(Worker(lambda pipes: worker_command(Words(sys.argv[1]), pipes, own if sys.argv[2] == "traced" else "")).pid)
sys.stdout.flush()
os._exit(0)  # long before the worker has loaded its backend
"""


@needs_ptrace
@pytest.mark.parametrize("watched", ["traced", "free"])
def test_a_worker_whose_parent_dies_at_once_does_not_stay(watched: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", A_PARENT_THAT_DIES, "memory", watched], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pid, deadline = int(done.stdout), time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the worker is still there")


def alive(pid: int) -> bool:
    """Whether a process is there that still does something, or might; one that nobody has waited for is dead."""
    try:
        status = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def python_for_anybody() -> str | None:
    """A Python that also nobody may start; this one may lie in the home of root."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with suppress(OSError):
            if not subprocess.run([candidate, "-I", "-S", "-c", ""], user=NOBODY, cwd="/", check=False).returncode:
                return candidate
    return None


AS_NOBODY = """
import os, sys
from perdure_scenarios import submission
from perdure_scenarios.recording import record_command
directory, sys.executable, submission.__file__ = sys.argv[1:]
os.setgid(65534); os.setuid(65534)
recording = record_command(["/bin/sh", "-c", f"echo mine > {directory}/file"], directory)
assert recording.exit == 0, recording.said
print(*(type(call).__name__ for call in recording.trace.calls))
"""


@needs_ptrace
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="NOT RUN: only root can become nobody")
def test_an_ordinary_user_can_record() -> None:
    """A process that has become nobody records a shell. What it starts must be within nobody's reach."""
    python = python_for_anybody()
    if python is None:
        pytest.skip("NOT RUN: there is no Python that nobody may start")
    with tempfile.TemporaryDirectory() as directory:  # not under the directory of pytest, which is root's alone
        os.chmod(directory, 0o755)
        script = shutil.copy(submission.__file__, directory)
        os.chmod(script, 0o644)
        home = Path(directory, "home")
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        command = [sys.executable, "-c", AS_NOBODY, str(home), python, script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["Created", "Wrote"], done.stderr


def test_the_tables_of_machines_name_calls_that_the_recorder_knows() -> None:
    assert AARCH64.calls.keys() <= X86_64.calls.keys() <= _HANDLERS.keys()
    for machine in MACHINES.values():
        assert len(set(machine.calls.values())) == len(machine.calls)
        assert len(filter_for(machine)) % 8 == 0
