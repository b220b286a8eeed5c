"""Blame: which rule a deviation of a program breaks that names no rules itself, as generated programs do.

Asked of a shrunk program, in which only those steps are left that it takes to break the rule: a deletion that is still
there is part of the cause. The tables below are read from the top, and the first line that fits names the rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP

from .blame_actors import blamed_for_notes
from .blame_queries import blamed_for_take
from .model import State
from .operations import (
    ACTOR_OPERATIONS,
    DEFAULT_SERIALIZER_ID,
    SNAPSHOT_OPERATIONS,
    AnyOperation,
    Bounds,
    Clock,
    Close,
    Content,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Reopen,
    Replay,
    SaveSnapshot,
    Take,
    Write,
)
from .outcomes import Answers, AnyOutcome, Conflict, Invalid, Loaded, Malformed, NoAnswer, Notes, Number
from .program import Program
from .scene import Scene, conflict_at, conflicts, out_of_order, part_of_a_batch, rejects

LARGE = 2**31
LONG_ID = 100
MIDDLING = 10_000
"""The size of payload that shrinking tries first for a larger one."""


Line = tuple[Callable[[Scene], bool], str]


def blamed(program: Program, number: int, before: State, page_size: int, pair: tuple[AnyOutcome, AnyOutcome]) -> str:
    """The rule that step `number` breaks; `pair` is what is allowed and what was observed."""
    scene = _scene(program, number, before, page_size, pair)
    if isinstance(scene.operation, Take):
        return blamed_for_take(scene)
    if isinstance(scene.operation, ACTOR_OPERATIONS) and isinstance(scene.observed, Notes):
        return blamed_for_notes(scene)
    for fits, rule in (*_ANY, *_TABLES.get(type(scene.operation), ())):
        if fits(scene):
            return rule
    return "J-04" if program.uses_journal else "S-37"


def blamed_for_field(
    program: Program, number: int, before: State, page_size: int, pair: tuple[AnyOutcome, AnyOutcome], field: str
) -> str:
    """The rule that step `number` breaks where the events or the snapshot are the right ones, and one field is not."""
    scene = _scene(program, number, before, page_size, pair)
    if isinstance(scene.operation, Take):
        return ""  # the rule of the field
    return next((rule for fits, rule in _FIELD_TABLES.get(field, _EVENT_FIELD) if fits(scene)), "")


def _scene(program: Program, number: int, before: State, page_size: int, pair: tuple[AnyOutcome, AnyOutcome]) -> Scene:
    steps = program.steps[:number]
    operations = [step.operation for step in steps]
    clients = frozenset(step.client for step in steps)
    return Scene(operations[-1], tuple(operations[:-1]), clients, before, *pair, page_size)


# ------------------------------------------------------------------------------------------------------ what is there


def _two_handles(scene: Scene) -> bool:
    return len(scene.clients) > 1


def _two_namespaces(scene: Scene) -> bool:
    return len({client.partition("@")[2] for client in scene.clients}) > 1


def _several_ids(scene: Scene) -> bool:
    return len(scene.ids) > 1


def _odd_ids(scene: Scene) -> bool:
    """Whether ids matter as such: one is not plain, or two differ by so little that a store may take them for one."""
    plain = all(one.isascii() and one.isalnum() and len(one) < LONG_ID for one in scene.ids)
    return not plain or len({one.casefold() for one in scene.ids}) < len(scene.ids)


def _large_numbers(scene: Scene) -> bool:
    return any(batch.last >= LARGE for batch in scene.batches)


def _written_after_conflict(scene: Scene) -> bool:
    at = conflict_at(scene)
    return at is not None and any(isinstance(one, Write) for one in scene.earlier[at + 1 :])


def _too_low(scene: Scene) -> bool:
    seen, due = scene.observed, scene.allowed
    return isinstance(seen, Number) and isinstance(due, Number) and seen.value < due.value


def _emptied(scene: Scene) -> bool:
    log = scene.before.log(scene.persistence_id)
    return bool(log.highest_sequence_nr) and not log.events


def _written_after_deletion(scene: Scene) -> bool:
    deletions = [at for at, one in enumerate(scene.earlier) if isinstance(one, Delete)]
    return bool(deletions) and any(isinstance(one, Write) for one in scene.earlier[deletions[0] :])


def _only_others_were_deleted(scene: Scene) -> bool:
    return scene.had(Delete) == 0 and scene.had(Delete, own=False) > 0


def _read_before(scene: Scene) -> bool:
    """Whether a read is part of the cause, as where its answer is remembered."""
    return scene.had(Highest, Replay) > 0


def _looks_like_another(scene: Scene) -> bool:
    """Whether two writes of the program hold the same bytes, which matters, or the shrunk program would not say so."""
    said = [(batch.persistence_id, batch.content) for batch in scene.batches if batch.content is not None]
    return len(set(said)) < len(said)


def _large_payload(scene: Scene) -> bool:
    return any(batch.content is not None and batch.content.size > 1000 for batch in scene.batches)


def _empty_payload(scene: Scene) -> bool:
    return any(batch.content is not None and not batch.content.data() for batch in scene.batches)


def _with_payload(scene: Scene) -> bool:
    return any(batch.content is not None for batch in scene.batches)


def _another_payload(scene: Scene) -> bool:
    """Whether the numbers are right, and it is what was written there that is not."""
    return _with_payload(scene) and scene.numbers_seen == scene.numbers_allowed


def _gaps(scene: Scene) -> bool:
    """Whether there are gaps, also in front of the first event, that no deletion has made."""
    log = scene.before.log(scene.persistence_id).events
    ends = ([0] if not scene.had(Delete) else []) + [event.sequence_nr for event in log]
    return any(later > one + 1 for one, later in itertools.pairwise(ends))


def _over_a_page(scene: Scene) -> bool:
    return len(scene.before.log(scene.persistence_id).events) > scene.page_size


def _replay(scene: Scene) -> Replay:
    assert isinstance(scene.operation, Replay)
    return scene.operation


def _behind_the_end(scene: Scene) -> bool:
    replay = scene.operation
    highest = scene.before.log(scene.persistence_id).highest_sequence_nr
    return isinstance(replay, Replay) and 0 < highest < replay.from_sequence_nr and not scene.unwanted


def _outside_its_window(scene: Scene) -> bool:
    window = _replay(scene)
    return any(not window.from_sequence_nr <= number <= window.to_sequence_nr for number in scene.numbers_seen)


def _at_the_border(scene: Scene) -> bool:
    """Whether a window begins or ends where a deletion did."""
    borders = {one.to_sequence_nr for one in scene.earlier if isinstance(one, Delete)}
    replay = _replay(scene)
    return bool(borders & {replay.from_sequence_nr - 1, replay.from_sequence_nr, replay.to_sequence_nr})


def _on_snapshots(scene: Scene) -> bool:
    return isinstance(scene.operation, SNAPSHOT_OPERATIONS)


_ANY: Sequence[Line] = (
    (lambda scene: isinstance(scene.observed, NoAnswer) and _behind_the_end(scene), "J-55"),
    (lambda scene: isinstance(scene.observed, NoAnswer), "J-61"),
    (lambda scene: isinstance(scene.allowed, Invalid) and _on_snapshots(scene), "S-39"),
    (lambda scene: isinstance(scene.allowed, Invalid), "J-84"),
    (_two_namespaces, "J-36"),
    (lambda scene: _two_handles(scene) and _on_snapshots(scene), "S-40"),
    (_two_handles, "J-85"),
)

_WRITE: Sequence[Line] = (
    (lambda scene: isinstance(scene.operation, Write) and not scene.operation.batches, "J-15"),
    (lambda scene: isinstance(scene.observed, Malformed), "J-08"),
    (lambda scene: isinstance(scene.allowed, Conflict), "J-16"),
    (lambda scene: isinstance(scene.allowed, Answers) and any(scene.allowed.rejected), "J-25"),
    (_large_numbers, "J-29"),
    (_odd_ids, "J-28"),
    (lambda scene: isinstance(scene.observed, Conflict) and rejects(scene), "J-48"),
    (lambda scene: isinstance(scene.observed, Conflict) and conflicts(scene), "J-48"),
    (lambda scene: isinstance(scene.observed, Conflict) and scene.had(Delete) > 0, "J-73"),
    (lambda scene: isinstance(scene.observed, Conflict) and _several_ids(scene), "J-75"),
    (lambda scene: conflicts(scene) or rejects(scene), "J-14"),
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (lambda scene: _large_payload(scene) or _empty_payload(scene), "J-27"),
    (_with_payload, "J-23"),
    (lambda scene: any(batch.first < batch.last for batch in scene.batches), "J-03"),
    (lambda scene: len(scene.batches) > 1, "J-08"),
)

_HIGHEST: Sequence[Line] = (
    (lambda scene: isinstance(scene.operation, Highest) and scene.operation.hint > 0, "J-46"),
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (_large_numbers, "J-29"),
    (lambda scene: _read_before(scene) or _looks_like_another(scene), "J-04"),
    (_only_others_were_deleted, "J-75"),
    (_odd_ids, "J-28"),
    (lambda scene: rejects(scene) and _too_low(scene), "J-06"),
    (rejects, "J-48"),
    (lambda scene: conflicts(scene) and _written_after_conflict(scene), "J-14"),
    (conflicts, "J-48"),
    (lambda scene: scene.had(Delete) > 0 and _written_after_deletion(scene), "J-44"),
    (lambda scene: scene.had(Delete) > 1, "J-43"),
    (lambda scene: scene.had(Delete) > 0 and _emptied(scene), "J-42"),
    (lambda scene: scene.had(Delete) > 0, "J-41"),
    (_several_ids, "J-75"),
    (lambda _: True, "J-40"),
)

_REPLAY: Sequence[Line] = (
    (lambda scene: _replay(scene).from_sequence_nr > _replay(scene).to_sequence_nr, "J-52"),
    (lambda scene: _replay(scene).from_sequence_nr == 0, "J-52"),
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (_large_numbers, "J-29"),
    (lambda scene: _read_before(scene) or (_looks_like_another(scene) and bool(scene.missing)), "J-04"),
    (lambda scene: _only_others_were_deleted(scene) and bool(scene.missing), "J-75"),
    (lambda scene: _odd_ids(scene) and _several_ids(scene), "J-28"),
    (rejects, "J-06"),
    (lambda scene: conflicts(scene) and bool(scene.missing), "J-14"),
    (lambda scene: conflicts(scene) and part_of_a_batch(scene), "J-02"),
    (conflicts, "J-16"),
    (part_of_a_batch, "J-02"),
    (lambda scene: _another_payload(scene) and (_large_payload(scene) or _empty_payload(scene)), "J-27"),
    (_another_payload, "J-23"),
    (lambda scene: bool(scene.unwanted) and scene.had(Delete) > 1, "J-74"),
    (lambda scene: bool(scene.unwanted) and scene.had(Delete) > 0, "J-70"),
    (lambda scene: scene.had(Delete) > 0 and _written_after_deletion(scene), "J-73"),
    (lambda scene: scene.had(Delete) > 0 and _at_the_border(scene), "J-56"),
    (lambda scene: _replay(scene).max_count != MAX_SEQUENCE_NR, "J-51"),
    (lambda scene: not scene.unwanted and scene.persistence_id not in scene.before.logs, "J-54"),
    (_behind_the_end, "J-55"),
    (_outside_its_window, "J-50"),
    (out_of_order, "J-50"),
    (_gaps, "J-58"),
    (_over_a_page, "J-59"),
    (lambda scene: scene.had(Delete) > 1, "J-74"),
    (lambda scene: scene.had(Delete) > 0, "J-57"),
    (_several_ids, "J-75"),
    (_odd_ids, "J-28"),
    (lambda scene: _large_payload(scene) or _empty_payload(scene), "J-27"),
    (_with_payload, "J-23"),
    (lambda _: True, "J-50"),
)

_DELETE: Sequence[Line] = ((lambda scene: scene.had(Write) == 0, "J-74"), (lambda _: True, "J-70"))


# ---------------------------------------------------------------------------------------------------------- snapshots


def _load(scene: Scene) -> LoadSnapshot:
    assert isinstance(scene.operation, LoadSnapshot)
    return scene.operation


def _saved_twice(scene: Scene) -> bool:
    return len({one.sequence_nr for one in scene.saves}) < len(scene.saves)


def _saved_an_older_one(scene: Scene) -> bool:
    """Whether a snapshot was saved over one with a newer time; the clock's time is above those that are said."""
    times = [one.timestamp or MAX_TIMESTAMP for one in scene.saves]
    clock_moved = any(isinstance(one, Clock) for one in scene.earlier)
    return any(later < time for time, later in itertools.pairwise(times)) or clock_moved


