"""Actors that recover something else than they persisted: too little, in another order, for ever, or beside others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from perdure import PersistentActor, PersistentRepr, RecoveryCompleted
from perdure.actors._actor import resolve
from perdure.persistent._payloads import Codec
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
    killed_by="A-02",
)
class LastEventIsLate(Recoverer):
    """A full page of five may be the last one. It is said to be before its last event is handed over."""

    _handed = 0
    _number = 0

    async def _replay(self, first: int, last: int) -> None:
        handle, moved_to = self._handle, self._moved_to

        def note_number(number: int) -> None:
            self._number = number
            moved_to(number)

        def hand_over(event: object) -> object:
            self._handed += 1
            if self._number < last or self._handed % 5:
                return handle(event)
            asyncio.get_running_loop().call_soon(handle, event)
            return None

        self._handle, self._moved_to = hand_over, note_number
        await super()._replay(first, last)


@family.animal(
    bug="SEEN-140c",
    system="Akka.Persistence.Sql (EventsByPersistenceId)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs",
    cause="of what an event adapter makes of a stored event, the first is taken",
    killed_by="J-63",
)
class TakesTheFirstOfSeveral(Recoverer):
    """An event that was split is recovered by half."""

    async def run(self, own: Lane) -> int:
        self._codec = _First(self._codec.serialization, self._codec.adapters)
        return await super().run(own)


class _First(Codec):
    def decode(self, event: PersistentRepr) -> Iterable[object]:
        return list(super().decode(event))[:1]


@family.animal(
    bug="SEEN-141",
    system="Akka 2.3, Akka.NET",
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
    system="Akka, Akka.NET",
    source="https://github.com/akka/akka-core/issues/21736",
    cause="what is persisted at the end of the recovery does not hold commands back",
    killed_by="A-14",
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

    async def _replay(self, first: int, last: int) -> None:
        handle = self._handle

        def pass_over(event: object) -> object:
            try:
                return handle(event)
            except Exception:
                return None

        self._handle = pass_over
        await super()._replay(first, last)


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
    system="Akka, akka-persistence-couchbase, akka-persistence-spanner",
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


# -------------------------------------------------------------------------------------------------------------- time


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
    system="Akka",
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
