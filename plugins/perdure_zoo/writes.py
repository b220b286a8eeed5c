"""Animals that write badly: atomicity, conflicts, rejections, answers, empty calls, acknowledged too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from perdure import AtomicWrite, Location, WriteRejected
from perdure.errors import SequenceConflict
from perdure_memory._journal import Log

from ._animal import Animal, Family, Ward, WardJournal, caged

Answers = Sequence[WriteRejected | None]

family = Family()


@family.animal(
    bug="BUG-024",
    system="Rails Event Store, postgres-es",
    source="https://github.com/RailsEventStore/rails_event_store/issues/477",
    cause="a unique key on the number, and no look at the highest one",
    killed_by="J-16",
)
class UniqueKeyOnly(WardJournal):
    """Numbers go into gaps and below deleted events: behind the back of everybody who has read past them."""

    def _refuse_conflicts(self, writes: Sequence[AtomicWrite]) -> None:
        for event in (event for write in writes for event in write.events):
            log = self.log(event.persistence_id)
            if event.sequence_nr in log.events:
                raise SequenceConflict(event.persistence_id, event.sequence_nr, log.highest_sequence_nr)

    def _append(self, write: AtomicWrite) -> None:
        _insert(self, write, super()._append)


def _insert(journal: WardJournal, write: AtomicWrite, append: Callable[[AtomicWrite], None]) -> None:
    """Append as a table does: the rows are sorted, and the highest number is the highest."""
    known = journal.log(write.persistence_id).highest_sequence_nr
    append(write)
    log = journal.log(write.persistence_id)
    log.events = dict(sorted(log.events.items()))
    log.highest_sequence_nr = max(known, log.highest_sequence_nr)


@family.animal(
    bug="BUG-053",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/190",
    cause="the rows of an AtomicWrite are inserted one by one, each on its own",
    killed_by="J-02",
)
class InsertManyIsNotAtomic(WardJournal):
    """A later row violates the key; those in front of it stay."""

    piece = 1

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        try:
            return await super().write_messages(writes)
        except SequenceConflict:
            for write in writes:
                self._leave_the_first_pieces(write)
            raise

    def _leave_the_first_pieces(self, write: AtomicWrite) -> None:
        taken = self.log(write.persistence_id).events.keys() & {event.sequence_nr for event in write.events}
        free = min(taken, default=0) - write.lowest_sequence_nr
        if free >= self.piece:
            left = write.events[: free // self.piece * self.piece]
            _insert(self, AtomicWrite(left), self._append)


@family.animal(
    bug="BUG-055",
    system="Akka.Persistence.Azure",
    source="https://github.com/petabridge/Akka.Persistence.Azure/issues/255",
    cause="a batch of more than 100 events is cut into several transactions",
    killed_by="J-02",
)
class LargeBatchesAreCut(InsertManyIsNotAtomic):
    """Each piece is atomic; what fails in the second piece leaves the first."""

    piece = 100


@family.animal(
    bug="BUG-020",
    system="NEventStore on SQL and MongoDB",
    source="https://github.com/NEventStore/NEventStore/issues/359",
    cause="no unique key, and no look at the highest number",
    killed_by="J-16",
)
class SecondWriteReplacesTheFirst(WardJournal):
    """Two writers use one number, both are acknowledged, and one event is gone."""

    def _refuse_conflicts(self, writes: Sequence[AtomicWrite]) -> None:
        pass

    def _append(self, write: AtomicWrite) -> None:
        _insert(self, write, super()._append)


@family.animal(
    bug="BUG-019",
    system="NEventStore on SQL",
    source="https://github.com/NEventStore/NEventStore/pull/79",
    cause="a violated key is taken for our own retry, which had succeeded",
    killed_by="J-16",
)
class ConflictTakenForSuccess(WardJournal):
    """The second writer is told that its events are stored. They are not."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        try:
            return await super().write_messages(writes)
        except SequenceConflict:
            return [None for _ in writes]


@family.animal(
    bug="BUG-034",
    system="Akka.Persistence.Sql, Akka.NET's batching journal, Akka.Persistence.SqlServer",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/pull/29",
    cause="every exception of the database becomes a rejection",
    killed_by="J-16",
)
class ConflictAnsweredAsRejection(WardJournal):
    """A rejected actor goes on: with the next number, beside a second writer of whom it knows nothing."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        try:
            return await super().write_messages(writes)
        except SequenceConflict as error:
            return [WriteRejected(str(error)) for _ in writes]


@family.animal(
    bug="BUG-040",
    system="KurrentDB (ExpectedVersion.Any)",
    source="https://github.com/kurrent-io/KurrentDB/issues/2274",
    cause="a write is compared with the last event only, to recognise a retry",
    killed_by="J-16",
)
class RetryOfTheLastEventSucceeds(WardJournal):
    """Idempotent for an immediate retry, a conflict once something else was written: a caller can rely on neither."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        new = [write for write in writes if not self._is_the_last(write)]
        answers = iter(await super().write_messages(new))
        return [next(answers) if write in new else None for write in writes]

    def _is_the_last(self, write: AtomicWrite) -> bool:
        log = self.log(write.persistence_id)
        last = log.events.get(log.highest_sequence_nr)
        return last is not None and (last.sequence_nr, last.payload) == (
            write.lowest_sequence_nr,
            write.events[0].payload,
        )