def _with_manifest(scene: Scene) -> bool:
    return any(one.payload_manifest or one.serializer_id != DEFAULT_SERIALIZER_ID for one in scene.saves)


def _only_others_snapshots_were_deleted(scene: Scene) -> bool:
    deletions = DeleteSnapshot, DeleteSnapshots
    return scene.had(*deletions) == 0 and scene.had(*deletions, own=False) > 0


def _bounded_deletion(scene: Scene) -> bool:
    return any(
        isinstance(one, DeleteSnapshots) and (one.bounds.min_sequence_nr > 0 or one.bounds.min_timestamp > 0)
        for one in scene.earlier
    )


def _deleted_an_older_time(scene: Scene) -> bool:
    """Whether a deletion names a time before that of the snapshot that is there."""
    stored = scene.before.snapshots.get(scene.persistence_id, {})
    return any(
        isinstance(one, DeleteSnapshot)
        and one.sequence_nr in stored
        and 0 < one.timestamp < stored[one.sequence_nr].metadata.timestamp
        for one in scene.earlier
    )


def _found(outcome: AnyOutcome) -> bool:
    return isinstance(outcome, Loaded) and outcome.selected is not None


def _at_another_time(scene: Scene) -> bool:
    """Whether a snapshot comes back with a time that the one of its number does not have."""
    if not isinstance(scene.observed, Loaded) or scene.observed.selected is None:
        return False
    seen = scene.observed.selected.metadata
    stored = scene.before.snapshots.get(scene.persistence_id, {}).get(seen.sequence_nr)
    return stored is not None and stored.metadata.timestamp != seen.timestamp


