"""Chapter A: actors of any runtime over any backend, judged by a model of the actor."""

from __future__ import annotations

import random

import msgspec
import perdure_files
import perdure_memory
import perdure_sqlite
import pytest
from perdure import ActorRuntime, Backend, PersistentActor
from perdure_tck import actor_generation
from perdure_tck.examiner import Examiner, Finding
from perdure_tck.operations import Crash, StartActor, Tell
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program, Step
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import ScenarioError, parse, show

SCENARIOS = [program for program in installed_programs() if program.uses_actors]
BACKENDS = {
    "memory": perdure_memory.backend,
    "sqlite": perdure_sqlite.backend,
    "akka-net": perdure_sqlite.backend.configured({"layout": "akka-net"}),
    "files": perdure_files.backend,
}


def with_actors(**broken: type) -> Backend:
    """The backend in memory, with the actors of another runtime."""
    return msgspec.structs.replace(perdure_memory.backend, name="broken", actor_runtime=ActorRuntime(**broken))


def judged(backend: Backend, programs: list[Program]) -> list[Finding]:
    with Examiner(backend) as examiner:
        return [examiner.examine(program) for program in programs]


def about(rule_id: str) -> list[Program]:
    return [program for program in SCENARIOS if rule_id in program.rules]


# ------------------------------------------------------------------------------------------------------- no false alarm


@pytest.mark.parametrize("name", BACKENDS)
def test_generated_programs_find_nothing_wrong_with_the_reference_backends(name: str) -> None:
    programs = list(actor_generation.programs(7, 150))
    with Examiner(BACKENDS[name]) as examiner:
        trials = [examiner.try_alone(program) for program in programs]
    assert [trial.deviations for trial in trials if trial.deviations] == []
    counts = {count: sum(trial.coverage.get(count, 0) for trial in trials) for count in WORTH_SOMETHING}
    assert all(counts[count] >= least for count, least in WORTH_SOMETHING.items()), counts


WORTH_SOMETHING = {
    "handled": 500,
    "replayed": 500,
    "restarts": 50,
    "crashes": 80,
    "crashes_in_persist": 8,
    "rejected_events": 40,
    "failed_events": 30,
    "offered": 20,
    "failed_recoveries": 8,
    "timed_out": 3,
}
"""What 150 programs must have done to be worth anything."""


# -------------------------------------------------------------------------------------------------------- broken actors


class HandlersBeforeTheWrite(PersistentActor):
    """A handler runs at once, before its event is stored."""

    def _persist_one(self, operation: str, event: object, handler: object, stashing: bool) -> None:
        handler(event)  # type: ignore[operator]  # it is given one here
        super()._persist_one(operation, event, None, stashing)


class RejectedAsStored(PersistentActor):
    def _answered(self, invocation: object) -> object:
        if not isinstance(invocation.outcome, BaseException):  # type: ignore[attr-defined]  # of the runtime
            invocation.outcome = None  # type: ignore[attr-defined]  # of the runtime
        return super()._answered(invocation)  # type: ignore[arg-type]  # of the runtime


class NothingIsHeldBack(PersistentActor):
    def _after(self) -> None:
        super()._after()
        self._cell.held = False


class GoesOnAfterAFailure(PersistentActor):
    def _persist_failed(self, error: BaseException, invocation: object) -> object:
        return self.on_persist_failure(error, invocation.event, invocation.sequence_nr)  # type: ignore[attr-defined]


class NumberOfWhatIsUnderWay(PersistentActor):
    def save_snapshot(self, snapshot: object) -> None:
        handled, self._last_sequence_nr = self._last_sequence_nr, self._sequence_nr
        super().save_snapshot(snapshot)
        self._last_sequence_nr = handled


class NumberOfTheBound(PersistentActor):
    async def _recover(self) -> bool:
        done = await super()._recover()
        self._sequence_nr = self._last_sequence_nr = min(self._sequence_nr, self.recovery.to_sequence_nr)
        return done


