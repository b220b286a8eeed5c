"""States of a trace: their order, their bounds, what they say, and that one may be the start of the next."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import msgspec
import pytest
from perdure_scenarios.candidates import Bounds
from perdure_scenarios.images import Image, image_from
from perdure_scenarios.names import listing
from perdure_scenarios.states import Duty, duty_at, image_of, kill_states, lied, power_states
from perdure_scenarios.trace import (
    AnyCall,
    Created,
    GivenUp,
    MadeDirectory,
    Renamed,
    Synced,
    SyncedAll,
    SyncedDirectory,
    Trace,
    Unlinked,
    Wrote,
)


def log_trace(commits: int = 6) -> Trace:
    """A log of frames, synchronised after every second commit."""
    random = Random(5)
    calls: list[AnyCall] = [Created(0, 0, "log")]
    for number in range(commits):
        for _ in range(3):
            calls.append(Wrote(number + 1, number, "log", len(calls) * 1100, random.randbytes(1100)))
        if number % 2:
            calls.append(Synced(number + 1, number, "log"))
    return Trace({"db": random.randbytes(20_000)}, tuple(calls))


# Killed


def test_a_kill_leaves_every_call_that_was_made_and_no_other() -> None:
    trace = Trace(
        {}, (MadeDirectory(0, 0, "d"), Created(1, 0, "d/a"), Wrote(1, 0, "d/a", 2, b"x"), Unlinked(2, 1, "d/a"))
    )
    states = list(kill_states(trace))
    assert [state.image.plain() for state in states] == [
        {},
        {"d/": b""},
        {"d/": b"", "d/a": b""},
        {"d/": b"", "d/a": b"\0\0x"},
        {"d/": b""},
    ]
    assert [state.position for state in states] == [0, 1, 2, 3, 4]


def test_a_state_is_judged_by_what_was_told_just_before_the_next_call() -> None:
    trace = Trace({}, (Created(1, 0, "a"), Created(3, 2, "b")))
    assert [duty_at(trace, n, Duty(4, 3)) for n in range(3)] == [Duty(1, 0), Duty(3, 2), Duty(4, 3)]
    assert duty_at(trace, 2) == Duty(3, 2)
    assert duty_at(Trace({}, ()), 0) == Duty(0, 0)


def test_equal_contents_are_judged_again_if_more_was_told_meanwhile() -> None:
    calls = (Created(1, 0, "a"), Synced(1, 0, "a"), Synced(1, 0, "a"), Synced(2, 1, "a"))
    assert [state.position for state in kill_states(Trace({}, calls))] == [0, 1, 3]


def test_a_kill_tears_a_large_write_at_pages_and_says_so() -> None:
    trace = Trace({"a": b"o" * 20_000}, (Wrote(1, 0, "a", 100, b"n" * 10_000),))
    inside = [state for state in kill_states(trace) if state.inside]
    kept = [bytes(state.image.files["a"]).count(b"n") for state in inside]
    assert kept == [512, 4096 - 100, 5000, 8192 - 100]
    assert inside[1].words == "killed inside write of 10000 bytes at 100 to a, of which 3996 are there"
    assert all(state.position == 0 and len(bytes(state.image.files["a"])) == 20_000 for state in inside)


def test_a_kill_tears_a_huge_write_at_few_places() -> None:
    trace = Trace({"a": b""}, (Wrote(1, 0, "a", 0, b"n" * 1_000_000),))
    assert 4 <= sum(state.inside for state in kill_states(trace)) <= 8


@pytest.mark.parametrize("offset", [0, 96])
def test_a_kill_does_not_tear_a_write_within_a_page(offset: int) -> None:
    trace = Trace({"a": b""}, (Wrote(1, 0, "a", offset, b"n" * 4000),))
    assert not any(state.inside for state in kill_states(trace))


# Words


def test_a_state_says_between_which_calls_it_is_and_what_is_lost() -> None:
    calls = (
        Created(1, 0, "a.tmp"),
        Wrote(1, 0, "a.tmp", 0, b"x" * 40),
        Renamed(1, 0, "a.tmp", "a"),
        Synced(2, 1, "a", True),
    )
    states = list(power_states(Trace({}, calls), "strict"))
    words = [state.words for state in states if state.position == 3]
    assert all(
        one.startswith("power cut after rename of a.tmp to a, before fdatasync of a (strict); ") for one in words
    )
    assert words[0].endswith("; nothing lost")
    assert any(one.endswith("; lost: rename of a.tmp to a") for one in words)
    assert any(one.endswith("; zeros instead of write of 40 bytes at 0 to a.tmp") for one in words)


def test_what_is_lost_is_listed_up_to_a_few() -> None:
    calls = tuple(Wrote(1, 0, "a", 512 * n, b"x") for n in range(9))
    states = power_states(Trace({"a": bytes(9 * 512)}, calls), "ext4", end=Duty(2, 1))
    state = next(state for state in states if len(state.lost) == 9)
    assert state.words.count("lost: ") == 4
    assert state.words.endswith("and 5 more")


# Bounds and order


@pytest.mark.parametrize("model", ["ext4", "strict"])
def test_no_state_is_given_twice_and_none_above_the_bound(model: str) -> None:
    for at_most in (1, 50, 10_000):
        states = list(power_states(log_trace(), model, Bounds(at_most=at_most)))  # type: ignore[arg-type]  # both are models
        keys = {(state.image.digest, state.duty) for state in states}
        assert len(keys) == len(states) <= at_most


def test_a_bound_leaves_out_the_end_of_the_same_order() -> None:
    whole = [state.words for state in power_states(log_trace(), "ext4")]
    assert [state.words for state in power_states(log_trace(), "ext4", Bounds(at_most=100))] == whole[:100]


def test_the_first_states_are_of_all_moments() -> None:
    trace = log_trace()
    first = [state.position for state in power_states(trace, "ext4", Bounds(at_most=len(trace.calls)))]
    assert len(set(first)) > len(trace.calls) * 0.8


PRINT_DIGESTS = """
import hashlib, msgspec, sys
from perdure_scenarios.names import listing
from perdure_scenarios.states import power_states
from perdure_scenarios.trace import Trace
trace = msgspec.json.decode(sys.argv[1], type=Trace)
total = hashlib.sha256()
for state in power_states(trace, "strict"):
    total.update(state.image.digest + state.words.encode())
