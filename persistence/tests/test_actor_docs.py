"""The pages about actors: each test that the table names exists, and the example prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
DOCS = TESTS.parents[1] / "docs"
COVERED, _, NOT_COVERED = (DOCS / "actors-table.md").read_text(encoding="utf-8").partition("## Not covered")
ROWS = re.findall(r"^\| ([FA]-\d+) \|.*\| (.*) \|$", COVERED, re.MULTILINE)
REASONS = re.findall(r"^\| ([FA]-\d+) \|.*\| (.*) \|$", NOT_COVERED, re.MULTILINE)
INVENTORY = {
    *(f"F-{number}" for number in (*range(1, 38), *range(40, 52), *range(55, 70))),
    *(f"A-{number}" for number in range(1, 42)),
}
"""Akka's features without those that came later, and its rules for actors. Some numbers (F-38) were never given."""


def test_each_row_of_the_table_stands_once_and_names_tests_that_exist() -> None:
    assert len(ROWS) > 70
    assert len({row for row, _ in ROWS}) == len(ROWS)
    missing = []
    for row, cell in ROWS:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", cell)
        assert named, f"{row} names no test"
        missing += [
            f"{row}: {file}::{test}"
            for file, test in named
            if f"def {test}(" not in (TESTS / file).read_text(encoding="utf-8")
        ]
    assert missing == []


def test_the_tests_that_name_a_row_are_rows_of_the_table() -> None:
    rows = {row for row, _ in ROWS}
    named = {
        row
        for file in TESTS.glob("test_*.py")
        for comment in re.findall(r"def test_\w+\(.*#(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        for row in re.findall(r"[FA]-\d+", comment)
    }
    assert named <= rows


def test_every_row_of_the_inventory_has_tests_or_a_reason_and_not_both() -> None:
    covered, left_out = {row for row, _ in ROWS}, {row for row, _ in REASONS}
    assert INVENTORY - covered == left_out
    assert all(len(reason) > 10 for _, reason in REASONS)


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    page = (DOCS / "actors.md").read_text(encoding="utf-8")
    (script,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "asyncio.run(main())" in code)
    expected = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0]
    file = tmp_path / "account.py"
    file.write_text(script, encoding="utf-8")
    found = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == (expected, "")
