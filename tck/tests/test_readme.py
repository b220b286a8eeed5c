"""The pages say what is true: examples run as written, commands and options exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from perdure_tck.command_line._group import perdure
from perdure_tck.rules import UnknownRule, all_rules, rule
from perdure_tck.verdict import Word, exit_code

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
WRITING_A_BACKEND = (REPOSITORY / "docs" / "writing-a-backend.md").read_text(encoding="utf-8")
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    REPOSITORY / "tck" / "perdure_tck" / "template" / "README.md.txt",
]
MYDB = '''
"""The journal that the adapters of the pages adapt: one in memory, kept by directory and namespace."""

from perdure_memory import MemoryJournal
from perdure_memory._journal import Shelf

SHELVES: dict[object, Shelf] = {}


class CannotConnect(Exception):
    pass


class connect:
    def __init__(self, directory, namespace):
        self.shelf = SHELVES.setdefault((directory, namespace), Shelf())

    def __await__(self):
        yield from ()
        return self

    async def close(self):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


class MyJournal(MemoryJournal):
    def __init__(self, connection, clock, page_size):
        super().__init__(connection.shelf, clock, 1)
'''


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def code(page: str) -> Iterator[str]:
    """What a page shows as code that is not Python: indented lines, fenced blocks, and code within a line."""
    text = re.sub(r"^```(python|toml|yaml)\n.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^    (.*)$", text, re.MULTILINE)
    yield from (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", text))


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Every `perdure SUBCOMMAND ...` of a page: the subcommand and its words."""
    for line in code(page):
        for name, rest in re.findall(r"(?<![\w.\[=-])perdure +([a-z]+)([^#&|;]*)", line):
            yield name, shlex.split(rest)


def test_the_example_of_the_readme_prints_what_the_readme_says(tmp_path: Path) -> None:
    example = next(block for block in blocks(README, "python") if "asyncio.run" in block)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    ran = python(tmp_path, "example.py")
    assert ran.stdout == README.partition("It prints:\n\n```text\n")[2].partition("```")[0], ran.stderr
    again = python(tmp_path, "example.py")
    assert "SequenceConflict" in again.stderr


@pytest.mark.parametrize("page", [README, WRITING_A_BACKEND], ids=["README", "writing-a-backend"])
def test_an_adapter_has_at_most_25_lines_and_works(tmp_path: Path, page: str) -> None:
    adapter = next(block for block in blocks(page, "python") if "def open_mydb" in block)
    assert len(adapter.splitlines()) <= 25
    (tmp_path / "mydb.py").write_text(MYDB, encoding="utf-8")
    (tmp_path / "perdure_mydb.py").write_text(adapter, encoding="utf-8")
    run = "from perdure_tck.command_line import main; main()"
    checked = python(tmp_path, "-c", run, "check", "perdure_mydb:backend")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_of_a_page_exists_with_its_options(path: Path) -> None:
    for name, words in commands(path.read_text(encoding="utf-8")):
        assert name in perdure.commands, f"perdure {name}"
        known = {option for parameter in perdure.commands[name].params for option in parameter.opts}
        unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
        assert not unknown, f"perdure {name} {' '.join(words)}: there is no {unknown}"


def test_the_pages_show_every_command() -> None:
    shown = {name for path in PAGES for name, _ in commands(path.read_text(encoding="utf-8"))}
    assert shown == set(perdure.commands)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_option_of_pytest_on_a_page_exists(path: Path, pytestconfig: pytest.Config) -> None:
    for option in re.findall(r"--perdure-[a-z]+", path.read_text(encoding="utf-8")):
        pytestconfig.getoption(option)  # raises if there is none


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_rule_that_a_page_names_exists(path: Path) -> None:
    for rule_id in re.findall(r"\b[DJS]-\d\d+\b", path.read_text(encoding="utf-8")):
        try:
            rule(rule_id)
        except UnknownRule as unknown:
            pytest.fail(f"{path}: {unknown}")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_table_of_the_readme_has_every_word_with_its_exit_code() -> None:
    rows = dict(re.findall(r"^\| ([A-Z ]+?) \|.*\| (\d)[^|]*\|$", README, re.MULTILINE))
    assert rows == {word.value: str(exit_code([word, Word.CONFORMS])) for word in Word}


WORDED = {"concurrency": "calls"}
"""What the page says instead of what rules need."""


def test_the_readme_counts_the_rules_as_they_are() -> None:
    rules = list(all_rules().values())
    awaited = Counter(one.needs for one in rules if one.needs and not one.judged)
    section = " ".join(README.partition("## What is judged today")[2].partition("\n## ")[0].split())
    assert f"{len(rules)} rules" in section
    assert f"Judged: {sum(one.judged for one in rules)} rules" in section
    assert f"Not yet: {awaited.total()} rules" in section
    for needs, number in awaited.items():
        assert f"{WORDED.get(needs, needs)} ({number})" in section
    assert f"{sum(one.swept for one in rules)} are judged by sweeps" in section
    assert f"Untestable: {sum(bool(one.untestable) for one in rules)} rules" in section
