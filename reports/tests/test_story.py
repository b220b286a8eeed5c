"""What every report says: one root cause once, all seven words, and a sentence that never claims too much."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from perdure_reports._story import causes, counts, struck, verdict
from perdure_tck.document import Awaiting, Fault, FaultCoverage, Pace, ShownStep
from perdure_tck.verdict import Word


def folded(run: Any) -> list[tuple[str, ...]]:
    return [(cause.first.id, *cause.also) for cause in causes(run)]


def test_rules_with_the_same_smallest_history_are_one_cause(build: Any) -> None:
    same = build.witness()
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "", same),
        build.rule("J-43", Word.VIOLATED, "", same),
        build.rule("J-44", Word.VIOLATED, "", same),
    )
    assert folded(run) == [("J-42", "J-43", "J-44")]


def test_rules_that_break_at_the_same_step_of_a_scenario_are_one_cause(build: Any) -> None:
    wrong = ShownStep("", "highest p", "0", "5")
    longer = (ShownStep("", "write p 1..5", "ok"), ShownStep("", "reopen", "ok"), wrong)
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "", build.witness()),
        build.rule("J-43", Word.VIOLATED, "", build.witness(longer)),
        build.rule("J-44", Word.VIOLATED, "", build.witness(longer, scenario="another", text="another")),
    )
    assert folded(run) == [("J-42", "J-43", "J-44")]


def test_histories_that_differ_only_in_their_numbers_are_one_cause(build: Any) -> None:
    sevens = (
        ShownStep("", "write p 1..7", "ok"),
        ShownStep("", "delete p ..max", "ok"),
        ShownStep("", "highest p", "0", "7"),
    )
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "", build.witness()),
        build.rule("J-44", Word.VIOLATED, "", build.witness(sevens, scenario="another")),
    )
    assert folded(run) == [("J-42", "J-44")]


def test_nothing_and_something_are_not_the_same_number(build: Any) -> None:
    def limited(limit: str) -> tuple[ShownStep, ...]:
        return (ShownStep("", "write p 5", "ok"), ShownStep("", f"replay p limit {limit}", "5..6", "5"))

    run = build.run(
        build.rule("J-54", Word.VIOLATED, "", build.witness(limited("0"), scenario="none")),
        build.rule("J-55", Word.VIOLATED, "", build.witness(limited("1"), scenario="one")),
    )
    assert folded(run) == [("J-54",), ("J-55",)]


def test_a_number_of_any_length_is_compared(build: Any) -> None:
    huge = (ShownStep("", "replay p", "9" * 5000, "5"),)
    run = build.run(build.rule("J-42", Word.VIOLATED, "", build.witness(huge)))
    assert folded(run) == [("J-42",)]


def test_rules_without_a_witness_each_stand_alone(build: Any) -> None:
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "waived until 2027-03-01, yet it ends in CONFORMS: remove the waiver"),
        build.rule("J-43", Word.VIOLATED, "waived until 2027-03-01, yet it ends in CONFORMS: remove the waiver"),
    )
    assert folded(run) == [("J-42",), ("J-43",)]


def test_a_waived_rule_is_no_cause(build: Any) -> None:
    assert folded(build.run(build.rule("J-42", Word.WAIVED, "known", build.witness()))) == []


def test_all_seven_words_are_counted_also_at_zero(build: Any) -> None:
    assert counts(build.run(build.rule("J-01"))) == {word: int(word is Word.CONFORMS) for word in Word}


def test_a_conforming_run_says_what_it_rests_on(build: Any) -> None:
    later = tuple(Awaiting(f"J-{n}", "Later.", "will be judged with faults") for n in (5, 7))
    run = build.run(build.rule("J-01"), build.rule("J-44", Word.UNSUPPORTED, "no tags"), awaiting=later)
    assert verdict(run) == (
        "CONFORMS to core · 1 of 2 rules judged, 1 unsupported, 2 await later chapters"
        " · 214 programs, 9 100 operations · 9.4 s · corpus c41d"
    )


def test_a_violated_run_names_its_rules(build: Any) -> None:
    run = build.run(build.rule("J-42", Word.VIOLATED), build.rule("S-04", Word.VIOLATED), build.rule("J-01"))
    assert verdict(run).startswith("VIOLATED · 2 rules (J-42 S-04) · 3 of 3 rules judged · ")


def test_a_sentence_names_eight_rules_at_most(build: Any) -> None:
    run = build.run(*(build.rule(f"J-{n}", Word.VIOLATED) for n in range(10, 20)))
    assert verdict(run).startswith("VIOLATED · 10 rules (J-10 J-11 J-12 J-13 J-14 J-15 J-16 J-17 and 2 more) · ")


@pytest.mark.parametrize(
    ("words", "partial", "says"),
    [
        ([Word.CONFORMS, Word.UNPROVEN], False, "UNPROVEN · 1 rule (J-11) · "),
        ([Word.CONFORMS, Word.NOT_RUN], False, "NOT RUN · 1 rule (J-11) · "),
        ([Word.CONFORMS, Word.NOT_RUN], True, "CONFORMS to core in part · "),
        ([Word.VIOLATED, Word.KIT_FAULT], False, "KIT FAULT · says nothing for or against sqlite · "),
        ([Word.UNSUPPORTED], False, "NOTHING JUDGED of sqlite · "),
        ([Word.WAIVED], False, "WAIVED · 1 rule (J-10) · "),
        ([], False, "NOTHING JUDGED of sqlite · "),
    ],
)
def test_the_sentence_never_claims_too_much(build: Any, words: list[Word], partial: bool, says: str) -> None:
    run = build.run(*(build.rule(f"J-{n}", word) for n, word in enumerate(words, 10)), partial=partial)
    assert verdict(run).startswith(says)


def test_what_struck_is_told_with_its_pace_and_with_how_much_of_it_was_opened(build: Any) -> None:
    run = build.run(build.rule("J-01"))
    paces = {"kill": Pace(1200, 800, 2.0), "power cut": Pace(2500, 1900, 5.0), "damage": Pace(300, 300, 1.0)}
    found = FaultCoverage({"kills": 1000, "kills_in_recovery": 200, "power_cuts": 2500}, 4000, 8.0, (), paces)
    footer = msgspec.structs.replace(run.footer, struck=found)
    assert struck(msgspec.structs.replace(run, footer=footer)).endswith(
        "4 000 states judged in 8.0 s, 500 a second (kills 600, power cuts 500); "
        "3 000 of them were opened, the others equal these"
    )


def test_a_fault_decides_also_where_every_rule_conforms(build: Any) -> None:
    run = build.run(build.rule("J-01"), faults=(Fault("closing sqlite raised OSError", ""),))
    assert verdict(run).startswith("KIT FAULT")
