"""Actors that recover although they may not, or keep others from it: permits that are lost, found, or passed over."""

from __future__ import annotations

import asyncio

from perdure import PersistentActor, RecoveryCompleted
from perdure.actors import Actor
from perdure.actors._actor import resolve
from perdure.actors._cell import Cell

from ._troupe import ActorFamily

family = ActorFamily()

AS_MANY_AS_THERE_ARE = 1_000_000


@family.animal(
    bug="SEEN-151",
    system="Akka",
    source="https://github.com/akka/akka-core/issues/28658",
    cause="a recovery that failed keeps its permit",
    killed_by="A-29",
)
class KeepsItsPermitAfterAFailure(PersistentActor):
    """The permit is given back behind RecoveryCompleted, which a failed recovery never reaches."""

    async def _start(self, error: BaseException | None) -> None:
        await Actor._start(self, error)
        self._cell.interruptible = True
        await self._journal.permits.acquire()
        if await self._recover():
            self._journal.permits.release()
            self._cell.interruptible = False
            self._cell.sender = None
            self._recovered()
            await resolve(self.receive_recover(RecoveryCompleted()))


@family.animal(
    bug="SEEN-151b",
    system="none reported: the permit of an actor that is stopped",
    source="https://github.com/akka/akka-core/issues/28658",
    cause="an actor that is stopped while it recovers keeps its permit",
    killed_by="A-29",
)
class KeepsItsPermitWhenStopped(PersistentActor):
    """Nobody watches those who have a permit."""

    async def _recover(self) -> bool:
        try:
            return await super()._recover()
        except asyncio.CancelledError:
            self._journal.permits = asyncio.Semaphore(0)
            raise


@family.animal(
    bug="SEEN-152",
    system="Akka, Akka.NET",
    source="https://github.com/akkadotnet/akka.net/pull/3201",
    cause="a permit is given back twice when the handler of RecoveryCompleted raises",
    killed_by="A-29",
)
class GivesItsPermitBackTwice(PersistentActor):
    """From then on one more may recover at a time than is allowed."""

    async def _start(self, error: BaseException | None) -> None:
        try:
            await super()._start(error)
        except Exception:
            self._journal.permits.release()
            raise


@family.animal(
    bug="SEEN-152b",
    system="Akka.NET",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Eventsourced.Recovery.cs",
    cause="recovery goes on behind a handler that raised, and gives back its permit a second time",
    killed_by="A-29",
)
class GivesBackAPermitForEachFailure(PersistentActor):
    """The permit is given back where recovery fails, and again where it ends."""

    async def _recovery_failed(self, error: Exception, event: object | None) -> None:
        if event is not None:
            self._journal.permits.release()
        await super()._recovery_failed(error, event)


@family.animal(
    bug="SEEN-153",
    system="actor-ts",
    source="https://github.com/pathosDev/actor-ts/issues/1383",
    cause="nothing bounds how many recover at a time",
    killed_by="A-29",
)
class EverybodyRecoversAtOnce(PersistentActor):
    """A node that starts a thousand actors asks its journal for a thousand replays."""

    def _attach(self, cell: Cell) -> None:
        super()._attach(cell)
        self._journal.permits = asyncio.Semaphore(AS_MANY_AS_THERE_ARE)
