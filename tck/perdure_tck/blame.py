"""Blame: which rule a deviation of a program breaks that names no rules itself, as generated programs do.

Asked of a shrunk program, in which only those steps are left that it takes to break the rule: a deletion that is still
there is part of the cause. The tables below are read from the top, and the first line that fits names the rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec
from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP

from .model import State
from .operations import (
    AnyOperation,
    Batch,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Reopen,
    Replay,
    SaveSnapshot,
    Write,
    ids_of,
)
from .outcomes import Answers, AnyOutcome, Conflict, Events, Invalid, Loaded, NoAnswer
from .program import Program

LARGE = 2**31
LONG_ID = 100


class Scene(msgspec.Struct, frozen=True):
    """What a deviation looked like: the step, what came before it, what is allowed and what was observed."""

    operation: AnyOperation
    earlier: tuple[AnyOperation, ...]
    before: State
    allowed: AnyOutcome
    observed: AnyOutcome
    page_size: int

    @property
    def persistence_id(self) -> str:
        if isinstance(self.operation, Write):
            return self.operation.batches[0].persistence_id if self.operation.batches else ""
        return getattr(self.operation, "persistence_id", "")

    def had(self, kind: type[AnyOperation], own: bool = True) -> int:
        """How many earlier steps were of a kind, for this id or (`own` False) for any."""
        return sum(isinstance(one, kind) and (not own or self.persistence_id in ids_of(one)) for one in self.earlier)

    @property
    def batches(self) -> list[Batch]:
        """Every AtomicWrite of the program up to here."""
        steps = (*self.earlier, self.operation)
        return [batch for one in steps if isinstance(one, Write) for batch in one.batches]

    @property
    def ids(self) -> set[str]:
        return {persistence_id for one in (*self.earlier, self.operation) for persistence_id in ids_of(one)}

    @property
    def numbers_seen(self) -> list[int]:
        return [event.sequence_nr for event in self.observed.events] if isinstance(self.observed, Events) else []

    @property
    def numbers_allowed(self) -> list[int]:
        return [event.sequence_nr for event in self.allowed.events] if isinstance(self.allowed, Events) else []


Line = tuple[Callable[[Scene], bool], str]


def blamed(program: Program, number: int, before: State, page_size: int, pair: tuple[AnyOutcome, AnyOutcome]) -> str:
    """The rule that step `number` breaks; `pair` is what is allowed and what was observed."""
    operations = [step.operation for step in program.steps[:number]]
    scene = Scene(operations[-1], tuple(operations[:-1]), before, *pair, page_size)
    for fits, rule in (*_ANY, *_TABLES.get(type(scene.operation), ())):
        if fits(scene):
            return rule
    return "J-04" if program.uses_journal else "S-37"


def _several_ids(scene: Scene) -> bool:
    return len(scene.ids) > 1


def _odd_ids(scene: Scene) -> bool:
    """Whether ids matter as such: one is not plain, or two differ by so little that a store may take them for one."""
    plain = all(one.isascii() and one.isalnum() and len(one) < LONG_ID for one in scene.ids)
    return not plain or len({one.casefold() for one in scene.ids}) < len(scene.ids)


def _large_numbers(scene: Scene) -> bool:
    return any(batch.last > LARGE for batch in scene.batches)


def _rejects(scene: Scene) -> bool:
    return any(
        "\ud800" <= character <= "\udfff"
        for batch in scene.batches
        for text in (batch.payload_manifest, batch.manifest, batch.writer_uuid, *batch.tags)
        for character in text
    )


def _conflicts(scene: Scene) -> bool:
    """Whether an earlier write was refused: it began at or below what was written by then."""
    highest: dict[str, int] = {}
    for batch in (batch for one in scene.earlier if isinstance(one, Write) for batch in one.batches):
        if batch.first <= highest.get(batch.persistence_id, 0):
            return True
        highest[batch.persistence_id] = batch.last
    return False


def _emptied(scene: Scene) -> bool:
    log = scene.before.log(scene.persistence_id)
    return bool(log.highest_sequence_nr) and not log.events


def _written_after_deletion(scene: Scene) -> bool:
    deletions = [at for at, one in enumerate(scene.earlier) if isinstance(one, Delete)]
    return bool(deletions) and any(isinstance(one, Write) for one in scene.earlier[deletions[0] :])


def _large_payload(scene: Scene) -> bool:
    return any(batch.content is not None and batch.content.size > 1000 for batch in scene.batches)


def _with_payload(scene: Scene) -> bool:
    return any(batch.content is not None for batch in scene.batches)


def _part_of_a_batch(scene: Scene) -> bool:
    """Whether a write of several events is seen in part."""
    seen, due = set(scene.numbers_seen), set(scene.numbers_allowed)
    return any(
        batch.persistence_id == scene.persistence_id
        and batch.first < batch.last
        and 0 < len(seen & set(range(batch.first, batch.last + 1))) < batch.last - batch.first + 1
        and (seen ^ due) & set(range(batch.first, batch.last + 1))
        for batch in scene.batches
        if batch.last - batch.first < 1000
    )


def _gaps(scene: Scene) -> bool:
    log = scene.before.log(scene.persistence_id).events
    return any(later.sequence_nr > one.sequence_nr + 1 for one, later in itertools.pairwise(log))


def _over_a_page(scene: Scene) -> bool:
    return len(scene.before.log(scene.persistence_id).events) > scene.page_size


def _replay(scene: Scene) -> Replay:
    assert isinstance(scene.operation, Replay)
    return scene.operation


_ANY: Sequence[Line] = (
    (lambda scene: isinstance(scene.observed, NoAnswer), "J-61"),
    (lambda scene: isinstance(scene.allowed, Invalid), "J-84"),
)

_WRITE: Sequence[Line] = (
    (lambda scene: isinstance(scene.operation, Write) and not scene.operation.batches, "J-15"),
    (lambda scene: isinstance(scene.allowed, Conflict), "J-16"),
    (lambda scene: isinstance(scene.allowed, Answers) and any(scene.allowed.rejected), "J-25"),
    (_large_numbers, "J-29"),
    (_odd_ids, "J-28"),
    (lambda scene: isinstance(scene.observed, Conflict) and _rejects(scene), "J-48"),
    (lambda scene: isinstance(scene.observed, Conflict) and _conflicts(scene), "J-48"),
    (lambda scene: isinstance(scene.observed, Conflict) and scene.had(Delete) > 0, "J-73"),
    (lambda scene: isinstance(scene.observed, Conflict) and _several_ids(scene), "J-75"),
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (_large_payload, "J-27"),
    (_with_payload, "J-23"),
    (lambda scene: any(batch.first < batch.last for batch in scene.batches), "J-03"),
    (lambda scene: len(scene.batches) > 1, "J-08"),
)

_HIGHEST: Sequence[Line] = (
    (lambda scene: isinstance(scene.operation, Highest) and scene.operation.hint > 0, "J-46"),
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (_large_numbers, "J-29"),
    (_odd_ids, "J-28"),
    (_rejects, "J-48"),
    (_conflicts, "J-48"),
    (lambda scene: scene.had(Delete) > 0 and _written_after_deletion(scene), "J-44"),
    (lambda scene: scene.had(Delete) > 1, "J-43"),
    (lambda scene: scene.had(Delete) > 0 and _emptied(scene), "J-42"),
    (lambda scene: scene.had(Delete) > 0, "J-41"),
    (_several_ids, "J-75"),
    (lambda _: True, "J-40"),
)

_REPLAY: Sequence[Line] = (
    (lambda scene: scene.had(Reopen, own=False) > 0, "J-45"),
    (_large_numbers, "J-29"),
    (lambda scene: _odd_ids(scene) and _several_ids(scene), "J-28"),
    (_rejects, "J-06"),
    (_part_of_a_batch, "J-02"),
    (_conflicts, "J-16"),
    (lambda scene: set(scene.numbers_seen) - set(scene.numbers_allowed) != set() and scene.had(Delete) > 0, "J-70"),
    (lambda scene: scene.had(Delete) > 0 and _written_after_deletion(scene), "J-73"),
    (lambda scene: _replay(scene).max_count != MAX_SEQUENCE_NR, "J-51"),
    (lambda scene: _replay(scene).from_sequence_nr > _replay(scene).to_sequence_nr, "J-52"),
    (lambda scene: _replay(scene).from_sequence_nr == 0, "J-52"),
    (_over_a_page, "J-59"),
    (_gaps, "J-58"),
    (lambda scene: scene.had(Delete) > 1, "J-74"),
    (lambda scene: scene.had(Delete) > 0 and _several_ids(scene), "J-75"),
    (lambda scene: scene.had(Delete) > 0, "J-57"),
    (_several_ids, "J-75"),
    (_odd_ids, "J-28"),
    (_large_payload, "J-27"),
    (_with_payload, "J-23"),
    (lambda _: True, "J-50"),
)

_DELETE: Sequence[Line] = ((lambda scene: scene.had(Write) == 0, "J-74"), (lambda _: True, "J-70"))


def _load(scene: Scene) -> LoadSnapshot:
    assert isinstance(scene.operation, LoadSnapshot)
    return scene.operation


def _saved_twice(scene: Scene) -> bool:
    saves = [one for one in scene.earlier if isinstance(one, SaveSnapshot)]
    return len({(one.persistence_id, one.sequence_nr) for one in saves}) < len(saves)


def _bounded_deletion(scene: Scene) -> bool:
    return any(
        isinstance(one, DeleteSnapshots) and (one.bounds.min_sequence_nr > 0 or one.bounds.min_timestamp > 0)
        for one in scene.earlier
    )


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
    (lambda scene: _odd_ids(scene) and _several_ids(scene), "S-33"),
    (
        lambda scene: (
            scene.had(DeleteSnapshot, own=False) + scene.had(DeleteSnapshots, own=False) > 0 and _several_ids(scene)
        ),
        "S-22",
    ),
    (_bounded_deletion, "S-20"),
    (lambda scene: scene.had(DeleteSnapshots) > 0, "S-19"),
    (
        lambda scene: (
            scene.had(DeleteSnapshot) > 0 and isinstance(scene.allowed, Loaded) and scene.allowed.selected is not None
        ),
        "S-18",
    ),
    (lambda scene: scene.had(DeleteSnapshot) > 0, "S-16"),
    (_saved_twice, "S-08"),
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
    Reopen: ((lambda _: True, "J-45"),),
}
