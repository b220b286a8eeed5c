"""Calibration: what is compared, and one short comparison that only `tox -e calibration` runs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from perdure_scenarios.forgetful import Lost

SCRIPT = Path(__file__).with_name("calibrate.py")
KEPT = Lost(acknowledged=5)
SUFFIX = Lost(acknowledged=5, lost=2, pattern="suffix")
MIDDLE = Lost(acknowledged=5, lost=2, pattern="middle")


@pytest.fixture(scope="module")
def calibrate() -> ModuleType:
    """The script as a module: pytest does not put the folder of a test on the import path."""
    spec = spec_from_file_location("perdure_calibrate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:  # fcntl, on Windows
        pytest.skip(f"NOT RUN: {error}")
    return module


def row(ext4: Lost, xfs: Lost, model_ext4: Lost, model_strict: Lost) -> dict[str, tuple[Lost, ...]]:
    """With the worst verdict of a model in one of its two columns, and that of a real disk among better ones."""
    return {
        "ext4": (KEPT, ext4),
        "xfs": (xfs, KEPT),
        "ext4/nothing": (KEPT,),
        "ext4/half": (KEPT, model_ext4),
        "strict/nothing": (model_strict,),
        "strict/half": (KEPT,),
    }


def test_a_real_disk_may_lose_less_than_its_model_and_never_more(calibrate: ModuleType) -> None:
    assert calibrate.beyond_the_models({"WAL FULL": row(KEPT, KEPT, KEPT, KEPT)}) == []
    assert calibrate.beyond_the_models({"WAL FULL": row(KEPT, SUFFIX, SUFFIX, MIDDLE)}) == []
    assert calibrate.beyond_the_models({"WAL FULL": row(SUFFIX, KEPT, KEPT, MIDDLE)}) == [
        "WAL FULL: ext4 lost a suffix, but the model ext4 kept"
    ]
    assert calibrate.beyond_the_models({"WAL FULL": row(KEPT, MIDDLE, MIDDLE, SUFFIX)}) == [
        "WAL FULL: xfs worse, but the model strict lost a suffix"
    ]


def test_the_table_has_a_line_for_each_setting(calibrate: ModuleType) -> None:
    lines = calibrate.markdown({"WAL FULL": row(KEPT, SUFFIX, KEPT, KEPT)}).splitlines()
    assert lines[0].startswith("| SQLite | ext4 | xfs | model ext4, kept: nothing |")
    assert lines[2].startswith("| WAL FULL | kept, 0 of 5 in 2 cuts | lost a suffix, 2 of 7 in 2 cuts |")


@pytest.mark.skipif("PERDURE_CALIBRATION" not in os.environ, reason="NOT RUN: tox -e calibration runs it, as root")
def test_the_script_says_what_it_lacks() -> None:
    refused = os.environ | {"PERDURE_REFUSE": "fuse"}
    done = subprocess.run([sys.executable, str(SCRIPT)], env=refused, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "NOT RUN: FUSE is refused by PERDURE_REFUSE\n")
