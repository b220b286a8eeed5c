"""Actors that recover something else than they persisted: too much, too little, in another order, or for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from perdure import (
    PersistentActor,
    PersistentRepr,
    RecoveryCompleted,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)
from perdure.actors._actor import UNHANDLED, resolve
from perdure.persistent._persistent_actor import Handler
from perdure.persistent._port import JournalPort, Lane
from perdure.persistent._recovery import HandlerFailed, Recoverer
from perdure.persistent._writer import Invocation, Writer

from ._troupe import ActorFamily

family = ActorFamily()


# ------------------------------------------------------------------------------------------------------ order and end


@family.animal(
    bug="SEEN-140",
    system="Akka (typed, while it was made)",
    source="https://github.com/akka/akka-core/pull/26011",
    cause="what waited for recovery is handled last first",
    killed_by="A-02",
)
class WaitingCommandsAreTurnedRound(PersistentActor):
    """A stack where a queue is meant."""

    async def _recover(self) -> bool:
        succeeded = await super()._recover()
        self._cell.mailbox.reverse()
        return succeeded


@family.animal(
    bug="SEEN-140b",
    system="Akka.Persistence.PostgreSql",
    source="https://github.com/akkadotnet/Akka.Persistence.PostgreSql/issues/131",
    cause="the last event arrives after the end of the recovery",
    killed_by="A-02 A-14",
)
class LastEventIsLate(Recoverer):
    """A full page of five may be the last one. It is said to be before its last event is handed over."""

    _handed = 0
    _late: PersistentRepr | None = None

    def _recover_event(self, event: PersistentRepr) -> Awaitable[None] | None:
        if self._late is not None:
            super()._recover_event(self._late)
        self._handed += 1
        self._late = event if self._handed % 5 == 0 else None
        return None if self._late else super()._recover_event(event)

    async def run(self, own: Lane) -> int:
        highest = await super().run(own)
        if self._late is not None:
            asyncio.get_running_loop().call_soon(super()._recover_event, self._late)
        return highest


@family.animal(
    bug="SEEN-141",
    system="Akka 2.3, Akka.NET before 1.1",
    source="https://github.com/akka/akka-core/issues/18850",
    cause="recovery is begun twice where a restart is due, and told to be complete twice",
    killed_by="A-14",
)
class CompletesTwice(PersistentActor):
    """What an actor does once at its start is done again."""

    async def _start(self, error: BaseException | None) -> None:
        await super()._start(error)
        if error is not None and not self._recovering:
            await resolve(self.receive_recover(RecoveryCompleted()))


@family.animal(
    bug="SEEN-141b",
    system="Akka before 2.4.17, Akka.NET before 1.3.6",
    source="https://github.com/akka/akka-core/issues/21736",
    cause="what is persisted at the end of the recovery does not hold commands back",
    killed_by="A-14 A-03",
)
class FirstPersistHoldsNothingBack(PersistentActor):
    """The actor persists its first event, and the first command comes before it."""

    _completing = False

    def _recovered(self) -> None:
        super()._recovered()
        self._completing = True

    async def _start(self, error: BaseException | None) -> None:
        await super()._start(error)
        self._completing = False

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        super()._persist_one(operation, event, handler, stashing and not self._completing)


@family.animal(
    bug="SEEN-142",
    system="none reported: a handler's error that is logged and passed over",
    source="https://github.com/akka/akka-core/pull/24340",
    cause="an event whose handler raises is passed over in recovery",
    killed_by="A-19",
)
class RecoveryPassesOverWhatRaises(Recoverer):
    """The actor starts with a state from which one event is missing."""

    def _recover_event(self, event: PersistentRepr) -> Awaitable[None] | None:
        try:
            return super()._recover_event(event)
        except HandlerFailed:
            return None


@family.animal(
    bug="SEEN-142b",
    system="akka-persistence-jdbc (the end of a query that could not decode)",
    source="https://github.com/akka/akka-persistence-jdbc/issues/95",
    cause="a replay that breaks off is taken for the whole",
    killed_by="A-19",
)
class BrokenReplayIsTheWhole(Recoverer):
    """The actor starts with the state of some time ago."""

    async def _replay(self, first: int, last: int) -> None:
        try:
            await super()._replay(first, last)
        except HandlerFailed:
            raise
        except Exception:
            return


@family.animal(
    bug="SEEN-134b",
    system="Akka before 2.4, akka-persistence-couchbase, akka-persistence-spanner",
    source="https://github.com/akka/akka-persistence-couchbase/issues/148",
    cause="recovery does not wait for the write of the incarnation before it",
    killed_by="A-21",
)
class RecoversBesideAWrite(Recoverer):
    """The write arrives when its number has been given to another event."""

    async def run(self, own: Lane) -> int:
        self._journal = _Hasty(self._journal)  # type: ignore[assignment]  # one method of it is another
        return await super().run(own)


class _Hasty:
    """A journal port that is always quiet."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    async def quiet(self, persistence_id: str, own: Lane) -> None:
        return None


