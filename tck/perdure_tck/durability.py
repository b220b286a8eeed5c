"""The judge of states: what a look found after something struck, against what may be there, and which rules fall.

A pure function from the past of a program, the moment at which it was struck and a look, to breaches: each a rule or
two, what was found and what is allowed. It compares with the nearest of the states that the model allows, so that a
breach names one difference and not all that follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec
from perdure import Claims, PersistentRepr, SelectedSnapshot

from . import model
from .history import completion_of
from .look import Added, Look, SeenId
from .model import Log, State
from .operations import (
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    LoadSnapshot,
    Replay,
    SaveSnapshot,
    Write,
    shown_number,
)
from .outcomes import Answers, AnyOutcome, Events, Failed, Loaded, Number, shown_numbers
from .past import Past, touches

Context = Literal["kill", "recovery", "power cut", "error", "disk full", "damage"]
"""What struck: a kill, one more kill while it recovered from the first, the power, a call that failed, a disk that was
full, or damage to a file of a location that was closed."""

Kind = Literal[
    "lost",
    "torn",
    "hole",
    "half deleted",
    "returned",
    "foreign",
    "stored though failed",
    "highest",
    "unreadable",
    "snapshot lost",
    "snapshot returned",
    "snapshot foreign",
    "snapshot unreadable",
    "unopened",
    "unwritable",
    "forgotten",
    "rejected",
    "answer",
    "gap",
]
"""What is wrong with a state. `gap`: what was lost is no suffix of what was acknowledged."""


_OF_ACKNOWLEDGED = ("lost", "returned", "snapshot lost", "snapshot returned")


class Moment(msgspec.Struct, frozen=True):
    """When it struck: after so many answers, during which step (0: none), and what it was."""

    context: Context
    told: int
    under_way: int = 0


class Breach(msgspec.Struct, frozen=True):
    """One way in which a state is not allowed."""

    kind: Kind
    rules: tuple[str, ...]
    what: str
    found: str
    allowed: str


class Loss(msgspec.Struct, frozen=True):
    """What of the acknowledged a state lacks: how many operations if it is a suffix, else None, and how it lies."""

    operations: int | None
    pattern: str


class Judged(msgspec.Struct, frozen=True):
    """What one look says: the breaches, and for a power cut what was lost of the acknowledged."""

    breaches: tuple[Breach, ...]
    loss: Loss | None = None


def judge_look(past: Past, moment: Moment, look: Look, claims: Claims) -> Judged:
    """Judge what was found. `claims` decide which rules of the journal and of snapshots fall with those of D."""
    if moment.context == "damage":
        return Judged(tuple(_damaged(past, moment, look, claims)))
    allowed = past.possible(moment.told, moment.under_way)
    if look.trouble and look.trouble.stage in ("opening", "reading"):
        kind: Kind = "unopened"
        return Judged((_breach(kind, moment, claims, "", str(look.trouble), "it can be opened and read"),))
    found, exact = _nearest(past, moment, look.seen, allowed)
    loss = None
    if found and moment.context == "power cut":
        loss, exact = _loss(past, moment, look.seen)
        if loss.operations is not None:  # whatever it looks like, it is as if the last operations had never been
            found = [msgspec.structs.replace(found[0], kind="lost")]
        elif any(one.kind in _OF_ACKNOWLEDGED for one in found):
            found = [*found, Difference("gap", "", loss.pattern, "no more than a suffix")]
    breaches = [_told(difference, past, moment, claims) for difference in found]
    breaches += _later(past, moment, look, exact, claims)
    return Judged(_once(breaches), loss)


# --------------------------------------------------------------------------------------------------------- differences


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as it should be in the nearest state."""

    kind: Kind
    persistence_id: str
    found: str
    allowed: str


def _nearest(
    past: Past, moment: Moment, seen: Sequence[SeenId], allowed: Sequence[State]
) -> tuple[list[Difference], list[State]]:
    """The differences from the nearest allowed state, and the states from which there are none."""
    exact = [state for state in allowed if all(_same(one, state) for one in seen)]
    if exact:
        return [], exact
    candidates = [[one for each in seen for one in _differences(past, moment, each, state)] for state in allowed]
    return min(candidates, key=_weight), []


