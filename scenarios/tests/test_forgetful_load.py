"""Power cuts while SQLite is written to. NOT RUN where FUSE cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from perdure import Backend
from perdure_scenarios.forgetful import Keep, Load, LoadFailed, Model, Rule, power_cuts_under_load, refusal
from perdure_scenarios.forgetful._mounts import mounted
from perdure_scenarios.forgetful._writer import backend_of

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
    load = cut(sqlite("WAL", "NORMAL"), directory, acknowledged_max=2500)
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


def test_words_choose_a_backend_as_on_the_command_line() -> None:
    backend: Backend = backend_of(sqlite("DELETE", "EXTRA"))
    assert (backend.name, backend.settings["journal_mode"], backend.claims.power_durable) == ("sqlite", "DELETE", "yes")
    for wrong in ("sqlite --setting", "sqlite --level core", "sqlite --setting synchronous"):
        with pytest.raises(ValueError, match="does not choose a backend"):
            backend_of(wrong)
