"""The pages about actors: each test that the table names exists, and the examples print what they say."""

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


PAGE = (DOCS / "actors.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n((?:(?!```).)*?asyncio\.run\(main\(\)\)\n)```.*?```text\n(.*?)```", PAGE, re.DOTALL)


def run(directory: Path, *arguments: str) -> tuple[str, str]:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def test_each_example_prints_what_the_page_says(tmp_path: Path) -> None:
    assert len(SCRIPTS) == PAGE.count("asyncio.run(main())") == 3
    for number, (script, expected) in enumerate(SCRIPTS):
        (tmp_path / f"example_{number}.py").write_text(script, encoding="utf-8")
        assert run(tmp_path, f"example_{number}.py") == (expected, "")


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    (tests,) = re.findall(r"```python\n(from account import.*?)```", PAGE, re.DOTALL)
    (tmp_path / "account.py").write_text(SCRIPTS[0][0], encoding="utf-8")
    (tmp_path / "test_account.py").write_text(tests, encoding="utf-8")
    names = re.findall(r"async def (test_\w+)", tests)
    assert len(names) == 2
    calls = "; ".join(f"test_account.{name}()" for name in names)
    printed, log = run(tmp_path, "-c", f"import test_account; {calls}; print('passed')")
    assert printed == "passed\n", log
