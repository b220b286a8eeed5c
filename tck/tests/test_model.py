"""The model, the oracle of everything sequential: by hand-written histories, and against the backend in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest
from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP, Claims
from perdure_memory import backend as memory
from perdure_memory import memory_backend
from perdure_tck import judge, model
from perdure_tck.examiner import Examiner
from perdure_tck.model import START_OF_CLOCK, NeedsClaim, State
from perdure_tck.operations import (
    AnyOperation,
    Batch,
    Bounds,
    Clock,
    Content,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Reopen,
    Replay,
    SaveSnapshot,
    Write,
)
from perdure_tck.outcomes import Events, Loaded
from perdure_tck.program import Program, Step
from perdure_tck.runner import Limits, execute
from perdure_tck.scenario_text import parse
from perdure_tck.stage import Stage


def told(text: str, claims: Claims = judge.FULL_CLAIMS) -> list[str]:
    """What the model says to each line of a program; where it allows several outcomes, the first one happens."""
    state = State()
    said = []
    for number, step in enumerate(parse(f"rules J-01\n{text}", "by hand").steps, 1):
        transitions = model.step(state, step.operation, number, claims)
        state = transitions[0].state
        said.append(" | ".join(str(transition.outcome) for transition in transitions))
    return said


def last(text: str, claims: Claims = judge.FULL_CLAIMS) -> object:
    """The last outcome of a program, with all that it knows."""
    state = State()
    for number, step in enumerate(parse(f"rules J-01\n{text}", "by hand").steps, 1):
        (transition,) = model.step(state, step.operation, number, claims)
        state = transition.state
    return transition.outcome


# ------------------------------------------------------------------------------------------------------- by hand

HISTORIES = {
    "a write is stored": ("write p 1..3\nreplay p\nhighest p", ["ok", "1..3", "3"]),
    "an empty call does nothing": ("write nothing\nreplay p\nhighest p", ["ok", "none", "0"]),
    "a gap may be left": ("write p 2\nwrite p 5\nreplay p\nhighest p", ["ok", "ok", "2, 5", "5"]),
    "a taken number": ("write p 1..2\nwrite p 2..3\nreplay p", ["ok", "conflict", "1..2"]),
    "a number within a gap": ("write p 5\nwrite p 3\nreplay p", ["ok", "conflict", "5"]),
    "a conflict takes the whole call along": ("write q 1, p 1, p 1\nreplay q\nreplay p", ["conflict", "none", "none"]),
    "the same number twice in one call": ("write p 1, 1", ["conflict"]),
    "ascending writes of one call": ("write p 1..2, 4\nreplay p", ["ok", "1..2, 4"]),
    "a rejection leaves a gap": (
        'write p 1, 2 manifest="\\ud800", 3\nreplay p\nhighest p',
        ["ok, rejected, ok", "1, 3", "3"],
    ),
    "a conflict outweighs a rejection": ('write p 1\nwrite p 1, q 1 writer="\\ud800"', ["ok", "conflict"]),
    "a number that is taken, of what cannot be kept, may be answered as either": (
        'write p 5\nwrite p 1 tags="\\ud800"\nhighest p',
        ["ok", "rejected | conflict", "5"],
    ),
    "a number that was named in the same call, of what cannot be kept, may be in conflict": (
        'write p 1 tags="\\ud800", 1\nreplay p',
        ["rejected, ok | conflict", "1"],
    ),
    "a rejected number is not taken": (
        'write p 1 tags="\\ud800"\nwrite p 1\nreplay p',
        ["rejected", "ok", "1"],
    ),
    "text that is not Unicode, wherever": (
        'write p 1 payload_manifest="\\ud800"\nwrite p 1 metadata="x"\nreplay p',
        ["rejected", "ok", "1"],
    ),
    "an id that is not Unicode": ('replay "\\ud800"\nhighest "\\ud800"', ["invalid"] * 2),
    "an empty id": (
        'replay ""\nhighest ""\ndelete "" ..1\nload snapshot ""\ndelete snapshots ""\nsave snapshot "" 1',
        ["invalid"] * 6,
    ),
    "both bounds are inclusive": ("write p 1..5\nreplay p 2..4\nreplay p 3..3", ["ok", "2..4", "3"]),
    "bounds the wrong way round": ("write p 1..5\nreplay p 4..2\nreplay p ..0", ["ok", "none", "none"]),
    "a lower bound of zero": ("write p 1..2\nreplay p 0..", ["ok", "1..2"]),
    "a window above the highest": ("write p 1..2\nreplay p 3..", ["ok", "none"]),
    "a limit counts events": (
        "write p 1\nwrite p 5\nreplay p limit 1\nreplay p limit 0\nreplay p limit max",
        ["ok", "ok", "1", "none", "1, 5"],
    ),
    "a replay outside its limits": ("replay p -1..\nreplay p ..-1\nreplay p limit -1", ["invalid"] * 3),
    "an unknown id": ("replay p\nhighest p\ndelete p ..max\nhighest p", ["none", "0", "ok", "0"]),
    "a hint changes nothing": (
        "write p 1..3\nhighest p hint 9\nhighest p hint 2\nhighest q hint 7",
        ["ok", "3", "3", "0"],
    ),
    "a hint outside its limits": ("highest p hint -1", ["invalid"]),
    "a deletion is inclusive": ("write p 1..3\ndelete p ..2\nreplay p\nhighest p", ["ok", "ok", "3", "3"]),
    "deleting everything, twice": (
        "write p 1..3\ndelete p ..max\ndelete p ..max\nhighest p\nwrite p 3\nwrite p 4\nreplay p",
        ["ok", "ok", "ok", "3", "conflict", "ok", "4"],
    ),
    "deleting above the highest": ("write p 1\ndelete p ..9\nwrite p 2\nreplay p", ["ok", "ok", "ok", "2"]),
    "deleting nothing": ("write p 1\ndelete p ..0\nreplay p\ndelete p ..-1", ["ok", "ok", "1", "invalid"]),
    "deletion touches one id": ("write p 1, q 1\ndelete p ..max\nreplay q", ["ok", "ok", "1"]),
    "ids are told apart by code point": ('write p 1, P 1, "p " 1\ndelete p ..1\nreplay P', ["ok", "ok", "1"]),
    "the largest number": ("write p max\nhighest p\nreplay p\nwrite p 5", ["ok", "max", "max", "conflict"]),
    "the highest snapshot is loaded": (
        "save snapshot p 2 at 9\nsave snapshot p 5 at 1\nload snapshot p",
        ["ok", "ok", "5 at 1"],
    ),
    "all four bounds are inclusive": (
        "save snapshot p 5 at 50\nload snapshot p seq 5..5 time 50..50\nload snapshot p seq ..4\n"
        "load snapshot p seq 6..\nload snapshot p time ..49\nload snapshot p time 51..",
        ["ok", "5 at 50", "none", "none", "none", "none"],
    ),
    "criteria that contradict themselves": (
        "load snapshot p seq 3..2\nload snapshot p time 3..2\ndelete snapshots p seq -1..",
        ["invalid"] * 3,
    ),
    "a snapshot is replaced, also by an older one": (
        "save snapshot p 5 at 50\nsave snapshot p 5 at 10\nload snapshot p\nload snapshot p time 50..",
        ["ok", "ok", "5 at 10", "none"],
    ),
    "a snapshot of number zero": (
        "save snapshot p 0 at 1\nload snapshot p seq ..0\ndelete snapshot p 0\nload snapshot p",
        ["ok", "0 at 1", "ok", "none"],
    ),
    "deleting one snapshot by its time": (
        "save snapshot p 5 at 50\ndelete snapshot p 5 at 49\ndelete snapshot p 5 at 51\nload snapshot p\n"
        "delete snapshot p 5 at 50\nload snapshot p",
        ["ok", "ok", "ok", "5 at 50", "ok", "none"],
    ),
    "deleting a snapshot whatever its time": (
        "save snapshot p 5 at 50\nsave snapshot p 6 at 50\ndelete snapshot p 6\nload snapshot p",
        ["ok", "ok", "ok", "5 at 50"],
    ),
    "deleting a snapshot that is not there": ("delete snapshot p 1\ndelete snapshots p", ["ok", "ok"]),
    "deleting by criteria keeps what is outside": (
        "save snapshot p 1 at 1\nsave snapshot p 2 at 2\nsave snapshot p 3 at 3\n"
        "delete snapshots p seq 2..2 time 2..2\n"
        "load snapshot p seq ..2\nload snapshot p\ndelete snapshots p\nload snapshot p",
        ["ok", "ok", "ok", "ok", "1 at 1", "3 at 3", "ok", "none"],
    ),
    "the clock fills in what has no time": (
        "clock 77\nsave snapshot p 1\nload snapshot p\nsave snapshot p 2 at 5\nload snapshot p",
        ["ok", "ok", "1 at 77", "ok", "2 at 5"],
    ),
    "a write, a deletion and a save leave the clock as it is": (
        "clock 77\nwrite p 1\ndelete p ..1\nsave snapshot p 1\nsave snapshot p 2\nload snapshot p seq ..1\n"
        "load snapshot p",
        ["ok", "ok", "ok", "ok", "ok", "1 at 77", "2 at 77"],
    ),
    "before it is set, the clock says when it began": (
        "save snapshot p 1\nload snapshot p",
        ["ok", f"1 at {START_OF_CLOCK}"],
    ),
    "reopening changes nothing": (
        "write p 1..2\nsave snapshot p 2 at 1\ndelete p ..2\nreopen\nhighest p\nreplay p\nload snapshot p",
        ["ok", "ok", "ok", "ok", "2", "none", "2 at 1"],
    ),
}


@pytest.mark.parametrize(("text", "outcomes"), HISTORIES.values(), ids=HISTORIES)
def test_a_history_by_hand(text: str, outcomes: list[str]) -> None:
    assert told(text) == outcomes


LIMITS = [
    (Claims(atomic_batch=2), "write p 1..2\nwrite p 3..5, 6\nreplay p", ["ok", "rejected, ok", "1..2, 6"]),
    (
        Claims(tags_without=",;"),
        'write p 1 tags="a,b"\nwrite p 1 tags=""\nwrite p 1 tags=ab',
        ["rejected", "rejected", "ok"],
    ),
    (Claims(), 'write p 1 tags="a,b"+""', ["ok"]),
    (Claims(tags=False, tags_without=","), 'write p 1 tags="a,b"', ["ok"]),
    (
        Claims(payload_size_max=3),
        "write p 1 data=abc\nwrite p 2 data=abcd\nwrite p 2 data=empty",
        ["ok", "rejected", "ok"],
    ),
    (
        Claims(persistence_id_length_max=3),
        'write abcd 1\nwrite "äöü" 1\nreplay abcd\nhighest abcd\ndelete abcd ..1\nload snapshot abcd',
        ["invalid", "ok", "invalid", "invalid", "invalid", "invalid"],
    ),
    (
        Claims(timestamp_resolution_ns=1000),
        "clock 1999\nsave snapshot p 1\nload snapshot p\nload snapshot p time ..999\ndelete snapshot p 1 at 1001\n"
        "load snapshot p",
        ["ok", "ok", "1 at 1000", "none", "ok", "none"],
    ),
    (
        Claims(writer_uuid=False),
        'write p 1 writer="\\ud800"\nwrite p 2 manifest="\\ud800"\nwrite p 2 tags="\\ud800"',
        ["ok | rejected", "rejected", "rejected"],
    ),
    (
        Claims(event_manifest=False),
        'write p 1 manifest="\\ud800"\nwrite p 2 writer="\\ud800"\nwrite p 2 payload_manifest="\\ud800"',
        ["ok | rejected", "rejected", "rejected"],
    ),
    (
        Claims(tags=False),
        'write p 1 tags="\\ud800"\nwrite p 2 tags=a+"\\udfff" manifest="\\ud800"',
        ["ok | rejected", "rejected"],
    ),
]


@pytest.mark.parametrize(("claims", "text", "outcomes"), LIMITS)
def test_a_limit_that_is_claimed_is_a_limit_of_the_model(claims: Claims, text: str, outcomes: list[str]) -> None:
    assert told(text, claims) == outcomes


EVENT = """
write p 1 data="x" serializer=7 payload_manifest=pm manifest=m writer=w at=1999 tags=a+b metadata="y"
replay p
"""


def test_an_event_comes_back_with_all_that_was_written() -> None:
    outcome = last(EVENT)
    assert isinstance(outcome, Events)
    (event,) = outcome.events
    assert (event.payload.data, event.payload.serializer_id, event.payload.manifest) == (b"x", 7, "pm")
    assert (event.manifest, event.writer_uuid, event.timestamp) == ("m", "w", 1999)
    assert event.tags == {"a", "b"}
    assert event.metadata is not None
    assert event.metadata.data == b"y"


@pytest.mark.parametrize(
    ("claims", "field", "kept"),
    [
        (Claims(writer_uuid=False), "writer_uuid", ""),
        (Claims(event_manifest=False), "manifest", ""),
        (Claims(tags=False), "tags", frozenset()),
        (Claims(metadata=False), "metadata", None),
        (Claims(timestamp_resolution_ns=1000), "timestamp", 1000),
    ],
)
def test_a_field_that_is_not_claimed_comes_back_as_the_claim_says(claims: Claims, field: str, kept: object) -> None:
    with_claim, without = last(EVENT), last(EVENT, claims)
    assert isinstance(with_claim, Events)
    assert isinstance(without, Events)
    assert without.events == (msgspec.structs.replace(with_claim.events[0], **{field: kept}),)


def test_an_event_without_a_time_gets_the_clock_and_one_with_a_time_keeps_it() -> None:
    outcome = last("clock 77\nwrite p 1, 2 at=5\nreplay p")
    assert isinstance(outcome, Events)
    assert [event.timestamp for event in outcome.events] == [77, 5]


def test_a_snapshot_comes_back_with_all_that_was_saved() -> None:
    outcome = last('save snapshot p 3 at 7 data="x" serializer=9 payload_manifest=pm\nload snapshot p')
    assert isinstance(outcome, Loaded)
    assert outcome.selected is not None
    assert (outcome.selected.metadata.sequence_nr, outcome.selected.metadata.timestamp) == (3, 7)
    payload = outcome.selected.snapshot
    assert (payload.data, payload.serializer_id, payload.manifest) == (b"x", 9, "pm")


def test_a_backend_that_forgets_at_closing_cannot_be_asked_to_reopen() -> None:
    with pytest.raises(NeedsClaim, match="survives_close"):
        told("reopen", Claims())


def test_two_states_never_share_what_can_change() -> None:
    empty = State()
    told("write p 1")
    assert empty == State()


# ------------------------------------------------------------------------------- against what was written by hand


def test_an_expectation_that_the_model_does_not_share_is_named() -> None:
    wrong = judge.disagreement(parse("rules J-01\nwrite p 1 -> ok\nreplay p -> 1..2", "wrong"))
    assert wrong == "step 2 'replay p -> 1..2': the model allows 1"


def test_every_outcome_that_the_model_would_have_allowed_is_named() -> None:
    text = 'rules J-01\nwrite p 5 -> ok\nwrite p 1 tags="\\ud800" -> ok'
    wrong = judge.disagreement(parse(text, "wrong"))
    assert wrong.endswith(": the model allows rejected or conflict")


# --------------------------------------------------------------------------------------------- against the memory

IDS = ["p", "P", "p ", "pq", "q", ""]
NUMBERS = [1, 1, 2, 2, 3, 4, 5, 7, 9, MAX_SEQUENCE_NR]
BOUNDS = [-1, 0, 1, 2, 3, 5, 8, MAX_SEQUENCE_NR - 1, MAX_SEQUENCE_NR]
TIMES = [0, 1, 2, 3, MAX_TIMESTAMP]
TEXTS = ["", "", "a", "\0", "\ud800"]


def random_program(dice: random.Random) -> Program:
    operations = [random_operation(dice) for _ in range(dice.randint(1, 12))]
    clients = ["", "", "", "b"]
    steps = tuple(Step(operation, dice.choice(clients)) for operation in operations)
    return Program("random", "", ("J-01",), steps, private=True)


def random_operation(dice: random.Random) -> AnyOperation:
    owner = dice.choice(IDS)
    match dice.randrange(11):
        case 0 | 1 | 2:
            return Write(tuple(random_batch(dice) for _ in range(dice.choice([0, 1, 1, 1, 2, 3]))))
        case 3 | 4:
            return Replay(owner, dice.choice(BOUNDS), dice.choice(BOUNDS), dice.choice(BOUNDS))
        case 5:
            return Highest(owner, dice.choice(BOUNDS))
        case 6:
            return Delete(owner, dice.choice(BOUNDS))
        case 7:
            number = dice.choice([0, *NUMBERS])
            return SaveSnapshot(owner, number, dice.choice(TIMES), dice.choice([None, Content("x")]))
        case 8:
            return LoadSnapshot(owner, random_bounds(dice))
        case 9:
            if dice.random() < 0.5:
                return DeleteSnapshots(owner, random_bounds(dice))
            return DeleteSnapshot(owner, dice.choice([0, *NUMBERS]), dice.choice(TIMES))
        case _:
            return dice.choice([Reopen(), Clock(dice.choice([1, 2, 3]))])


def random_batch(dice: random.Random) -> Batch:
    first = dice.choice(NUMBERS)
    last = first if first == MAX_SEQUENCE_NR else first + dice.choice([0, 0, 1, 2])
    return Batch(
        dice.choice([owner for owner in IDS if owner]),
        first,
        last,
        content=dice.choice([None, None, Content(), Content(hex="00ff")]),
        manifest=dice.choice(TEXTS),
        timestamp=dice.choice(TIMES),
        tags=(dice.choice(TEXTS),) if dice.random() < 0.3 else (),
        metadata=dice.choice([None, None, Content()]),
    )


def random_bounds(dice: random.Random) -> Bounds:
    if dice.random() < 0.4:
        return Bounds()
    return Bounds(dice.choice(BOUNDS), dice.choice(TIMES), dice.choice([0, 1, 3]), dice.choice([0, 1, 2]))


def random_programs(seed: int, number: int) -> Iterator[Program]:
    dice = random.Random(seed)
    return (random_program(dice) for _ in range(number))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_memory_does_the_model_allows(seed: int) -> None:
    stage = Stage(memory_backend(offset_step=3))  # K-08: with gaps between offsets, as many databases have
    limits = Limits(5.0)
    seen: set[str] = set()
    try:
        for number, program in enumerate(random_programs(seed, 800)):
            concrete = msgspec.structs.replace(program, private=False).with_prefix(f"{number} ")
            execution = execute(concrete, stage, limits)
            found = judge.judge(concrete, execution, memory.claims, stage.page_size)
            assert found.deviations == ()
            seen.update(type(one.outcome).__name__ for one in execution.observations)
    finally:
        stage.close()
    assert seen == {"Done", "Answers", "Conflict", "Invalid", "Events", "Number", "Loaded"}


def test_whatever_the_model_says_the_memory_does() -> None:
    """The other way round: with the model's outcomes as expectations, no step of the memory differs from them."""
    with Examiner(memory) as examiner:
        for number, program in enumerate(random_programs(99, 300)):
            name = msgspec.structs.replace(program, name=f"random {number}")
            trial = examiner.try_alone(name)
            state = State()
            for seen in trial.execution.observations:
                transitions = model.step(state, seen.step.operation, seen.number, memory.claims)
                states = [one.state for one in transitions if one.outcome.same_as(seen.outcome)]
                assert states, f"{seen.step}: {seen.outcome}"
                state = states[0]