# ----------------------------------------------------------------------------------------------------- time and permits


@family.animal(
    bug="SEEN-143",
    system="none reported: recovery-event-timeout read and not used",
    source="https://github.com/akka/akka-core/pull/20753",
    cause="recovery has no time limit",
    killed_by="A-24",
)
class RecoversForEver(Recoverer):
    """A journal that does not answer leaves an actor that neither starts nor fails."""

    async def run(self, own: Lane) -> int:
        self._settings = msgspec.structs.replace(self._settings, recovery_event_timeout_s=1e9)
        return await super().run(own)


# ---------------------------------------------------------------------------------------------------------- snapshots


@family.animal(
    bug="BUG-146",
    system="Proto.Actor .NET",
    source="https://github.com/asynkron/protoactor-dotnet/pull/221",
    cause="events are replayed from the number of the snapshot, not from the one behind it",
    killed_by="A-25",
)
class ReplaysFromTheSnapshot(Recoverer):
    """The event that the snapshot ends with is applied twice."""

    async def _replay(self, first: int, last: int) -> None:
        await super()._replay(max(first - 1, 1), last)


@family.animal(
    bug="BUG-148",
    system="looplab/eventhorizon, node-eventstore",
    source="https://github.com/looplab/eventhorizon/issues/414",
    cause="the number goes on from the events behind the snapshot, of which there are none",
    killed_by="A-27",
)
class ForgetsTheNumberOfTheSnapshot(Recoverer):
    """The next event gets a number that is taken: a conflict, or an event written over."""

    async def _recover_snapshot(self) -> int:
        self._snapshot_nr = await super()._recover_snapshot()
        return self._snapshot_nr

    async def run(self, own: Lane) -> int:
        highest = await super().run(own)
        return highest if highest > self._snapshot_nr else 0


@family.animal(
    bug="BUG-161",
    system="Akka",
    source="https://github.com/akka/akka-core/issues/23469",
    cause="recovery goes on behind a snapshot that the actor did not take",
    killed_by="A-25",
)
class RefusedSnapshotCounts(Recoverer):
    """The state lacks everything from before the snapshot."""

    async def _call_handler(self, message: object) -> object:
        result = await super()._call_handler(message)
        return None if result is UNHANDLED else result


@family.animal(
    bug="SEEN-145",
    system="none reported: the bounds of a recovery used for the events alone",
    source="https://github.com/akka/akka-core/blob/main/akka-persistence/src/main/scala/akka/persistence/snapshot/SnapshotStore.scala",
    cause="a snapshot above the upper bound of the recovery is offered",
    killed_by="A-34",
)
class OfferIsNotLimited(Recoverer):
    """Whoever wants the state of some time ago gets that of today."""

    def _criteria(self) -> SnapshotSelectionCriteria | None:
        limited = super()._criteria()
        return limited and self._recovery.from_snapshot


@family.animal(
    bug="SEEN-146",
    system="none reported: one loop for loading and for giving up",
    source="https://github.com/akka/akka-core/issues/15212",
    cause="no older snapshot is tried when the newest cannot be read",
    killed_by="A-26",
)
class TriesOneSnapshot(Recoverer):
    """One damaged snapshot, and an actor with three good ones does not start."""

    async def _load(self, criteria: SnapshotSelectionCriteria) -> tuple[SnapshotMetadata, object] | None:
        self._settings = msgspec.structs.replace(self._settings, snapshot_load_attempts_max=1)
        return await super()._load(criteria)


