"""The model: what the contracts mean, as a pure function from state and operation to the allowed outcomes.

It imports no backend and reuses nothing of one; it is the oracle of everything sequential. `step` answers with a set,
as a tuple of transitions, since some questions have more than one right answer. What the contracts leave open or allow
a backend to limit, the claims decide. Operations that a backend without a claim cannot be asked raise `NeedsClaim`.
"""

from __future__ import annotations

import itertools

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    MAX_TIMESTAMP,
    AtomicWrite,
    Claims,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)

from . import model_actors, model_queries
from .model_part import Stores
from .operations import (
    AnyOperation,
    Bounds,
    Cancel,
    Clock,
    Close,
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
from .outcomes import Answers, AnyOutcome, Conflict, Done, Events, Invalid, Loaded, Number
from .state import START_OF_CLOCK as START_OF_CLOCK
from .state import Log as Log
from .state import NeedsClaim as NeedsClaim
from .state import State as State
from .state import Transition as Transition
from .validity import is_unicode, valid_id, valid_number


def step(
    state: State, operation: AnyOperation, number: int, claims: Claims, observed: AnyOutcome | None = None
) -> tuple[Transition, ...]:
    """Every allowed outcome of an operation; `number` is its place in the program, which marks what it writes.

    What a query may give has too many forms to be listed. There the answer is one outcome: the `observed` one, if it is
    allowed, with the events as they must be, and otherwise the plainest.
    """
    match operation:
        case Write():
            return _write(state, [batch.atomic_write(number) for batch in operation.batches], claims)
        case Replay():
            return (Transition(_replay(state, operation, claims), state),)
        case Highest():
            return (Transition(_highest(state, operation, claims), state),)
        case Delete():
            return (_delete(state, operation, claims),)
        case SaveSnapshot():
            return (_save(state, operation, number, claims),)
        case LoadSnapshot():
            return (Transition(_load(state, operation, claims), state),)
        case DeleteSnapshot():
            return (_delete_snapshot(state, operation, claims),)
        case DeleteSnapshots():
            return (_delete_snapshots(state, operation, claims),)
        case Query():
            return (Transition(Done(), model_queries.opened(state, operation, claims)),)
        case Take():
            return (model_queries.taken(state, operation, observed),)
        case Close():
            return (Transition(Done(), model_queries.closed(state, operation.name)),)
        case Reopen():
            if not claims.survives_close:
                raise NeedsClaim("survives_close")
            return (Transition(Done(), model_actors.all_crashed(model_queries.cut_off(state))),)
        case Clock():
            return (Transition(Done(), msgspec.structs.replace(state, now=operation.now)),)
        case Cancel():
            return (Transition(Done(), state),)
        case _:
            return (model_actors.acted(state, operation, number, claims, _STORES),)


def _write(state: State, writes: list[AtomicWrite], claims: Claims) -> tuple[Transition, ...]:
    """Too long ids are refused first, then conflicts fail the whole call, then each write is rejected or stored."""
    if any(not valid_id(write.persistence_id, claims) for write in writes):
        return (Transition(Invalid(), state),)
    answers = itertools.product(*[_rejected(write, claims) for write in writes])
    found = [transition for rejected in answers for transition in _answered(state, writes, rejected, claims)]
    first_conflict = next((one for one in found if isinstance(one.outcome, Conflict)), None)
    return tuple(one for one in found if one is first_conflict or not isinstance(one.outcome, Conflict))


def _answered(
    state: State, writes: list[AtomicWrite], rejected: tuple[bool, ...], claims: Claims
) -> tuple[Transition, ...]:
    """What a call may end in where these of its writes cannot be kept: that answer, a conflict, or either.

    A write that cannot be kept and is in conflict as well may be answered as either: the contract does not say which is
    looked for first. So it is for a write of a number that another write of the same call named, which cannot be kept:
    whoever looks for conflicts first has found one, and no caller numbers a call like that.
    """
    conflict = Transition(Conflict(), state)
    after = state
    either = False
    named: dict[str, int] = {}
    for write, refused in zip(writes, rejected, strict=True):
        log = after.log(write.persistence_id)
        taken = write.lowest_sequence_nr <= log.highest_sequence_nr
        if taken and not refused:
            return (conflict,)
        either = either or taken or write.lowest_sequence_nr <= named.get(write.persistence_id, 0)
        if refused:
            named[write.persistence_id] = write.highest_sequence_nr
        else:
            kept = tuple(as_kept(event, state.now, claims) for event in write.events)
            after = after.with_log(write.persistence_id, Log(log.events + kept, write.highest_sequence_nr), kept)
    answered = Transition(Answers(rejected), after)
    return (answered, conflict) if either else (answered,)


def _rejected(write: AtomicWrite, claims: Claims) -> tuple[bool, ...]:
    """Whether a write is rejected, likely answers first.

    Text that is not Unicode, in a field that the backend does not keep: the contract does not say that it must be fit
    to be kept, and `perdure.unstorable_text`, which backends are offered, refuses it. So both are right.
    """
    if claims.atomic_batch is not None and len(write.events) > claims.atomic_batch:
        return (True,)
    limited = claims.payload_size_max is not None or (claims.tags and claims.tags_without)
    if limited and any(_beyond_a_limit(event, claims) for event in write.events):
        return (True,)
    if is_unicode("".join([_text(event, _EVERY_FIELD) for event in write.events])):
        return (False,)
    fit = is_unicode("".join([_text(event, claims) for event in write.events]))
    return (False, True) if fit else (True,)


_EVERY_FIELD = Claims()


def _beyond_a_limit(event: PersistentRepr, claims: Claims) -> bool:
    if claims.payload_size_max is not None and len(event.payload.data) > claims.payload_size_max:
        return True
    return bool(
        event.tags
        and claims.tags
        and claims.tags_without
        and any(not tag or set(tag) & set(claims.tags_without) for tag in event.tags)
    )


def _text(event: PersistentRepr, claims: Claims) -> str:
    """All text of an event that a backend with these claims keeps."""
    return (
        event.payload.manifest
        + (event.manifest if claims.event_manifest else "")
        + (event.writer_uuid if claims.writer_uuid else "")
        + ("".join(event.tags) if event.tags and claims.tags else "")
        + (event.metadata.manifest if claims.metadata and event.metadata is not None else "")
    )


def as_kept(event: PersistentRepr, now: int, claims: Claims) -> PersistentRepr:
    """The event as it must come back: with its time filled in, and without what the backend does not claim to keep."""
    return PersistentRepr(
        event.persistence_id,
        event.sequence_nr,
        event.payload,
        event.manifest if claims.event_manifest else "",
        event.writer_uuid if claims.writer_uuid else "",
        _rounded(event.timestamp or now, claims),
        event.tags if claims.tags else frozenset(),
        event.metadata if claims.metadata else None,
    )


def _replay(state: State, operation: Replay, claims: Claims) -> AnyOutcome:
    numbers = (operation.from_sequence_nr, operation.to_sequence_nr, operation.max_count)
    if not valid_id(operation.persistence_id, claims) or not all(map(valid_number, numbers)):
        return Invalid()
    first, last = operation.from_sequence_nr, operation.to_sequence_nr
    window = [event for event in state.log(operation.persistence_id).events if first <= event.sequence_nr <= last]
    return Events(tuple(window[: operation.max_count]))


def _highest(state: State, operation: Highest, claims: Claims) -> AnyOutcome:
    if not valid_id(operation.persistence_id, claims) or not valid_number(operation.hint):
        return Invalid()
    return Number(state.log(operation.persistence_id).highest_sequence_nr)


def _delete(state: State, operation: Delete, claims: Claims) -> Transition:
    if not valid_id(operation.persistence_id, claims) or not valid_number(operation.to_sequence_nr):
        return Transition(Invalid(), state)
    if operation.persistence_id not in state.logs:
        return Transition(Done(), state)
    log = state.log(operation.persistence_id)
    left = tuple(event for event in log.events if event.sequence_nr > operation.to_sequence_nr)
    if len(left) == len(log.events):
        return Transition(Done(), state)
    after = state.with_log(operation.persistence_id, Log(left, log.highest_sequence_nr))
    return Transition(Done(), model_queries.without(after, operation, claims))


def _save(state: State, operation: SaveSnapshot, number: int, claims: Claims) -> Transition:
    if not valid_id(operation.persistence_id, claims):
        return Transition(Invalid(), state)
    return Transition(Done(), _saved(state, operation.metadata(), operation.payload(number), claims))


def _saved(state: State, metadata: SnapshotMetadata, payload: Payload, claims: Claims) -> State:
    persistence_id, number = metadata.persistence_id, metadata.sequence_nr
    timestamp = _rounded(metadata.timestamp or state.now, claims)
    selected = SelectedSnapshot(SnapshotMetadata(persistence_id, number, timestamp), payload)
    stored = state.snapshots.get(persistence_id, {})
    return state.with_snapshots(persistence_id, {**stored, number: selected})


def _load(state: State, operation: LoadSnapshot, claims: Claims) -> AnyOutcome:
    if not valid_id(operation.persistence_id, claims) or not _valid_bounds(operation.bounds):
        return Invalid()
    stored = state.snapshots.get(operation.persistence_id, {})
    matching = [number for number in stored if _matches(stored[number].metadata, operation.bounds)]
    return Loaded(stored[max(matching)] if matching else None)


def _delete_snapshot(state: State, operation: DeleteSnapshot, claims: Claims) -> Transition:
    if not valid_id(operation.persistence_id, claims):
        return Transition(Invalid(), state)
    stored = state.snapshots.get(operation.persistence_id, {})
    found = stored.get(operation.sequence_nr)
    wanted = _rounded(operation.timestamp, claims)
    if found is None or (operation.timestamp and found.metadata.timestamp != wanted):
        return Transition(Done(), state)
    left = {number: selected for number, selected in stored.items() if number != operation.sequence_nr}
    return Transition(Done(), state.with_snapshots(operation.persistence_id, left))


def _delete_snapshots(state: State, operation: DeleteSnapshots, claims: Claims) -> Transition:
    if not valid_id(operation.persistence_id, claims) or not _valid_bounds(operation.bounds):
        return Transition(Invalid(), state)
    stored = state.snapshots.get(operation.persistence_id, {})
    left = {number: one for number, one in stored.items() if not _matches(one.metadata, operation.bounds)}
    return Transition(Done(), state.with_snapshots(operation.persistence_id, left))


def _matches(metadata: SnapshotMetadata, bounds: Bounds) -> bool:
    return (
        bounds.min_sequence_nr <= metadata.sequence_nr <= bounds.max_sequence_nr
        and bounds.min_timestamp <= metadata.timestamp <= bounds.max_timestamp
    )


def _valid_bounds(bounds: Bounds) -> bool:
    return (
        0 <= bounds.min_sequence_nr <= bounds.max_sequence_nr <= MAX_SEQUENCE_NR
        and 0 <= bounds.min_timestamp <= bounds.max_timestamp <= MAX_TIMESTAMP
    )


def _rounded(timestamp: int, claims: Claims) -> int:
    return timestamp - timestamp % claims.timestamp_resolution_ns


def _deleted(state: State, persistence_id: str, to_sequence_nr: int, claims: Claims) -> State:
    return _delete(state, Delete(persistence_id, to_sequence_nr), claims).state


def _without_snapshots(state: State, persistence_id: str, criteria: SnapshotSelectionCriteria, claims: Claims) -> State:
    bounds = Bounds(criteria.max_sequence_nr, min_sequence_nr=criteria.min_sequence_nr)
    return _delete_snapshots(state, DeleteSnapshots(persistence_id, bounds), claims).state


_STORES = Stores(_write, _deleted, _without_snapshots, _saved)
"""What actors do to a journal and a snapshot store means the same as when a program does it."""