BROKEN = [
    ("A-04", HandlersBeforeTheWrite),
    ("A-18", RejectedAsStored),
    ("A-03", NothingIsHeldBack),
    ("A-17", GoesOnAfterAFailure),
    ("A-33", NumberOfWhatIsUnderWay),
    ("A-35", NumberOfTheBound),
]


@pytest.mark.parametrize(("rule_id", "actor"), BROKEN)
def test_a_broken_actor_falls_on_the_rule_that_names_its_mistake(rule_id: str, actor: type) -> None:
    findings = judged(with_actors(persistent_actor=actor), about(rule_id))
    assert any(rule_id in witness.rules for finding in findings for witness in finding.witnesses)


@pytest.mark.parametrize("actor", [actor for _, actor in BROKEN])
def test_generated_programs_find_a_broken_actor_and_become_small(actor: type) -> None:
    with Examiner(with_actors(persistent_actor=actor)) as examiner:
        found = (examiner.examine(program) for program in actor_generation.programs(1, 200))
        first = next(finding for finding in found if finding.witnesses)
    witness = first.witnesses[0]
    assert len(witness.steps) <= 6, witness.text
    assert all(rule_id in all_rules() for rule_id in witness.rules)


# ------------------------------------------------------------------------------------------------------------- the text


def test_generated_programs_are_read_as_they_are_shown() -> None:
    for program in actor_generation.programs(3, 200):
        named = msgspec.structs.replace(program, rules=("A-02",))
        assert parse(show(named), named.name) == named


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tell p perist a", "expected save or persist or"),
        ("tell p persist a b", "expected the name of one event"),
        ("tell p persist", "expected the name of one event"),
        ("next replay p rejects", "expected 'rejects' of write"),
        ("start p permits 0", "a number of 1 or more"),
        ("start p on completed (raise)", "expected 'stop' or 'resume' beside 'on completed"),
        ("start p machine on completed (note x)", "expected a machine or a queue with no more"),
        ("start p queue machine", "expected a machine or a queue with no more"),
        ("start p machine coroutines", "expected a machine or a queue with no more"),
        ("tell p goto nowhere", "expected idle or active or waiting"),
        ("start p sideways", "expected restart or resume or stop"),
        ("a: start p", "expected no client before 'start'"),
        ("start p -> 1..3", "expected notes such as 'a 1'"),
    ],
)
def test_a_bad_line_about_an_actor_says_what_was_expected(line: str, expected: str) -> None:
    with pytest.raises(ScenarioError, match=expected):
        parse(f"rules A-02\n{line}\n", "name")


def test_equal_codes_give_equal_programs() -> None:
    codes = random.Random(5).randbytes(actor_generation.SIZE)
    program = actor_generation.decode(codes, "one")
    assert program == actor_generation.decode(codes, "one")
    assert actor_generation.decode(bytes(actor_generation.SIZE), "none").steps == ()


# --------------------------------------------------------------------------------------------------------- the contents


def test_every_judged_rule_of_actors_has_a_scenario_in_which_something_was_stored() -> None:
    """Without that, a journal that keeps nothing would be let through."""
    for rule in all_rules().values():
        if rule.chapter == "actors" and rule.judged:
            steps = [step for program in about(rule.id) for step in program.steps]
            assert any(isinstance(step.operation, Tell) for step in steps), rule.id
            assert any("replay" in text or "snapshot" in text for step in steps for text in step.expected) or any(
                step.operation.kind == "replay" for step in steps
            ), rule.id


def test_what_an_actor_left_behind_is_unheard_after_a_crash() -> None:
    program = Program(
        "crash",
        "",
        ("A-02",),
        tuple(Step(operation) for operation in (StartActor("p"), Crash("p"), StartActor("p"))),
    )
    (finding,) = judged(perdure_memory.backend, [program])
    assert finding.coverage["crashes"] == 1
    assert finding.coverage["recovered"] == 2


def test_a_step_of_a_machine_that_raised_is_not_taken_later() -> None:
    text = "rules A-37\nstart p machine resume\ntell p goto active, raise; note n\n"
    (finding,) = judged(perdure_memory.backend, [parse(text, "resumed")])
    assert finding.witnesses == ()
    assert finding.coverage["noted"] == 2  # where it begins, and n
