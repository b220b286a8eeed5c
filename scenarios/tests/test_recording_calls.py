"""What a recording shows of system calls: everything, in order, and only what happened."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure_scenarios.recording import Recording, final_state, record_command, refusal
from perdure_scenarios.trace import (
    Created,
    Linked,
    MadeDirectory,
    RemovedDirectory,
    Renamed,
    Synced,
    SyncedAll,
    SyncedDirectory,
    Truncated,
    Unlinked,
    Wrote,
)

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")

FILE_PROGRAM = str(Path(__file__).with_name("file_program.py"))


def record_script(script: str, directory: Path) -> Recording:
    """Record a script that runs in the directory."""
    script = f"import os, sys\nos.chdir({str(directory)!r})\n{script}"
    recording = record_command([sys.executable, "-I", "-S", "-c", script], str(directory))
    assert recording.exit == 0, recording.said
    return recording


def files_of(directory: Path) -> dict[str, bytes]:
    """The files and directories as they are, read without anything of the recorder."""
    return {
        str(path.relative_to(directory)) + ("/" if path.is_dir() else ""): b"" if path.is_dir() else path.read_bytes()
        for path in directory.rglob("*")
    }


def alive(pid: str) -> bool:
    """Whether a process is there that still does something; one that only its parent has not noticed is dead."""
    try:
        status = Path("/proc", pid.strip(), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def test_calls_are_recorded_in_their_order_with_what_they_did(tmp_path: Path) -> None:
    recording = record_script(
        """
f = os.open("a", os.O_RDWR | os.O_CREAT)
os.write(f, b"one"); os.pwrite(f, b"two", 10); os.ftruncate(f, 5); os.fsync(f); os.fdatasync(f)
os.mkdir("d"); os.rename("a", "d/b"); os.link("d/b", "c"); os.write(f, b"3")
d = os.open(".", os.O_RDONLY); os.fsync(d)
os.unlink("d/b"); os.write(f, b"4"); os.rmdir("d"); os.sync()
os.unlink("c"); os.write(f, b"nobody sees this"); os.fsync(f)
""",
        tmp_path,
    )
    here = (0, 0)
    assert recording.trace.calls == (
        Created(*here, "a"),
        Wrote(*here, "a", 0, b"one"),
        Wrote(*here, "a", 10, b"two"),
        Truncated(*here, "a", 5),
        Synced(*here, "a"),
        Synced(*here, "a", data_only=True),
        MadeDirectory(*here, "d"),
        Renamed(*here, "a", "d/b"),
        Linked(*here, "d/b", "c"),
        Wrote(*here, "d/b", 3, b"3"),
        SyncedDirectory(*here, ""),
        Unlinked(*here, "d/b"),
        Wrote(*here, "c", 4, b"4"),  # the file has lost the name that it was opened by, and has another
        RemovedDirectory(*here, "d"),
        SyncedAll(*here, ""),
        Unlinked(*here, "c"),
    )
    assert recording.trace.given_up is None


def test_what_fails_or_changes_nothing_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    recording = record_script(
        """
