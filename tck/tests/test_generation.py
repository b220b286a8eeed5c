"""Generated programs: the same bytes give the same program, and a stretch of them reaches all that it is meant to."""

from __future__ import annotations

import datetime
import hashlib
import random
from collections import Counter
from functools import cache

import msgspec
import pytest
from perdure import Claims
from perdure_memory import backend as memory
from perdure_tck import generation
from perdure_tck.coverage import COUNTS, OVERLAP_COUNTS
from perdure_tck.coverage_actors import ACTOR_COUNTS
from perdure_tck.document import Run
from perdure_tck.engine import ACTORS_SHARE, GENERATED, OVERLAPPING_SHARE, SEED, Request, conduct
from perdure_tck.examiner import Examiner
from perdure_tck.generation import CODE_SIZE, HEAD_SIZE, ID_FAMILIES, MOODS, SIZE, decode, programs, within
from perdure_tck.judge import FULL_CLAIMS, disagreement, unmet_claim
from perdure_tck.offers import Offers
from perdure_tck.operations import (
    JOURNAL_OPERATIONS,
    QUERY_OPERATIONS,
    SNAPSHOT_OPERATIONS,
    Batch,
    Bounds,
    Clock,
    DeleteSnapshot,
    LoadSnapshot,
    Query,
    Reopen,
    Replay,
    SaveSnapshot,
    Write,
    ids_of,
)
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program, Step
from perdure_tck.scenario_text import parse, show

DIGEST = "6aacd9b110de2a69"
"""Of the first 50 programs of the gate. Whoever changes what is generated renews it, and measures again how soon the
zoo is found (`docs/power.md`)."""


@cache
def gate() -> tuple[Program, ...]:
    return tuple(programs(SEED, GENERATED["core"]))


def told(program: Program) -> str:
    return show(msgspec.structs.replace(program, rules=("J-01",)))


def test_the_programs_of_the_gate_are_the_ones_that_were_measured() -> None:
    text = "\n".join(map(told, gate()[:50]))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGEST


def test_the_same_bytes_give_the_same_program() -> None:
    codes = random.Random(7).randbytes(SIZE)
    assert decode(codes, "one") == decode(bytes(codes), "one")
    assert [*programs(3, 5)] == [*programs(3, 9)][:5] != [*programs(4, 5)]


def test_zeros_are_an_empty_program_whatever_its_mood() -> None:
    for head in range(256):
        assert decode(bytes((head, head)) + bytes(SIZE - HEAD_SIZE), "nothing").steps == ()


def test_every_code_is_a_step_or_none_and_a_zero_leaves_one_out() -> None:
    codes = random.Random(8).randbytes(SIZE)
    assert len(decode(codes, "all").steps) <= generation.OPERATIONS
    for start in range(HEAD_SIZE, SIZE, CODE_SIZE):
        fewer = decode(codes[:start] + b"\0" + codes[start + 1 :], "fewer")
        assert len(decode(codes, "all").steps) - len(fewer.steps) in (0, 1)


def test_a_generated_program_is_read_back_from_its_text() -> None:
    for program in gate()[:300]:
        again = parse(told(program), program.name)
        assert msgspec.structs.replace(again, rules=(), prose="") == program


def test_every_kind_of_operation_and_every_mood_is_in_the_gate() -> None:
    kinds = Counter(type(step.operation) for program in gate() for step in program.steps)
    assert kinds.keys() == {*JOURNAL_OPERATIONS, *SNAPSHOT_OPERATIONS, *QUERY_OPERATIONS, Reopen, Clock}
    assert min(kinds.values()) > 100
    assert len(MOODS) == 64
    clients = {step.client for program in gate() for step in program.steps}
    assert clients == {"", "b", "b@other"}


def test_every_count_of_coverage_is_reached_within_the_gate() -> None:
    coverage: Counter[str] = Counter()
    with Examiner(memory) as examiner:
        for program in [*gate()[:400], *(one for one in gate()[400:] if one.uses_queries)]:
            coverage.update(examiner.try_alone(program).coverage)
    of_others = {*OVERLAP_COUNTS, *ACTOR_COUNTS}  # of programs of other kinds
    assert {count for count in set(COUNTS) - of_others if coverage[count] < 20} == set()


@pytest.mark.parametrize("family", ID_FAMILIES, ids=lambda family: repr(family)[:30])
def test_each_two_ids_of_a_family_are_both_written_in_some_program(family: tuple[str, ...]) -> None:
    together: set[frozenset[str]] = set()
    for program in gate():
        written = {
            owner
            for step in program.steps
            if isinstance(step.operation, Write | SaveSnapshot)
            for owner in ids_of(step.operation)
        }
        together.update(frozenset({one, other}) for one in written for other in written if one != other)
    assert all(frozenset({one, other}) in together for one in family for other in family if one != other)


