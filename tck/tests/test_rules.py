"""The table of rules: complete, without a rule that nothing judges, and each sentence in one place only."""

from __future__ import annotations

import datetime
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from perdure import Claims
from perdure_memory import backend as memory
from perdure_tck.coverage import COUNTS, STRUCK
from perdure_tck.document import Run
from perdure_tck.engine import Request, conduct
from perdure_tck.judge import FULL_CLAIMS
from perdure_tck.packs import installed_programs
from perdure_tck.rules import EDITION, Rule, UnknownRule, all_rules, rule
from perdure_tck.verdict import Word

ROOT = Path(__file__).resolve().parents[2]
JUDGED = [one for one in all_rules().values() if one.judged and not one.swept]
SWEPT = [one for one in all_rules().values() if one.swept]

each_rule = pytest.mark.parametrize("one", all_rules().values(), ids=lambda one: one.id)
each_judged_rule = pytest.mark.parametrize("one", JUDGED, ids=lambda one: one.id)
each_swept_rule = pytest.mark.parametrize("one", SWEPT, ids=lambda one: one.id)


@pytest.fixture(scope="module")
def run_of_memory() -> Run:
    return conduct(memory, Request(programs=installed_programs(), today=datetime.date(2026, 1, 1)))


@each_rule
def test_a_rule_is_judged_or_says_what_it_waits_for_or_why_nothing_can(one: Rule) -> None:
    """One that needs faults and has a floor is judged by sweeps."""
    assert sum(map(bool, (one.floor and not one.swept, one.needs, one.untestable))) == 1
    assert not (one.floor and one.needs) or one.needs == "faults"


@each_rule
def test_a_rule_is_one_sentence_with_its_level_in_it(one: Rule) -> None:
    assert re.search(rf"\b{one.level}\b", one.sentence)
    assert one.sentence.endswith(".")
    assert "\n" not in one.sentence


@each_rule
def test_a_rule_says_why_what_to_check_and_where_it_comes_from(one: Rule) -> None:
    assert one.why.strip()
    assert one.source.strip()
    assert one.check
    assert all(hint.strip() for hint in one.check)
    assert one.edition == EDITION


@each_rule
def test_a_claim_that_a_rule_needs_exists(one: Rule) -> None:
    assert not one.claim or one.claim.partition("=")[0] in Claims.__struct_fields__
    assert one.binds(FULL_CLAIMS) or one.claim == "live_queries"


@each_judged_rule
def test_a_floor_is_made_of_counters_and_asks_for_something(one: Rule) -> None:
    assert one.floor.keys() <= set(COUNTS)
    assert all(least > 0 for least in one.floor.values())


@each_swept_rule
def test_a_floor_of_sweeps_is_made_of_what_sweeps_count(one: Rule) -> None:
    assert one.floor.keys() <= set(STRUCK)
    assert all(least > 0 for least in one.floor.values())


@each_swept_rule
def test_a_rule_that_sweeps_judge_has_a_scenario_with_hazards(one: Rule) -> None:
    assert any(one.id in program.rules for program in installed_programs() if program.hazards)


@each_judged_rule
def test_a_judged_rule_has_a_scenario_of_level_core(one: Rule) -> None:
    assert any(one.id in program.rules for program in installed_programs() if program.level == "core")


@each_judged_rule
def test_a_judged_rule_conforms_on_the_backend_in_memory(one: Rule, run_of_memory: Run) -> None:
    """So that no floor is out of reach at level core, and no scenario demands what the reference does not do."""
    result = next(result for result in run_of_memory.rules if result.id == one.id)
    assert (result.word, result.reason) == (Word.CONFORMS, result.reason)


def test_every_number_of_the_edition_is_listed_once() -> None:
    numbers = {"A": range(1, 42), "D": range(1, 17), "J": range(1, 86), "S": range(1, 41)}
    missing = {f"{letter}-{number:02}" for letter, known in numbers.items() for number in known} - all_rules().keys()
    assert missing == UNUSED_NUMBERS
    assert list(all_rules()) == sorted(all_rules())


UNUSED_NUMBERS = {"J-37", "J-38", "J-39", "J-67", "J-68", "J-69"}
"""Between the parts of the chapter; nothing cites them."""


def test_every_rule_that_the_contracts_cite_exists() -> None:
    cited = set()
    for path in (ROOT / "persistence").rglob("*.py"):
        cited |= set(re.findall(r"\b[ADJS]-\d\d\b", path.read_text(encoding="utf-8")))
    assert cited
    assert cited <= all_rules().keys()


def test_a_sentence_stands_in_the_table_only() -> None:
    """Pages may quote one in a block that shows what a run prints, and tests of reports in what they render."""
    table = Path(str(files("perdure_tck") / "rules.toml"))
    found = {
        f"{path.relative_to(ROOT)}: {one.id}"
        for suffix in ("py", "md", "toml", "txt", "scenario", "html")
        for path in ROOT.rglob(f"*.{suffix}")
        if path != table and not {"tests", ".git", ".tox", ".venv"} & set(path.parts)
        for text in [_prose(path)]
        for one in all_rules().values()
        if one.sentence in text
    }
    assert found == set()


def _prose(path: Path) -> str:
    """A file's text on one line, without blocks of code or output."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


def test_the_table_is_read_as_it_is_written() -> None:
    table = tomllib.loads((files("perdure_tck") / "rules.toml").read_text(encoding="utf-8"))
    assert {name: row["sentence"] for name, row in table.items()} == {
        name: one.sentence for name, one in all_rules().items()
    }


def test_a_rule_is_found_whatever_its_case() -> None:
    assert rule("j-42").id == "J-42"


@pytest.mark.parametrize(("name", "near"), [("J-999", "J-01 to J-85"), ("s-99", "S-01 to S-40"), ("x", "A-01 to S-40")])
def test_an_unknown_rule_is_answered_with_those_that_there_are(name: str, near: str) -> None:
    with pytest.raises(UnknownRule, match=f"no rule '{name}'; there are {near}"):
        rule(name)
