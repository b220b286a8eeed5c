"""The installed scenario files: each is readable, says what it is for, and expects what the model says."""

from __future__ import annotations

from pathlib import Path

import perdure_scenarios
import pytest
from perdure_tck import judge
from perdure_tck.operations import Cancel, Clock, Crash, Disturb, Query, Reopen
from perdure_tck.packs import installed_programs, scenario_files
from perdure_tck.program import Program
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse, show

FOLDER = Path(perdure_scenarios.__file__).parent

each_program = pytest.mark.parametrize("program", installed_programs(), ids=lambda program: program.name)

NOTHING_TO_EXPECT = (Clock, Reopen, Query, Cancel, Crash, Disturb)


@each_program
def test_a_scenario_expects_what_the_model_says(program: Program) -> None:
    """K-01, K-04: each expectation has a second oracle, so that the kit cannot demand what the contracts do not."""
    assert judge.disagreement(program) == ""


@each_program
def test_a_scenario_says_at_every_step_what_it_expects(program: Program) -> None:
    assert all(step.expected for step in program.steps if not isinstance(step.operation, NOTHING_TO_EXPECT))


@each_program
def test_a_scenario_begins_with_prose_and_names_judged_rules_once(program: Program) -> None:
    assert program.prose.strip().endswith((".", "?", "!", ":"))
    assert len(set(program.rules)) == len(program.rules)
    assert all(all_rules()[rule_id].judged for rule_id in program.rules)


@each_program
def test_a_scenario_is_read_back_as_it_was_written(program: Program) -> None:
    assert parse(show(program), program.name) == program


def test_every_file_of_the_pack_is_installed() -> None:
    files = {path.stem for path in scenario_files(FOLDER)}
    assert files == {program.name for program in installed_programs()}
    assert files


def test_every_other_file_of_the_pack_is_code() -> None:
    """A scenario with a wrong ending would never run, and nobody would notice."""
    others = {path.suffix for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert others <= {".scenario", ".py", ".typed"}