def _load_bounds(scene: Scene) -> tuple[bool, bool, bool, bool]:
    bounds = _load(scene).bounds
    return (
        bounds.max_sequence_nr != MAX_SEQUENCE_NR,
        bounds.max_timestamp != MAX_TIMESTAMP,
        bounds.min_sequence_nr > 0,
        bounds.min_timestamp > 0,
    )


_LOAD: Sequence[Line] = (
    (lambda scene: scene.had(Reopen, own=False) > 0, "S-34"),
    (lambda scene: any(one.sequence_nr >= LARGE for one in scene.saves), "S-36"),
    (_with_manifest, "S-30"),
    (lambda scene: scene.had(LoadSnapshot) > 0, "S-37"),
    (_only_others_snapshots_were_deleted, "S-22"),
    (lambda scene: _odd_ids(scene) and _several_ids(scene), "S-33"),
    (lambda scene: _saved_twice(scene) and not _found(scene.allowed), "S-09"),
    (lambda scene: _saved_twice(scene) and _saved_an_older_one(scene), "S-10"),
    (_saved_twice, "S-08"),
    (_at_another_time, "S-13"),
    (_bounded_deletion, "S-20"),
    (lambda scene: any(isinstance(one, DeleteSnapshots) and one.bounds == Bounds() for one in scene.earlier), "S-21"),
    (lambda scene: scene.had(DeleteSnapshots) > 0, "S-19"),
    (lambda scene: scene.had(DeleteSnapshot) > 0 and not _found(scene.allowed), "S-16"),
    (_deleted_an_older_time, "S-17"),
    (lambda scene: scene.had(DeleteSnapshot) > 0, "S-18"),
    (lambda scene: _load(scene).bounds.max_sequence_nr == _load(scene).bounds.max_timestamp == 0, "S-06"),
    (lambda scene: _load(scene).bounds.max_sequence_nr == 0, "S-07"),
    (lambda scene: any(one.sequence_nr == 0 for one in scene.saves), "S-07"),
    (lambda scene: _load_bounds(scene)[3], "S-05"),
    (lambda scene: _load_bounds(scene)[2], "S-04"),
    (lambda scene: _load_bounds(scene)[1], "S-03"),
    (lambda scene: _load_bounds(scene)[0], "S-02"),
    (_several_ids, "S-22"),
    (_odd_ids, "S-33"),
    (lambda _: True, "S-01"),
)

