"""The judge: each deviation is blamed on the rule that names it. The executions are written by hand."""

from __future__ import annotations

import msgspec
import pytest
from perdure import Claims, Payload, PersistentRepr, SelectedSnapshot, SnapshotMetadata
from perdure_tck import judge as judging
from perdure_tck.history import Execution, Observation
from perdure_tck.judge import FIELD_RULES, Deviation, judge, unmet_claim
from perdure_tck.model import START_OF_CLOCK, State
from perdure_tck.operations import SaveSnapshot, Write
from perdure_tck.outcomes import (
    Answers,
    AnyOutcome,
    Conflict,
    Damaged,
    Done,
    Events,
    Failed,
    Invalid,
    Loaded,
    Malformed,
    NoAnswer,
    Number,
    Raised,
)
from perdure_tck.program import Program
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse

CLAIMS = Claims(survives_close=True, shared=True)
OK = Answers((False,))


def program(text: str, rules: str = "J-50") -> Program:
    return parse(f"rules {rules}\n{text}", "by_hand")


def deviations(of: Program, *outcomes: AnyOutcome, claims: Claims = CLAIMS) -> tuple[Deviation, ...]:
    """What the judge says of a program whose first steps ended in these outcomes."""
    seen = tuple(
        Observation(number, step, outcome)
        for number, (step, outcome) in enumerate(zip(of.steps, outcomes, strict=False), 1)
    )
    return judge(of, Execution(seen), claims, page_size=500).deviations


def blamed(found: tuple[Deviation, ...]) -> list[tuple[int, tuple[str, ...]]]:
    return [(one.number, one.rules) for one in found]


def event(of: Program, step: int = 1, place: int = 0, **changes: object) -> PersistentRepr:
    """An event as the write of a step makes it and the clock completes it, and then changed."""
    operation = of.steps[step - 1].operation
    assert isinstance(operation, Write)
    events = [one for batch in operation.batches for one in batch.atomic_write(step).events]
    kept = msgspec.structs.replace(events[place], timestamp=events[place].timestamp or START_OF_CLOCK)
    return msgspec.structs.replace(kept, **changes)


# ---------------------------------------------------------------------------------------------------- single fields

FULL = 'write p 1 data="x" manifest=m writer=w at=1999 tags=a+b metadata="y"\nreplay p\nhighest p'

WRONG_FIELDS = [
    ("J-23", {"payload": Payload(4, "", b"changed")}),
    ("J-23", {"payload": Payload(4, "", b"")}),
    ("J-23", {"payload": Payload(5, "", b"x")}),
    ("J-23", {"payload": Payload(4, "other", b"x")}),
    ("J-20", {"timestamp": 2000}),
    ("J-20", {"timestamp": 0}),
    ("J-19", {"writer_uuid": "journal-1"}),
    ("J-21", {"manifest": ""}),
    ("J-22", {"tags": frozenset({"a"})}),
    ("J-22", {"tags": frozenset({"a,b"})}),
    ("J-22", {"tags": frozenset({"a", "b", "c"})}),
    ("J-35", {"metadata": None}),
    ("J-35", {"metadata": Payload(4, "metadata", b"")}),
    ("J-35", {"metadata": Payload(4, "", b"y")}),
]


@pytest.mark.parametrize(("rule", "changes"), WRONG_FIELDS)
def test_a_single_field_is_blamed_on_its_own_rule_and_the_walk_goes_on(rule: str, changes: dict[str, object]) -> None:
    asked = program(FULL)
    found = deviations(asked, OK, Events((event(asked, **changes),)), Number(7))
    assert blamed(found) == [(2, (rule,)), (3, ("J-50",))]


def test_two_wrong_fields_are_two_deviations() -> None:
    asked = program(FULL)
    wrong = event(asked, timestamp=1, tags=frozenset())
    assert blamed(deviations(asked, OK, Events((wrong,)))) == [(2, ("J-20",)), (2, ("J-22",))]


