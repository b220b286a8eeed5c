"""Backends that do nothing right: no rule may conform on them, and the kit must come to an end with each.

A rule that conforms on a store which keeps nothing has no positive control: its scenarios only ask for what is not
there. Suites that were green on a store that loads nothing, or refuses everything, are why these tests exist.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

import pytest
from perdure import Backend
from perdure_tck.document import Run
from perdure_tck.engine import Request, conduct
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.rules import all_rules
from perdure_tck.verdict import EXIT_KIT_FAULT, EXIT_VIOLATED, Word
from perdure_zoo import DEGENERATES, UNOPENABLE

SLOW = ("blocks_the_loop", "never_answers")
BOUND_S = 60.0


def judged(backend: Backend, programs: Sequence[Program]) -> Run:
    today = datetime.date(2026, 1, 1)
    return conduct(backend, Request(programs=programs, today=today, operation_limit_s=0.1, open_limit_s=0.5))


def one_program_for_each_rule() -> Sequence[Program]:
    """Enough to say something of every rule, for backends that cost their whole time limit again and again."""
    chosen: list[Program] = []
    for rule in all_rules().values():
        about = [one for one in installed_programs() if rule.id in one.rules and one.level == "core"]
        if about and not any(one in chosen for one in about):
            chosen.append(min(about, key=lambda one: len(one.steps)))
    return chosen


each_degenerate = pytest.mark.parametrize("backend", DEGENERATES, ids=lambda backend: backend.name)
each_unopenable = pytest.mark.parametrize("backend", UNOPENABLE, ids=lambda backend: backend.name)


@each_degenerate
def test_every_rule_is_violated_by_a_backend_that_does_nothing_right(backend: Backend) -> None:
    started = time.monotonic()
    run = judged(backend, one_program_for_each_rule() if backend.name in SLOW else installed_programs())
    assert {result.id: str(result.word) for result in run.rules if result.word is not Word.VIOLATED} == {}
    assert len(run.rules) == sum(rule.judged and not rule.swept for rule in all_rules().values())
    assert not run.faults
    assert run.footer.exit_code == EXIT_VIOLATED
    assert time.monotonic() - started < BOUND_S


@each_unopenable
def test_what_cannot_be_opened_is_a_fault_and_says_nothing_of_any_rule(backend: Backend) -> None:
    started = time.monotonic()
    run = judged(backend, installed_programs())
    assert {result.word for result in run.rules} == {Word.KIT_FAULT}
    assert len(run.faults) == 1
    assert f"opening {backend.name}" in run.faults[0].message
    assert run.footer.exit_code == EXIT_KIT_FAULT
    assert time.monotonic() - started < BOUND_S
