"""Where locations under test lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from perdure_tck import scratch as module
from perdure_tck.scratch import ROOM_MIN, scratch


@pytest.fixture(autouse=True)
def _nobody_chose_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(module, "MEMORY", tmp_path)


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size))


def test_memory_is_taken_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free(monkeypatch, ROOM_MIN)
    assert scratch() == tmp_path


def test_memory_is_left_alone_where_there_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, ROOM_MIN - 1)
    assert scratch() == Path(tempfile.gettempdir())


def test_a_system_without_such_memory_uses_its_temporary_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "MEMORY", tmp_path / "absent")
    assert scratch() == Path(tempfile.gettempdir())


def test_a_place_that_somebody_chose_is_obeyed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free(monkeypatch, ROOM_MIN)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "chosen"))
    assert scratch() == Path(tempfile.gettempdir())


LEFT = """
from perdure_tck.scratch import new_directory, remove
removed, left = new_directory(), new_directory()
remove(removed)
assert not removed.exists()
removed.mkdir()  # as a thread might that was left behind
(left / "file").write_text("left")
raise KeyboardInterrupt
"""


def test_what_nobody_removed_is_gone_when_the_interpreter_has_ended(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.rstrip().endswith("KeyboardInterrupt"), done.stderr
    assert list(tmp_path.iterdir()) == []


LATE = """
import atexit
from perdure_tck import scratch

def late():  # runs after what was registered later
    try:
        scratch.new_directory()
    except OSError as error:
        print(error)

atexit.unregister(scratch._remove_what_is_left)
atexit.register(late)
atexit.register(scratch._remove_what_is_left)
"""


def test_no_directory_is_made_while_the_interpreter_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is not made: the interpreter is ending" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