_SAVE: Sequence[Line] = (
    (_saved_twice, "S-12"),
    (_odd_ids, "S-33"),
    (lambda _: True, "S-29"),
)

_TABLES: dict[type[AnyOperation], Sequence[Line]] = {
    Write: _WRITE,
    Highest: _HIGHEST,
    Replay: _REPLAY,
    Delete: _DELETE,
    LoadSnapshot: _LOAD,
    SaveSnapshot: _SAVE,
    DeleteSnapshot: ((lambda _: True, "S-23"),),
    DeleteSnapshots: ((lambda _: True, "S-19"),),
    Query: ((lambda _: True, "Q-34"),),
    Close: ((lambda _: True, "Q-43"),),
    Reopen: ((lambda _: True, "J-45"),),
}

_EVENT_FIELD: Sequence[Line] = (
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (lambda scene: scene.had(Delete) > 0, "J-79"),
)
_REPLACED: Sequence[Line] = (
    (lambda scene: scene.had(Reopen, own=False) > 0, "S-34"),
    (lambda scene: _saved_twice(scene) and _saved_an_older_one(scene), "S-10"),
    (_saved_twice, "S-08"),
)

_FIELD_TABLES: dict[str, Sequence[Line]] = {
    "payload": (*_EVENT_FIELD, (lambda scene: _large_payload(scene) or _empty_payload(scene), "J-27")),
    "snapshot": (
        *_REPLACED,
        (_with_manifest, "S-30"),
        (lambda scene: any(one.content == Content(size=MIDDLING) for one in scene.saves), "S-28"),
    ),
    "snapshot timestamp": (*_REPLACED, (lambda scene: all(one.timestamp == 0 for one in scene.saves), "S-13")),
}
"""For a field that is not named here the lines for those of an event; where none fits, the rule of the field itself."""
