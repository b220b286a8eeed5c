"""A scene: what a deviation looked like, and what one can say of it whatever the operation was."""

from __future__ import annotations

import msgspec

from .model import State
from .operations import AnyOperation, Batch, Reopen, SaveSnapshot, Write, ids_of
from .outcomes import AnyOutcome, Events, Taken


class Scene(msgspec.Struct, frozen=True):
    """What a deviation looked like: the step, what came before it, what is allowed and what was observed.

    `clients` are those of all steps: as many handles, if the program was shrunk, as it takes.
    """

    operation: AnyOperation
    earlier: tuple[AnyOperation, ...]
    clients: frozenset[str]
    before: State
    allowed: AnyOutcome
    observed: AnyOutcome
    page_size: int

    @property
    def persistence_id(self) -> str:
        if isinstance(self.operation, Write):
            return self.operation.batches[0].persistence_id if self.operation.batches else ""
        return getattr(self.operation, "persistence_id", "")

    def had(self, *kinds: type[AnyOperation], own: bool = True) -> int:
        """How many earlier steps were of some kinds, for this id or (`own` False) for any."""
        return sum(isinstance(one, kinds) and (not own or self.persistence_id in ids_of(one)) for one in self.earlier)

    @property
    def batches(self) -> list[Batch]:
        """Every AtomicWrite of the program up to here."""
        steps = (*self.earlier, self.operation)
        return [batch for one in steps if isinstance(one, Write) for batch in one.batches]

    @property
    def ids(self) -> set[str]:
        return {persistence_id for one in (*self.earlier, self.operation) for persistence_id in ids_of(one)}

    @property
    def saves(self) -> list[SaveSnapshot]:
        """Every save of this id up to here."""
        steps = (*self.earlier, self.operation)
        return [one for one in steps if isinstance(one, SaveSnapshot) and one.persistence_id == self.persistence_id]

    @property
    def reopened(self) -> bool:
        return self.had(Reopen, own=False) > 0

    @property
    def numbers_seen(self) -> list[int]:
        return _numbers(self.observed)

    @property
    def numbers_allowed(self) -> list[int]:
        return _numbers(self.allowed)

    @property
    def missing(self) -> set[int]:
        return set(self.numbers_allowed) - set(self.numbers_seen)

    @property
    def unwanted(self) -> set[int]:
        return set(self.numbers_seen) - set(self.numbers_allowed)


def _numbers(outcome: AnyOutcome) -> list[int]:
    match outcome:
        case Events(events=events):
            return [event.sequence_nr for event in events]
        case Taken(envelopes=envelopes):
            return [envelope.sequence_nr for envelope in envelopes]
        case _:
            return []


def rejects(scene: Scene) -> bool:
    return any(
        "\ud800" <= character <= "\udfff"
        for batch in scene.batches
        for text in (batch.payload_manifest, batch.manifest, batch.writer_uuid, *batch.tags)
        for character in text
    )


def conflict_at(scene: Scene) -> int | None:
    """The first earlier step that was refused: a write that began at or below what was written by then."""
    highest: dict[str, int] = {}
    for at, one in enumerate(scene.earlier):
        for batch in one.batches if isinstance(one, Write) else ():
            if batch.first <= highest.get(batch.persistence_id, 0):
                return at
            highest[batch.persistence_id] = batch.last
    return None


def conflicts(scene: Scene) -> bool:
    return conflict_at(scene) is not None


def part_of_a_batch(scene: Scene) -> bool:
    """Whether a write of several events is seen in part, or, where nothing of it should be there, at all."""
    seen, due = set(scene.numbers_seen), set(scene.numbers_allowed)
    for batch in scene.batches:
        if batch.persistence_id == scene.persistence_id and batch.first < batch.last < batch.first + 1000:
            numbers = set(range(batch.first, batch.last + 1))
            if numbers & due - seen and numbers & seen:
                return True
            if numbers & seen - due and not numbers <= due:
                return True
    return False


def out_of_order(scene: Scene) -> bool:
    return scene.numbers_seen != scene.numbers_allowed == sorted(scene.numbers_seen)


def over_a_page_of_feed(scene: Scene) -> bool:
    return len(scene.before.feed) > scene.page_size
