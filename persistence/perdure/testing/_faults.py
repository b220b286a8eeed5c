"""A storage that does as another one does, and fails, rejects, or takes its time when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec

from .._arguments import MAX_SEQUENCE_NR
from .._backend import Storage
from .._events import (
    AtomicWrite,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    WriteRejected,
)
from .._journal import Journal
from .._snapshots import SnapshotStore
from ..serialization import Serialization

Operation = Literal[
    "write", "replay", "replayed", "highest", "delete", "load", "save", "delete_snapshot", "delete_snapshots"
]


class Call(msgspec.Struct, frozen=True):
    """One call of a journal or a snapshot store. `replayed` is each event that a replay is about to give.

    `payload` is that of the event that is replayed, or of the snapshot that is saved; `manifest` that of its adapter.
    """

    operation: Operation
    persistence_id: str
    writes: tuple[AtomicWrite, ...] = ()
    payload: Payload | None = None
    sequence_nr: int = 0
    manifest: str = ""


Proceed = Callable[[], Awaitable[Any]]
Action = Callable[[Call, Proceed], Awaitable[Any]]
"""Does something around a call: `await proceed()` is what the storage itself does."""


def fail(error: BaseException | None = None) -> Action:
    """Raise, and do nothing."""

    async def action(call: Call, _: Proceed) -> Any:
        raise error or OSError(f"{call.operation} of {call.persistence_id!r} was made to fail")

    return action


def lose_answer(error: BaseException | None = None) -> Action:
    """Do it, and raise all the same: the caller cannot know."""

    async def action(call: Call, proceed: Proceed) -> Any:
        await proceed()
        raise error or ConnectionError(f"the answer to {call.operation} of {call.persistence_id!r} was lost")

    return action


def delay(seconds: float) -> Action:
    """Do it later."""

    async def action(_: Call, proceed: Proceed) -> Any:
        await asyncio.sleep(seconds)
        return await proceed()

    return action


def hold(until: asyncio.Event) -> Action:
    """Do it when an event is set."""

    async def action(_: Call, proceed: Proceed) -> Any:
        await until.wait()
        return await proceed()

    return action


Occasion = Call | AtomicWrite
Condition = Callable[[Occasion], bool]
"""Meets a call, for `FaultyStorage.on`, or an AtomicWrite, for `FaultyStorage.reject`."""


def has_manifest(*manifests: str) -> Condition:
    """One of the events, or the snapshot, has one of these manifests: that of its serializer, or of an adapter."""

    def condition(occasion: Occasion) -> bool:
        return any(payload.manifest in manifests or adapted in manifests for payload, adapted in _stored(occasion))

    return condition


def has_value(
    wanted: type | tuple[type, ...] | Callable[[Any], bool], serialization: Serialization | None = None
) -> Condition:
    """One of the events, or the snapshot, is of this type, or meets this condition.

    It is what the serialization gives, before any read adapter. A value that this serialization cannot read is an
    error of the test, and is raised.
    """
    read = (serialization or Serialization()).from_payload
    meets = wanted if not isinstance(wanted, type | tuple) else lambda value: isinstance(value, wanted)

    def condition(occasion: Occasion) -> bool:
        return any(meets(read(payload)) for payload, _ in _stored(occasion))

    return condition


def _stored(occasion: Occasion) -> Iterator[tuple[Payload, str]]:
    """The payloads that an occasion is about, with the manifests of event adapters."""
    writes = (occasion,) if isinstance(occasion, AtomicWrite) else occasion.writes
    for write in writes:
        for event in write.events:
            yield event.payload, event.manifest
    if isinstance(occasion, Call) and occasion.payload is not None:
        yield occasion.payload, occasion.manifest


class _Rule(msgspec.Struct):
    operation: Operation
    action: Action
    when: Callable[[Call], bool]
    times: int | None


class FaultyStorage:
    """`storage` is what to give to an `ActorSystem`; `calls` is everything that was asked of it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = Storage(
            _FaultyJournal(storage.journal, self), _FaultySnapshotStore(storage.snapshots, self), storage.queries
        )
        self.calls: list[Call] = []
        self.rejects: list[tuple[Callable[[AtomicWrite], bool], str]] = []
        self._rules: list[_Rule] = []

    def on(
        self,
        operation: Operation,
        action: Action,
        *,
        when: Callable[[Call], bool] = lambda _: True,
        times: int | None = None,
    ) -> None:
        """Act on the calls of one operation that meet a condition: on all of them, or on the next so many.

        `has_value` and `has_manifest` choose by events: `faults.on("write", fail(), when=has_value(PaidIn, types))`.
        """
        self._rules.append(_Rule(operation, action, when, times))

    def reject(self, when: Callable[[AtomicWrite], bool], reason: str = "rejected by the test") -> None:
        """Reject those AtomicWrites that meet a condition, each as a whole; the others of the same call are written."""
        self.rejects.append((when, reason))

    def calm(self) -> None:
        """Forget every rule."""
        self._rules.clear()
        self.rejects.clear()

    async def perform(self, call: Call, proceed: Proceed) -> Any:
        if call.operation != "replayed":
            self.calls.append(call)
        for rule in self._rules:
            if rule.operation == call.operation and rule.times != 0 and rule.when(call):
                rule.times = rule.times and rule.times - 1
                return await rule.action(call, proceed)
        return await proceed()

    def rejection(self, write: AtomicWrite) -> WriteRejected | None:
        return next((WriteRejected(reason) for when, reason in self.rejects if when(write)), None)


