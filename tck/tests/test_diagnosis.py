"""Diagnosis: a violated rule names the broken backends on which nearly the same rules fall, and says nothing else."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import perdure_tck.zoo
import pytest
from perdure import Backend
from perdure_memory import backend as memory
from perdure_reports import allure, junit, summary, terminal
from perdure_tck.document import Diagnosis, RuleResult, Run, ShownStep, Witness, read_run, write_run
from perdure_tck.engine import Request, conduct
from perdure_tck.failure_text import LINES_MAX, block, told
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.rules import all_rules
from perdure_tck.verdict import Word
from perdure_tck.zoo import diagnoses, nearest
from perdure_zoo import ANIMALS, Animal, animal
from perdure_zoo._animal import caged
from perdure_zoo.numbers import HighestRewinds
from perdure_zoo.replays import FirstOmittedLastRepeated
from perdure_zoo.snapshots import DeletionIgnoresLowerBounds
from rich.console import Console

WRONG = (ShownStep("", "highest p", "0", "1"),)
JUDGED = [rule.id for rule in all_rules().values() if rule.judged]


class TwoBugs(HighestRewinds, FirstOmittedLastRepeated):
    """The highest number goes back to 0, and replays omit their first event."""


@cache
def run_of(backend: Backend) -> Run:
    return conduct(backend, Request(programs=installed_programs(), today=datetime.date(2026, 1, 1)))


def results(fallen: Iterable[str], seen_in: str = "scenario", judged: Iterable[str] = JUDGED) -> list[RuleResult]:
    """The results of a run in which these rules fell, in a scenario or in a program of another name."""
    fallen = [*fallen]
    return [result(rule_id, seen_in if rule_id in fallen else "") for rule_id in judged]


def result(rule_id: str, seen_in: str = "") -> RuleResult:
    rule = all_rules()[rule_id]
    return RuleResult(
        id=rule_id,
        level=rule.level,
        chapter=rule.chapter,
        sentence=rule.sentence,
        check=rule.check,
        word=Word.VIOLATED if seen_in else Word.CONFORMS,
        reason="",
        scenarios=("scenario",),
        coverage={},
        floor={},
        witnesses=(Witness(seen_in, (rule_id,), WRONG, "", 1),) if seen_in else (),
    )


def names(found: Iterable[Diagnosis]) -> list[str]:
    return [diagnosis.animal for diagnosis in found]


# ------------------------------------------------------------------------------------------------------ what is nearest


@pytest.mark.parametrize("one", ANIMALS, ids=lambda one: one.name)
def test_nearest_to_the_signature_of_an_animal_is_itself_or_its_twin(one: Animal) -> None:
    found = diagnoses(results(one.signature), ANIMALS)
    assert {animal(name).signature for name in names(found)} == {one.signature}
    assert all(len(diagnosis.rules) == diagnosis.of == len(one.signature) for diagnosis in found)


def test_most_of_a_signature_is_enough_and_a_rule_too_many_does_not_hide_it() -> None:
    almost = {*animal("highest_rewinds").signature} - {"J-44"} | {"J-58"}
    assert [one.name for one in nearest(almost, ANIMALS)] == ["highest_rewinds"]


def test_what_resembles_nothing_is_not_named() -> None:
    assert not nearest({"J-04", "J-19", "J-28", "J-51", "J-55", "J-73", "S-02", "S-10", "S-29"}, ANIMALS)
    assert not nearest(set(), ANIMALS)


def test_of_animals_with_one_signature_two_are_named() -> None:
    found = nearest({"J-02", "J-14", "J-16", "J-45", "J-48", "J-61", "J-85"}, ANIMALS)
    assert [one.name for one in found] == ["second_write_replaces_the_first", "conflict_taken_for_success"]


def test_an_animal_is_not_named_without_a_rule_that_names_its_cause() -> None:
    assert animal("second_deletion_rewinds").signature == ("J-43", "J-45")
    assert "second_deletion_rewinds" not in [one.name for one in nearest({"J-45"}, ANIMALS)]


def test_rules_that_were_not_asked_count_neither_way() -> None:
    asked = [rule_id for rule_id in JUDGED if rule_id not in ("J-44", "J-46")]
    fallen = [rule_id for rule_id in animal("highest_rewinds").signature if rule_id in asked]
    found = diagnoses(results(fallen, judged=asked), ANIMALS)
    assert names(found) == ["highest_rewinds"]
    assert (len(found[0].rules), found[0].of) == (8, 8)


def test_a_signature_of_which_less_than_half_was_asked_says_nothing() -> None:
    assert names(diagnoses(results(["J-42"], judged=["J-42"]), ANIMALS)) == []


def test_what_only_generated_programs_found_does_not_blur_the_picture() -> None:
    mixed = [*results(["S-20"], judged=[rule_id for rule_id in JUDGED if rule_id != "J-46"]), result("J-46", "made_up")]
    assert names(diagnoses(mixed, ANIMALS)) == ["deletion_ignores_lower_bounds"]
    assert names(diagnoses(results(["J-46"], "made_up"), ANIMALS)) == ["hint_is_the_answer", "hint_is_a_bound"]


# ------------------------------------------------------------------------------------------------------------- in a run


def test_a_backend_with_two_bugs_is_told_both() -> None:
    two = caged("two_bugs", journal=TwoBugs)
    assert {*names(run_of(two).diagnoses)} == {"highest_rewinds", "first_omitted_last_repeated"}


def test_a_bug_in_each_store_is_told_for_each() -> None:
    two = caged("a_bug_in_each_store", journal=HighestRewinds, snapshots=DeletionIgnoresLowerBounds)
    assert names(run_of(two).diagnoses) == ["highest_rewinds", "deletion_ignores_lower_bounds"]


def test_a_right_backend_resembles_nothing() -> None:
    assert run_of(memory).diagnoses == ()


def test_a_zoo_that_cannot_be_loaded_costs_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_package:ANIMALS", perdure_tck.zoo.GROUP)
    monkeypatch.setattr(perdure_tck.zoo, "entry_points", lambda **_: [broken])
    programs: list[Program] = [one for one in installed_programs() if "J-42" in one.rules]
    run = conduct(animal("highest_rewinds").backend, Request(programs=programs, today=datetime.date(2026, 1, 1)))
    assert run.footer.exit_code == 1
    assert run.diagnoses == ()


def test_a_document_has_the_diagnoses_and_may_lack_them(tmp_path: Path) -> None:
    run = run_of(animal("highest_rewinds").backend)
    path = tmp_path / "run.jsonl"
    write_run(run, path)
    assert read_run(path) == run
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b'"diagnosis"' not in line))
    assert read_run(path) == msgspec.structs.replace(run, diagnoses=())


# ----------------------------------------------------------------------------------------------------------- in reports


def lines_of_terminal(run: Run) -> list[str]:
    """The lines of the terminal report."""
    file = io.StringIO()
    terminal.show(run, Console(file=file, width=500))
    return file.getvalue().splitlines()


def test_a_bug_is_told_in_its_first_block_and_referred_to_in_the_others() -> None:
    run = run_of(animal("highest_rewinds").backend)
    lines = [line for line in lines_of_terminal(run) if line.startswith("  same shape as")]
    full = "  same shape as  highest_rewinds: SELECT MAX(sequence_nr) over the rows that are left (10 of 10 rules)"
    assert lines[0] == full
    assert {*lines[1:]} == {"  same shape as  A-16 above"}


def test_two_bugs_are_told_in_the_blocks_of_their_rules() -> None:
    run = run_of(caged("a_bug_in_each_store", journal=HighestRewinds, snapshots=DeletionIgnoresLowerBounds))
    lines = lines_of_terminal(run)
    block_of_s20 = lines[next(at for at, line in enumerate(lines) if line.startswith("VIOLATED  S-20")) :]
    assert next(line for line in block_of_s20 if "same shape" in line).startswith(
        "  same shape as  deletion_ignores_lower_bounds: "
    )


def test_every_report_names_the_animal(tmp_path: Path) -> None:
    run = run_of(animal("highest_rewinds").backend)
    line = told(run.diagnoses[0])
    assert f"  same shape as  {line}\n" in summary.text(run)
    junit.write(run, tmp_path / "junit.xml")
    assert (tmp_path / "junit.xml").read_text(encoding="utf-8").count(f"same shape as  {line}") == len(
        run.diagnoses[0].rules
    )
    allure.write(run, tmp_path / "allure")
    told_in = [
        path for path in (tmp_path / "allure").glob("*-result.json") if "same shape as highest" in path.read_text()
    ]
    assert len(told_in) == len(run.diagnoses[0].rules)


def test_a_block_with_everything_fits_on_a_screen() -> None:
    steps = (*(ShownStep("", f"write p {number}", "ok") for number in range(30)), ShownStep("", "highest p", "0", "30"))
    long = msgspec.structs.replace(result("J-42"), witnesses=(Witness("long", ("J-42",), steps, "", 9),))
    lines = block(long, "mydb", ["J-43", "J-44"], ["one: a cause", "two: another", "three: too many"]).splitlines()
    assert len(lines) <= LINES_MAX
    assert [line for line in lines if "same shape" in line] == [
        "  same shape as  one: a cause",
        "  same shape as  two: another",
    ]
    assert lines[-1] == "  explain  perdure explain J-42"


@pytest.mark.parametrize("one", ANIMALS, ids=lambda one: one.name)
def test_a_cause_is_one_short_line(one: Animal) -> None:
    assert "\n" not in one.cause
    assert len(one.cause) <= 100
