"""Hazards in scenario files: read, printed, and refused with the line and what was expected."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from perdure_tck.hazards import TROUBLES, Hazard, Kind
from perdure_tck.operations import AnyOperation, Batch, Bounds, Delete, DeleteSnapshots, Reopen, SaveSnapshot, Write
from perdure_tck.program import Program, Step
from perdure_tck.scenario_text import ScenarioError, parse, show

OPERATIONS: tuple[AnyOperation, ...] = (
    Write((Batch("p", 1, 3), Batch("at", 4, 4, tags=("every",)))),
    Delete("kill", 3),
    SaveSnapshot("p", 5),
    SaveSnapshot("p", 5, timestamp=7),
    DeleteSnapshots("p", Bounds(max_sequence_nr=4)),
    Reopen(),
)
KINDS: tuple[Kind, ...] = ("kill", "power cut", "disk full", "disk read-only", "damage")
STEPS = tuple(map(Step, OPERATIONS))
HAZARDS = [
    *map(Hazard, KINDS),
    *(Hazard("fail", trouble) for trouble in TROUBLES),
    *(Hazard(kind, "", operation) for kind, operation in itertools.product(KINDS[:2], OPERATIONS)),
    *(Hazard("fail", "EIO", operation) for operation in OPERATIONS),
]


@pytest.mark.parametrize("hazard", HAZARDS, ids=str)
def test_a_hazard_is_read_back_as_it_was_written(hazard: Hazard) -> None:
    program = Program("struck", "", ("D-01",), STEPS, hazards=(hazard,))
    assert parse(show(program), "struck") == program


def test_several_hazards_keep_their_order() -> None:
    program = Program("struck", "", ("D-01",), STEPS, hazards=tuple(HAZARDS))
    assert parse(show(program), "struck") == program


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kill at every day", "'at every io', found 'day'"),
        ("kill", "'at every io', found the end of the line"),
        ("power at every io", "cut, found 'at every io'"),
        ("fail every io with BOOM", "one of EIO, ENOSPC, EDQUOT, EINTR, EACCES, short write"),
        ("kill during write q 1 at every io", "one of the operations above, found 'write q 1 at every io'"),
        ("disk empty", "full or read-only, found 'empty'"),
        ("damage every file twice", "the end of the line, found 'twice'"),
        ("kill at every io\nwrite p 9", "a hazard (kill, power, fail, disk, damage), since hazards stand behind"),
    ],
)
def test_a_bad_hazard_is_refused(line: str, expected: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(f"rules D-01\nwrite p 1\n{line}", "struck")
    assert expected in str(raised.value)
    assert str(raised.value).startswith(("struck:3: ", "struck:4: "))


def test_a_hazard_follows_the_ids_of_its_program() -> None:
    text = "rules D-01\nwrite p 1..2\n\nkill during write p 1..2 at every io\n"
    (hazard,) = parse(text, "struck").with_prefix("k1z").hazards
    assert str(hazard) == "kill during write k1zp 1..2 at every io"
    assert msgspec.structs.replace(hazard, during=None) == Hazard("kill")