print(total.hexdigest())
"""


def test_the_states_are_the_same_in_every_process() -> None:
    text = msgspec.json.encode(log_trace(4)).decode()
    said = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", PRINT_DIGESTS, text]
        said.add(
            subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        )
    assert len(said) == 1


def test_where_more_waits_than_can_be_combined_every_loss_of_one_call_is_tried() -> None:
    calls = tuple(Wrote(1, 0, "a", 512 * n, bytes([n + 1]) * 512) for n in range(30))
    trace = Trace({"a": bytes(30 * 512)}, calls)
    states = [state for state in power_states(trace, "ext4", end=Duty(2, 1)) if state.position == 30]
    alone = {state.lost[0] for state in states if len(state.lost) == 1 and state.lost[0].startswith("lost")}
    survivors = {30 - len(state.lost) for state in states}
    assert len(alone) == 30
    assert {0, 1, 15, 29, 30} <= survivors


# Composition


def test_a_state_may_be_the_start_of_another_trace() -> None:
    """A second crash during the recovery from the first."""
    before = {"d/": b"", "d/a": b"1"}
    states = power_states(Trace(before, (Unlinked(1, 0, "d/a"),)), "ext4", end=Duty(2, 1))
    first = next(state for state in states if state.lost)
    again = Trace(first.image.plain(), (Wrote(0, 0, "d/a", 1, b"2"),))
    assert {bytes(state.image.files["d/a"]) for state in power_states(again, "ext4")} == {b"1", b"12", b"1\0"}
    assert image_of(again, 0) == first.image


def test_the_image_at_a_position_is_what_the_calls_up_to_there_made() -> None:
    trace = Trace({"a": b"1"}, (Wrote(1, 0, "a", 1, b"2"), Renamed(1, 0, "a", "b")))
    assert [image_of(trace, n).plain() for n in range(3)] == [{"a": b"1"}, {"a": b"12"}, {"b": b"12"}]
    with pytest.raises(ValueError, match=r"position 3 is not within 0\.\.2"):
        image_of(trace, 3)


def test_a_directory_that_is_renamed_takes_its_files_along() -> None:
    trace = Trace({"d/a": b"1"}, (Renamed(1, 0, "d", "e"), Wrote(1, 0, "e/a", 0, b"2"), SyncedDirectory(1, 0, "")))
    assert image_of(trace, 2).plain() == {"e/": b"", "e/a": b"2"}
    last = [state.image.plain() for state in power_states(trace, "strict", end=Duty(9, 9)) if state.position == 3]
    assert sorted(map(str, last)) == sorted(map(str, [{"e/": b"", "e/a": b"1"}, {"e/": b"", "e/a": b"2"}]))


def test_a_directory_that_seems_to_lie_within_itself_ends_the_way_down() -> None:
    """Names of directories that are lost one by one can make a ring; nobody can walk it to its end."""
    names = {(0, "a"): 1, (1, "b"): 2, (2, "a"): 1, (2, "f"): 3}
    found = listing(names, {0, 1, 2})
    assert found.files == (("a/b/f", 3),)
    assert found.directories == ("a", "a/b")


# What is refused


def test_only_a_synchronisation_can_lie() -> None:
    trace = Trace({}, (Created(1, 0, "a"), Synced(1, 0, "a"), SyncedDirectory(1, 0, ""), SyncedAll(1, 0, "")))
    assert [len(lied(trace, n).calls) for n in (1, 2, 3)] == [3, 3, 3]
    with pytest.raises(ValueError, match="call 0 is a Created; only a synchronisation can lie"):
        lied(trace, 0)
    with pytest.raises(ValueError, match=r"call 4 is not within 0\.\.3"):
        lied(trace, 4)


@pytest.mark.parametrize(
    "call", [Wrote(1, 0, "b", 0, b"x"), Created(1, 0, "a"), Unlinked(1, 0, "d/x"), Synced(1, 0, "d")]
)
def test_a_trace_with_holes_is_refused(call: AnyCall) -> None:
    trace = Trace({"a": b"", "d/": b""}, (Synced(1, 0, "a"), call))
    with pytest.raises(ValueError, match=f"call 1 of the trace, {type(call).__name__}: "):
        list(kill_states(trace))


def test_a_trace_that_was_given_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must not be used: mmap, a\.db is mapped"):
        list(kill_states(Trace({}, (), GivenUp("mmap", "a.db is mapped"))))


def test_an_image_knows_directories_that_only_hold_files() -> None:
    assert image_from({"d/e/a": b"1"}) == image_from({"d/": b"", "d/e/": b"", "d/e/a": b"1"})
    assert isinstance(image_from({}), Image)
