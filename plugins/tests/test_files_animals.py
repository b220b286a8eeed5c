"""The animals in files do what they should for as long as nothing goes wrong: only faults show what they are."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import cache

import pytest
from perdure import load_backend
from perdure_tck.engine import Request, conduct
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.rules import all_rules
from perdure_tck.verdict import Word
from perdure_zoo import ANIMALS, Animal
from perdure_zoo.files import CAGES, FILES_ANIMALS

SHOWN_BY_REOPENING = {"compaction_forgets_the_highest"}
"""What an ordinary closing and opening is enough for."""

EVERY = 6
"""Of the scenarios of level core, every so many runs on each animal."""

each_animal = pytest.mark.parametrize("animal", FILES_ANIMALS, ids=lambda animal: animal.name)


@cache
def some_programs() -> Sequence[Program]:
    """Scenarios from all over the corpus, without those that are long."""
    core = [one for one in installed_programs() if one.level == "core" and len(one.steps) < 40]
    return [one for one in core if "thousand" not in one.name][::EVERY]


def test_each_is_an_animal_of_its_own() -> None:
    everyone = [*ANIMALS, *FILES_ANIMALS]
    assert len({one.name for one in everyone}) == len(everyone)
    assert len({one.bug for one in everyone}) == len(everyone)
    assert {*vars(CAGES)} == {one.name for one in FILES_ANIMALS}


@each_animal
def test_an_animal_can_be_loaded_by_its_words(animal: Animal) -> None:
    assert load_backend(animal.chosen) is animal.backend
    assert animal.story
    assert animal.killed_by
    unknown = {rule for rule in animal.killed_by if not rule.startswith("D-")} - all_rules().keys()
    assert not unknown


@each_animal
def test_an_animal_does_what_it_should_while_nothing_goes_wrong(animal: Animal) -> None:
    run = conduct(animal.backend, Request(programs=some_programs(), today=datetime.date.min))
    assert not run.faults
    fallen = {result.id for result in run.rules if result.word is Word.VIOLATED}
    assert fallen <= ({*animal.killed_by} if animal.name in SHOWN_BY_REOPENING else set())
    assert sum(result.word is Word.VIOLATED or bool(result.scenarios) for result in run.rules) > 10