def _weight(found: Sequence[Difference]) -> tuple[int, int]:
    return len(found), sum(one.kind in ("foreign", "snapshot foreign") for one in found)


def _same(seen: SeenId, state: State) -> bool:
    log = state.log(seen.persistence_id)
    if not isinstance(seen.events, Events) or seen.events.events != log.events:
        return False
    if seen.highest != Number(log.highest_sequence_nr):
        return False
    kept = state.snapshots.get(seen.persistence_id, {})
    return all(outcome == Loaded(kept.get(number)) for number, outcome in seen.snapshots.items())


def _differences(past: Past, moment: Moment, seen: SeenId, state: State) -> Iterator[Difference]:
    log = state.log(seen.persistence_id)
    of_events = list(_of_events(past, moment, seen, log))
    yield from of_events
    if seen.highest != Number(log.highest_sequence_nr) and not _follows(seen, of_events):
        allowed = shown_number(log.highest_sequence_nr)
        yield Difference("highest", seen.persistence_id, f"highest {seen.highest}", f"highest {allowed}")
    kept = state.snapshots.get(seen.persistence_id, {})
    for number, outcome in seen.snapshots.items():
        if outcome != Loaded(kept.get(number)):
            yield _of_snapshot(past, moment, seen.persistence_id, number, outcome, kept.get(number))


def _follows(seen: SeenId, differences: Sequence[Difference]) -> bool:
    """Whether a wrong highest number is only what follows from the events that are there."""
    if not differences or not isinstance(seen.events, Events) or not isinstance(seen.highest, Number):
        return bool(differences)
    return seen.highest.value >= max((event.sequence_nr for event in seen.events.events), default=0)


def _of_events(past: Past, moment: Moment, seen: SeenId, log: Log) -> Iterator[Difference]:
    owner = seen.persistence_id
    if not isinstance(seen.events, Events):
        yield Difference("unreadable", owner, str(seen.events), shown_numbers(one.sequence_nr for one in log.events))
        return
    got, want = seen.events.events, log.events
    if got == want:
        return
    shown, allowed = str(seen.events), shown_numbers(event.sequence_nr for event in want)
    numbers = [event.sequence_nr for event in got]
    if numbers != sorted(set(numbers)):
        yield Difference("foreign", owner, f"{shown}, not in order", allowed)
        return
    wanted = {event.sequence_nr: event for event in want}
    strange = [event for event in got if not _known(past, moment, event)]
    for event in strange:
        yield Difference("foreign", owner, f"event {event.sequence_nr} that nobody wrote", allowed)
    torn = _torn(past, moment, owner, set(numbers))
    if torn:
        yield Difference("torn", owner, f"{shown}, of {torn} a part", allowed)
        return
    missing = [number for number in wanted if number not in numbers]
    extra = [event for event in got if event.sequence_nr not in wanted and event not in strange]
    if missing:
        yield Difference(_why_missing(past, moment, owner, missing), owner, shown, allowed)
    for kind in dict.fromkeys(_why_extra(past, moment, event) for event in extra):
        if not (missing and kind == "half deleted"):  # the same deletion, seen from its other end
            yield Difference(kind, owner, shown, allowed)
    if not (missing or extra or strange):
        yield Difference("returned", owner, f"{shown}, but of an earlier write", allowed)


def _known(past: Past, moment: Moment, event: PersistentRepr) -> bool:
    """Whether an event is one that the program had asked to write by then."""
    limit = moment.under_way or _last_step(past, moment)
    written = past.written.get((event.persistence_id, event.sequence_nr), ())
    return any(number <= limit and kept == event for number, kept in written)


def _last_step(past: Past, moment: Moment) -> int:
    return past.observations[moment.told - 1].number if moment.told else 0


