"""Rooms: two runs do not meet, what a dead run left is removed, and a full disk of ours is told as ours."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from perdure_scenarios.rooms import PREFIX, Rooms
from perdure_tck.stage import KitFault


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_rooms_are_empty_apart_and_gone_at_the_end(tmp_path: Path) -> None:
    with Rooms(tmp_path) as rooms:
        first, second = rooms.new("state"), rooms.new("state")
        assert first != second
        assert not [*first.iterdir(), *second.iterdir()]
        (first / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_at_once_do_not_meet(tmp_path: Path) -> None:
    with Rooms(tmp_path) as mine:
        room = mine.new("state")
        with Rooms(tmp_path) as other:
            assert other.directory != mine.directory
            assert room.is_dir()
        assert room.is_dir()
        assert not other.directory.exists()


def test_rooms_of_a_run_that_died_are_removed_by_the_next_one(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="NOT RUN: there are no such locks here")
    left = tmp_path / f"{PREFIX}dead"
    (left / "state-1").mkdir(parents=True)
    (left / "lock").touch()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with Rooms(tmp_path):
        assert not left.exists()
    assert foreign.is_dir()


def test_a_full_disk_of_ours_is_a_fault_of_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Rooms(tmp_path) as rooms:
        with pytest.raises(KitFault, match=f"no room is left in {tmp_path}"), rooms.want():
            raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(OSError, match="Input/output"), rooms.want():
            raise OSError(errno.EIO, "Input/output error")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 99, 1))
        with pytest.raises(KitFault, match="make room and run again"):
            rooms.refuse_full()
