"""The house: one actor system of a program, and the wings in front of the storage of each actor that lives in it.

Most actors have a house of their own. Those that share permits to recover share one.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from perdure import (
    MAX_SEQUENCE_NR,
    ActorRef,
    ActorRuntime,
    AtomicWrite,
    BreakerSettings,
    DeadLetter,
    Directive,
    EventAdapters,
    Payload,
    PersistenceSettings,
    PersistentActor,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    SupervisorStrategy,
    WriteRejected,
)

from .actor_operations import StartActor
from .leaping import until_idle
from .stored_names import Adapter, Names
from .wings import Wings

CALL_LIMIT_S = 10.0
RECOVERY_LIMIT_S = 30.0
CALLS_MAX = 2_000
"""How many calls the actors of a house may need to come to rest after one step."""

NO_LIMIT = PersistenceSettings().concurrent_recoveries_max


class ActRaised(Exception):
    """An actor was told to raise; what its supervisor does about it was said at its start."""

    def __init__(self, directive: str = "restart") -> None:
        super().__init__("it was told to raise")
        self.directive = directive


class _Supervision(SupervisorStrategy):
    def decide(self, error: Exception) -> Directive:
        return Directive(error.directive) if isinstance(error, ActRaised) else super().decide(error)


class House:
    """Open it before anybody moves in. It is left by all at once, when one of them is taken away."""

    def __init__(self, runtime: ActorRuntime, start: StartActor) -> None:
        self.wings: dict[str, Wings] = {}
        self.new_writer_uuid: Callable[[], str] = str
        """Of the actor whose instance was made last, which is the one that asks."""

        self._heard: dict[ActorRef, Callable[[str], object]] = {}
        breaker = BreakerSettings(failures_max=CALLS_MAX, call_timeout_s=CALL_LIMIT_S, reset_timeout_s=1.0)
        self.system = runtime.system(
            Storage(_Journals(self.wings), _SnapshotStores(self.wings)),
            serialization=cast("Any", Names()),
            event_adapters=EventAdapters({str: Adapter()}),
            settings=PersistenceSettings(
                journal_breaker=breaker,
                snapshot_breaker=breaker,
                recovery_event_timeout_s=RECOVERY_LIMIT_S,
                replay_filter=start.replay_filter,
                concurrent_recoveries_max=start.permits or NO_LIMIT,
            ),
            supervisor_strategy=_Supervision(),
            new_writer_uuid=lambda: self.new_writer_uuid(),
        )
        self.system.on_dead_letter(self._undelivered)

    def spawn(self, make: Callable[[], PersistentActor], hears: Callable[[str], object]) -> ActorRef:
        """`hears` is told of its deliveries: they go to nobody, and so each is known at once."""
        ref = self.system.spawn(make)
        self._heard[ref] = hears
        return ref

    def _undelivered(self, letter: DeadLetter) -> None:
        if isinstance(letter.message, str) and letter.sender in self._heard:
            self._heard[letter.sender](f"sent {letter.message}")

    async def settle(self) -> bool:
        """Let calls through one at a time, each when no actor can do anything more without it; whether all rest."""
        for _ in range(CALLS_MAX):
            await until_idle()
            if not await self._let_one_through():
                return True
        return False

    async def _let_one_through(self) -> bool:
        for wings in self.wings.values():
            call = wings.next_call()
            if call is not None:
                await wings.let_through(call)
                return True
        return False

    async def leave(self) -> None:
        """Nobody lives on: their storage is gone, and how their system ends is not heard."""
        for wings in self.wings.values():
            wings.sever()
        with contextlib.suppress(Exception):  # it ends as it can: nobody is there to care
            await self.system.__aexit__(None, None, None)


class _Journals:
    """The journal of everybody in the house, each behind wings of his own."""

    def __init__(self, wings: dict[str, Wings]) -> None:
        self._wings = wings

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        return await self._wings[writes[0].persistence_id].storage.journal.write_messages(writes)

    def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        journal = self._wings[persistence_id].storage.journal
        return journal.replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count)

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        journal = self._wings[persistence_id].storage.journal
        return await journal.read_highest_sequence_nr(persistence_id, from_sequence_nr)

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await self._wings[persistence_id].storage.journal.delete_messages_to(persistence_id, to_sequence_nr)


class _SnapshotStores:
    def __init__(self, wings: dict[str, Wings]) -> None:
        self._wings = wings

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        return await self._wings[persistence_id].storage.snapshots.load(persistence_id, criteria)

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await self._wings[metadata.persistence_id].storage.snapshots.save(metadata, snapshot)

    async def delete(self, metadata: SnapshotMetadata) -> None:
        await self._wings[metadata.persistence_id].storage.snapshots.delete(metadata)

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        await self._wings[persistence_id].storage.snapshots.delete_matching(persistence_id, criteria)