def test_what_hurts_is_in_the_gate() -> None:
    batches = [b for p in gate() for s in p.steps if isinstance(s.operation, Write) for b in s.operation.batches]
    assert {batch.last - batch.first + 1 for batch in batches} >= {1, 2, 3, 7, 100, 101, 150}
    assert max(batch.last for batch in batches) == 2**63 - 1
    assert any(2**31 <= batch.first < 2**32 for batch in batches)
    assert any(2**53 < batch.first < 2**54 for batch in batches)
    assert {batch.content.size for batch in batches if batch.content} >= {65_535, 65_536, 65_537}
    saves = [s.operation for p in gate() for s in p.steps if isinstance(s.operation, SaveSnapshot)]
    assert {save.sequence_nr for save in saves} >= {0, 9, 10, 2**31, 2**63 - 1}
    assert max(save.content.size for save in saves if save.content) > 2**20
    bounds = [s.operation.bounds for p in gate() for s in p.steps if isinstance(s.operation, LoadSnapshot)]
    assert Bounds() in bounds
    assert Bounds(0, 0) in bounds
    windows = [s.operation for p in gate() for s in p.steps if isinstance(s.operation, Replay)]
    assert {window.max_count for window in windows} >= {0, 1, 2, 3, -1}


# -------------------------------------------------------------------------------------- what can be asked of whom


def test_a_backend_that_promises_everything_is_asked_everything() -> None:
    for program in gate()[:200]:
        assert within(program, FULL_CLAIMS, *Offers()) == program
        assert disagreement(program) == ""


@pytest.mark.parametrize(
    "claims",
    [
        Claims(),
        Claims(shared=True),
        Claims(survives_close=True),
        Claims(timestamp_resolution_ns=1000, tags=False, metadata=False),
        Claims(payload_size_max=1000, atomic_batch=2, persistence_id_length_max=256, tags_without=";"),
    ],
    ids=str,
)
def test_whoever_promises_less_is_asked_what_can_be_asked_of_him(claims: Claims) -> None:
    for program in gate()[:200]:
        assert unmet_claim(within(program, claims, *Offers()), claims) == ""


def test_steps_are_left_out_for_want_of_a_store_or_of_a_claim() -> None:
    for program in gate()[:200]:
        assert not within(program, FULL_CLAIMS, journal=False, snapshots=True).uses_journal
        assert not within(program, FULL_CLAIMS, journal=True, snapshots=False).uses_snapshots
        assert not within(program, FULL_CLAIMS, journal=True, snapshots=True).uses_queries
        some = within(program, FULL_CLAIMS, True, True, {"current_all_events"})
        assert {one.operation.method for one in some.steps if isinstance(one.operation, Query)} <= {
            "current_all_events"
        }
        asked = within(program, Claims(), *Offers())
        assert not any(isinstance(one.operation, Query) and not one.operation.current for one in asked.steps)
        assert not any(isinstance(step.operation, Reopen) for step in asked.steps)
        assert {step.client for step in asked.steps} <= {"", "b@other"}


def test_times_are_as_coarse_as_the_backend_keeps_them() -> None:
    steps = (
        Step(Write((Batch("p", 1, 1, timestamp=1999),))),
        Step(SaveSnapshot("p", 1, 1999)),
        Step(LoadSnapshot("p", Bounds(max_timestamp=1999, min_timestamp=1001))),
        Step(LoadSnapshot("p")),
        Step(DeleteSnapshot("p", 1, 999)),
        Step(Clock(5001)),
    )
    asked = within(Program("times", "", (), steps), Claims(timestamp_resolution_ns=1000), True, True)
    assert [str(step.operation) for step in asked.steps] == [
        "write p 1 at=1000",
        "save snapshot p 1 at 1000",
        "load snapshot p time 1000..1000",
        "load snapshot p",
        "delete snapshot p 1",
        "clock 5000",
    ]


def test_a_snapshot_above_the_limit_is_not_saved() -> None:
    large = next(
        p for p in gate() for s in p.steps if isinstance(s.operation, SaveSnapshot) and _size(s.operation) > 2**20
    )
    asked = within(large, Claims(payload_size_max=70_000, shared=True, survives_close=True), True, True)
    assert len(asked.steps) < len(large.steps)
    assert all(_size(s.operation) <= 70_000 for s in asked.steps if isinstance(s.operation, SaveSnapshot))


def _size(save: SaveSnapshot) -> int:
    return save.content.size if save.content else 0


# ------------------------------------------------------------------------------------------------------------ the run


def conducted() -> Run:
    request = Request(programs=installed_programs()[:20], generated=200, today=datetime.date(2026, 1, 1))
    return conduct(memory, request)


def test_two_runs_give_the_same_document_but_for_times() -> None:
    def timeless(run: Run) -> bytes:
        header = msgspec.structs.replace(run.header, started="")
        footer = msgspec.structs.replace(run.footer, duration_s=0.0)
        return msgspec.json.encode((header, run.rules, run.awaiting, run.faults, footer))

    one = conducted()
    assert one.footer.generated == 200 + 200 // OVERLAPPING_SHARE + 200 // ACTORS_SHARE
    assert timeless(one) == timeless(conducted())
