"""Rules of a forgetful disk, and the verdict on what a power cut took. No file system is needed."""

from __future__ import annotations

import errno
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure_scenarios.forgetful import Batch, Lost, Rule, judged, unopenable
from perdure_scenarios.forgetful._rules import Rules, Struck


def test_a_rule_strikes_what_it_names() -> None:
    rules = Rules((Rule(operation="write", path="*.db-wal", errno="EIO"),))
    assert rules.strike("write", "/perdure.db-wal") == Struck(error=errno.EIO)
    assert rules.strike("write", "/below/perdure.db-wal") == Struck(error=errno.EIO)
    assert rules.strike("write", "/perdure.db") == Struck()
    assert rules.strike("fsync", "/perdure.db-wal") == Struck()
    assert rules.struck == [2]


def test_a_rule_strikes_from_the_first_time_on_so_many_times() -> None:
    rules = Rules((Rule(operation="fsync", errno="EIO", first=3, times=2),))
    assert [rules.strike("fsync", "/a").error for _ in range(6)] == [0, 0, errno.EIO, errno.EIO, 0, 0]
    assert (rules.matched, rules.struck) == ([6], [2])


def test_a_full_disk_refuses_what_grows_beyond_its_capacity() -> None:
    rules = Rules((Rule(operation="any", capacity=1000),))
    assert rules.strike("write", "/a", 1000) == Struck()
    assert rules.strike("write", "/a", 1001) == Struck(error=errno.ENOSPC)
    assert rules.strike("truncate", "/a", 10) == Struck()


def test_delays_add_up_until_a_rule_decides() -> None:
    rules = Rules((Rule(delay_s=1), Rule(delay_s=2, errno="EIO"), Rule(delay_s=4)))
    assert rules.strike("read", "/a") == Struck(3.0, errno.EIO)
    assert Rules((Rule(operation="fsync", lying=True),)).strike("fsync", "/a") == Struck(lying=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"operation": "sing", "errno": "EIO"}, "operation 'sing' is unknown; allowed: any, create"),
        ({"errno": "EWHAT"}, "errno 'EWHAT' is no name of an error"),
        ({"errno": "errorcode"}, "errno 'errorcode' is no name of an error"),
        ({"operation": "write", "lying": True}, "operation 'write' cannot lie; fsync and fsyncdir can"),
        ({"operation": "read", "capacity": 1}, "operation 'read' needs no room"),
        ({"operation": "read"}, "a rule without effect"),
        ({"errno": "EIO", "first": 0}, "first 0 or times None is out of range"),
        ({"errno": "EIO", "times": 0}, "first 1 or times 0 is out of range"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule(**wrong)


def in_turn(*sizes: int, persistence_id: str = "p") -> list[Batch]:
    """Acknowledged AtomicWrites of one writer, one after the other."""
    batches, first = [], 1
    for place, size in enumerate(sizes):
        batches.append(Batch(persistence_id, first, first + size - 1, 2 * place + 1, 2 * place + 2))
        first += size
    return batches


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], Lost(acknowledged=6)),
        ([1, 2, 3], Lost(acknowledged=6, lost=3, pattern="suffix")),
        ([], Lost(acknowledged=6, lost=6, pattern="whole")),
        ([4, 5, 6], Lost(acknowledged=6, lost=3, pattern="prefix")),
        ([1, 4, 5, 6], Lost(acknowledged=6, lost=2, pattern="middle")),
        ([2, 3], Lost(acknowledged=6, lost=4, pattern="middle")),
        ([1, 2, 3, 4, 5], Lost(acknowledged=6, lost=1, pattern="suffix", torn=1)),
        ([1, 2], Lost(acknowledged=6, lost=4, pattern="suffix", torn=1)),
        ([1, 2, 3, 4, 5, 6, 7], Lost(acknowledged=6, damaged=1)),
    ],
)
def test_the_verdict_on_one_writer(there: list[int], expected: Lost) -> None:
    assert judged(in_turn(1, 2, 3), {"p": there}) == expected