def _torn(past: Past, moment: Moment, owner: str, numbers: set[int]) -> str:
    """The AtomicWrite of which only a part is there and no deletion explains that, or ""."""
    deleted = max((to for _, to in _deletions(past, moment, owner)), default=0)
    for number, operation in _begun(past, moment):
        if isinstance(operation, Write):
            for batch in operation.batches:
                left = set(range(max(batch.first, deleted + 1), batch.last + 1))
                if batch.persistence_id == owner and 0 < len(left & numbers) < len(left):
                    return f"write {batch.first}..{batch.last} of step {number}"
    return ""


def _begun(past: Past, moment: Moment) -> Iterator[tuple[int, object]]:
    """The operations that were answered, and the one under way, with their steps."""
    for seen in past.observations[: moment.told]:
        yield seen.number, seen.step.operation
    if moment.under_way:
        yield moment.under_way, past.operation(moment.under_way)


def _deletions(past: Past, moment: Moment, owner: str) -> list[tuple[int, int]]:
    return [
        (number, operation.to_sequence_nr)
        for number, operation in _begun(past, moment)
        if isinstance(operation, Delete) and operation.persistence_id == owner
    ]


def _why_missing(past: Past, moment: Moment, owner: str, missing: Sequence[int]) -> Kind:
    certain = past.certain(moment.told)
    if all(any(event.sequence_nr in missing for event in state.log(owner).events) for state in certain):
        return "half deleted" if _being_deleted(past, moment, owner, missing[0]) else "lost"
    return "half deleted" if _being_deleted(past, moment, owner, missing[0]) else "hole"


def _being_deleted(past: Past, moment: Moment, owner: str, number: int) -> bool:
    """Whether a deletion that may have happened or not is about this number."""
    return any(to >= number and not _acknowledged(past, moment, step) for step, to in _deletions(past, moment, owner))


def _acknowledged(past: Past, moment: Moment, step: int) -> bool:
    told = {seen.number: seen.outcome for seen in past.observations[: moment.told]}
    return step in told and completion_of(told[step]) == "ok"


def _why_extra(past: Past, moment: Moment, event: PersistentRepr) -> Kind:
    """Why an event is there that should not be: its write failed, or it was deleted, or half of its call is missing."""
    owner, number = event.persistence_id, event.sequence_nr
    told = {seen.number: seen.outcome for seen in past.observations[: moment.told]}
    steps = [step for step, kept in past.written.get((owner, number), ()) if kept == event]
    if any(isinstance(told.get(step), Failed) for step in steps):
        return "stored though failed"
    if _being_deleted(past, moment, owner, number):
        return "half deleted"
    return "returned" if any(to >= number for _, to in _deletions(past, moment, owner)) else "hole"


def _of_snapshot(
    past: Past, moment: Moment, owner: str, number: int, outcome: AnyOutcome, kept: SelectedSnapshot | None
) -> Difference:
    found, allowed = f"snapshot {number}: {outcome}", f"snapshot {number}: {Loaded(kept)}"
    if not isinstance(outcome, Loaded):
        return Difference("snapshot unreadable", owner, found, allowed)
    if outcome.selected is None:
        return Difference("snapshot lost", owner, found, allowed)
    limit = moment.under_way or _last_step(past, moment)
    known = [one for step, one in past.saved.get((owner, number), ()) if step <= limit]
    if outcome.selected not in known:
        return Difference("snapshot foreign", owner, f"{found}, which nobody saved", allowed)
    if kept is None:
        return Difference("snapshot returned", owner, found, allowed)
    return Difference("snapshot lost", owner, f"{found}, which was replaced", allowed)


# ---------------------------------------------------------------------------------------------------------- power cuts


def _loss(past: Past, moment: Moment, seen: Sequence[SeenId]) -> tuple[Loss, list[State]]:
    """What is lost of the acknowledged: the fewest operations from the end that explain it, or None."""
    for told in range(moment.told - 1, -1, -1):
        under_way = past.observations[told].number
        exact = [state for state in past.possible(told, under_way) if all(_same(one, state) for one in seen)]
        if exact:
            lost = past.changing(moment.told) - past.changing(told)
            return Loss(lost, "suffix" if told else "whole"), exact
    return Loss(None, _pattern(past, moment, seen)), []