@family.animal(
    bug="BUG-042",
    system="Redis streams (idempotent XADD after XDEL)",
    source="https://github.com/redis/redis/issues/14908",
    cause="the table of recent writes is not cleaned when an event is deleted",
    killed_by="J-04",
)
class RecentWritesOutliveTheirEvents(WardJournal):
    """A new write that looks like a deleted one is acknowledged and not stored."""

    def _append(self, write: AtomicWrite) -> None:
        keys = [f"{write.persistence_id}\0{event.payload.data!r}" for event in write.events]
        events = self.log(write.persistence_id).events
        if all(key in self.ward.marks and self.ward.marks[key] not in events for key in keys):
            return
        super()._append(write)
        for key, event in zip(keys, write.events, strict=True):
            self.ward.marks[key] = event.sequence_nr


@family.animal(
    bug="BUG-033",
    system="Akka.NET's BatchingSqlJournal",
    source="https://github.com/akkadotnet/akka.net/issues/4941",
    cause="success is answered after the INSERT, before the COMMIT that others share",
    killed_by="J-14 J-16",
)
class AcknowledgedBeforeTheCommit(WardJournal):
    """When somebody else's write fails in the same transaction, what was acknowledged goes with it."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._uncommitted: Sequence[AtomicWrite] = ()

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        try:
            answers = await super().write_messages(writes)
        except SequenceConflict:
            self._roll_back()
            raise
        self._uncommitted = [write for write, refused in zip(writes, answers, strict=True) if refused is None]
        return answers

    def _roll_back(self) -> None:
        for write in self._uncommitted:
            for event in write.events:
                self.log(write.persistence_id).events.pop(event.sequence_nr, None)
        self._uncommitted = ()


@family.animal(
    bug="BUG-045",
    system="drivers of PostgreSQL: pgjdbc, pg8000, pgo, psycopg",
    source="https://github.com/pgjdbc/pgjdbc/issues/1697",
    cause="COMMIT of a transaction that has failed is a ROLLBACK, and nobody reads the answer",
    killed_by="J-14",
)
class CommitOfAnAbortedTransaction(WardJournal):
    """After a conflict the next write runs in the failed transaction: acknowledged, and rolled back."""

    aborted = False

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        if self.aborted and writes:
            self.aborted = False
            return [None for _ in writes]
        try:
            return await super().write_messages(writes)
        except SequenceConflict:
            self.aborted = True
            raise


@family.animal(
    bug="BUG-037",
    system="Akka.NET's SQL journals (recovery timed out until the node was restarted)",
    source="https://github.com/akkadotnet/akka.net/issues/4265",
    cause="a permit is taken before an operation and given back only when it succeeds",
    killed_by="J-61",
)
class FailuresUseUpThePermits(WardJournal):
    """Two conflicts, and no write of any id is answered any more."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._permits = asyncio.Semaphore(2)

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        await self._permits.acquire()
        answers = await super().write_messages(writes)
        self._permits.release()
        return answers


@family.animal(
    bug="BUG-049",
    system="Temporal",
    source="https://github.com/temporalio/temporal/issues/1267",
    cause="the row of the stream is written before the event that is then refused",
    killed_by="J-48",
)
class RefusedWriteLeavesAStream(WardJournal):
    """A rejected write is not stored, but its number is: the next recovery stumbles over a half-made stream."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers = await super().write_messages(writes)
        for write, refused in zip(writes, answers, strict=True):
            log = self._shelf.logs.setdefault(write.persistence_id, Log())
            if refused:
                log.highest_sequence_nr = max(log.highest_sequence_nr, write.highest_sequence_nr)
        return answers


@family.animal(
    bug="SEEN-07",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/180",
    cause="the number in the metadata is set to that of the call, also by a call that fails",
    killed_by="J-48 J-16",
)
class FailedWriteLowersTheNumber(WardJournal):
    """Two entities of one id after a partition: the metadata said less than the journal."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        try:
            return await super().write_messages(writes)
        except SequenceConflict as error:
            last = [write for write in writes if write.persistence_id == error.persistence_id][-1]
            self.log(error.persistence_id).highest_sequence_nr = last.highest_sequence_nr
            raise


