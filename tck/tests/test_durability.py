"""The judge of states: what may be left, against a second oracle; what is wrong, blamed on the rule that names it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from perdure import Claims, Payload, PersistentRepr, SelectedSnapshot
from perdure_tck import model
from perdure_tck.durability import Context, Judged, Moment, judge_answers, judge_look
from perdure_tck.history import Observation
from perdure_tck.judge import FULL_CLAIMS
from perdure_tck.look import Added, Look, SeenId, Trouble, sights_of
from perdure_tck.model import State
from perdure_tck.operations import Delete, SaveSnapshot, Write, default_data
from perdure_tck.outcomes import Answers, AnyOutcome, Conflict, Damaged, Events, Failed, Loaded, Number, Raised
from perdure_tck.packs import installed_programs
from perdure_tck.past import Past
from perdure_tck.program import Program
from perdure_tck.scenario_text import parse

OUTCOME = {
    "failed": Failed("the disk is full"),
    "raised": Raised("OSError", "Input/output error"),
    "rejected": Answers((True,)),
    "conflict": Conflict(),
}


def program(text: str) -> Program:
    return parse(f"rules D-01\n{text}\n", "struck")


def past(text: str, answers: Sequence[AnyOutcome | None] = (), claims: Claims = FULL_CLAIMS) -> Past:
    """The past of a program in which each step was answered as the model says, but for the answers that are given."""
    chosen = program(text)
    state, seen = State(), []
    for number, step in enumerate(chosen.steps, 1):
        given = answers[number - 1] if number <= len(answers) else None
        transition = model.step(state, step.operation, number, FULL_CLAIMS)[0]
        seen.append(Observation(number, step, given or transition.outcome))
        state = state if given else transition.state
    return Past(chosen, seen, claims)


def look_at(state: State, chosen: Program) -> Look:
    """What an honest backend shows of a state."""
    sights = sights_of(chosen)
    return Look(
        tuple(
            SeenId(
                one,
                Events(state.log(one).events),
                Number(state.log(one).highest_sequence_nr),
                {number: Loaded(state.snapshots.get(one, {}).get(number)) for number in sights.snapshots[one]},
            )
            for one in sights.ids
        )
    )


def moments(of: Past) -> Iterable[Moment]:
    """Every moment of a run: between two steps, and during each."""
    for told in range(of.known + 1):
        yield Moment("kill", told)
        if told < len(of.program.steps):
            yield Moment("kill", told, told + 1)


# ------------------------------------------------------------------------------------------------- what may be there


@pytest.mark.parametrize("chosen", [one for one in installed_programs() if one.hazards], ids=lambda one: one.name)
def test_whatever_may_be_left_of_a_scenario_is_right(chosen: Program) -> None:
    text = "\n".join(str(msgspec.structs.replace(step, expected=())) for step in chosen.steps)
    known = past(text)
    assert known.deviation is None
    for moment in moments(known):
        for state in known.possible(moment.told, moment.under_way):
            for context in ("kill", "recovery", "power cut", "error", "disk full"):
                struck = msgspec.structs.replace(moment, context=context)
                assert judge_look(known, struck, look_at(state, known.program), FULL_CLAIMS) == Judged(())


def oracle(told: Sequence[str], under_way: str) -> set[tuple[frozenset[int], int]]:
    """The events and highest numbers that may be there of one id, worked out without the model.

    A step is `1..3` (one AtomicWrite), `1 2` (one call of two) or `-2` (a deletion up to 2).
    """
    events: frozenset[int] = frozenset()
    highest = 0
    for step in told:
        events, highest = after(events, highest, step)[-1]
    return {*after(events, highest, under_way)} if under_way else {(events, highest)}


def after(events: frozenset[int], highest: int, step: str) -> list[tuple[frozenset[int], int]]:
    """Everything that a step may have done, in the order in which it does it; all of it comes last."""
    if step.startswith("-"):
        return [(events, highest), (frozenset(one for one in events if one > int(step[1:])), highest)]
    found = [(events, highest)]
    for part in step.split():
        low, _, high = part.partition("..")
        numbers = range(int(low), int(high or low) + 1)
        events, highest = events | {*numbers}, numbers[-1]
        found.append((events, highest))
    return found


def written_as(step: str) -> str:
    return f"delete p ..{step[1:]}" if step.startswith("-") else f"write p {step.replace(' ', ', ')}"


HISTORIES = [
    ["1", "2", "3"],
    ["1..3", "4"],
    ["1..2 3 4"],
    ["1 2 3 4"],
    ["1..2", "-1", "3..4"],
    ["1..3", "-3", "4"],
    ["1", "2..4", "-2", "-4"],
]


@pytest.mark.parametrize("steps", HISTORIES, ids=" then ".join)
def test_exactly_what_a_second_oracle_allows_is_right(steps: Sequence[str]) -> None:
    """Every set of the numbers 1 to 4, with every highest number, at every moment."""
    known = past("\n".join(map(written_as, steps)))
    every = {number: known.written["p", number][0][1] for number in range(1, 5) if ("p", number) in known.written}
    for moment in moments(known):
        allowed = oracle(steps[: moment.told], steps[moment.under_way - 1] if moment.under_way else "")
        for size in range(len(every) + 1):
            for numbers in itertools.combinations(every, size):
                for highest in range(5):
                    seen = SeenId("p", Events(tuple(every[number] for number in numbers)), Number(highest))
                    right = (frozenset(numbers), highest) in allowed
                    assert (not judge_look(known, moment, Look((seen,)), FULL_CLAIMS).breaches) == right


# --------------------------------------------------------------------------------------------------- what is wrong


def event(number: int, step: int, text: str = "") -> PersistentRepr:
    data = text.encode() if text else default_data("p", number, step)
    return PersistentRepr("p", number, Payload(4, "", data), timestamp=model.START_OF_CLOCK)


def seen(*events: PersistentRepr, highest: int, snapshots: dict[int, AnyOutcome] | None = None) -> Look:
    return Look((SeenId("p", Events(events), Number(highest), snapshots or {}),))


def rules_of(judged: Judged) -> set[str]:
    return {rule for breach in judged.breaches for rule in breach.rules}


THREE = "write p 1\nwrite p 2..3\nwrite p 4"
A, B, C, D = event(1, 1), event(2, 2), event(3, 2), event(4, 3)

WRONG: dict[str, tuple[str, Moment, Look, str]] = {
    "the last acknowledged event is gone": (THREE, Moment("kill", 3), seen(A, B, C, highest=3), "D-01 J-31"),
    "everything is gone": (THREE, Moment("kill", 3), seen(highest=0), "D-01 J-31"),
    "the first one is gone": (THREE, Moment("kill", 3), seen(B, C, D, highest=4), "D-01 J-31"),
    "half of an acknowledged batch is gone": (THREE, Moment("kill", 2), seen(A, B, highest=2), "D-02"),
    "half of a batch under way is there": (THREE, Moment("kill", 1, 2), seen(A, B, highest=2), "D-02"),
    "the highest number is forgotten": (THREE, Moment("kill", 3), seen(A, B, C, D, highest=0), "D-03"),
    "the highest number is beyond": (THREE, Moment("kill", 3), seen(A, B, C, D, highest=9), "D-03"),
    "an event comes twice": (THREE, Moment("kill", 1), seen(A, A, highest=1), "D-09"),
    "an event of nobody": (THREE, Moment("kill", 1), seen(A, event(2, 2, "?"), highest=2), "D-09"),
    "an event that was not asked for yet": (THREE, Moment("kill", 1), seen(A, B, C, highest=3), "D-09"),
    "a hole in a call": (
        "write p 1, 2, 3",
        Moment("kill", 0, 1),
        seen(event(1, 1), event(3, 1), highest=3),
        "J-13",
    ),
    "half of a deletion": (
        "write p each 1..3\ndelete p ..2",
        Moment("kill", 1, 2),
        seen(event(2, 1), event(3, 1), highest=3),
        "J-72",
    ),
    "deleted events are back": (
        "write p each 1..3\ndelete p ..2",
        Moment("kill", 2),
        seen(event(1, 1), event(2, 1), event(3, 1), highest=3),
        "D-07",
    ),
    "a second kill loses an event": (THREE, Moment("recovery", 3), seen(A, B, C, highest=3), "D-06 J-31"),
    "it cannot be opened": (
        THREE,
        Moment("kill", 3),
        Look(trouble=Trouble("opening", "OpenFailed", "no")),
        "D-04",
    ),
    "it cannot be opened after a second kill": (
        THREE,
        Moment("recovery", 3),
        Look(trouble=Trouble("opening", "OpenFailed", "no")),
        "D-06",
    ),
    "it cannot be opened after a power cut": (
        THREE,
        Moment("power cut", 3),
        Look(trouble=Trouble("opening", "gave no answer")),
        "D-13",
    ),
    "the power takes the last event": (THREE, Moment("power cut", 3), seen(A, B, C, highest=3), "D-10 J-31"),
    "the power takes the first event": (
        THREE,
        Moment("power cut", 3),
        seen(B, C, D, highest=4),
        "D-10 D-11 J-31",
    ),
    "the power tears a batch": (THREE, Moment("power cut", 1, 2), seen(A, B, highest=2), "D-12"),
    "a replay is unreadable": (
        THREE,
        Moment("kill", 1),
        Look((SeenId("p", Damaged("bad"), Number(1)),)),
        "D-04",
    ),
    "an error loses an event": (THREE, Moment("error", 3), seen(A, B, C, highest=3), "D-15 J-31"),
    "a full disk loses an event": (THREE, Moment("disk full", 3), seen(A, B, C, highest=3), "D-14 J-31"),
    "damage makes the log shorter": (THREE, Moment("damage", 3), seen(A, B, C, highest=3), "D-16 J-60"),
    "damage changes an event": (THREE, Moment("damage", 3), seen(A, B, C, event(4, 3, "x"), highest=4), "D-16 J-60"),
    "damage lowers the highest number": (THREE, Moment("damage", 3), seen(A, B, C, D, highest=3), "D-16 J-60"),
}


@pytest.mark.parametrize(("text", "moment", "look", "rules"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_blamed_on_the_rule_that_names_it(text: str, moment: Moment, look: Look, rules: str) -> None:
    judged = judge_look(past(text), moment, look, FULL_CLAIMS)
    assert rules_of(judged) == set(rules.split())
    for breach in judged.breaches:
        assert breach.found != breach.allowed
        assert "\n" not in breach.found + breach.allowed


def snapshot(number: int, step: int, text: str = "") -> Loaded:
    metadata = SaveSnapshot("p", number).metadata()
    data = text.encode() if text else default_data("p", number, step)
    stamped = msgspec.structs.replace(metadata, timestamp=model.START_OF_CLOCK)
    return Loaded(SelectedSnapshot(stamped, Payload(4, "", data)))


SAVED = "save snapshot p 5\nsave snapshot p 5\ndelete snapshot p 5"
SNAPSHOTS: dict[str, tuple[Moment, AnyOutcome, str]] = {
    "the first one is gone while it is replaced": (Moment("kill", 1, 2), Loaded(None), "D-08 S-25"),
    "it is torn while it is replaced": (Moment("kill", 1, 2), Damaged("torn"), "D-08 S-25"),
    "the replaced one is back": (Moment("kill", 2), snapshot(5, 1), "D-08"),
    "it is gone": (Moment("kill", 2), Loaded(None), "D-08"),
    "it is back": (Moment("kill", 3), snapshot(5, 2), "D-08"),
    "it is another": (Moment("kill", 2), snapshot(5, 2, "other"), "D-08"),
    "a save that raised has taken the old one": (Moment("error", 1, 2), Loaded(None), "D-15 S-25"),
    "a save that was answered is not there": (Moment("error", 2), snapshot(5, 1), "D-15 S-27"),
    "damage hides it": (Moment("damage", 2), Loaded(None), "D-16 S-26"),
}


@pytest.mark.parametrize(("moment", "outcome", "rules"), SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_a_wrong_snapshot_is_blamed_on_the_rule_that_names_it(moment: Moment, outcome: AnyOutcome, rules: str) -> None:
    look = seen(highest=0, snapshots={5: outcome})
    assert rules_of(judge_look(past(SAVED), moment, look, FULL_CLAIMS)) == set(rules.split())


def test_damage_may_be_answered_by_an_error_or_by_what_was_written() -> None:
    known = past(THREE)
    for look in (
        Look(trouble=Trouble("opening", "OpenFailed", "checksum of a.log", named=True)),
        Look((SeenId("p", Damaged("checksum"), Raised("OSError", "?")),)),
        seen(A, B, C, D, highest=4),
    ):
        assert judge_look(known, Moment("damage", 3), look, FULL_CLAIMS) == Judged(())


# ------------------------------------------------------------------------------------------------------- answers


def test_a_write_that_failed_may_not_show_up() -> None:
    known = past("write p 1\nwrite p 2", [None, OUTCOME["failed"]])
    assert judge_look(known, Moment("error", 2), seen(A, highest=1), FULL_CLAIMS) == Judged(())
    late = judge_look(known, Moment("error", 2), seen(A, event(2, 2), highest=2), FULL_CLAIMS)
    assert rules_of(late) == {"D-15", "J-05"}


def test_a_write_of_unknown_outcome_may_be_there_or_not_but_not_in_part() -> None:
    known = past("write p 1\nwrite p 2..3", [None, OUTCOME["raised"]])
    for right in (seen(A, highest=1), seen(A, B, C, highest=3)):
        assert judge_look(known, Moment("error", 2), right, FULL_CLAIMS) == Judged(())
    assert "D-15" in rules_of(judge_look(known, Moment("error", 2), seen(A, B, highest=2), FULL_CLAIMS))


def test_a_write_of_unknown_outcome_may_take_effect_after_somebody_has_looked() -> None:
    """A commit that was written and not synced is found by the next recovery, whatever a replay showed before."""
    known = past("write p 1\nwrite p 2\nreplay p", [None, OUTCOME["raised"], Events((A,))])
    assert known.deviation is None
    for right in (seen(A, highest=1), seen(A, event(2, 2), highest=2)):
        assert judge_look(known, Moment("error", 3), right, FULL_CLAIMS) == Judged(())
    assert judge_look(known, Moment("error", 3), seen(highest=0), FULL_CLAIMS).breaches


def test_a_deletion_that_raised_has_deleted_nothing_or_everything() -> None:
    known = past("write p each 1..3\ndelete p ..2", [None, OUTCOME["raised"]])
    half = seen(event(2, 1), event(3, 1), highest=3)
    assert rules_of(judge_look(known, Moment("error", 2), half, FULL_CLAIMS)) == {"D-15", "J-76"}


def test_trouble_that_is_answered_as_a_rejection_is_a_breach_by_itself() -> None:
    known = past("write p 1\nwrite p 2\nreplay p", [None, OUTCOME["rejected"]])
    assert known.deviation is not None
    assert rules_of(judge_answers(known, "error", FULL_CLAIMS)) == {"D-15", "J-07"}


def test_a_replay_that_ends_early_is_a_breach_by_itself() -> None:
    known = past("write p 1\nwrite p 2\nreplay p", [None, None, Events((A,))])
    assert rules_of(judge_answers(known, "disk full", FULL_CLAIMS)) == {"D-14", "J-60"}


def test_a_conflict_after_a_write_of_unknown_outcome_says_that_it_was_stored() -> None:
    known = past("write p 1\nwrite p 1", [OUTCOME["raised"], OUTCOME["conflict"]])
    assert known.deviation is None
    assert rules_of(judge_look(known, Moment("error", 2), seen(highest=0), FULL_CLAIMS)) == {"D-15", "J-31"}


# --------------------------------------------------------------------------------------------- losses and claims


@pytest.mark.parametrize(
    ("told", "look", "operations", "pattern"),
    [
        (3, seen(A, B, C, highest=3), 1, "suffix"),
        (3, seen(A, highest=1), 2, "suffix"),
        (3, seen(highest=0), 3, "whole"),
        (3, seen(B, C, D, highest=4), None, "prefix"),
        (3, seen(A, D, highest=4), None, "middle"),
    ],
)
def test_a_loss_is_measured(told: int, look: Look, operations: int | None, pattern: str) -> None:
    loss = judge_look(past(THREE), Moment("power cut", told), look, FULL_CLAIMS).loss
    assert loss is not None
    assert (loss.operations, loss.pattern) == (operations, pattern)


def test_an_operation_that_the_power_took_is_lost_whatever_was_under_way() -> None:
    """No torn AtomicWrite and no half deletion, though a deletion of just these events may have begun."""
    known = past("write p 1..2\ndelete p ..2\nsave snapshot p 2")
    judged = judge_look(known, Moment("power cut", 1, 2), seen(highest=0, snapshots={2: Loaded(None)}), FULL_CLAIMS)
    assert rules_of(judged) == {"D-10", "J-31"}
    assert judged.loss is not None
    assert judged.loss.operations == 1


def test_a_claim_of_less_spares_the_rule_of_journals() -> None:
    suffix, hole = seen(A, B, C, highest=3), seen(B, C, D, highest=4)
    moment = Moment("power cut", 3)
    less = msgspec.structs.replace(FULL_CLAIMS, power_durable="prefix")
    none = msgspec.structs.replace(FULL_CLAIMS, power_durable="no")
    assert rules_of(judge_look(past(THREE), moment, suffix, less)) == {"D-10"}
    assert rules_of(judge_look(past(THREE), moment, hole, less)) == {"D-10", "D-11", "J-31"}
    assert rules_of(judge_look(past(THREE), moment, hole, none)) == {"D-10", "D-11"}


# ------------------------------------------------------------------------------------------------------ afterwards


def later(outcome: AnyOutcome, again: Sequence[PersistentRepr], trouble: Trouble | None = None) -> Judged:
    first = seen(A, highest=1).seen
    added = (Added(event(2, 0, "after"), outcome),)
    second = (SeenId("p", Events(tuple(again)), Number(len(again))),) if again else ()
    return judge_look(past("write p 1"), Moment("kill", 1), Look(first, added, second, trouble), FULL_CLAIMS)


def test_what_is_written_afterwards_has_to_stay() -> None:
    ok = Answers((False,))
    after = event(2, 0, "after")
    assert later(ok, [A, after]) == Judged(())
    assert rules_of(later(ok, [A])) == {"D-05"}
    assert rules_of(later(ok, [after])) == {"D-05"}
    assert rules_of(later(Raised("OSError", "locked"), [A])) == {"D-05"}
    assert rules_of(later(ok, [], Trouble("opening again", "OpenFailed", "no"))) == {"D-05"}
    assert rules_of(later(Conflict(), [A])) == {"D-05"}


def test_every_context_has_rules_for_everything_that_can_be_wrong() -> None:
    contexts: tuple[Context, ...] = ("kill", "recovery", "power cut", "error", "disk full", "damage")
    looks = [seen(highest=0), seen(event(9, 9, "?"), highest=9), seen(A, A, highest=1)]
    for context, look in itertools.product(contexts, looks):
        judged = judge_look(past(THREE), Moment(context, 3), look, FULL_CLAIMS)
        assert judged.breaches
        assert all(breach.rules for breach in judged.breaches)


def test_the_operations_of_the_sweep_are_those_that_change_something() -> None:
    assert past("write p 1\nreplay p\ndelete p ..1\nhighest p").changing(4) == 2
    assert isinstance(past("write p 1").operation(1), Write)
    assert isinstance(past("delete p ..1").operation(1), Delete)
