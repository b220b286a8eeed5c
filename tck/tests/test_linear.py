"""The checker of overlapping calls, held against the plainest one there is: try every order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import msgspec
import pytest
from perdure import MAX_SEQUENCE_NR, Claims
from perdure_tck import model
from perdure_tck.linear import Call, Explorer, first_stray
from perdure_tck.model import State
from perdure_tck.operations import AnyOperation, Batch, Delete, Highest, LoadSnapshot, Replay, SaveSnapshot, Write
from perdure_tck.outcomes import Answers, AnyOutcome, Cancelled, Conflict, Done, Events, Number
from perdure_tck.scenario_text import parse

CLAIMS = Claims(shared=True)
OK = Answers((False,))


def same(allowed: AnyOutcome, observed: AnyOutcome) -> bool:
    return allowed == observed


def write(first: int, last: int = 0, persistence_id: str = "p") -> Write:
    return Write((Batch(persistence_id, first, last or first),))


def call(number: int, operation: AnyOperation, began: int, ended: int, outcome: AnyOutcome, handle: str = "") -> Call:
    return Call(number, operation, began, ended, outcome, handle)


def explained(*calls: Call) -> bool:
    return first_stray(calls, CLAIMS, same) is None


def seen(*written: tuple[int, Write]) -> Events:
    """The events of some writes, with their steps, as a replay gives them."""
    state = State()
    for number, operation in written:
        state = model.step(state, operation, number, CLAIMS)[0].state
    return Events(state.log("p").events)


# ------------------------------------------------------------------------------------------------------- single rules


def test_of_two_writers_one_must_lose() -> None:
    a, b = (1, write(1), 1, 4), (2, write(1), 2, 3)
    assert explained(call(*a, OK), call(*b, Conflict()))
    assert explained(call(*a, Conflict()), call(*b, OK))
    stray = first_stray([call(*a, OK), call(*b, OK)], CLAIMS, same)
    assert stray is not None
    assert stray.call.number == 1, "the one that returned last is the one that cannot be explained"
    assert stray.allowed == (Conflict(),)
    assert not explained(call(*a, Conflict()), call(*b, Conflict()))


def test_real_time_order_is_kept() -> None:
    assert explained(call(1, write(1), 1, 3, OK), call(2, Replay("p"), 2, 4, Events(())))
    assert not explained(call(1, write(1), 1, 2, OK), call(2, Replay("p"), 3, 4, Events(())))


def test_an_atomic_write_is_seen_whole_and_a_call_of_several_in_its_order() -> None:
    one, each = write(1, 2), Write((Batch("p", 1, 1), Batch("p", 2, 2)))
    both = seen((1, one)).events
    for operation, half in ((one, False), (each, True)):
        outcome = Answers((False,) * len(operation.batches))
        assert explained(call(1, operation, 1, 4, outcome), call(2, Replay("p"), 2, 3, Events(both[:1]))) == half
        assert explained(call(1, operation, 1, 4, outcome), call(2, Replay("p"), 2, 3, Events(both)))
        assert not explained(call(1, operation, 1, 4, outcome), call(2, Replay("p"), 2, 3, Events(both[1:])))


def test_a_cancelled_write_happened_whole_or_not_at_all() -> None:
    each = Write((Batch("p", 1, 1), Batch("p", 2, 2)))
    all_of_it = seen((1, each)).events
    for events, right in ((all_of_it, True), ((), True), (all_of_it[:1], False)):
        look = call(2, Replay("p"), 3, 4, Events(events)), call(3, Replay("p"), 5, 6, Events(events))
        assert explained(call(1, each, 1, 2, Cancelled()), *look) == right


def test_a_cancelled_write_may_land_late_but_not_behind_a_highest_number_of_its_handle() -> None:
    cancelled = call(1, write(1), 1, 2, Cancelled())
    there = seen((1, write(1)))
    assert explained(cancelled, call(2, Replay("p"), 3, 4, Events(())), call(3, Replay("p"), 5, 6, there))
    late = call(3, Replay("p"), 5, 6, there)
    assert not explained(cancelled, call(2, Highest("p"), 3, 4, Number(0)), late)
    assert explained(cancelled, call(2, Highest("p"), 3, 4, Number(1)), late)
    assert explained(cancelled, call(2, Highest("p"), 3, 4, Number(0), "other"), late), "another handle cannot know"
    assert explained(cancelled, call(2, Highest("q"), 3, 4, Number(0)), late), "nor is it asked of another id"


def test_the_highest_number_waits_for_writes_that_began_before() -> None:
    def history(write_began: int, highest_began: int) -> bool:
        return explained(call(1, write(1), write_began, 5, OK), call(2, Highest("p"), highest_began, 4, Number(0)))

    assert not history(1, 2)
    assert history(2, 1)


def test_deletions_keep_the_highest_number_also_beside_a_write() -> None:
    def history(number: int) -> bool:
        return explained(
            call(1, write(1, 2), 1, 2, OK),
            call(2, Delete("p", MAX_SEQUENCE_NR), 3, 6, Done()),
            call(3, write(3), 4, 5, OK),
            call(4, Highest("p"), 7, 8, Number(number)),
        )

    assert history(3)
    assert not history(2)


# ---------------------------------------------------------------------------------------------------------- the oracle

KINDS: Sequence[AnyOperation] = (
    write(1),
    write(2),
    write(1, 2),
    write(1, persistence_id="q"),
    Replay("p"),
    Delete("p", 1),
    SaveSnapshot("p", 1),
    LoadSnapshot("p"),
)
"""Without a highest number, which waits for writes: a rule that the plain oracle does not know."""


def some_order_explains(calls: Sequence[Call]) -> bool:
    """Every permutation that keeps the order in time, walked through the model from the beginning."""
    return any(
        all(not later.ended < earlier.began for earlier, later in itertools.combinations(order, 2)) and _walks(order)
        for order in itertools.permutations(calls)
    )


def _walks(order: Sequence[Call]) -> bool:
    state = State()
    for one in order:
        transition = model.step(state, one.operation, one.number, CLAIMS)[0]
        if transition.outcome != one.outcome:
            return False
        state = transition.state
    return True


def history_of(source: random.Random) -> list[Call]:
    """Some calls at random times, with the outcomes of a random order: often one that time allows, often not."""
    count = source.choice((3, 4, 5))
    begins = [(4 * source.randrange(2 * count), source.choice((1, 5, 9))) for _ in range(count)]
    pairs = [(10 * begin + place, 10 * (begin + length) + place) for place, (begin, length) in enumerate(begins)]
    calls = [call(number, source.choice(KINDS), began, ended, Done()) for number, (began, ended) in enumerate(pairs, 1)]
    order = sorted(calls, key=lambda one: source.uniform(one.began, one.ended) + source.choice((0, 150)))
    state, found = State(), dict[int, Call]()
    for one in order:
        transition = model.step(state, one.operation, one.number, CLAIMS)[0]
        state = transition.state
        found[one.number] = msgspec.structs.replace(one, outcome=transition.outcome)
    return [found[number] for number in sorted(found)]


def test_the_checker_says_what_trying_every_order_says() -> None:
    source = random.Random(2026)
    verdicts = {True: 0, False: 0}
    for _ in range(400):
        calls = history_of(source)
        expected = some_order_explains(calls)
        assert (first_stray(calls, CLAIMS, same) is None) == expected, calls
        verdicts[expected] += 1
    assert min(verdicts.values()) > 25, verdicts


def test_a_stray_call_is_explained_by_the_outcomes_that_are_named() -> None:
    source = random.Random(7)
    checked = 0
    while checked < 40:
        calls = history_of(source)
        stray = first_stray(calls, CLAIMS, same)
        if stray is None:
            continue
        for outcome in stray.allowed:
            until = [one for one in calls if one.ended <= stray.call.ended and one != stray.call]
            pending = [
                msgspec.structs.replace(one, outcome=None) for one in calls if one.began < stray.call.ended < one.ended
            ]
            right = msgspec.structs.replace(stray.call, outcome=outcome)
            assert first_stray([*until, *pending, right], CLAIMS, same) is None
            checked += 1


# -------------------------------------------------------------------------------------------------------- expectations


@pytest.mark.parametrize(
    ("lines", "number", "expected"),
    [
        ("together\na: write p 1\nb: write p 1\nend", 1, {"ok", "conflict"}),
        ("together\na: write p 1..2\nb: replay p\nend", 2, {"none", "1..2"}),
        ("together\na: write p each 1..2\nb: replay p\nend", 2, {"none", "1", "1..2"}),
        ("together\na: write p 1\nb: cancel a\nend\nreplay p", 3, {"none", "1"}),
        ("together\na: write p 1\nb: cancel a\nend\nreplay p", 1, {"ok", "cancelled"}),
        ("together\na: write p 1\na: write p 2\nb: write p 1\nend\nreplay p", 4, {"1..2"}),
        ("query f all events\ntogether\na: write p 1\nb: write q 1\nc: take f 2\nend", 4, {"p 1, q 1", "q 1, p 1"}),
    ],
)
def test_what_may_be_expected_is_what_some_order_gives(lines: str, number: int, expected: set[str]) -> None:
    program = parse(f"rules J-17\none_handle\n{lines}", "program")
    found = Explorer(program.steps, Claims(shared=True, live_queries=True)).outcomes()
    assert set(map(str, found[number])) == expected
