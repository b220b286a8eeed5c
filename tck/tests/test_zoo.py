"""The zoo: every animal is caught, by a rule that names its cause, with a history that fits on a screen.

These are tests of the kit and of its scenarios. An animal that gets away means that a rule is written down and not
looked at; one that falls on everything would say nothing about its cause.
"""

from __future__ import annotations

import datetime
import os
from collections import Counter
from functools import cache
from pathlib import Path

import perdure_zoo
import pytest
from perdure import Backend
from perdure_memory import backend as memory
from perdure_sqlite import backend as sqlite
from perdure_tck.document import RuleResult, Run
from perdure_tck.engine import Request, conduct
from perdure_tck.failure_text import LINES_MAX, block, told
from perdure_tck.kill_matrix import FALLS_MAX, kill_of
from perdure_tck.packs import installed_programs
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse
from perdure_tck.verdict import Word
from perdure_tck.zoo import bug_of
from perdure_tck.zoo_page import page, signatures
from perdure_zoo import ANIMALS, CATALOGUE, Animal
from perdure_zoo.files import FILES_ANIMALS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "zoo.md"
SIGNATURES = ROOT / "plugins" / "perdure_zoo" / "signatures.toml"
OUT_OF_DATE = "is out of date; run 'perdure zoo --write' in the checkout and look at what has changed"
STEPS_MAX = 8

WIDE = {
    "first_instead_of_newest": "a load without bounds is how every scenario looks at what is there",
    "newest_by_seconds": "on a clock that stands still, all snapshots are of one second",
    "events_by_tag_have_no_id": "an event without its id is nobody's: no scenario finds one by a tag",
    "page_borders_lose_an_event": "whatever reads a feed over more than a page sees it",
    "live_query_ends_when_it_has_caught_up": "whatever waits for an event sees it",
}
"""The animals that fall on more rules, and why that says nothing against the rules."""


UNCAUGHT: dict[str, str] = {}
"""The judged rules that catch no animal, and why: none."""


def judged(backend: Backend, operation_limit_s: float = 1.0) -> Run:
    request = Request(
        programs=installed_programs(), today=datetime.date(2026, 1, 1), operation_limit_s=operation_limit_s
    )
    return conduct(backend, request)


@cache
def run_of(name: str) -> Run:
    """One run of an animal; the tests look at it from several sides."""
    return judged(perdure_zoo.animal(name).backend)


def violated(name: str) -> dict[str, RuleResult]:
    return {result.id: result for result in run_of(name).rules if result.word is Word.VIOLATED}


def convicting(animal: Animal) -> list[RuleResult]:
    """The violated rules that name the cause."""
    return [result for rule_id, result in violated(animal.name).items() if rule_id in animal.killed_by]


WHOLE = "PERDURE_SLOW" in os.environ
SOME = ANIMALS if WHOLE else ANIMALS[::6]
each_animal = pytest.mark.parametrize("animal", SOME, ids=lambda animal: animal.name)
of_all = pytest.mark.skipif(not WHOLE, reason="NOT RUN: every sixth animal is judged here; tox -e zoo judges all")


@each_animal
def test_an_animal_is_caught_by_a_rule_that_names_its_cause(animal: Animal) -> None:
    assert not run_of(animal.name).faults
    assert convicting(animal), f"{animal.name} got away: {animal.cause}; it fell on {[*violated(animal.name)]}"
    assert kill_of(animal, run_of(animal.name)).fell == animal.signature, f"{SIGNATURES} {OUT_OF_DATE}"


@each_animal
def test_an_animal_does_not_fall_on_everything(animal: Animal) -> None:
    fallen = violated(animal.name)
    assert (len(fallen) > FALLS_MAX) == (animal.name in WIDE), f"{animal.name} falls on {[*fallen]}"
    judged_words = Word.VIOLATED, Word.CONFORMS, Word.UNPROVEN
    others = {result.reason for result in run_of(animal.name).rules if result.word not in judged_words}
    assert others <= {"the backend offers no queries"}  # the animals of the two stores have none


@each_animal
def test_what_is_said_of_an_animal_fits_on_a_screen(animal: Animal) -> None:
    for result in convicting(animal):
        text = block(result, animal.name)
        assert len(text.splitlines()) <= LINES_MAX
        assert result.id in text
        assert len(result.witnesses[0].steps) <= STEPS_MAX, result.witnesses[0].text


