"""Actors that go wrong with snapshots and the bounds of a recovery: states too old, too new, or counted wrongly."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

import msgspec
from perdure import (
    PersistentActor,
    PersistentRepr,
    SaveSnapshotFailure,
    SnapshotMetadata,
    SnapshotOffer,
    SnapshotSelectionCriteria,
)
from perdure.actors._actor import UNHANDLED
from perdure.persistent._port import Lane
from perdure.persistent._recovery import HandlerFailed, Recoverer

from ._troupe import ActorFamily

family = ActorFamily()


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


@family.animal(
    bug="SEEN-142c",
    system="Akka.NET (no return behind the failure)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Eventsourced.Recovery.cs",
    cause="recovery goes on when the handler of the snapshot has raised",
    killed_by="A-19",
)
class GoesOnWithoutItsSnapshot(Recoverer):
    """The events behind the snapshot are applied to a state that does not have it."""

    async def _call_handler(self, message: object) -> object:
        try:
            return await super()._call_handler(message)
        except HandlerFailed:
            if isinstance(message, SnapshotOffer):
                return None
            raise


@family.animal(
    bug="SEEN-146c",
    system="Akka, Akka.NET (the base class of snapshot stores)",
    source="https://github.com/akkadotnet/akka.net/pull/7360",
    cause="after a save that failed, what has its number is deleted",
    killed_by="A-26",
)
class FailedSaveCleansUp(PersistentActor):
    """The clean-up finds the good snapshot that was saved under this number before."""

    def _report(self, work: Future[None], success: object, failure: Callable[[Exception], object]) -> None:
        def clean_up(error: Exception) -> object:
            answer = failure(error)
            if isinstance(answer, SaveSnapshotFailure):
                self._snapshots.start(lambda store: store.delete(answer.metadata))
            return answer

        super()._report(work, success, clean_up)
