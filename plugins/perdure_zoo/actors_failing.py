"""Actors that go wrong when something else has: after rejections, failures, exceptions and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure import PersistentActor, Recovery, WriteRejected
from perdure._events import AtomicWrite
from perdure.actors import ActorRef
from perdure.persistent._persistent_actor import Handler
from perdure.persistent._port import Answers
from perdure.persistent._writer import Invocation, Writer

from ._troupe import ActorFamily

family = ActorFamily()


# ------------------------------------------------------------------------------------------------------------ restarts


@family.animal(
    bug="SEEN-129",
    system="none reported: a restart that keeps what a resume keeps",
    source="https://github.com/asynkron/protoactor-dotnet/issues/189",
    cause="a restarted actor does not recover its state",
    killed_by="A-12",
)
class RestartsWithoutItsEvents(PersistentActor):
    """After the first error the state is as at the beginning, while the numbers go on."""

    async def _start(self, error: BaseException | None) -> None:
        if error is not None:
            self.recovery = Recovery.none
        await super()._start(error)


@family.animal(
    bug="SEEN-130",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/15458",
    cause="answers of the journal are not told apart by the incarnation that asked",
    killed_by="A-13",
)
class AnswersForTheDead(PersistentActor):
    """A handler of an instance that is gone runs within the one that took its place."""

    def _detach(self) -> None:
        self._recovering = True


@family.animal(
    bug="SEEN-131",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/15473",
    cause="what has gathered behind a write is forgotten by a restart",
    killed_by="A-20",
)
class RestartForgetsWhatGathered(PersistentActor):
    """Events that a command persisted before another one raised are never written."""

    def _detach(self) -> None:
        if hasattr(self, "_writer"):
            self._writer.gathered, self._writer._writes = [], []
        super()._detach()


@family.animal(
    bug="SEEN-132",
    system="none reported: a transaction around the command",
    source="https://github.com/akka/akka-core/pull/17828",
    cause="what a command persisted before it raised is dropped",
    killed_by="A-20",
)
class RaisingSendsNothing(PersistentActor):
    """What a command did before it raised is undone in the journal, and nowhere else."""

    def receive(self, message: object) -> object:
        writer = self._writer
        invocations, writes = len(writer.gathered), len(writer._writes)
        try:
            return super().receive(message)
        except Exception:
            for invocation in writer.gathered[invocations:]:
                self._unanswered -= 1
                self._stashing -= invocation.stashing
            del writer.gathered[invocations:], writer._writes[writes:]
            raise


# ----------------------------------------------------------------------------------------------------------- failures


@family.animal(
    bug="SEEN-133",
    system="Akka",
    source="https://github.com/akka/akka-core/issues/17573",
    cause="a failed write does not stop the actor",
    killed_by="A-17",
)
class GoesOnAfterAFailure(PersistentActor):
    """It no longer knows what is stored, and decides all the same."""

    def _persist_failed(self, error: BaseException, invocation: Invocation) -> object:
        return self.on_persist_failure(error, invocation.event, invocation.sequence_nr)


@family.animal(
    bug="SEEN-133b",
    system="Akka (persistAsync)",
    source="https://github.com/akka/akka-core/issues/16187",
    cause="the actor is not told that a write has failed",
    killed_by="A-17",
)
class StopsWithoutAWord(PersistentActor):
    """It stops, and its author finds nothing about why."""

    def _persist_failed(self, error: BaseException, invocation: Invocation) -> object:
        self._cell.stop()
        return None


@family.animal(
    bug="BUG-160",
    system="Akka classic persistAsync, Akka.NET before 1.4.11",
    source="https://github.com/akka/akka-core/issues/28629",
    cause="the failure of a batch lets the next one go before the actor stops",
    killed_by="A-21",
)
class WritesOnAfterAFailure(Writer):
    """Later events are stored without those that failed: a state that never was."""

    def answered(self, answer: Answers | BaseException, overdue: bool = False) -> None:
        gathered, writes = self.gathered, self._writes
        super().answered(answer, overdue)
        if isinstance(answer, BaseException):
            self.gathered, self._writes = gathered, writes
            self.flush()


@family.animal(
    bug="SEEN-134",
    system="Akka",
    source="https://github.com/akka/akka-core/issues/19694",
    cause="a write does not wait for the answer to the one before it",
    killed_by="A-21",
)
class WritesDoNotWait(Writer):
    """A journal that takes them in the other order stores the second event without the first."""

    def flush(self) -> None:
        batch, writes = self.gathered, self._writes
        self.gathered, self._writes = [], []
        if writes:
            _Call(self, batch, writes)
        elif batch:
            self._hand_over(batch)


class _Call:
    """One write of several that are under way: a lane of its own."""

    def __init__(self, writer: Writer, batch: list[Invocation], writes: Sequence[AtomicWrite]) -> None:
        self.persistence_id = writer.persistence_id
        self.busy = True
        self._writer = writer
        self._batch = batch
        writer._port.join(self)
        writer._port.write(self, writes)

    def answered(self, answer: Answers | BaseException, overdue: bool = False) -> None:
        self._writer._under_way = self._batch
        self._writer.answered(answer)
        if not overdue:
            self.over()

    def over(self) -> None:
        self.busy = False
        self._writer._port.settled(self, False)


# --------------------------------------------------------------------------------------------------------- rejections


@family.animal(
    bug="SEEN-135",
    system="akka-persistence-jdbc, Akka.NET (a lazy iterator)",
    source="https://github.com/akka/akka-persistence-jdbc/pull/52",
    cause="a rejection is taken for a failure",
    killed_by="A-18",
)
class RejectionStops(PersistentActor):
    """One event that cannot be stored ends an actor that could go on."""

    def _answered(self, invocation: Invocation) -> object:
        result = super()._answered(invocation)
        if isinstance(invocation.outcome, WriteRejected):
            self._cell.stop()
        return result


@family.animal(
    bug="SEEN-135b",
    system="none reported: a hook that only logs",
    source="https://github.com/akka/akka-core/pull/17818",
    cause="the handler of a rejected event is called",
    killed_by="A-18",
)
class HandlesWhatWasRejected(PersistentActor):
    """The state has an event that no recovery will have."""

    def _answered(self, invocation: Invocation) -> object:
        result = super()._answered(invocation)
        if isinstance(invocation.outcome, WriteRejected) and invocation.handler is not None:
            return invocation.handler(invocation.event)
        return result


@family.animal(
    bug="SEEN-135e",
    system="Akka.NET BatchingSqlJournal",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/contrib/persistence/Akka.Persistence.Sql.Common/Journal/BatchingSqlJournal.cs",
    cause="a write with a rejection counts as under way for ever",
    killed_by="A-18",
)
class RejectionLeavesAWriteUnderWay(Writer):
    """The actor lives, takes commands, and never writes again."""

    def answered(self, answer: Answers | BaseException, overdue: bool = False) -> None:
        super().answered(answer, overdue)
        if not isinstance(answer, BaseException) and any(answer):
            self._unanswered = True


@family.animal(
    bug="SEEN-135d",
    system="Akka.NET (adapters are applied while the journal lists the events)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Journal/AsyncWriteJournal.cs",
    cause="what an event adapter raises is taken for a failure of the write",
    killed_by="J-26",
)
class AdapterErrorIsAFailure(PersistentActor):
    """One event that cannot be adapted stops an actor whose storage is well."""

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        super()._persist_one(operation, event, handler, stashing)
        newest = self._writer.gathered[-1]
        if isinstance(newest.outcome, WriteRejected):
            newest.outcome = RuntimeError(newest.outcome.reason)


@family.animal(
    bug="SEEN-135c",
    system="none reported: holes avoided (krasserm/akka-persistence-cassandra gave up rejections for it)",
    source="https://github.com/krasserm/akka-persistence-cassandra/pull/134",
    cause="the number of a rejected event is given to the next one",
    killed_by="A-31",
)
class RejectedNumberIsUsedAgain(PersistentActor):
    """What was told about a number, and what has it in the end, are two events."""

    def _answered(self, invocation: Invocation) -> object:
        if isinstance(invocation.outcome, WriteRejected):
            self._sequence_nr -= 1
        return super()._answered(invocation)


@family.animal(
    bug="SEEN-137",
    system="none reported: what belongs to a write goes with it",
    source="https://github.com/akka/akka-core/pull/15339",
    cause="what was deferred behind a rejected event is dropped",
    killed_by="A-32",
)
class DeferredGoesWithTheRejected(PersistentActor):
    """Whoever waits for the end of the command waits for ever."""

    def _answered(self, invocation: Invocation) -> object:
        if invocation.sequence_nr:
            self.__dict__["_refused"] = isinstance(invocation.outcome, WriteRejected)
        elif self.__dict__.get("_refused"):
            invocation.handler = None
        return super()._answered(invocation)


@family.animal(
    bug="SEEN-137b",
    system="none reported: what needs no journal is not concerned by its failure",
    source="https://github.com/akka/akka-core/pull/24508",
    cause="what was deferred behind a failed event is called before the actor stops",
    killed_by="A-32",
)
class DeferredOutlivesAFailure(Writer):
    """It says that the event before it was handled."""

    def answered(self, answer: Answers | BaseException, overdue: bool = False) -> None:
        deferred = [invocation for invocation in self._under_way if not invocation.sequence_nr]
        if isinstance(answer, BaseException):
            for invocation in deferred:
                if invocation.handler is not None:
                    invocation.handler(invocation.event)
        super().answered(answer, overdue)


# -------------------------------------------------------------------------------------------------- stash and overflow


@family.animal(
    bug="SEEN-138",
    system="Akka (typed)",
    source="https://github.com/akka/akka-core/issues/31368",
    cause="unstash_all puts back one message",
    killed_by="A-22",
)
class UnstashesOne(PersistentActor):
    """The others wait until somebody unstashes again."""

    def unstash_all(self) -> None:
        self.unstash()


@family.animal(
    bug="SEEN-138b",
    system="Akka (typed, while it was made)",
    source="https://github.com/akka/akka-core/pull/26011",
    cause="what is unstashed comes back in the wrong order",
    killed_by="A-22",
)
class UnstashesLastFirst(PersistentActor):
    """Each message is put before those that were put back earlier."""

    def unstash_all(self) -> None:
        self._cell.stashed.reverse()
        super().unstash_all()


@family.animal(
    bug="SEEN-138c",
    system="Pekko (with a backoff supervisor)",
    source="https://github.com/apache/pekko/issues/669",
    cause="the stash goes with the instance that had it",
    killed_by="A-22",
)
class RestartForgetsTheStash(PersistentActor):
    """Commands that were put aside for later are gone after an error that has nothing to do with them."""

    def _detach(self) -> None:
        self._cell.stashed.clear()
        super()._detach()

    def pre_restart(self, error: BaseException, message: object) -> object:
        self._cell.stashed.clear()
        return super().pre_restart(error, message)


@family.animal(
    bug="SEEN-139",
    system="none reported: a bound without an end that anybody hears of",
    source="https://github.com/akka/akka-core/pull/19829",
    cause="messages for which there is no room are dropped without a word",
    killed_by="A-23",
)
class OverflowsInSilence(PersistentActor):
    """No error, no dead letter, no answer."""

    def _overflow(self, message: object, sender: ActorRef | None) -> None:
        pass


@family.animal(
    bug="SEEN-139b",
    system="none reported: one strategy where there are three",
    source="https://github.com/akka/akka-core/pull/30629",
    cause="the strategy of the actor is not looked at: messages are dead letters whatever it says",
    killed_by="A-23",
)
class OverflowsToDeadLetters(PersistentActor):
    """The sender who should be told to try again is told nothing."""

    def _overflow(self, message: object, sender: ActorRef | None) -> None:
        self._cell._dead(message, sender)