def test_one_field_of_many_events_is_one_deviation() -> None:
    asked = program("write p 1..3\nreplay p")
    wrong = tuple(event(asked, place=place, timestamp=5) for place in range(3))
    (found,) = deviations(asked, OK, Events(wrong))
    assert found.rules == ("J-20",)
    assert found.observed == "1 with timestamp 5"
    assert found.allowed == f"1 with timestamp {START_OF_CLOCK}"


def test_the_same_rule_broken_again_is_told_once() -> None:
    asked = program("write p 1\nreplay p\nreplay p\nhighest p")
    wrong = Events((event(asked, timestamp=1),))
    assert blamed(deviations(asked, OK, wrong, wrong, Number(1))) == [(2, ("J-20",))]


@pytest.mark.parametrize(("about", "rule"), [("J-50", "J-23"), ("J-27", "J-27"), ("J-23 J-27", "J-23")])
def test_a_field_is_blamed_on_the_rule_of_it_that_the_program_is_about(about: str, rule: str) -> None:
    asked = program('write p 1 data="x"\nreplay p', about)
    found = deviations(asked, OK, Events((event(asked, payload=Payload(4, "", b"y")),)))
    assert found[0].rules[0] == rule


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("writer_uuid", {"writer_uuid": "anything"}),
        ("event_manifest", {"manifest": "anything"}),
        ("tags", {"tags": frozenset({"a"})}),
        ("metadata", {"metadata": None}),
    ],
)
def test_a_field_that_is_not_claimed_is_excused(claim: str, changes: dict[str, object]) -> None:
    asked = program(FULL)
    excusing = msgspec.structs.replace(CLAIMS, **{claim: False})
    outcomes = OK, Events((event(asked, **changes),)), Number(1)
    assert deviations(asked, *outcomes, claims=excusing) == ()
    assert len(deviations(asked, *outcomes)) == 1


def test_a_coarser_time_is_excused_down_to_the_claimed_resolution_only() -> None:
    asked = program(FULL)
    coarse = msgspec.structs.replace(CLAIMS, timestamp_resolution_ns=1000)
    assert deviations(asked, OK, Events((event(asked, timestamp=1000),)), claims=coarse) == ()
    assert len(deviations(asked, OK, Events((event(asked, timestamp=0),)), claims=coarse)) == 1


def snapshot(asked: Program, timestamp: int = 7, **changes: object) -> Loaded:
    save = asked.steps[0].operation
    assert isinstance(save, SaveSnapshot)
    payload = msgspec.structs.replace(save.payload(1), **changes)
    return Loaded(SelectedSnapshot(SnapshotMetadata("p", 3, timestamp), payload))


@pytest.mark.parametrize(
    ("about", "changes", "rule"),
    [
        ("S-01", {"timestamp": 8}, "S-14"),
        ("S-13", {"timestamp": 8}, "S-13"),
        ("S-01", {"data": b"changed"}, "S-29"),
        ("S-01", {"serializer_id": 9}, "S-29"),
        ("S-30", {"serializer_id": 9}, "S-30"),
        ("S-28", {"data": b""}, "S-28"),
    ],
)
def test_a_field_of_a_snapshot_is_blamed_on_its_own_rule(about: str, changes: dict[str, object], rule: str) -> None:
    asked = program("save snapshot p 3 at 7\nload snapshot p\nload snapshot p", about)
    found = deviations(asked, Done(), snapshot(asked, **changes), Loaded(None))
    assert blamed(found) == [(2, (rule,)), (3, (about,))]


def test_a_deviation_names_the_field_that_alone_is_wrong() -> None:
    asked = program(FULL)
    found = deviations(asked, OK, Events((event(asked, timestamp=1),)), Number(7))
    assert [one.field for one in found] == ["timestamp", ""]


LONG = b"abcdefghijklmnopqrstuvwxyz"