def _pattern(past: Past, moment: Moment, seen: Sequence[SeenId]) -> str:
    """Where in the history of an id the hole is: the first id that has one tells."""
    for one in seen:
        if isinstance(one.events, Events):
            want = [event.sequence_nr for event in past.certain(moment.told)[0].log(one.persistence_id).events]
            there = {event.sequence_nr for event in one.events.events}
            lost = [number for number in want if number not in there]
            if lost:
                return _place(lost, want)
    return "something else than events"


def _place(lost: Sequence[int], want: Sequence[int]) -> str:
    if list(lost) == list(want):
        return "whole"
    if lost == want[len(want) - len(lost) :]:
        return "suffix"
    return "prefix" if lost == want[: len(lost)] else "middle"


# ----------------------------------------------------------------------------------------------- afterwards, and damage


def _later(past: Past, moment: Moment, look: Look, states: Sequence[State], claims: Claims) -> Iterator[Breach]:
    """What came of the events that were written after the first reading. Judged from each state that was the case."""
    for added in look.added:
        if not (isinstance(added.outcome, Answers) and not any(added.outcome.rejected)):
            what = f"write {added.event.persistence_id} {added.event.sequence_nr} afterwards"
            yield _breach("unwritable", moment, claims, what, str(added.outcome), "ok")
    if look.trouble:  # of opening and reading for the first time there is no question here
        kind: Kind = "unwritable" if look.trouble.stage in ("writing", "closing") else "forgotten"
        yield _breach(kind, moment, claims, "", str(look.trouble), "it can be written, closed and opened again")
    elif look.again and states:
        after = [_with(state, look.added, past) for state in states]
        found, exact = _nearest(past, moment, look.again, after)
        if not exact:
            first = found[0]
            where = f"{first.persistence_id} after one more write and opening again"
            yield _breach("forgotten", moment, claims, where, first.found, first.allowed)


def _with(state: State, added: Iterable[Added], past: Past) -> State:
    for one in added:
        if isinstance(one.outcome, Answers) and not any(one.outcome.rejected):
            owner = one.event.persistence_id
            kept = model.as_kept(one.event, state.now, past.claims)
            state = state.with_log(owner, Log((*state.log(owner).events, kept), kept.sequence_nr))
    return state


def _damaged(past: Past, moment: Moment, look: Look, claims: Claims) -> Iterator[Breach]:
    """After damage each reading is right or raises; what else a location that is damaged can do is not asked."""
    if look.trouble:
        return
    state = past.certain(moment.told)[0]
    for seen in look.seen:
        log, kept = state.log(seen.persistence_id), state.snapshots.get(seen.persistence_id, {})
        if isinstance(seen.events, Events) and seen.events.events != log.events:
            found = next(_of_events(past, moment, seen, log))
            yield _breach("lost", moment, claims, f"replay {seen.persistence_id}", found.found, found.allowed)
        elif isinstance(seen.highest, Number) and seen.highest.value != log.highest_sequence_nr:
            allowed = shown_number(log.highest_sequence_nr)
            yield _breach("highest", moment, claims, f"highest {seen.persistence_id}", str(seen.highest), allowed)
        for number, outcome in seen.snapshots.items():
            if isinstance(outcome, Loaded) and outcome.selected != kept.get(number):
                what = f"load snapshot {seen.persistence_id} seq {number}..{number}"
                yield _breach("snapshot lost", moment, claims, what, str(outcome), str(Loaded(kept.get(number))))


def judge_answers(past: Past, context: Context, claims: Claims) -> Judged:
    """Judge the answers of a program in which calls failed: each must be one that the model allows, or an error."""
    deviation = past.deviation
    if deviation is None:
        return Judged(())
    seen = past.observations[deviation.number - 1]
    moment = Moment(context, past.known, 0)
    rejected = isinstance(seen.outcome, Answers) and any(seen.outcome.rejected)
    kind: Kind = "rejected" if rejected else "answer"
    breach = _breach(kind, moment, claims, str(seen.step.operation), deviation.observed, deviation.allowed)
    extra = {Replay: ("J-60",), LoadSnapshot: ("S-26",)}.get(type(seen.step.operation), ())
    return Judged((msgspec.structs.replace(breach, rules=(*breach.rules, *extra)),))