def test_a_write_that_was_not_acknowledged_may_be_there_or_not() -> None:
    batches = [*in_turn(1, 1), Batch("p", 3, 4, invoked=5)]
    assert judged(batches, {"p": [1, 2]}) == Lost(acknowledged=2)
    assert judged(batches, {"p": [1, 2, 3, 4]}) == Lost(acknowledged=2)
    assert judged(batches, {"p": [1, 2, 3]}) == Lost(acknowledged=2, torn=1)
    assert judged(batches, {"p": [1, 3, 4]}) == Lost(acknowledged=2, lost=1, pattern="middle")


def test_writes_that_were_under_way_together_have_no_order() -> None:
    together = [Batch("p", 1, 1, invoked=1, acknowledged=3), Batch("q", 1, 1, invoked=2, acknowledged=4)]
    apart = [Batch("p", 1, 1, invoked=1, acknowledged=2), Batch("q", 1, 1, invoked=3, acknowledged=4)]
    assert judged(together, {"q": [1]}).pattern == "suffix"
    assert judged(together, {"p": [1]}).pattern == "suffix"
    assert judged(apart, {"p": [1]}).pattern == "suffix"
    assert judged(apart, {"q": [1]}).pattern == "prefix"


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4), st.booleans(), st.booleans()), max_size=6))
def test_a_suffix_is_what_some_order_of_the_writes_has_at_its_end(drawn: list[tuple[int, int, bool, bool]]) -> None:
    """Against the definition: a lost suffix holds, with a write, all that were asked for after its end."""
    batches, there = [], {}
    for place, (invoked, length, acknowledged, kept) in enumerate(drawn):
        moment = 2 * invoked
        batches.append(Batch(str(place), 1, 1, moment, moment + 2 * length + 1 if acknowledged else None))
        there[str(place)] = {1} if kept else set[int]()
    verdict = judged(batches, there)

    ends = [(batch, batch.acknowledged) for batch in batches if batch.acknowledged and not there[batch.persistence_id]]
    later_kept = [
        batch for (_, end), batch in product(ends, batches) if there[batch.persistence_id] and batch.invoked > end
    ]
    assert verdict.lost == len(ends)
    if not ends:
        assert verdict.pattern == "none"
    elif verdict.pattern == "whole":
        assert not any(there[batch.persistence_id] for batch in batches if batch.acknowledged)
    else:
        assert (verdict.pattern == "suffix") == (not later_kept)


def test_claims_allow_what_they_say() -> None:
    kept, suffix = Lost(acknowledged=6), Lost(acknowledged=6, lost=3, pattern="suffix")
    whole, middle = Lost(acknowledged=6, lost=6, pattern="whole"), Lost(acknowledged=6, lost=2, pattern="middle")
    torn, damaged = Lost(acknowledged=6, torn=1), Lost(acknowledged=6, damaged=2)
    closed = unopenable(in_turn(1, 2, 3), "malformed")
    everything = [kept, suffix, whole, middle, torn, damaged, closed]
    allowed = {
        claim: [bool(not lost.breaks(claim)) for lost in everything]  # type: ignore[arg-type]  # all three are claims
        for claim in ("yes", "prefix", "no")
    }
    assert allowed["yes"] == [True, *[False] * 6]
    assert allowed["prefix"] == [True, True, True, False, False, False, False]
    assert all(allowed["no"])
    assert suffix.breaks("yes") == "lost 3 of 6 acknowledged events (suffix)"
    assert closed.breaks("prefix") == "could not be used again: malformed"
    assert closed == Lost(acknowledged=6, lost=6, pattern="whole", unopenable="malformed")
    assert (torn.breaks("prefix"), damaged.breaks("yes")) == ("1 AtomicWrites torn", "2 events damaged")