SHOWN = [
    ({"tags": frozenset({"b", "a b"})}, "1 with tags 'a b'+'b'", "1 with tags 'a'+'b'"),
    ({"tags": frozenset()}, "1 with tags empty", "1 with tags 'a'+'b'"),
    ({"writer_uuid": ""}, "1 with writer_uuid ''", "1 with writer_uuid 'w'"),
    ({"metadata": None}, "1 with metadata None", "1 with metadata b'y' (1 bytes, serializer 4, manifest 'metadata')"),
    (
        {"payload": Payload(5, "m", LONG[:24])},
        f"1 with payload {LONG[:24]!r} (24 bytes, serializer 5, manifest 'm')",
        "1 with payload b'x' (1 bytes, serializer 4, manifest '')",
    ),
    (
        {"payload": Payload(4, "", LONG[:25])},
        f"1 with payload {LONG[:24]!r}… (25 bytes, serializer 4, manifest '')",
        "1 with payload b'x' (1 bytes, serializer 4, manifest '')",
    ),
]


@pytest.mark.parametrize(("changes", "observed", "allowed"), SHOWN)
def test_a_field_is_shown_in_a_line(changes: dict[str, object], observed: str, allowed: str) -> None:
    asked = program(FULL)
    (found,) = deviations(asked, OK, Events((event(asked, **changes),)))
    assert (found.observed, found.allowed) == (observed, allowed)


def test_a_field_of_a_snapshot_is_shown_in_a_line() -> None:
    asked = program('save snapshot p 3 at 7 data="x"\nload snapshot p', "S-01")
    (found,) = deviations(asked, Done(), snapshot(asked, data=b"changed"))
    assert found.observed == "b'changed' (7 bytes, serializer 4, manifest '')"
    assert found.allowed == "b'x' (1 bytes, serializer 4, manifest '')"


def test_every_rule_of_a_field_exists_and_is_judged() -> None:
    assert all(all_rules()[rule].judged for rules in FIELD_RULES.values() for rule in rules)


# ------------------------------------------------------------------------------------------------ anything structural

TWO = "write p 1\nwrite p 2\nreplay p\nhighest p"


def structural(asked: Program) -> dict[str, Events]:
    first, second = event(asked, 1), event(asked, 2)
    return {
        "missing": Events((first,)),
        "doubled": Events((first, first, second)),
        "swapped": Events((second, first)),
        "of another id": Events((first, msgspec.structs.replace(second, persistence_id="q"))),
        "with another number": Events((first, msgspec.structs.replace(second, sequence_nr=3))),
        "with the content of another write": Events((first, msgspec.structs.replace(second, payload=first.payload))),
        "none": Events(()),
    }


@pytest.mark.parametrize("kind", list(structural(program(TWO))))
def test_wrong_events_are_blamed_on_the_rules_of_the_program_and_the_walk_ends(kind: str) -> None:
    asked = program(TWO, "J-50 J-59")
    found = deviations(asked, OK, OK, structural(asked)[kind], Number(99))
    assert blamed(found) == [(3, ("J-50", "J-59"))]


def test_the_content_of_another_write_is_told_as_such() -> None:
    asked = program(TWO)
    (found,) = deviations(asked, OK, OK, structural(asked)["with the content of another write"])
    assert found.observed == "1..2, but of another write"
    assert found.allowed == "1..2"


@pytest.mark.parametrize(
    "wrong",
    [
        Raised("OSError", "no space"),
        Malformed("None"),
        Conflict(),
        Failed("full"),
        Invalid("why"),
        Done(),
        Answers((True,)),
        Answers((False, False)),
        Answers(()),
    ],
    ids=str,
)
def test_any_other_outcome_ends_the_walk(wrong: AnyOutcome) -> None:
    asked = program("write p 1\nhighest p")
    assert blamed(deviations(asked, wrong, Number(99))) == [(1, ("J-50",))]