@family.animal(
    bug="SEEN-146b",
    system="Akka (snapshot-is-optional with deleted events)",
    source="https://github.com/akka/akka-core/issues/21842",
    cause="the events that are left are taken for all events",
    killed_by="A-26",
)
class RecoversFromWhatIsLeft(Recoverer):
    """The snapshot cannot be read, its events are deleted, and the actor starts with the few that came later."""

    def _refuse_missing(self, event: PersistentRepr) -> None:
        self._first_expected = None


@family.animal(
    bug="SEEN-147",
    system="none reported: no recovery taken for no history",
    source="https://github.com/akka/akka-core/blob/main/akka-persistence/src/test/scala/akka/persistence/OptimizedRecoverySpec.scala",
    cause="without recovery the numbers begin at 1",
    killed_by="A-28",
)
class NoRecoveryBeginsAtOne(Recoverer):
    """The first event that is persisted gets a number that is taken."""

    async def run(self, own: Lane) -> int:
        highest = await super().run(own)
        return highest if self._recovery.to_sequence_nr else 0


@family.animal(
    bug="SEEN-147b",
    system="none reported: the last event replayed taken for the last one stored",
    source="https://github.com/akka/akka-core/pull/17839",
    cause="the numbers go on from the upper bound of the recovery",
    killed_by="A-35 J-53",
)
class NumbersGoOnFromTheBound(Recoverer):
    """The next event gets a number that is taken."""

    async def run(self, own: Lane) -> int:
        highest = await super().run(own)
        bound = self._recovery.to_sequence_nr
        return min(highest, bound) if bound else highest


@family.animal(
    bug="SEEN-149",
    system="none reported: the number that the actor counts with",
    source="https://github.com/akka/akka-core/issues/17585",
    cause="a snapshot has the number of the last event under way",
    killed_by="A-33",
)
class SnapshotCountsWhatIsUnderWay(PersistentActor):
    """Recovery begins behind events that the snapshot does not have."""

    def save_snapshot(self, snapshot: object) -> None:
        handled, self._last_sequence_nr = self._last_sequence_nr, self._sequence_nr
        try:
            super().save_snapshot(snapshot)
        finally:
            self._last_sequence_nr = handled


# ----------------------------------------------------------------------------------------- writers and deletions


@family.animal(
    bug="SEEN-150",
    system="Akka.NET journals that store no writer (the legacy SQL ones)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Journal/ReplayFilter.cs",
    cause="events of an old writer are replayed with those of the new one",
    killed_by="A-30 J-64",
)
class ReplaysOldWriters(Recoverer):
    """Two incarnations wrote, and the state is the sum of both."""

    async def run(self, own: Lane) -> int:
        self._settings = msgspec.structs.replace(self._settings, replay_filter="warn")
        return await super().run(own)


@family.animal(
    bug="SEEN-143b",
    system="Akka.Persistence.Sql",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Journal/Dao/ByteArrayJournalSerializer.cs",
    cause="all incarnations write under the name of the first",
    killed_by="J-82",
)
class IncarnationsShareAName(Writer):
    """Two that overlap look like one, and no replay filter finds them."""

    def __init__(
        self, port: JournalPort, persistence_id: str, uuid: str, post: Callable[[list[Invocation]], None]
    ) -> None:
        first = _names.setdefault(port, {}).setdefault(persistence_id, uuid)
        super().__init__(port, persistence_id, first, post)


_names: WeakKeyDictionary[JournalPort, dict[str, str]] = WeakKeyDictionary()


@family.animal(
    bug="SEEN-150b",
    system="Akka before 2.5.15",
    source="https://github.com/akka/akka-core/issues/25487",
    cause="a deletion above the last event of the actor is handed to the journal",
    killed_by="A-16",
)
class DeletesWhatIsYetToCome(PersistentActor):
    """Whoever asked is told that it is done. Some journals hide what is written under these numbers later."""

    def delete_messages(self, to_sequence_nr: int = 2**63 - 1) -> None:
        handled, self._last_sequence_nr = self._last_sequence_nr, max(self._last_sequence_nr, to_sequence_nr)
        try:
            super().delete_messages(to_sequence_nr)
        finally:
            self._last_sequence_nr = handled
