"""Faults that the recorder puts into calls: each strikes where it is told to, and the trace says what happened then."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
from perdure_scenarios.recording import (
    Capacity,
    Fail,
    Injection,
    Kill,
    Lie,
    Recording,
    Short,
    final_state,
    record_command,
    refusal,
)
from perdure_scenarios.recording.faults import AnyFault
from perdure_scenarios.trace import Created, Renamed, Synced, SyncedDirectory, Truncated, Unlinked, Wrote

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")

PRELUDE = """
import os, sys
os.chdir(sys.argv[1])
def error(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0
"""

SAFE_REPLACEMENT = """
f = os.open("new", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
os.write(f, b"0123456789")
os.fsync(f)
os.rename("new", "kept")
d = os.open(".", os.O_RDONLY)
os.fsync(d)
os.pwrite(f, b"abcdef", 100)
os.ftruncate(f, 5)
os.unlink("kept")
"""
CALLS = (
    Created(0, 0, "new"),
    Wrote(0, 0, "new", 0, b"0123456789"),
    Synced(0, 0, "new"),
    Renamed(0, 0, "new", "kept"),
    SyncedDirectory(0, 0, ""),
    Wrote(0, 0, "kept", 100, b"abcdef"),
    Truncated(0, 0, "kept", 5),
    Unlinked(0, 0, "kept"),
)


def run(script: str, directory: Path, *injections: Injection, capacity: Capacity | None = None) -> Recording:
    command = [sys.executable, "-I", "-S", "-c", PRELUDE + script, str(directory)]
    recording = record_command(command, str(directory), injections, capacity)
    assert recording.trace.given_up is None
    assert final_state(recording.trace) == {path.name: path.read_bytes() for path in directory.iterdir()}
    return recording


def answers(recording: Recording) -> list[int]:
    """The numbers that a script has printed."""
    assert recording.exit == 0, recording.said
    return [int(word) for word in recording.said.split()]


@pytest.mark.parametrize("at", range(1, len(CALLS) + 1))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_leaves_the_directory_as_the_calls_up_to_it_made_it(at: int, when: str, tmp_path: Path) -> None:
    recording = run(SAFE_REPLACEMENT, tmp_path, Injection(at, Kill("before" if when == "before" else "after")))
    assert (recording.exit, recording.struck) == (-9, 1)
    assert recording.trace.calls == CALLS[: at - 1 if when == "before" else at]


def test_a_kill_within_a_write_leaves_half_of_it(tmp_path: Path) -> None:
    recording = run(SAFE_REPLACEMENT, tmp_path, Injection(3, Kill("within")))
    assert recording.exit == -9
    assert recording.trace.calls == (*CALLS[:5], Wrote(0, 0, "kept", 100, b"abc"))


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
def test_a_write_fails_with_the_error_and_writes_nothing(error: str, tmp_path: Path) -> None:
    script = """
f = os.open("a", os.O_RDWR | os.O_CREAT)
print(error(os.write, f, b"one"), error(os.write, f, b"two"))
"""
    recording = run(script, tmp_path, Injection(2, Fail(error)))
    assert answers(recording) == [getattr(errno, error), 0]
    assert recording.trace.calls[1:] == (Wrote(0, 0, "a", 0, b"two"),)


def test_a_call_that_is_interrupted_is_made_again_by_whoever_knows_better(tmp_path: Path) -> None:
    """Python itself repeats a call that failed with EINTR."""
    script = 'f = os.open("a", os.O_RDWR | os.O_CREAT); os.write(f, b"one"); os.fsync(f)'
    interruptions = Injection(2, Fail("EINTR"), times=3)
    recording = run(script, tmp_path, interruptions)
    assert recording.struck == 3
    assert recording.trace.calls == (Created(0, 0, "a"), Wrote(0, 0, "a", 0, b"one"), Synced(0, 0, "a"))


@pytest.mark.parametrize("error", ["EACCES", "EROFS"])
def test_opening_for_writing_is_refused(error: str, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x")
    script = """
opened = error(os.open, "old", os.O_RDWR)
created = error(os.open, "new", os.O_RDWR | os.O_CREAT)
print(opened, created, error(os.open, "old", os.O_RDONLY))
"""
    opening = Injection(1, Fail(error), on=frozenset({"open", "create"}), times=None)
    number = getattr(errno, error)
    assert answers(run(script, tmp_path, opening)) == [number, number, 0]


def test_a_sync_that_fails_once_succeeds_when_it_is_tried_again(tmp_path: Path) -> None:
    script = 'f = os.open("a", os.O_RDWR | os.O_CREAT); print(error(os.fsync, f), error(os.fsync, f))'
    recording = run(script, tmp_path, Injection(1, Fail("EIO"), on=frozenset({"sync"})))
    assert answers(recording) == [errno.EIO, 0]
    assert recording.trace.calls == (Created(0, 0, "a"), Synced(0, 0, "a"))


def test_a_sync_that_lies_is_not_in_the_trace(tmp_path: Path) -> None:
    recording = run(SAFE_REPLACEMENT, tmp_path, Injection(1, Lie(), times=None))
    assert (recording.exit, recording.struck) == (0, 2)
    assert recording.trace.calls == tuple(call for call in CALLS if not isinstance(call, Synced | SyncedDirectory))


def test_a_short_write_really_writes_what_it_says(tmp_path: Path) -> None:
    script = 'f = os.open("a", os.O_RDWR | os.O_CREAT); print(os.write(f, b"0123456789"), os.write(f, b"0123456789"))'
    recording = run(script, tmp_path, Injection(2, Short(3)))
    assert answers(recording) == [3, 10]
    assert (tmp_path / "a").read_bytes() == b"0120123456789"


def test_a_short_write_of_several_buffers_ends_within_one_and_leaves_them_as_they_were(tmp_path: Path) -> None:
    script = """
f = os.open("a", os.O_RDWR | os.O_CREAT)
parts = [b"abc", b"", b"defgh", b"ij"]
print(os.writev(f, parts), os.writev(f, parts))
"""
    recording = run(script, tmp_path, Injection(2, Short(5)))
    assert answers(recording) == [5, 10]
    assert (tmp_path / "a").read_bytes() == b"abcdeabcdefghij"


def test_a_full_disk_stays_full_until_it_is_healed(tmp_path: Path) -> None:
    script = 'f = os.open("a", os.O_RDWR | os.O_CREAT); print(*(error(os.write, f, b"x") for _ in range(5)))'
    full = Injection(3, Fail("ENOSPC"), on=frozenset({"write", "create"}), times=3)
    recording = run(script, tmp_path, full)
    assert answers(recording) == [0, errno.ENOSPC, errno.ENOSPC, errno.ENOSPC, 0]
    assert recording.struck == 3


def test_a_directory_holds_as_many_bytes_as_it_may(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"1234")
    script = """
f = os.open("a", os.O_RDWR | os.O_CREAT)
print(os.write(f, b"123456789"), error(os.write, f, b"x"), error(os.ftruncate, f, 50))
print(os.pwrite(f, b"abc", 0), error(os.pwrite, f, b"ab", 6), error(os.posix_fallocate, f, 0, 9))
os.unlink("old")
print(os.write(f, b"123456789"))
"""
    recording = run(script, tmp_path, capacity=Capacity(10))
    assert answers(recording) == [6, errno.ENOSPC, errno.ENOSPC, 3, errno.ENOSPC, errno.ENOSPC, 4]
    assert recording.struck == 6
    assert (tmp_path / "a").read_bytes() == b"abc4561234"


def test_a_fault_that_strikes_nothing_is_known_to_have_struck_nothing(tmp_path: Path) -> None:
    never: list[AnyFault] = [Short(10), Kill("within"), Fail("EIO")]
    recording = run(SAFE_REPLACEMENT, tmp_path, *(Injection(99, fault) for fault in never))
    assert (recording.struck, recording.trace.calls) == (0, CALLS)


def test_an_error_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="'ENOSUCH' is not known"):
        Fail("ENOSUCH")


READS = """
def read(call, *arguments):
    try:
        return call(*arguments) and 0
    except OSError as error:
        return error.errno
f = os.open("kept", os.O_RDONLY)
first = read(os.read, f, 4), read(os.pread, f, 4, 2)
print(*first, read(os.readv, f, [bytearray(2)]), read(os.preadv, f, [bytearray(2)], 0))
os.close(f)
"""


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_read_fails_once_however_it_is_made_and_is_in_no_trace(at: int, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"0123456789")
    recording = run(READS, tmp_path, Injection(at, Fail("EIO"), frozenset({"read"})))
    assert answers(recording) == [errno.EIO if number == at else 0 for number in range(1, 5)]
    assert recording.struck == 1
    assert recording.trace.calls == ()
    sizes = [size for number, size in enumerate([4, 4, 2, 2], 1) if number != at]
    assert [(read.path, read.size) for read in recording.reads] == [("kept", size) for size in sizes]


def test_reads_do_not_stop_unless_they_may_be_struck(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"0123456789")
    recording = run(READS, tmp_path)
    assert answers(recording) == [0, 0, 0, 0]
    assert recording.reads == ()
    assert recording.stops == 1  # the line that it prints