@each_animal
def test_the_witness_against_an_animal_can_be_read_back(animal: Animal) -> None:
    for result in convicting(animal):
        witness = result.witnesses[0]
        program = parse(witness.text, "witness")
        assert program.rules == witness.rules
        operations = [str(step.operation) for step in program.steps]
        shown = [step.operation for step in witness.steps]
        # beside others a step may be needed that was not reached any more; a history ends where it deviates
        assert shown == (operations[: len(shown)] if program.overlaps else operations)


def test_names_and_bugs_are_told_apart_and_every_animal_tells_its_story() -> None:
    assert len({animal.name for animal in ANIMALS}) == len({animal.bug for animal in ANIMALS}) == len(ANIMALS)
    for animal in ANIMALS:
        assert animal.story
        assert animal.cause
        assert animal.system
        assert animal.source.startswith("https://")
        assert animal.killed_by
        assert all(all_rules()[rule_id].judged for rule_id in animal.killed_by), animal.name


def test_an_unknown_animal_is_refused_with_the_names_that_there_are() -> None:
    assert perdure_zoo.animal("highest_rewinds").bug == "BUG-001"
    with pytest.raises(LookupError, match=r"no animal named 'unicorn'; there are: highest_rewinds, "):
        perdure_zoo.animal("unicorn")


@pytest.mark.parametrize("backend", [memory, sqlite], ids=lambda backend: backend.name)
def test_the_same_run_is_clean_on_a_right_backend(backend: Backend) -> None:
    run = judged(backend, operation_limit_s=10.0)
    assert not run.faults
    assert {result.id: result.reason for result in run.rules if result.word is not Word.CONFORMS} == {}
    assert len(run.rules) == sum(rule.judged and not rule.swept for rule in all_rules().values())


@of_all
@pytest.mark.timeout(3600)
def test_every_judged_rule_catches_an_animal() -> None:
    """Of those that are judged without sweeps; the animals of the others are in `FILES_ANIMALS`."""
    rules = {rule.id for rule in all_rules().values() if rule.judged and not rule.swept}
    caught: set[str] = set()
    for animal in ANIMALS:
        naming = [result.id for result in convicting(animal)]
        caught.update(naming)
        print(f"{animal.bug:9} {animal.name:40} falls on {len(violated(animal.name)):2}, for its cause on {naming}")
    assert rules - caught == UNCAUGHT.keys()


@of_all
@pytest.mark.timeout(3600)
def test_what_is_written_of_the_zoo_is_what_is_found() -> None:
    kills = [kill_of(animal, run_of(animal.name)) for animal in ANIMALS]
    assert all(kill.killed for kill in kills)
    text = PAGE.read_text(encoding="utf-8")
    assert SIGNATURES.read_text(encoding="utf-8") == signatures(kills), f"{SIGNATURES} {OUT_OF_DATE}"
    assert text == page(text, ANIMALS, kills, CATALOGUE), f"{PAGE} {OUT_OF_DATE}"


def test_the_page_explains_each_wide_animal_and_shows_a_true_diagnosis() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("<!-- matrix")[0]
    assert all(f"`{name}`" in text for name in WIDE)
    assert f"  same shape as  {told(run_of('highest_rewinds').diagnoses[0])}\n" in text


def test_every_known_bug_has_an_animal_or_awaits_a_chapter_or_is_not_ours() -> None:
    shown = {bug_of(animal) for animal in (*ANIMALS, *FILES_ANIMALS)}
    for bug in CATALOGUE:
        assert (bug.id in shown) + bool(bug.awaits) + bool(bug.not_ours) == 1, bug.id
        assert bug.source.startswith("https://")
    assert not [animal.bug for animal in ANIMALS if animal.bug.startswith("BUG") and bug_of(animal) not in known_bugs()]


def test_the_catalogue_has_every_bug_once() -> None:
    assert len(CATALOGUE) == 124
    assert max(Counter(bug.title for bug in CATALOGUE).values()) == 1


def known_bugs() -> set[str]:
    return {bug.id for bug in CATALOGUE}