def test_silence_is_blamed_on_the_rule_of_answers_too() -> None:
    assert blamed(deviations(program("write p 1\nhighest p"), NoAnswer(5.0), Number(99))) == [(1, ("J-50", "J-61"))]
    assert blamed(deviations(program("write p 1", "J-61"), NoAnswer(5.0))) == [(1, ("J-61",))]


def test_a_snapshot_of_another_number_is_structural() -> None:
    asked = program("save snapshot p 3 at 7\nsave snapshot p 2 at 7\nload snapshot p", "S-01")
    other = Loaded(SelectedSnapshot(SnapshotMetadata("p", 2, 7), Payload(4, "", b"2 of p by step 2")))
    assert blamed(deviations(asked, Done(), Done(), other)) == [(3, ("S-01",))]


def test_a_snapshot_with_the_content_of_another_save_is_structural() -> None:
    asked = program("save snapshot p 2 at 7\nsave snapshot p 3 at 7\nload snapshot p\nload snapshot p", "S-01")
    other = Loaded(SelectedSnapshot(SnapshotMetadata("p", 3, 7), Payload(4, "", b"2 of p by step 1")))
    found = deviations(asked, Done(), Done(), other, Loaded(None))
    assert blamed(found) == [(3, ("S-01",))]
    assert found[0].observed == "3 at 7, but of another write"


EITHER = 'write p 5\nwrite p 1 tags="\\ud800"\nhighest p\nreplay p'
"""The second write may be answered in two ways."""


def test_whichever_outcome_of_several_came_is_the_one_that_the_walk_goes_on_with() -> None:
    for answer in (Answers((True,)), Conflict()):
        asked = program(EITHER)
        assert deviations(asked, OK, answer, Number(5), Events((event(asked),))) == ()


def test_an_outcome_that_is_none_of_several_is_told_with_all_of_them() -> None:
    (found,) = deviations(program(EITHER), OK, OK)
    assert (found.number, found.observed, found.allowed) == (2, "ok", "rejected or conflict")


def test_of_several_outcomes_the_nearest_is_compared() -> None:
    """A conflict leaves nothing behind, a rejection leaves what came with it: only one of them fits what is seen."""
    asked = program('write p 1 tags="\\ud800", 1\nreplay p')
    assert deviations(asked, Conflict(), Events(())) == ()
    assert deviations(asked, Answers((True, False)), Events((event(asked, place=1),))) == ()
    assert blamed(deviations(asked, Conflict(), Events((event(asked, place=1),)))) == [(2, ("J-50",))]


