"""Runs on a machine that they share: with each other, and with whatever has filled its disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from perdure_scenarios.recording import refusal
from perdure_tck.document import read_run

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")
needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="NOT RUN: only root can mount a small disk"
)

BROKEN = "perdure_zoo.files:CAGES.events_are_framed_one_by_one"
WITHIN_S = 400


def started(out: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "perdure_tck", "run", *words, "--out", str(out)]
    return subprocess.Popen(command, cwd=out.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_runs_at_once_find_the_same_and_their_proofs_are_replayed_later(tmp_path: Path) -> None:
    outs = [tmp_path / name / "run.jsonl" for name in ("one", "two")]
    for out in outs:
        out.parent.mkdir()
    runs = [started(out, BROKEN, "D-02") for out in outs]
    for run in runs:
        told, complaints = run.communicate(timeout=WITHIN_S)
        assert run.returncode == 1, told + complaints
        assert complaints == ""
    first, second = ([(one.id, one.word, one.witnesses) for one in read_run(out).rules] for out in outs)
    assert [one[:2] for one in first] == [one[:2] for one in second]
    for out in outs:
        proof = next(out.with_name("run-witnesses").glob("*.struck"))
        again = subprocess.run(
            [sys.executable, "-m", "perdure_tck", "replay", str(proof)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert again.returncode == 1, again.stdout + again.stderr
        assert "✗ allowed" in again.stdout
    assert [one.name for one in tmp_path.glob("*/*.lock")] == []


def test_a_second_run_for_the_same_document_is_kept_out(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="NOT RUN: there are no such locks here")
    out = tmp_path / "run.jsonl"
    with open(out.with_name("run.jsonl.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = started(out, "memory", "J-02")
        _, complaints = run.communicate(timeout=WITHIN_S)
    assert run.returncode == 2
    assert complaints == f"perdure: another run is writing {out}; wait for it, or give this one its own --out\n"
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@needs_root
def test_a_disk_that_fills_up_costs_files_and_no_finding(small_disk: Path) -> None:
    out = small_disk / "run.jsonl"
    run = started(out, BROKEN, "D-02")
    told, complaints = run.communicate(timeout=WITHIN_S)
    assert run.returncode == 3, told + complaints
    assert complaints == (
        f"perdure: {out} is not written: No space left on device; the report above is all there is of the run\n"
    )
    assert "VIOLATED" in told
    assert f"a proof cannot be kept in {small_disk / 'run-witnesses'}: No space left on device" in " ".join(
        told.split()
    )
    assert not out.exists()
    for proof in out.with_name("run-witnesses").glob("*.struck"):
        assert (proof / "README").is_file()  # whole, or not there
