"""The pytest plugin: the verdicts of the command line, a test for each rule and scenario, and no harm to others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from perdure_tck.document import read_run
from perdure_tck.packs import installed_programs
from perdure_tck.rules import all_rules

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

SPECS = ["--pyargs", "perdure_tck.specs", "-q"]
JUDGED = [one.id for one in all_rules().values() if one.judged and not one.swept]
CASES = [
    (rule, one.name) for one in installed_programs() if one.level == "core" for rule in one.rules if rule in JUDGED
]

BROKEN = """
from contextlib import asynccontextmanager
from perdure import Backend, Claims, Storage
from perdure_memory import MemoryJournal, MemorySnapshotStore, World

class Journal(MemoryJournal):
    async def read_highest_sequence_nr(self, persistence_id, from_sequence_nr=0):
        return max(from_sequence_nr, await super().read_highest_sequence_nr(persistence_id))

@asynccontextmanager
async def open_broken(location):
    world = World()
    yield Storage(Journal(world.events, location.clock, 1), MemorySnapshotStore(world.snapshots, location.clock))

backend = Backend("broken", open_broken, Claims())
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """pytest in a process of its own, in an empty folder with a broken backend beside it."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    pytester.makepyfile(broken_backend=BROKEN)
    return lambda *words: pytester.runpytest_subprocess(*words, "-p", "no:cacheprovider")


def outcomes(path: Path) -> dict[str, tuple[str, str]]:
    """Of a JUnit file, the rule and the outcome of each test."""
    found = {}
    for case in ElementTree.parse(path).iter("testcase"):
        rule = case.find("properties/property[@name='rule']")
        outcome = next((part.tag for part in case if part.tag != "properties"), "passed")
        found[case.get("name", "")] = ("" if rule is None else rule.get("value", ""), outcome)
    return found


def test_the_memory_is_green_with_a_test_for_each_rule_and_for_each_of_its_scenarios(
    run: Run, pytester: pytest.Pytester
) -> None:
    result = run(*SPECS, "--perdure-backend", "memory", "--junit-xml", "junit.xml")
    assert result.ret == 0
    result.assert_outcomes(passed=len(CASES) + len(JUDGED))
    found = outcomes(pytester.path / "junit.xml")
    expected = {f"test_scenario[{rule}-{name}]": (rule, "passed") for rule, name in CASES}
    expected |= {f"test_rule[{rule}]": (rule, "passed") for rule in JUDGED}
    assert found == expected


def test_several_processes_come_to_the_same_verdicts(run: Run, pytester: pytest.Pytester) -> None:
    chosen = [*SPECS, "--perdure-backend", "broken_backend:backend", "-k", "J-46 or J-45 or J-22"]
    alone = run(*chosen, "--junit-xml", "alone.xml")
    both = run(*chosen, "-n", "2", "--junit-xml", "both.xml")
    assert alone.ret == both.ret == 1
    found = outcomes(pytester.path / "alone.xml")
    assert {outcome for _, outcome in found.values()} == {"passed", "failure", "skipped"}
    assert outcomes(pytester.path / "both.xml") == found


REVERSED = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.reverse()
"""
"""A plugin under which the tests run from the last to the first."""

CIRCUMSTANCES: dict[str, list[str]] = {
    "as it is": [],
    "in two processes": ["-n", "2"],
    "in reverse order": ["-p", "reversed_order"],
    "in reverse order, in two processes": ["-p", "reversed_order", "-n", "2"],
    "without the plugins that others may have": ["-p", "no:randomly", "-p", "no:allure_pytest", "-p", "no:xdist"],
    "with Allure": ["--alluredir", "allure-results"],
    "with Allure, in two processes": ["--alluredir", "allure-results", "-n", "2"],
}
NEEDS_ALLURE = pytest.mark.skipif(find_spec("allure_pytest") is None, reason="allure-pytest is not installed")