@pytest.mark.parametrize("wrong", [Number(99), Conflict()], ids=str)
def test_a_deviation_of_a_program_about_no_rule_is_blamed_by_what_it_looks_like(
    wrong: AnyOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the rule is asked with all that there is to know: program, step, state before it, both outcomes."""
    asked = msgspec.structs.replace(program("clock 5\nwrite p 1\nhighest p\nhighest p"), rules=())
    questions: list[tuple[object, ...]] = []

    def found(*question: object) -> str:
        questions.append(question)
        return "J-40"

    monkeypatch.setattr(judging, "blamed", found)
    assert blamed(deviations(asked, Done(), OK, wrong)) == [(3, ("J-40",))]
    ((of, number, before, page_size, pair),) = questions
    assert (of, number, page_size, pair) == (asked, 3, 500, (Number(1), wrong))
    assert isinstance(before, State)
    assert (before.now, before.log("p").highest_sequence_nr) == (5, 1)


@pytest.mark.parametrize(("found", "rule"), [("J-79", "J-79"), ("", "J-20")])
def test_a_field_of_a_program_about_no_rule_is_blamed_by_what_it_looks_like_or_on_its_own_rule(
    found: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = msgspec.structs.replace(program("clock 5\nwrite p 1\nreplay p"), rules=())
    questions: list[tuple[object, ...]] = []

    def looks_like(*question: object) -> str:
        questions.append(question)
        return found

    monkeypatch.setattr(judging, "blamed_for_field", looks_like)
    right, wrong = Events((event(asked, 2, timestamp=5),)), Events((event(asked, 2, timestamp=6),))
    assert blamed(deviations(asked, Done(), OK, wrong)) == [(3, (rule,))]
    ((of, number, before, page_size, pair, field),) = questions
    assert (of, number, page_size, pair, field) == (asked, 3, 500, (right, wrong), "timestamp")
    assert isinstance(before, State)
    assert before.log("p").highest_sequence_nr == 1


def test_nobody_is_asked_for_the_rule_of_a_program_that_names_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> str:
        return "J-99"

    monkeypatch.setattr(judging, "blamed", wrong)
    monkeypatch.setattr(judging, "blamed_for_field", wrong)
    asked = program("write p 1\nreplay p\nhighest p")
    found = deviations(asked, OK, Events((event(asked, timestamp=6),)), Number(9))
    assert blamed(found) == [(2, ("J-20",)), (3, ("J-50",))]


def test_how_an_error_is_worded_does_not_matter() -> None:
    asked = program('replay ""\nwrite p 1')
    assert deviations(asked, Invalid("whatever words"), OK) == ()


def test_the_reason_of_an_error_that_nobody_expected_is_told() -> None:
    (found,) = deviations(program("write p 1"), Failed("disk full"))
    assert (found.observed, found.allowed) == ("failed: disk full", "ok")


def test_any_other_outcome_is_told_as_it_is() -> None:
    (found,) = deviations(program("write p 1\nhighest p"), OK, Number(7))
    assert (found.observed, found.allowed) == ("7", "1")


def test_an_execution_that_ended_early_is_judged_as_far_as_it_went() -> None:
    asked = program(TWO)
    assert deviations(asked, OK) == ()
    assert deviations(asked) == ()


def test_what_is_unreadable_is_no_shorter_stream() -> None:
    asked = program(TWO)
    assert blamed(deviations(asked, OK, OK, Damaged("event 2"))) == [(3, ("J-50",))]


def test_namespaces_are_told_apart_and_share_a_clock() -> None:
    asked = program("a: write p 1\nb@other: highest p\nclock 5\nb@other: write p 1\nb@other: replay p")
    seen = Events((event(asked, 4, timestamp=5),))
    assert deviations(asked, OK, Number(0), Done(), OK, seen) == ()


# ------------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("claims", "text", "unmet"),
    [
        (CLAIMS, "write p 1..3 -> ok\nreopen", ""),
        (Claims(), "write p 1 -> ok\nreopen", "survives_close"),
        (Claims(), "a: write p 1 -> ok\nb: highest p", "shared"),
        (Claims(), "write p 1 -> ok\nb: highest p", "shared"),
        (Claims(), "a: write p 1 -> ok\nb@other: highest p", ""),
        (Claims(atomic_batch=2), "write p 1..3 -> ok", "atomic_batch"),
        (Claims(atomic_batch=2), "write p 1..3", ""),
        (Claims(atomic_batch=2), "write p 1..2 -> ok", ""),
        (Claims(tags_without=","), 'write p 1 tags="a,b" -> ok', "tags_without"),
        (Claims(payload_size_max=3), "write p 1 data=size:4 -> ok", "payload_size_max"),
        (Claims(persistence_id_length_max=3), "write pppp 1 -> ok", "persistence_id_length_max"),
        (
            Claims(timestamp_resolution_ns=10),
            "save snapshot p 1 at 5\nload snapshot p -> 1 at 5",
            "timestamp_resolution_ns",
        ),
        (Claims(atomic_batch=2), "write p 1..3 -> ok\nreopen -> ok", "atomic_batch"),
    ],
)
def test_the_claim_for_want_of_which_a_program_cannot_be_asked(claims: Claims, text: str, unmet: str) -> None:
    assert unmet_claim(program(text), claims) == unmet
