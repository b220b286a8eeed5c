"""Mutation testing of the kit: what decides on a verdict is changed in every small way, and a test has to notice.

    tox -e mutation                 or, where mutmut is installed:  python tck/tests/mutation.py

Ends in 1 if a change goes unnoticed that `docs/mutation.md` does not explain, and if nothing was noticed at all.

Nothing of the checkout is touched. mutmut works on a copy in a temporary folder, where all variants of a function stand
side by side in one file and a variable selects one: no file is edited between two runs, so no stale bytecode can take
the place of a mutant. Each mutant is tried in a process that has imported the tests and run none of them, and without
the caches of the kit, so that no answer of an unchanged function is left over from before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = ROOT / "docs" / "mutation.md"

TARGETS = ("model", "judge", "coverage", "verdict")
"""Modules of the kit that are mutated."""

TESTS = (
    "tck/tests/test_model.py",
    "tck/tests/test_judge.py",
    "tck/tests/test_coverage.py",
    "tck/tests/test_engine.py",
    "scenarios/tests/test_scenario_files.py",
)
"""The tests that have to notice: those that take seconds in all."""

FOLDERS = ("persistence", "plugins", "tck", "scenarios", "reports", "docs")
FILES = ("conftest.py", "pyproject.toml", "README.md")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "mutants")

KILLED = (1, 3)
SURVIVED = 0
TIMED_OUT = (24, -24, 36, 152)
"""Exit codes of a mutant, as mutmut notes them."""

LIMIT_S = 1800.0


class Change(NamedTuple):
    """One mutant that lived: its name, and the line before and after."""

    name: str
    before: str
    after: str


def main() -> int:
    arguments = argparse.ArgumentParser(description="Mutation testing of the kit.")
    arguments.add_argument("--processes", type=int, default=2, help="how many mutants are tried at once [2]")
    arguments.add_argument("--keep", action="store_true", help="keep the copy, to look into it with mutmut")
    chosen = arguments.parse_args()
    place = Path(tempfile.mkdtemp(prefix="perdure-mutation-"))
    try:
        prepare(place)
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(chosen.processes)]
        subprocess.run(command, cwd=place, env=environment(place), check=True, timeout=LIMIT_S)
        return told(exit_codes(place), list(survivors(place)), EXPLAINED.read_text(encoding="utf-8"))
    finally:
        if chosen.keep:
            print(f"the copy is in {place}")
        else:
            shutil.rmtree(place)


# ------------------------------------------------------------------------------------------------------------ the copy


def prepare(place: Path) -> None:
    """A copy of the checkout in which mutmut finds its way.

    It takes the name of a module from its path unless the folder is called `src`, so that is what `tck` is called.
    """
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / _called(folder), ignore=NOT_COPIED)
    for file in FILES:
        shutil.copy(ROOT / file, place / file)
    for target in _targets():
        path = place / target
        path.write_text(path.read_text(encoding="utf-8").replace("@cache\n", ""), encoding="utf-8")
    (place / "setup.cfg").write_text(configuration(), encoding="utf-8")


def _called(path: str) -> str:
    return path.replace("tck", "src", 1) if path.startswith("tck") else path


def _targets() -> Sequence[str]:
    return [f"src/perdure_tck/{name}.py" for name in TARGETS]


def configuration() -> str:
    lists = {
        "source_paths": ["src"],
        "only_mutate": _targets(),
        "also_copy": [*map(_called, FOLDERS), *FILES],
        "pytest_add_cli_args": ["-x", "-pno:cacheprovider", "-pno:randomly"],
        "pytest_add_cli_args_test_selection": [*map(_called, TESTS)],
    }
    lines = ["[mutmut]", "process_isolation = forkserver"]
    for name, values in lists.items():
        lines += [f"{name} =", *(f"    {value}" for value in values)]
    return "\n".join(lines) + "\n"


def environment(place: Path) -> Mapping[str, str]:
    """The environment of mutmut: the other packages are those of the copy too, and nobody writes bytecode."""
    packages = [str(place / folder) for folder in FOLDERS if folder not in ("tck", "docs")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(packages), "PYTHONDONTWRITEBYTECODE": "1"}


# ---------------------------------------------------------------------------------------------------- what became of it


def exit_codes(place: Path) -> Mapping[str, int | None]:
    """What each mutant ended in."""
    found: dict[str, int | None] = {}
    for target in _targets():
        meta = place / "mutants" / f"{target}.meta"
        found |= json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def survivors(place: Path) -> Iterator[Change]:
    for name, code in exit_codes(place).items():
        if code == SURVIVED:
            command = [sys.executable, "-m", "mutmut", "show", name]
            shown = subprocess.run(command, cwd=place, capture_output=True, encoding="utf-8", check=True).stdout
            yield Change(name, _lines_of(shown, "-"), _lines_of(shown, "+"))


def _lines_of(difference: str, sign: str) -> str:
    """The lines of one side of a difference, as one."""
    lines = [line[1:].strip() for line in difference.splitlines() if line[:1] == sign and line[:3] != sign * 3]
    return " ".join(lines)


def told(codes: Mapping[str, int | None], living: Sequence[Change], explained: str) -> int:
    """Print what became of the mutants; the exit code."""
    text = explained.replace("\\|", "|")  # as it is written within a table
    unexplained = [one for one in living if f"`{one.after or one.before}`" not in text]
    counts = Counter(_fate(code) for code in codes.values())
    print(f"{len(codes)} mutants: {', '.join(f'{number} {fate}' for fate, number in sorted(counts.items()))}")
    for one in unexplained:
        print(f"\n{one.name} went unnoticed and is not explained in {EXPLAINED.name}\n- {one.before}\n+ {one.after}")
    return 0 if counts["killed"] and not unexplained and not counts["not tried"] else 1


def _fate(code: int | None) -> str:
    if code in KILLED:
        return "killed"
    if code == SURVIVED:
        return "survived"
    return "timed out" if code in TIMED_OUT else "not tried"


if __name__ == "__main__":
    sys.exit(main())