# --------------------------------------------------------------------------------------------------------------- rules

_KILL: dict[Kind, tuple[str, ...]] = {
    "lost": ("D-01", "J-31"),
    "torn": ("D-02",),
    "hole": ("J-13",),
    "half deleted": ("J-72",),
    "returned": ("D-07",),
    "foreign": ("D-09",),
    "highest": ("D-03",),
    "unreadable": ("D-04",),
    "snapshot lost": ("D-08",),
    "snapshot returned": ("D-08",),
    "snapshot foreign": ("D-08",),
    "snapshot unreadable": ("D-08",),
    "unopened": ("D-04",),
    "unwritable": ("D-05",),
    "forgotten": ("D-05",),
}

_POWER: dict[Kind, tuple[str, ...]] = {
    "lost": ("D-10",),
    "torn": ("D-12",),
    "hole": ("D-12",),
    "half deleted": ("D-12",),
    "foreign": ("D-13",),
    "unreadable": ("D-13",),
    "snapshot foreign": ("D-13",),
    "snapshot unreadable": ("D-13",),
    "unopened": ("D-13",),
    "unwritable": ("D-13",),
    "forgotten": ("D-13",),
    "gap": ("D-11",),
}

_SPECIFIC: dict[Kind, tuple[str, ...]] = {
    "hole": ("J-13",),
    "stored though failed": ("J-05",),
    "rejected": ("J-07",),
    "half deleted": ("J-76",),
}
"""What falls beside the rule about the trouble, where calls failed."""


def _told(difference: Difference, past: Past, moment: Moment, claims: Claims) -> Breach:
    breach = _breach(difference.kind, moment, claims, difference.persistence_id, difference.found, difference.allowed)
    return msgspec.structs.replace(breach, rules=(*breach.rules, *_of_operation(difference, past, moment, claims)))


def _of_operation(difference: Difference, past: Past, moment: Moment, claims: Claims) -> tuple[str, ...]:
    """The rules about the operation that was under way, or was answered though it had failed."""
    if not difference.kind.startswith("snapshot"):
        return ()
    if moment.under_way and touches_snapshots(past, moment.under_way, difference.persistence_id):
        return ("S-25",) if moment.context != "power cut" or claims.power_durable != "no" else ()
    return ("S-27",) if moment.context in ("error", "disk full") else ()


def touches_snapshots(past: Past, number: int, persistence_id: str) -> bool:
    operation = past.operation(number)
    changes = isinstance(operation, SaveSnapshot | DeleteSnapshot | DeleteSnapshots)
    return changes and touches(operation, persistence_id)


def _breach(kind: Kind, moment: Moment, claims: Claims, what: str, found: str, allowed: str) -> Breach:
    return Breach(kind, _rules(kind, moment.context, claims), what, found, allowed)


def _rules(kind: Kind, context: Context, claims: Claims) -> tuple[str, ...]:
    match context:
        case "kill":
            return _KILL.get(kind, ("D-04",))
        case "recovery":
            beside = tuple(rule for rule in _KILL.get(kind, ()) if rule in ("J-31", "J-13", "J-72"))
            return ("D-06", *beside)
        case "power cut":
            beside = ("J-31",) if (kind == "lost" and claims.power_durable == "yes") or kind == "gap" else ()
            return (*_POWER.get(kind, ("D-10",)), *(beside if claims.power_durable != "no" else ()))
        case "damage":
            about = "S-26" if kind.startswith("snapshot") else "J-60"
            return ("D-16", about)
        case _:
            trouble = "D-14" if context == "disk full" else "D-15"
            beside = ("J-31",) if kind == "lost" else _SPECIFIC.get(kind, ())
            return (trouble, *beside)


def _once(breaches: Iterable[Breach]) -> tuple[Breach, ...]:
    """One breach for each set of rules: the first."""
    found: dict[tuple[str, ...], Breach] = {}
    for breach in breaches:
        found.setdefault(breach.rules, breach)
    return tuple(found.values())
