"""Shrinking: deterministic, keeps the step where the rule breaks, and leaves out all that is not needed."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from perdure import MAX_SEQUENCE_NR, Backend, Claims, Location, PersistentRepr, Storage
from perdure_memory import MemoryJournal, MemorySnapshotStore, World
from perdure_tck.document import Run
from perdure_tck.engine import Request, conduct
from perdure_tck.examiner import Examiner
from perdure_tck.judge import disagreement
from perdure_tck.operations import Delete, Highest, Write
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.scenario_text import parse
from perdure_tck.shrink import TRIES_MAX, shrink

LONG = parse(
    "rules J-01\n"
    "write a 1..3\nhighest a\nwrite b 1, c 1, d 1..4\nclock 5\ndelete b ..1\nwrite a 40..45\nreopen\n"
    "replay a\nhighest b\nwrite e 1\nhighest d",
    "long",
)
Breaks = Callable[[Program], bool]


def operations(program: Program) -> list[object]:
    return [step.operation for step in program.steps]


def numbers_of(program: Program) -> list[int]:
    writes = [one for one in operations(program) if isinstance(one, Write)]
    return [batch.last for write in writes for batch in write.batches]


def writes_to(owner: str) -> Breaks:
    def breaks(program: Program) -> bool:
        batches = [
            one for operation in operations(program) if isinstance(operation, Write) for one in operation.batches
        ]
        return any(batch.persistence_id == owner for batch in batches)

    return breaks


PLANTED = {
    "nothing is needed": (lambda _: True, ["highest p"]),
    "one write of a call": (writes_to("d"), ["write d 1", "highest d"]),
    "an early step": (writes_to("a"), ["write a 1", "highest d"]),
    "a deletion": (
        lambda program: any(isinstance(one, Delete) for one in operations(program)),
        ["delete p ..1", "highest q"],
    ),
    "two steps far apart": (
        lambda program: writes_to("a")(program) and writes_to("e")(program),
        ["write a 2", "write e 1", "highest d"],
    ),
}


@pytest.mark.parametrize(("breaks", "left"), PLANTED.values(), ids=PLANTED)
def test_only_what_is_needed_is_left(breaks: Breaks, left: list[str]) -> None:
    smallest, tries = shrink(LONG, breaks)
    assert list(map(str, operations(smallest))) == left
    assert tries <= TRIES_MAX


def test_the_step_where_the_rule_breaks_always_stays() -> None:
    smallest, _ = shrink(LONG, lambda program: len(program.steps) >= 3)
    assert isinstance(smallest.steps[-1].operation, Highest)
    assert len(smallest.steps) == 3


def test_what_cannot_be_made_smaller_comes_back_as_it_is() -> None:
    smallest, tries = shrink(LONG, lambda _: False)
    assert smallest == LONG
    assert tries > len(LONG.steps)


def test_the_same_question_is_shrunk_the_same_way() -> None:
    asked: list[list[Program]] = []
    for _ in range(2):
        tried: list[Program] = []

        def breaks(program: Program, tried: list[Program] = tried) -> bool:
            tried.append(program)
            return writes_to("d")(program)

        shrink(LONG, breaks)
        asked.append(tried)
    assert asked[0] == asked[1]


def test_a_bound_that_stands_for_no_bound_stays_and_numbers_close_up() -> None:
    program = parse(f"rules J-01\nwrite p 7\nwrite p {2**53}\nwrite p max\ndelete p ..max\nhighest p hint 0", "large")
    smallest, _ = shrink(program, lambda one: len(one.steps) == len(program.steps))
    assert list(map(str, operations(smallest))) == [
        "write p 1",
        "write p 2",
        "write p 3",
        "delete p ..max",
        "highest p",
    ]


def test_the_largest_number_stays_where_it_is_needed() -> None:
    program = parse("rules J-01\nwrite p 7\nwrite p max\nhighest p", "large")
    smallest, _ = shrink(program, lambda one: "write p max" in map(str, operations(one)))
    assert list(map(str, operations(smallest))) == ["write p max", "highest p"]
    assert MAX_SEQUENCE_NR == 2**63 - 1


def test_a_gap_that_is_needed_is_as_narrow_as_may_be() -> None:
    program = parse(f"rules J-01\nwrite p {2**40}..{2**40 + 1}\nwrite p {2**50}\nhighest p", "wide")
    smallest, _ = shrink(program, lambda one: len(one.steps) == 3 and numbers_of(one)[1] > 9)
    assert list(map(str, operations(smallest))) == ["write p 10", "write p 20", "highest p"]


def test_a_write_that_need_not_be_one_is_cut() -> None:
    program = parse("rules J-01\nwrite p 1..3\nreplay p", "batch")

    def breaks(candidate: Program) -> bool:
        write = candidate.steps[0].operation
        return isinstance(write, Write) and sum(batch.last - batch.first + 1 for batch in write.batches) == 3

    smallest, _ = shrink(program, breaks)
    assert list(map(str, operations(smallest))) == ["write p each 1..3", "replay p"]


def test_a_program_that_names_no_rule_ends_in_a_read_if_that_shows_it() -> None:
    named = parse("rules J-01\nwrite p 1\nwrite p 1", "named")
    assert isinstance(shrink(named, lambda _: True)[0].steps[-1].operation, Write)
    nameless = msgspec.structs.replace(named, rules=())
    assert list(map(str, operations(shrink(nameless, lambda _: True)[0]))) == ["replay p"]


def test_arguments_outside_their_limits_stay_as_they_are() -> None:
    program = parse("rules J-01\nwrite p 7\nreplay p -1..9", "outside")
    smallest, _ = shrink(program, lambda one: "-1..9" in str(one.steps[-1].operation))
    assert list(map(str, operations(smallest))) == ["replay p -1..9"]


def test_the_number_of_tries_has_a_limit() -> None:
    many = parse("rules J-01\n" + "highest p\n" * 500, "many")
    _, tries = shrink(many, lambda _: False)
    assert tries == TRIES_MAX


# ---------------------------------------------------------------------------------------- witnesses of broken backends


class LosesTheLast(MemoryJournal):
    """A replay leaves out the last event whenever there are more than two."""

    async def replay_messages(self, *window: object) -> AsyncIterator[PersistentRepr]:
        events = [event async for event in super().replay_messages(*window)]
        for event in events if len(events) <= 2 else events[:-1]:
            yield event


class ForgetsTheHighest(MemoryJournal):
    """The second deletion of everything sets the highest number back."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        log = self._shelf.logs.get(persistence_id)
        if log and not log.events:
            log.highest_sequence_nr = 0
        await super().delete_messages_to(persistence_id, to_sequence_nr)


