"""The tutorial: its files, written down as they stand there, run in their order and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
FILES = re.findall(r"```python\n# (\w+\.py)\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)


def test_the_page_has_its_files_and_nothing_else_to_run() -> None:
    assert [name for name, _, _ in FILES] == [
        "bank.py",
        "test_bank.py",
        "use_bank.py",
        "balances.py",
        "transfer.py",
        "seat.py",
    ]
    assert PAGE.count("```python") == len(FILES)
    assert PAGE.count("```text") == sum(bool(printed) for _, _, printed in FILES) == 4


def test_each_file_prints_what_the_page_says(tmp_path: Path) -> None:
    for name, code, printed in FILES:
        file = tmp_path / name
        file.write_text(code, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", str(file)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (name, done.stdout, done.stderr) == (name, printed, "")
