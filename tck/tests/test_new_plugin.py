"""`perdure new`: the project that it writes works before its author has changed a line.

The slow test at the end does what an author does: it runs `tox` in a new project, against the wheel, outside the
repository. The tox environment `new-plugin` asks for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from perdure_tck.command_line._new import new
from perdure_tck.document import read_run
from perdure_tck.verdict import EXIT_USAGE, Word

REPOSITORY = Path(__file__).parents[2]
PERDURE = [sys.executable, "-c", "from perdure_tck.command_line import main; main()"]
FILES = {
    ".gitignore",
    "README.md",
    "conformance.toml",
    "pyproject.toml",
    "src/perdure_mydb/__init__.py",
    "src/perdure_mydb/py.typed",
    "tests/test_mydb.py",
    "tox.ini",
}


def written(into: Path, name: str = "mydb") -> Result:
    return CliRunner().invoke(new, [name, "--into", str(into)])


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    more: Mapping[str, str] = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(command, cwd=folder, env=more, capture_output=True, encoding="utf-8", check=False)


def test_a_new_project_has_its_files_and_nothing_else(tmp_path: Path) -> None:
    assert written(tmp_path / "mydb").exit_code == 0
    found = {path.relative_to(tmp_path / "mydb").as_posix() for path in (tmp_path / "mydb").rglob("*")}
    assert {place for place in found if not (tmp_path / "mydb" / place).is_dir()} == FILES


def test_every_place_for_the_name_is_filled_in(tmp_path: Path) -> None:
    written(tmp_path / "mydb")
    assert not [place for place in FILES if "@NAME@" in (tmp_path / "mydb" / place).read_text(encoding="utf-8")]


def test_the_project_goes_into_a_folder_of_its_name_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(new, ["mydb"]).output == "mydb: a plugin project; next: cd mydb && tox\n"
    assert (tmp_path / "mydb" / "tox.ini").is_file()


@pytest.mark.parametrize("name", ["Mydb", "my-db", "my db", "my_", "_my", "1db", "", "my.db", "ümlaut", "../mydb"])
def test_a_name_that_no_package_can_have_is_refused(tmp_path: Path, name: str) -> None:
    refused = written(tmp_path / "project", name)
    assert refused.exit_code == EXIT_USAGE
    assert "cannot be the name of a package" in refused.output
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("name", ["memory", "sqlite", "tck", "scenarios"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    refused = written(tmp_path / "project", name)
    assert refused.exit_code == EXIT_USAGE
    assert f"package perdure_{name} already" in refused.output


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused = written(tmp_path)
    assert refused.exit_code == EXIT_USAGE
    assert "not empty" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_stub_passes_the_pre_flight(tmp_path: Path) -> None:
    written(tmp_path)
    checked = run([*PERDURE, "check", "perdure_mydb:backend"], tmp_path / "src")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_stub_conforms_to_every_rule_that_it_claims(tmp_path: Path) -> None:
    written(tmp_path)
    judged = run([*PERDURE, "run", "perdure_mydb:backend", "--out", "run.jsonl"], tmp_path / "src")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    results = read_run(tmp_path / "src" / "run.jsonl").rules
    assert {result.word for result in results} == {Word.CONFORMS, Word.UNSUPPORTED}
    assert {result.id for result in results if result.word is Word.UNSUPPORTED and result.chapter != "queries"} == {
        "J-45",
        "J-85",
        "S-34",
        "S-40",
    }
    assert {result.word for result in results if result.chapter == "queries"} == {Word.UNSUPPORTED}, "it offers none"


@pytest.mark.skipif("PERDURE_SLOW" not in os.environ, reason="NOT RUN: it takes a minute; tox -e new-plugin runs it")
@pytest.mark.timeout(900)
def test_tox_is_green_in_a_new_project_with_the_wheel(tmp_path: Path) -> None:
    wheels = tmp_path / "dist"
    built = run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(wheels), str(REPOSITORY)], tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    written(tmp_path / "mydb")
    tox = shutil.which("tox", path=str(Path(sys.executable).parent)) or "tox"
    judged = run([tox], tmp_path / "mydb", PIP_FIND_LINKS=str(wheels), TOX_ENV="", TOXENV="")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert {path.name for path in (tmp_path / "mydb" / "reports").iterdir()} == {"allure", "junit.xml", "run.jsonl"}