def broken(journal: type[MemoryJournal]) -> Backend:
    worlds: dict[int, tuple[Location, World]] = {}

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        _, world = worlds.setdefault(id(location), (location, World()))
        yield Storage(journal(world.events, location.clock, 1), MemorySnapshotStore(world.snapshots, location.clock))

    return Backend("broken", open_it, Claims(survives_close=True, shared=True))


def run_of(backend: Backend) -> Run:
    return conduct(backend, Request(programs=installed_programs(), today=datetime.date(2026, 1, 1)))


@pytest.fixture(scope="module", params=[LosesTheLast, ForgetsTheHighest], ids=lambda journal: journal.__name__)
def judged(request: pytest.FixtureRequest) -> tuple[Backend, Run]:
    backend = broken(request.param)
    return backend, run_of(backend)


def test_a_witness_replays_with_the_same_violation_at_its_last_step(judged: tuple[Backend, Run]) -> None:
    backend, run = judged
    witnesses = {witness.text: witness for result in run.rules for witness in result.witnesses}
    assert witnesses
    for text, witness in witnesses.items():
        program = parse(text, witness.scenario)
        assert disagreement(program) == ""
        assert program.rules == witness.rules
        assert [str(step.operation) for step in program.steps] == [step.operation for step in witness.steps]
        with Examiner(backend) as examiner:
            trial = examiner.try_alone(program)
        last = trial.deviations[-1]
        assert (last.number, last.rules) == (len(program.steps), witness.rules)
        assert trial.told(last.allowed) == witness.steps[-1].allowed


def test_a_witness_is_small(judged: tuple[Backend, Run]) -> None:
    _, run = judged
    for result in run.rules:
        if result.witnesses:
            # an actor has to be started, told something, crashed and started again before a replay is seen
            assert len(result.witnesses[0].steps) <= (8 if result.id.startswith("A-") else 5)


def test_the_rule_that_names_the_cause_is_among_the_violated() -> None:
    found = {result.id: result for result in run_of(broken(ForgetsTheHighest)).rules if result.word == "VIOLATED"}
    assert "J-43" in found
    steps = found["J-43"].witnesses[0].steps
    assert [step.operation.split()[0] for step in steps] == ["write", "delete", "delete", "highest"]
    assert (steps[-1].observed, steps[-1].allowed) == ("0", "1")