def failing(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return
    sys.exit("it did not fail")
failing(os.open, "a", os.O_RDWR | os.O_CREAT | os.O_EXCL)
failing(os.unlink, "b"); failing(os.rmdir, "a"); failing(os.mkdir, "a"); failing(os.rename, "b", "c")
failing(os.write, os.open("a", os.O_RDONLY), b"x")
failing(os.truncate, "a", -1)
f = os.open("a", os.O_RDWR | os.O_CREAT); os.write(f, b""); os.ftruncate(f, 1); os.link("a", "b")
os.rename("a", "b")  # two names of one file: nothing happens
""",
        tmp_path,
    )
    assert recording.trace.calls == (Linked(0, 0, "a", "b"),)
    assert recording.trace.before == {"a": b"x"}
    assert recording.trace.given_up is None


def test_files_outside_the_directory_are_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    script = """
f = os.open("../outside", os.O_RDWR | os.O_CREAT); os.write(f, b"x"); os.fsync(f)
os.write(os.open("x", os.O_RDWR | os.O_CREAT), b"y"); os.rename("x", "../x")
"""
    recording = record_script(script, tmp_path / "inside")
    assert recording.trace.calls == (Created(0, 0, "x"), Wrote(0, 0, "x", 0, b"y"), Unlinked(0, 0, "x"))


def test_a_write_to_a_file_that_is_opened_to_sync_is_synced(tmp_path: Path) -> None:
    recording = record_script(
        """
os.write(os.open("a", os.O_RDWR | os.O_CREAT | os.O_DSYNC), b"1")
os.write(os.open("a", os.O_RDWR | os.O_APPEND | os.O_SYNC), b"2")
""",
        tmp_path,
    )
    assert recording.trace.calls[1:] == (
        Wrote(0, 0, "a", 0, b"1"),
        Synced(0, 0, "a", data_only=True),
        Wrote(0, 0, "a", 1, b"2"),
        Synced(0, 0, "a"),
    )


def test_processes_that_it_starts_are_recorded_and_none_outlives_it(tmp_path: Path) -> None:
    command = f"cd {tmp_path}; /bin/sh -c 'echo child > child'; /bin/sh -c 'exec sleep 1000' & echo $! > pid"
    recording = record_command(["/bin/sh", "-c", command], str(tmp_path))
    assert Wrote(0, 0, "child", 0, b"child\n") in recording.trace.calls
    assert not alive((tmp_path / "pid").read_text())


def test_calls_of_many_threads_have_one_order_that_leads_to_the_files(tmp_path: Path) -> None:
    script = """
import threading
f = os.open("shared", os.O_RDWR | os.O_CREAT | os.O_APPEND)
def work(n):
    g = os.open(f"own-{n}", os.O_RDWR | os.O_CREAT)
    for i in range(20):
        os.write(f, bytes([65 + n]) * (i + 1)); os.pwrite(g, b"x" * i, i)
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
[t.start() for t in threads]; [t.join() for t in threads]
"""
    recording = record_script(script, tmp_path)
    assert recording.trace.given_up is None
    assert final_state(recording.trace) == files_of(tmp_path)
    assert sum(isinstance(call, Wrote) for call in recording.trace.calls) == 6 * 39


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_a_trace_of_any_file_program_leads_to_the_files_as_they_are(source: random.Random) -> None:
    """`given_up` is the recorder's own word, so the files are read once more. Every kind of call is made."""
    with tempfile.TemporaryDirectory() as directory:
        for kind in ("first", "second"):  # the second finds what the first has left
            numbers = [str(source.randrange(100)) for _ in range(4 * 60)]
            recording = record_command([sys.executable, "-I", "-S", FILE_PROGRAM, directory, *numbers], directory)
            assert recording.exit == 0, f"{kind}: {recording.said}"
            assert recording.trace.given_up is None
            assert final_state(recording.trace) == files_of(Path(directory))


WORTHLESS: dict[str, tuple[str, str]] = {
    "a symbolic link": ("unknown", "os.symlink('a', 'b')"),
    "moved in from outside": ("unknown", "open('../in', 'w').close(); os.rename('../in', 'a')"),
    "linked in from outside": ("unknown", "open('../in', 'w').close(); os.link('../in', 'a')"),
    "a fifo": ("unknown", "os.mkfifo('a')"),
    "msync": ("mmap", "f = open('a', 'w+b'); f.write(b'x' * 9); f.flush(); m = mmap.mmap(f.fileno(), 9); m.flush()"),
    "mapped and synced": (
        "mmap",
        "f = open('a', 'w+b'); f.truncate(9); mmap.mmap(f.fileno(), 9); os.fsync(f.fileno())",
    ),
    "a ring": ("io_uring", "libc.syscall(425, 1, ctypes.create_string_buffer(120))"),
}


@pytest.mark.parametrize("name", WORTHLESS)
def test_a_recording_that_cannot_have_seen_everything_is_given_up(name: str, tmp_path: Path) -> None:
    reason, script = WORTHLESS[name]
    (tmp_path / "inside").mkdir()
    imports = "import ctypes, mmap, platform\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    script = f"import os, sys\nos.chdir({str(tmp_path / 'inside')!r})\n{imports}{script}"
    recording = record_command([sys.executable, "-I", "-c", script], str(tmp_path / "inside"))
    if name == "a ring" and recording.trace.given_up is None:
        pytest.skip("NOT RUN: this kernel has no io_uring for us")
    assert recording.trace.given_up is not None, recording.said
    assert recording.trace.given_up.reason == reason


def test_a_file_that_is_changed_in_memory_and_never_synced_is_named(tmp_path: Path) -> None:
    script = "import mmap; f = open('a', 'w+b'); f.truncate(9); m = mmap.mmap(f.fileno(), 9); m[0] = 1; m.close()"
    script = f"import os\nos.chdir({str(tmp_path)!r})\n{script}"
    recording = record_command([sys.executable, "-I", "-c", script], str(tmp_path))
    assert recording.exit == 0, recording.said
    assert recording.mapped == ("a",)
    assert recording.trace.given_up is None
    assert final_state(recording.trace)["a"] == bytes(9) != (tmp_path / "a").read_bytes()


def test_a_new_file_with_the_number_of_a_synced_one_that_is_gone_is_another_file(tmp_path: Path) -> None:
    script = f"""
import mmap, os
os.chdir({str(tmp_path)!r})
for attempt in range(5):  # most file systems give the number again at once
    f = open("a", "w+b"); os.fsync(f.fileno()); f.close(); os.unlink("a")
    f = open("b", "w+b"); f.truncate(9); mmap.mmap(f.fileno(), 9).close(); f.close(); os.unlink("b")
"""
    recording = record_command([sys.executable, "-I", "-c", script], str(tmp_path))
    assert (recording.mapped, recording.trace.given_up) == (("b",), None), recording.said


def test_a_change_that_no_call_shows_is_found_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder is made blind for one kind of call: it must notice by the files alone."""
    from perdure_scenarios.recording import _calls

    blind: Callable[[object, object], None] = lambda _calls, _entry: None  # noqa: E731
    monkeypatch.setitem(_calls._HANDLERS, "ftruncate", blind)
    recording = record_script("open('a', 'wb').truncate(5)", tmp_path)
    assert recording.trace.given_up is not None
    assert "a has other contents" in recording.trace.given_up.detail


def test_a_refusal_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_REFUSE", "fuse,ptrace")
    assert "PERDURE_REFUSE" in refusal()
    monkeypatch.setenv("PERDURE_REFUSE", "fuse")
    assert refusal() == ""


def test_a_recording_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """However far it has come: on a busy machine it may not even have begun."""
    recording = record_command(["/bin/sh", "-c", f"echo x > {tmp_path}/a; sleep 1000"], str(tmp_path), limit_s=1)
    assert (recording.silent, recording.exit, recording.trace.given_up) == (True, -9, None)
    assert final_state(recording.trace) == files_of(tmp_path)


def test_nothing_is_left_when_the_recording_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure_scenarios.recording import _record

    def interrupted(*_: object) -> bool:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
            os.sched_yield()
        raise KeyboardInterrupt

    monkeypatch.setattr(_record, "_listen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record_command(["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 1000"], str(tmp_path))
    assert not alive((tmp_path / "pid").read_text())
