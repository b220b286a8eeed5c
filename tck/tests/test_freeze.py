"""Freezing: the command that exploration prints makes a scenario of a find, by which the gate then falls."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from perdure_tck.command_line._group import perdure
from perdure_tck.document import read_run
from perdure_tck.finds import CannotFreeze, frozen
from perdure_tck.judge import disagreement
from perdure_tck.packs import installed_programs
from perdure_tck.scenario_text import parse, read_scenario, show

Command = Callable[..., Result]

BECAUSE = "The highest number survives every deletion. Lost here by the fifth one after a snapshot."

PLANTED = '''
"""From the fifth deletion on of an id that has a snapshot, the highest number is that of the events left."""
from collections import Counter
from contextlib import asynccontextmanager
from perdure import Backend, Claims, Storage
from perdure_memory import MemoryJournal, MemorySnapshotStore, World

class Forgetful(MemoryJournal):
    def __init__(self, world, clock):
        super().__init__(world.events, clock, 1)
        self.snapshots = world.snapshots.snapshots
        self.deletions = Counter()

    async def delete_messages_to(self, persistence_id, to_sequence_nr):
        log = self._shelf.logs.get(persistence_id)
        before = len(log.events) if log else 0
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        if log and len(log.events) < before and any(owner == persistence_id for owner, _ in self.snapshots):
            self.deletions[persistence_id] += 1
            if self.deletions[persistence_id] >= 5:
                log.highest_sequence_nr = max(log.events, default=0)

@asynccontextmanager
async def opened(location):
    world = World()
    yield Storage(Forgetful(world, location.clock), MemorySnapshotStore(world.snapshots, location.clock))

backend = Backend("planted", opened, Claims())
'''


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(tmp_path / "hypothesis"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "planted_bug.py").write_text(PLANTED)
    (tmp_path / "find.scenario").write_text("# Found.\nrules J-43\nwrite p 1\ndelete p ..1\ndelete p ..1\nhighest p\n")

    def call(*words: str | Path) -> Result:
        sys.modules.pop("planted_bug", None)
        return CliRunner().invoke(perdure, [str(word) for word in words])

    return call


def freeze(command: Command, name: str = "the_highest_survives", because: str = BECAUSE, *more: str | Path) -> Result:
    return command("freeze", "find.scenario", "--as", name, "--because", because, *more)


def test_what_only_exploration_finds_is_killed_by_the_gate_once_it_is_frozen(command: Command, tmp_path: Path) -> None:
    assert command("run", "planted_bug:backend").exit_code == 0

    explored = command("explore", "planted_bug:backend", "--for", "1m", "--finds", "1", "--seed", "1")
    assert explored.exit_code == 1
    (printed,) = [line.split("perdure ")[1] for line in explored.output.splitlines() if line.startswith("  freeze")]
    done = command(*printed.split(), "--because", BECAUSE)
    assert done.exit_code == 0

    (path,) = (tmp_path / "scenarios").iterdir()
    ran = command("run", "planted_bug:backend", "--scenarios", "scenarios", "--out", "run.jsonl")
    assert ran.exit_code == 1
    fallen = {one.id: one for one in read_run(tmp_path / "run.jsonl").rules if one.word == "VIOLATED"}
    assert tuple(fallen) == read_scenario(path).rules
    assert f"scenario {path.stem}" in ran.output
    assert command("run", "memory", *fallen, "--scenarios", "scenarios").exit_code == 0
    assert command("replay", path.stem, "--backend", "planted_bug:backend", "--scenarios", "scenarios").exit_code == 1


def test_a_frozen_scenario_has_the_prose_and_what_the_model_expects(command: Command, tmp_path: Path) -> None:
    done = freeze(command)
    assert done.exit_code == 0
    assert done.output.startswith("scenarios/the_highest_survives.scenario written; next: perdure run BACKEND ")
    path = tmp_path / "scenarios" / "the_highest_survives.scenario"
    assert path.read_text(encoding="utf-8") == (
        f"# {BECAUSE}\nrules J-43\n\nwrite p 1    -> ok\ndelete p ..1 -> ok\ndelete p ..1 -> ok\nhighest p    -> 1\n"
    )
    program = read_scenario(path)
    assert show(program) == path.read_text(encoding="utf-8")
    assert disagreement(program) == ""


def test_every_installed_scenario_could_be_frozen_as_it_is() -> None:
    for program in installed_programs():
        again = frozen(program, "some_name", BECAUSE)
        assert disagreement(again) == ""
        assert parse(show(again), "some_name") == again
        for step, written in zip(again.steps, program.steps, strict=True):
            shown = {one.partition(" at ")[0] for one in step.expected}
            assert not written.expected or shown & {one.partition(" at ")[0] for one in written.expected}


def test_where_steps_overlap_every_order_is_allowed() -> None:
    text = "rules J-33\none_handle\ntogether\n  a: write p 1\n  b: write p 1\n  c: cancel a\nend\nreopen\nreplay p\n"
    steps = frozen(parse(text, "one"), "one_is_cancelled", BECAUSE).steps
    expected = [step.expected for step in steps]
    assert expected == [("cancelled", "conflict", "ok"), ("conflict", "ok"), (), (), ("1",)]


def test_what_is_heavy_is_of_the_level_full() -> None:
    assert frozen(parse("rules J-43\nwrite p 1 data=size:3000000", "one"), "one_is_large", BECAUSE).level == "full"
    assert frozen(parse("rules J-43\nwrite p 1..2001", "one"), "many_are_written", BECAUSE).level == "full"
    assert frozen(parse("rules J-43\nwrite p 1", "one"), "one_is_written", BECAUSE).level == "core"


def test_long_prose_is_broken_into_lines() -> None:
    program = frozen(parse("rules J-43\nwrite p 1", "one"), "one_is_written", "It is very long. " * 20)
    assert max(map(len, program.prose.splitlines())) <= 118


@pytest.mark.parametrize("name", ["", "word", "Two_words", "two-words", "_two_words", "two__words", "../two_words"])
def test_a_name_is_a_sentence_in_snake_case(name: str) -> None:
    with pytest.raises(CannotFreeze, match="is no name of a scenario"):
        frozen(installed_programs()[0], name, BECAUSE)


INSTALLED = installed_programs()[0].name


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "an existing name": (["--as", "taken_by_me"], "taken_by_me.scenario is there already; choose another"),
        "an installed name": (["--as", INSTALLED], f"{INSTALLED}.scenario: its name is taken by "),
        "a bad name": (["--as", "Word"], "'Word' is no name of a scenario"),
        "one sentence": (["--as", "a_b", "--because", "It is so."], "begins with two sentences of prose"),
        "a folder below a file": (["--as", "a_b", "--into", "find.scenario/deep"], "find.scenario/deep"),
    }.values(),
)
def test_a_mistake_is_answered_in_one_line_with_exit_code_2(
    command: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "taken_by_me.scenario").write_text("rules J-43\nwrite p 1\n")
    done = command("freeze", "find.scenario", "--because", BECAUSE, *words)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_find_that_cannot_be_read_or_contradicts_the_model_is_refused(command: Command, tmp_path: Path) -> None:
    assert "no.scenario: No such file" in command("freeze", "no.scenario", "--as", "a_b", "--because", BECAUSE).stderr
    (tmp_path / "find.scenario").write_text("rules J-43\nwrite p x\n")
    assert "find.scenario:2: expected" in freeze(command).stderr
    (tmp_path / "find.scenario").write_text("rules J-43\nwrite p 1 -> conflict\n")
    refused = freeze(command)
    assert refused.exit_code == 2
    assert "the find contradicts the model: step 1" in refused.stderr


def test_without_anybody_to_ask_the_prose_must_be_given(command: Command) -> None:
    done = command("freeze", "find.scenario", "--as", "a_b")
    assert done.exit_code == 2
    assert "--because is missing: two sentences" in done.stderr


# ----------------------------------------------------------------------------------------------- folders of one's own


def test_a_conformance_file_names_folders_beside_it(command: Command, tmp_path: Path) -> None:
    assert freeze(command, "the_highest_survives", BECAUSE, "--into", "project/scenarios").exit_code == 0
    (tmp_path / "project" / "conformance.toml").write_text('scenarios = ["scenarios"]\n')
    done = command("run", "memory", "J-43", "--conformance", "project/conformance.toml", "--out", "run.jsonl")
    assert done.exit_code == 0
    (result,) = read_run(tmp_path / "run.jsonl").rules
    assert "the_highest_survives" in result.scenarios
    replayed = command(
        "replay", "the_highest_survives", "--backend", "memory", "--conformance", "project/conformance.toml"
    )
    assert replayed.exit_code == 0


FOLDERS = {
    "a folder that is not there": ("nosuch", "nosuch: is not a folder"),
    "an empty folder": ("empty", "empty: has no scenario files"),
    "a name that is installed": ("clash", f"clash/{INSTALLED}.scenario: its name is taken by "),
    "a name that is there twice": (
        "twice",
        "twice/b/one_name.scenario: its name is taken by twice/a/one_name.scenario",
    ),
    "a file that cannot be read": ("bad", "bad/a_b.scenario:1: expected"),
}


@pytest.mark.parametrize(("folder", "message"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("words", [["run", "memory", "J-43"], ["replay", "nosuch_story", "--backend", "memory"]])
def test_a_folder_that_cannot_be_used_is_a_usage_error(
    command: Command, tmp_path: Path, folder: str, message: str, words: list[str]
) -> None:
    text = "rules J-43\nwrite p 1\n"
    for place in (f"clash/{INSTALLED}", "twice/a/one_name", "twice/b/one_name"):
        path = tmp_path / f"{place}.scenario"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a_b.scenario").write_text("nonsense\n")
    done = command(*words, "--scenarios", folder)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_the_specs_run_the_scenarios_of_a_conformance_file_too(command: Command, tmp_path: Path) -> None:
    assert freeze(command).exit_code == 0
    (tmp_path / "conformance.toml").write_text('scenarios = ["scenarios"]\n')
    words = ["--pyargs", "perdure_tck.specs", "--perdure-backend", "memory", "-k", "the_highest_survives", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
