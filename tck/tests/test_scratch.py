"""Where locations under test lie."""

from __future__ import annotations

import shutil
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