@pytest.fixture(scope="module")
def words_of_the_command(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What `perdure run` says of each rule, in a folder of its own."""
    folder = tmp_path_factory.mktemp("command")
    (folder / "broken_backend.py").write_text(BROKEN)
    found = {}
    for backend in ("memory", "broken_backend:backend"):
        document = folder / "run.jsonl"
        command = [sys.executable, "-m", "perdure_tck", "run", backend, "--out", str(document)]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, timeout=120)
        found[backend] = {result.id: result.word.value for result in read_run(document).rules}
    return found


def words(path: Path) -> dict[str, str]:
    """Of a JUnit file, the word for each rule."""
    found = {}
    for case in ElementTree.parse(path).iter("testcase"):
        told = {one.get("name"): one.get("value", "") for one in case.iter("property")}
        if "word" in told:
            found[told["rule"]] = told["word"]
    return found


def test_both_doors_give_the_same_words(
    run: Run, pytester: pytest.Pytester, words_of_the_command: dict[str, dict[str, str]]
) -> None:
    """For a backend of which all seven words but those of a whole run are to be had, and for one that conforms."""
    expected = words_of_the_command["broken_backend:backend"]
    assert {*expected.values()} == {"CONFORMS", "VIOLATED", "UNSUPPORTED"}
    assert {*words_of_the_command["memory"].values()} == {"CONFORMS"}
    for backend, code in (("broken_backend:backend", 1), ("memory", 0)):
        result = run(*SPECS, "--perdure-backend", backend, "-k", "test_rule", "--junit-xml", "junit.xml")
        assert result.ret == code
        assert words(pytester.path / "junit.xml") == words_of_the_command[backend]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, marks=NEEDS_ALLURE if "Allure" in name else (), id=name)
        for name, options in CIRCUMSTANCES.items()
    ],
)
def test_the_words_are_the_same_under_all_circumstances(
    run: Run, pytester: pytest.Pytester, words_of_the_command: dict[str, dict[str, str]], options: list[str]
) -> None:
    pytester.makepyfile(reversed_order=REVERSED)
    chosen = [*SPECS, "--perdure-backend", "broken_backend:backend", "-k", "test_rule", "--junit-xml", "junit.xml"]
    assert run(*chosen, *options).ret == 1
    assert words(pytester.path / "junit.xml") == words_of_the_command["broken_backend:backend"]


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "in two processes"])
def test_the_words_are_the_same_in_the_repository(
    run: Run, pytester: pytest.Pytester, words_of_the_command: dict[str, dict[str, str]], options: list[str]
) -> None:
    """Where the ini file and the conftest of this project hold, which say other things than those of most."""
    os.chdir(ROOT)
    junit = pytester.path / "junit.xml"
    chosen = [*SPECS, "--perdure-backend", "broken_backend:backend", "-k", "test_rule", "--junit-xml", str(junit)]
    assert run(*chosen, *options).ret == 1
    assert words(junit) == words_of_the_command["broken_backend:backend"]


def test_a_broken_backend_is_red_with_the_whole_report_in_the_failure(run: Run) -> None:
    result = run(*SPECS, "--perdure-backend", "broken_backend:backend", "-k", "J-46")
    assert result.ret == 1
    text = result.stdout.str()
    assert all_rules()["J-46"].sentence in " ".join(text.replace("\nE ", " ").split())
    assert re.search(r"highest p hint \d+ +\d+ +✗ allowed: \d+", text)
    assert "perdure explain J-46" in text
    assert "perdure replay" in text


def test_what_is_not_claimed_is_skipped_with_its_reason(run: Run) -> None:
    result = run(*SPECS, "--perdure-backend", "broken_backend:backend", "-k", "J-45", "-rs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*SKIPPED*UNSUPPORTED: survives_close is not claimed*"])


def test_a_waived_violation_is_expected_to_fail(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".toml",
        conformance='[[waiver]]\nrule = "J-46"\nreason = "known"\nlink = "https://example.org/1"\nuntil = 2999-01-01\n',
    )
    result = run(*SPECS, "--perdure-backend", "broken_backend:backend", "-k", "test_rule and J-46")
    assert result.ret == 0
    result.assert_outcomes(xfailed=1)


def test_a_limit_and_a_level_can_be_chosen(run: Run) -> None:
    result = run(
        *SPECS, "--perdure-backend", "memory", "--perdure-setting", "offset_step=3", "--perdure-level", "full",
        "--perdure-limit", "30", "--collect-only",
    )  # fmt: skip
    assert result.ret == 0
    full = [one.name for one in installed_programs() if one.level == "full" and not one.hazards]
    assert all(name in result.stdout.str() for name in full)


USAGE = {
    "no backend": ([], "the perdure specs need --perdure-backend NAME"),
    "an unknown backend": (["--perdure-backend", "nosuch"], "no backend named 'nosuch'; installed: files, memory"),
    "a backend that cannot be imported": (["--perdure-backend", "nosuch:backend"], "cannot be imported"),
    "a setting without a value": (
        ["--perdure-backend", "memory", "--perdure-setting", "colour"],
        "--perdure-setting 'colour' is not name=value",
    ),
    "an unknown setting": (
        ["--perdure-backend", "memory", "--perdure-setting", "colour=red"],
        "memory has no setting colour",
    ),
    "a conformance file that is not there": (
        ["--perdure-backend", "memory", "--perdure-conformance", "no.toml"],
        "no.toml: ",
    ),
}


@pytest.mark.parametrize(("words", "message"), USAGE.values(), ids=USAGE)
def test_a_mistake_is_a_usage_error_of_one_line(run: Run, words: list[str], message: str) -> None:
    refused(run(*SPECS, *words), message)


def test_a_mistake_is_told_once_where_several_processes_would_meet_it(run: Run) -> None:
    refused(run(*SPECS, "-n", "2"), "the perdure specs need --perdure-backend NAME")


def refused(result: pytest.RunResult, message: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = [line for line in (result.outlines + result.errlines) if message in line]
    assert len(told) == 1
    assert told[0].startswith("ERROR: ")
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_an_adapter_that_does_not_open_is_no_violation(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        faulty="""
        from perdure import Backend

        def opened(location):
            raise OSError('gone')

        backend = Backend('f', opened)
        """
    )
    result = run(*SPECS, "--perdure-backend", "faulty:backend", "-k", "J-43")
    assert result.ret == 1
    assert "KitFault: opening f raised OSError: gone" in result.stdout.str()
    assert "RuleViolated" not in result.stdout.str()


def test_the_tests_of_another_project_are_left_alone(run: Run, pytester: pytest.Pytester) -> None:
    """Its own option --backend, its own fixtures named like ours, its strict settings: nothing of it is touched."""
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\nxfail_strict = true\n"
    )
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--backend', default='theirs')\n")
    pytester.makepyfile(
        test_theirs="""
        import sys
        import pytest

        @pytest.fixture(params=[1, 2])
        def perdure_case(request):
            return request.param

        def test_option(request):
            assert request.config.getoption('--backend') == 'mine'

        def test_fixture(perdure_case):
            assert perdure_case in (1, 2)

        def test_nothing_heavy_is_loaded():
            assert not {'perdure_tck.engine', 'perdure_tck.specs', 'perdure_memory'} & set(sys.modules)
        """
    )
    result = run("--backend", "mine", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=4)
    assert result.ret == 0


def test_the_options_are_listed_in_a_group_of_their_own(run: Run) -> None:
    text = run("--help").stdout.str()
    assert "conformance of persistence backends:" in text
    assert set(re.findall(r"^  (--perdure-[a-z]+)", text, flags=re.MULTILINE)) == {
        "--perdure-backend",
        "--perdure-setting",
        "--perdure-level",
        "--perdure-conformance",
        "--perdure-limit",
    }
    assert "perdure_rule" in run("--markers").stdout.str()