@family.animal(
    bug="BUG-057",
    system="akka-persistence-sql-async, Akka.Persistence.Sql under load",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/issues/430",
    cause="max() of an empty list",
    killed_by="J-15",
)
class EmptyCallRaises(WardJournal):
    """A call without any write arises under load, and after an actor's exception."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        max(write.highest_sequence_nr for write in writes)
        return await super().write_messages(writes)


@family.animal(
    bug="SEEN-08",
    system="Akka.Persistence.Azure, Akka.NET's TestJournal",
    source="https://github.com/petabridge/Akka.Persistence.Azure/issues/143",
    cause="the list of results has one entry for each event instead of one for each AtomicWrite",
    killed_by="J-08",
)
class OneAnswerForEachEvent(WardJournal):
    """Only a call with a rejection has a list of results at all, so it takes a rejection to see it."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers = await super().write_messages(writes)
        if not any(answers):
            return answers
        return [answer for write, answer in zip(writes, answers, strict=True) for _ in write.events]


@family.animal(
    bug="SEEN-09",
    system="Akka.NET's batching journal (failures and rejections mixed)",
    source="https://github.com/akkadotnet/akka.net/pull/2425",
    cause="a rejection ends the loop over the writes of the call",
    killed_by="J-06 J-08",
)
class RejectionEndsTheCall(WardJournal):
    """What stands behind the rejected write is acknowledged and not stored."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        for place in range(len(writes)):
            refused = await super().write_messages(writes[place : place + 1])
            if any(refused):
                return [None] * place + list(refused) + [None] * (len(writes) - place - 1)
        return [None for _ in writes]


@family.animal(
    bug="SEEN-10",
    system="Akka.NET's TestJournal; Akka's TCK looks at the answers and never replays",
    source="https://github.com/akkadotnet/akka.net/issues/4762",
    cause="the event is stored before it is refused",
    killed_by="J-06 J-25",
)
class RejectedEventIsStored(WardJournal):
    """The actor goes on without the event, and meets it at its next recovery."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers = await super().write_messages(writes)
        for write, refused in zip(writes, answers, strict=True):
            if refused and write.lowest_sequence_nr > self._highest(write.persistence_id):
                self._append(write)
        return answers


@family.animal(
    bug="SEEN-11",
    system="none reported: the limit of a transaction of Azure tables, not claimed",
    source="https://github.com/petabridge/Akka.Persistence.Azure/issues/255",
    cause="a batch of more than 100 events is refused without a claim that says so",
    killed_by="J-03 J-02",
)
class LargeBatchesAreRefused(WardJournal):
    """Honest towards the actor, but nobody could know before."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        small = [write for write in writes if len(write.events) <= 100]
        answers = iter(await super().write_messages(small))
        return [next(answers) if len(write.events) <= 100 else WriteRejected("too large") for write in writes]


@family.animal(
    bug="BUG-186",
    system="the event journal of opencompany",
    source="https://github.com/tinyhumansai/opencompany/pull/389",
    cause="the last write stays in a buffer that nobody flushes",
    killed_by="J-45",
)
class LastWriteIsNeverFlushed(WardJournal):
    """199 of 200 appends were acknowledged before their bytes were written."""

    last: Callable[[], None] | None = None

    def _append(self, write: AtomicWrite) -> None:
        before = self.log(write.persistence_id).highest_sequence_nr
        super()._append(write)

        def lose() -> None:
            log = self.log(write.persistence_id)
            for event in write.events:
                log.events.pop(event.sequence_nr, None)
            log.highest_sequence_nr = before

        self.last = lose

    def close(self) -> None:
        if self.last:
            self.last()
        super().close()


@family.animal(
    bug="SEEN-12",
    system="Akka.NET's SharedMemoryJournal",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Journal/MemoryJournal.cs",
    cause="the events are shared, the highest numbers are kept in each handle",
    killed_by="J-85",
)
class HighestKeptInTheHandle(WardJournal):
    """A second system reads the highest number that it knew when it first asked."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._known: dict[str, int] = {}

    def _append(self, write: AtomicWrite) -> None:
        super()._append(write)
        self._known[write.persistence_id] = write.highest_sequence_nr

    def highest(self, persistence_id: str, hint: int) -> int:
        return self._known.setdefault(persistence_id, super().highest(persistence_id, hint))


def _one_ward_for_all_namespaces() -> Callable[[Location], Ward]:
    wards: dict[object, Ward] = {}
    return lambda location: wards.setdefault(location.directory, Ward())


NAMESPACES_SHARE_A_TABLE = Animal(
    name="namespaces_share_a_table",
    bug="SEEN-13",
    system="Akka.Persistence.Sql (an actor named after the table serves every journal that has one of that name)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs",
    cause="the namespace is not part of the key",
    story="Two applications in one database: each reads, and deletes, what belongs to the other.",
    killed_by=("J-36",),
    backend=caged("namespaces_share_a_table", ward_of=_one_ward_for_all_namespaces),
)
family.animals.append(NAMESPACES_SHARE_A_TABLE)