class _FaultyJournal:
    def __init__(self, journal: Journal, faults: FaultyStorage) -> None:
        self._journal = journal
        self._faults = faults

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        async def write() -> Sequence[WriteRejected | None]:
            answers = [self._faults.rejection(one) for one in writes]
            accepted = [one for one, answer in zip(writes, answers, strict=True) if answer is None]
            given = iter(await self._journal.write_messages(accepted))
            return [next(given) if answer is None else answer for answer in answers]

        call = Call("write", writes[0].persistence_id if writes else "", tuple(writes))
        answers: Sequence[WriteRejected | None] = await self._faults.perform(call, write)
        return answers

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        await self._faults.perform(Call("replay", persistence_id, sequence_nr=from_sequence_nr), _nothing)
        replay: Any = self._journal.replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        async with aclosing(replay) as events:
            async for event in events:
                one = Call("replayed", persistence_id, (), event.payload, event.sequence_nr, event.manifest)
                await self._faults.perform(one, _nothing)
                yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        highest: int = await self._faults.perform(
            Call("highest", persistence_id, sequence_nr=from_sequence_nr),
            lambda: self._journal.read_highest_sequence_nr(persistence_id, from_sequence_nr),
        )
        return highest

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await self._faults.perform(
            Call("delete", persistence_id, sequence_nr=to_sequence_nr),
            lambda: self._journal.delete_messages_to(persistence_id, to_sequence_nr),
        )


class _FaultySnapshotStore:
    def __init__(self, snapshots: SnapshotStore, faults: FaultyStorage) -> None:
        self._snapshots = snapshots
        self._faults = faults

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        found: SelectedSnapshot | None = await self._faults.perform(
            Call("load", persistence_id, sequence_nr=criteria.max_sequence_nr),
            lambda: self._snapshots.load(persistence_id, criteria),
        )
        return found

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await self._faults.perform(
            Call("save", metadata.persistence_id, payload=snapshot, sequence_nr=metadata.sequence_nr),
            lambda: self._snapshots.save(metadata, snapshot),
        )

    async def delete(self, metadata: SnapshotMetadata) -> None:
        await self._faults.perform(
            Call("delete_snapshot", metadata.persistence_id, sequence_nr=metadata.sequence_nr),
            lambda: self._snapshots.delete(metadata),
        )

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        await self._faults.perform(
            Call("delete_snapshots", persistence_id, sequence_nr=criteria.max_sequence_nr),
            lambda: self._snapshots.delete_matching(persistence_id, criteria),
        )


async def _nothing() -> None:
    """A replay itself is not a coroutine; what is decided about it is decided before it."""
