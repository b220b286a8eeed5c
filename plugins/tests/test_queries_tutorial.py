"""The tutorial of queries is true: its scripts run as they are written, one after the other, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_scripts_of_the_tutorial_print_what_it_says(tmp_path: Path) -> None:
    scripts = [text for kind, text in BLOCKS if kind == "python" and "asyncio.run" in text]
    wanted = [text for kind, text in BLOCKS if kind == "text"]
    assert len(scripts) == len(wanted) == 2
    for script, output in zip(scripts, wanted, strict=True):
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


@pytest.mark.skipif(find_spec("mypy") is None, reason="NOT RUN: mypy is not installed")
def test_its_other_code_belongs_to_its_first_script(tmp_path: Path) -> None:
    first = next(text for kind, text in BLOCKS if kind == "python")
    fragments = [text for kind, text in BLOCKS if kind == "python" and "asyncio.run" not in text]
    assert fragments
    page = tmp_path / "page.py"
    page.write_text("\n".join([first, *fragments]), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, str(page)], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert "Success" in done.stdout, done.stdout + done.stderr
