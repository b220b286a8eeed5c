"""Power cuts while SQLite is written to. Those on a forgetful disk are NOT RUN where FUSE cannot be used."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from perdure import Backend
from perdure_scenarios.forgetful import (
    Keep,
    Load,
    LoadFailed,
    Lost,
    Model,
    Rule,
    cut_under_load,
    power_cuts_under_load,
    refusal,
    totals,
    worst,
)
from perdure_scenarios.forgetful._load import _Ledger
from perdure_scenarios.forgetful._mounts import mounted
from perdure_scenarios.forgetful._writer import Acknowledged, Invoked, backend_of

SECONDS_MAX = 120.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    reason = refusal()
    if reason:
        pytest.skip(f"NOT RUN: {reason}")
    return tmp_path


def sqlite(journal_mode: str, synchronous: str) -> str:
    return f"sqlite --setting journal_mode={journal_mode} --setting synchronous={synchronous}"


def cut(
    words: str,
    directory: Path,
    *,
    model: Model = "ext4",
    keep: Keep = "nothing",
    rules: tuple[Rule, ...] = (),
    acknowledged_max: int = 60,
) -> Load:
    load = power_cuts_under_load(
        words, directory, cuts=3, seconds_max=SECONDS_MAX, model=model, keep=keep, rules=rules, seed=3,
        acknowledged_max=acknowledged_max,
    )  # fmt: skip
    assert not mounted(directory)
    assert load.counters.power_cuts == len(load.cuts)
    assert load.cuts[0].acknowledged > 0
    return load


@pytest.mark.parametrize(("model", "keep"), [("strict", "nothing"), ("ext4", "half")])
def test_wal_with_full_loses_nothing(directory: Path, model: Model, keep: Keep) -> None:
    load = cut(sqlite("WAL", "FULL"), directory, model=model, keep=keep)
    assert load.severity == "kept"
    assert len(load.cuts) == 3
    assert load.counters.syncs > 0
    assert load.counters.operations["write"] > 0


def test_wal_with_normal_loses_a_suffix(directory: Path) -> None:
    """Enough is written for checkpoints, so that not all of it is lost."""
    load = cut(sqlite("WAL", "NORMAL"), directory, acknowledged_max=1500)
    assert load.severity == "lost a suffix"
    assert load.counters.bytes_lost > 0
    assert {lost.pattern for lost in load.cuts} <= {"none", "suffix", "whole"}
    assert any(lost.breaks("yes") for lost in load.cuts)
    assert not any(lost.breaks("prefix") for lost in load.cuts)


def test_without_syncs_everything_goes(directory: Path) -> None:
    load = cut(sqlite("DELETE", "OFF"), directory)
    assert load.severity != "kept"
    assert load.cuts[0].lost > 0


def test_a_disk_whose_syncs_lie_loses_what_was_synced(directory: Path) -> None:
    load = cut(sqlite("WAL", "FULL"), directory, rules=(Rule(operation="fsync", lying=True),))
    assert load.severity != "kept"
    assert load.counters.lies > 0


def test_a_backend_that_does_not_open_is_no_verdict(directory: Path) -> None:
    with pytest.raises(LoadFailed, match="no backend named 'nosuch'"):
        cut("nosuch", directory)
    assert not mounted(directory)


def test_a_backend_that_fails_by_itself_is_no_verdict(directory: Path) -> None:
    with pytest.raises(LoadFailed, match="failed before the power was cut"):
        cut(sqlite("WAL", "FULL"), directory, rules=(Rule(operation="fsync", errno="EIO", first=10),))


class Plain:
    """An ordinary directory. Nothing is lost by what is called a power cut here, unless `after_cut` takes it."""

    def __init__(self, directory: Path, after_cut: Callable[[int], None] = lambda _: None) -> None:
        self.directory = directory
        self.cuts = 0
        self._after_cut = after_cut

    def power_cut(self, number: int) -> None:
        self.cuts += 1
        assert number == self.cuts - 1

    def remount(self) -> None:
        self._after_cut(self.cuts - 1)


def cut_plainly(disk: Plain, cuts: int = 2) -> tuple[Lost, ...]:
    return cut_under_load(
        disk, sqlite("WAL", "FULL"), disk.power_cut, cuts=cuts, seconds_max=SECONDS_MAX, seed=3, acknowledged_max=20
    )


def test_a_kill_alone_loses_nothing(tmp_path: Path) -> None:
    verdicts = cut_plainly(Plain(tmp_path))
    assert [lost.severity for lost in verdicts] == ["kept", "kept"]
    assert 0 < verdicts[0].acknowledged < verdicts[1].acknowledged
    assert worst(verdicts) == "kept"
    assert totals(verdicts) == (verdicts[1].acknowledged, 0)


def test_a_store_that_goes_back_to_an_earlier_copy_loses_a_suffix(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    live.mkdir()

    def back_to_the_first_cut(number: int) -> None:
        if number == 0:
            shutil.copytree(live, copy)
        else:
            shutil.rmtree(live)
            shutil.copytree(copy, live)

    first, second = cut_plainly(Plain(live, back_to_the_first_cut))
    assert (first.severity, first.lost) == ("kept", 0)
    assert totals((second, Lost(acknowledged=first.acknowledged + 7))) == (second.acknowledged + 7, second.lost)
    assert (second.pattern, second.lost) == ("suffix", second.acknowledged - first.acknowledged)


def test_a_store_that_lost_everything_or_cannot_be_opened_is_told_apart(tmp_path: Path) -> None:
    def emptied(_: int) -> None:
        for path in tmp_path.iterdir():
            path.unlink()

    def overwritten(_: int) -> None:
        for path in tmp_path.iterdir():
            path.write_bytes(b"this is no database" * 1000)

    (lost,) = cut_plainly(Plain(tmp_path, emptied), cuts=1)
    assert (lost.pattern, lost.lost, lost.unopenable) == ("whole", lost.acknowledged, "")
    (broken,) = cut_plainly(Plain(tmp_path, overwritten), cuts=2)  # no second cut of what cannot be opened
    assert broken.severity == "worse"
    assert "not a database" in broken.unopenable


def test_a_store_that_can_be_read_and_not_be_written_to_is_unusable(tmp_path: Path) -> None:
    def guarded(_: int) -> None:
        (database,) = (path for path in tmp_path.iterdir() if not path.name.endswith(("-wal", "-shm")))
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            (table,) = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%payload%'").fetchone()
            connection.execute(f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT raise(ABORT, 'no more'); END")

    (verdict,) = cut_plainly(Plain(tmp_path, guarded), cuts=3)
    assert (verdict.lost, verdict.severity) == (0, "worse")
    assert "it could be read only" in verdict.unopenable
    assert "no more" in verdict.unopenable


def test_what_is_acknowledged_without_power_does_not_count() -> None:
    ledger = _Ledger()
    for powered in (True, False):
        first = 1 if powered else 2
        ledger.note(Invoked("p", first, first), powered=powered)
        ledger.note(Acknowledged("p", first, first), powered=powered)
    assert ledger.acknowledgements == 1
    assert [batch.acknowledged for batch in ledger.batches.values()] == [2, None]


def test_words_choose_a_backend_as_on_the_command_line() -> None:
    backend: Backend = backend_of(sqlite("DELETE", "EXTRA"))
    assert (backend.name, backend.settings["journal_mode"], backend.claims.power_durable) == ("sqlite", "DELETE", "yes")
    for wrong in ("sqlite --setting", "sqlite --level core", "sqlite --setting synchronous"):
        with pytest.raises(ValueError, match="does not choose a backend"):
            backend_of(wrong)
