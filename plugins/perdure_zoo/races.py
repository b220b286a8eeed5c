"""Animals that are right as long as nobody calls them twice at once: an await in the wrong place, in memory.

Each suspends where a real backend waits for its driver. What another call does in that moment, or that the call is
cancelled there, is the whole of the mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    WriteRejected,
    check_delete,
    check_persistence_id,
    check_read_highest,
    check_replay,
    unstorable_text,
)
from perdure.errors import SequenceConflict

from ._animal import Family, Ward, WardJournal, WardSnapshots

Answers = Sequence[WriteRejected | None]

family = Family()


async def driver() -> None:
    """The moment in which a real backend waits for its store."""
    await asyncio.sleep(0)


def _kept(writes: Sequence[AtomicWrite]) -> tuple[list[WriteRejected | None], list[AtomicWrite]]:
    """The answers to a call, and the writes that are to be stored."""
    answers = [unstorable_text(write) for write in writes]
    return answers, [write for write, answer in zip(writes, answers, strict=True) if answer is None]


# ------------------------------------------------------------------------------------------------------------- writes


@family.animal(
    bug="BUG-026",
    system="Jido",
    source="https://github.com/agentjido/jido/issues/145",
    cause="the highest number is read and the event written in two steps, with an await between",
    killed_by="J-80",
)
class ReadsThenWrites(WardJournal):
    """Two writers read the same head, both find their number free, and both are told that it is stored."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        self._refuse_conflicts(kept)
        await driver()
        for write in kept:
            self._append(write)
        return answers


@family.animal(
    bug="BUG-052b",
    system="Akka.NET SQL journals",
    source="https://github.com/akkadotnet/akka.net/issues/1883",
    cause="the AtomicWrites of one call are sent in parallel",
    killed_by="J-12",
)
class WritesOfACallRace(WardJournal):
    """The third is stored before the first. Whoever reads then has passed the first for ever."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        self._refuse_conflicts(kept)
        await asyncio.gather(*(self._sent(write, len(kept) - place) for place, write in enumerate(kept)))
        return answers

    async def _sent(self, write: AtomicWrite, moments: int) -> None:
        for _ in range(moments - 1):
            await driver()
        known = self.log(write.persistence_id).highest_sequence_nr
        self._append(write)
        log = self.log(write.persistence_id)
        log.events = dict(sorted(log.events.items()))
        log.highest_sequence_nr = max(known, log.highest_sequence_nr)


@family.animal(
    bug="BUG-053b",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/190",
    cause="the rows of an AtomicWrite become visible one by one",
    killed_by="J-65 J-33",
)
class BatchIsSeenRowByRow(WardJournal):
    """No transaction around the rows: a replay beside the write shows the first half of it."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        self._refuse_conflicts(kept)
        for write in kept:
            for event in write.events:
                await self._row(event)
        return answers

    async def _row(self, event: PersistentRepr) -> None:
        self._append(AtomicWrite((event,)))
        await driver()


@family.animal(
    bug="BUG-032",
    system="mydia, boring-ui, rustrak, grappa",
    source="https://github.com/getmydia/mydia/pull/502",
    cause="a transaction that began by reading is refused the writing, and the refusal is taken for nothing",
    killed_by="J-17",
)
class DropsWhatCannotBeUpgraded(WardJournal):
    """Somebody else has written since the transaction began to read. The store says busy, and the event is dropped."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._version = 0

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        version = self._version
        await driver()
        if version == self._version:
            self._refuse_conflicts(kept)
            for write in kept:
                self._append(write)
            self._version += 1
        return answers


@family.animal(
    bug="SEEN-100",
    system="none reported: a buffer of the journal where each call should have its own",
    source="https://github.com/akkadotnet/akka.net/issues/3590",
    cause="all calls share one buffer, which is emptied when any of them is refused",
    killed_by="J-17",
)
class SharesABuffer(WardJournal):
    """The conflict of one caller empties the buffer in which the events of another one wait."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._buffer: list[AtomicWrite] = []

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        self._buffer += kept
        await driver()
        try:
            self._refuse_conflicts(self._buffer)
            for write in self._buffer:
                self._append(write)
        finally:
            self._buffer = []
        return answers


@family.animal(
    bug="SEEN-101",
    system="none reported: group commit without a look at whose conflict it was",
    source="https://github.com/akkadotnet/akka.net/issues/3590",
    cause="calls that wait at one time are committed as a group, and fail as a group",
    killed_by="J-17",
)
class GroupSharesAConflict(WardJournal):
    """A writer of another id is told that its number is taken, because that of its neighbour in the group was."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._group: list[AtomicWrite] = []
        self._commit: asyncio.Future[None] | None = None

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        self._group += kept
        if self._commit is None or self._commit.done():
            self._commit = asyncio.ensure_future(self._committed())
        await asyncio.shield(self._commit)
        return answers

    async def _committed(self) -> None:
        await driver()
        group, self._group = self._group, []
        self._refuse_conflicts(group)
        for write in group:
            self._append(write)


# -------------------------------------------------------------------------------------------------- highest, answers


@family.animal(
    bug="SEEN-102",
    system="Akka.Persistence.Sql before it waited for writes in progress",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql",
    cause="the highest number comes from a copy that is renewed after the write is visible",
    killed_by="J-47 J-81",
)
class HighestDoesNotWait(WardJournal):
    """The event is there and its number is not. A restarted actor gives the number to another event."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        self._refuse_conflicts(kept)
        for write in kept:
            self._append(write)
        await driver()
        for write in kept:
            self.ward.marks[write.persistence_id] = write.highest_sequence_nr
        return answers

    def highest(self, persistence_id: str, hint: int) -> int:
        return self.ward.marks.get(persistence_id, 0)


@family.animal(
    bug="SEEN-103",
    system="none reported: a field of the journal where a local name was meant",
    source="https://github.com/agentjido/jido/issues/145",
    cause="the id that is asked for is kept in the journal across an await",
    killed_by="J-17",
)
class AnswersAnotherCaller(WardJournal):
    """Two ask at once, and both get the answer to the second question."""

    _asked = ""

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        self._refuse_closed("read_highest_sequence_nr")
        self._asked = persistence_id
        await driver()
        return self.highest(self._asked, from_sequence_nr)


@family.animal(
    bug="BUG-023",
    system="Marten",
    source="https://github.com/JasperFx/marten/pull/1279",
    cause="the row with the highest number is read, changed and written back, with an await between",
    killed_by="J-77 J-80",
)
class RowIsWrittenBack(WardJournal):
    """A deletion writes back the row that it read, and with it the highest number from before the write beside it."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        highest = self._highest(persistence_id)
        await driver()
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        self.log(persistence_id).highest_sequence_nr = highest


# ------------------------------------------------------------------------------------------------------------ replays


class _Pages(WardJournal):
    """Replays page by page; what is read is what is there when its page is."""

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        self._refuse_closed("replay_messages")
        given, last = 0, from_sequence_nr - 1
        while page := self.page(persistence_id, last, to_sequence_nr, given)[: max_count - given]:
            for event in page:
                yield event
            given, last = given + len(page), page[-1].sequence_nr
            await driver()

    def page(self, persistence_id: str, behind: int, last: int, given: int) -> list[PersistentRepr]:
        return self.window(persistence_id, behind + 1, last)[: self.page_size]


@family.animal(
    bug="SEEN-104",
    system="akka-persistence-jdbc and others that page by key",
    source="https://github.com/akka/akka-persistence-jdbc/issues/551",
    cause="each page of a replay is a query of its own, without a snapshot around them",
    killed_by="J-66 J-77",
)
class PagesAreOfSeveralMoments(_Pages):
    """A deletion between two pages: the first page is from before it, the next from after it, and there is a hole."""


@family.animal(
    bug="SEEN-105",
    system="none reported: LIMIT and OFFSET instead of a key",
    source="https://github.com/akka/akka-persistence-jdbc/issues/551",
    cause="the next page is found by how many events were given, and a deletion moves them",
    killed_by="J-66 J-77",
)
class PagesAreCounted(_Pages):
    """The events behind the deleted ones move up, and as many as were deleted are skipped."""

    def page(self, persistence_id: str, behind: int, last: int, given: int) -> list[PersistentRepr]:
        found = self.window(persistence_id, 1, last)
        return [event for event in found[given:] if event.sequence_nr > behind][: self.page_size]


@family.animal(
    bug="SEEN-106",
    system="none reported: DELETE in batches, as for large tables",
    source="https://github.com/akkadotnet/akka.net/issues/1883",
    cause="events are deleted one by one, from the first to the last",
    killed_by="J-66 J-77 J-33",
)
class DeletesRowByRow(WardJournal):
    """A replay beside it begins in the middle of what is being deleted; a cancelled deletion stops there."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        check_delete(persistence_id, to_sequence_nr)
        for event in self.window(persistence_id, 1, to_sequence_nr):
            await super().delete_messages_to(persistence_id, event.sequence_nr)
            await driver()


# ------------------------------------------------------------------------------------------------------- cancellation


class _Locked(WardJournal):
    """Everything behind one lock, so that calls do not overlap."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.lock = asyncio.Lock()

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        check_read_highest(persistence_id, from_sequence_nr)
        async with self.lock:
            return self.highest(persistence_id, from_sequence_nr)


@family.animal(
    bug="SEEN-107",
    system="none reported: acquire and release without a try around the work",
    source="https://github.com/langchain-ai/langgraph/pull/6701",
    cause="a lock is not given back by a call that is cancelled",
    killed_by="J-33",
)
class KeepsItsLock(_Locked):
    """The next call waits for a lock that nobody holds any more."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        await self.lock.acquire()
        try:
            await driver()
            answers = await super().write_messages(writes)
        except SequenceConflict:
            self.lock.release()
            raise
        self.lock.release()
        return answers


@family.animal(
    bug="SEEN-108",
    system="none reported: rows without a transaction, behind a lock",
    source="https://github.com/langchain-ai/langgraph/pull/6701",
    cause="a call that is cancelled in the middle of a batch leaves the rows that it had written",
    killed_by="J-33",
)
class LeavesHalfABatch(_Locked):
    """Nobody sees it while it happens. The half that is there stays for good."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        answers, kept = _kept(writes)
        async with self.lock:
            self._refuse_conflicts(kept)
            for write in kept:
                for event in write.events:
                    self._append(AtomicWrite((event,)))
                    await driver()
        return answers

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        check_replay(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        self._refuse_closed("replay_messages")
        async with self.lock:
            found = list(self.selected(persistence_id, from_sequence_nr, to_sequence_nr, max_count))
        for event in found:
            yield event


@family.animal(
    bug="BUG-047",
    system="LangGraph",
    source="https://github.com/langchain-ai/langgraph/pull/6701",
    cause="a queue carries out what its caller has cancelled, and nobody waits for the queue",
    killed_by="J-81 J-33 J-47",
)
class CancelledYetCarriedOut(WardJournal):
    """The caller has given up, another incarnation has read the highest number, and then the event lands."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self._queue: set[asyncio.Task[Answers]] = set()

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Answers:
        task = asyncio.create_task(self._carried_out(writes))
        self._queue.add(task)
        task.add_done_callback(self._queue.discard)
        return await asyncio.shield(task)

    async def _carried_out(self, writes: Sequence[AtomicWrite]) -> Answers:
        for _ in range(4):
            await driver()
        return await super().write_messages(writes)


# ---------------------------------------------------------------------------------------------------------- snapshots


@family.animal(
    bug="SEEN-109",
    system="none reported: one temporary file for all saves",
    source="https://github.com/akka/akka-core/pull/31228",
    cause="every save writes the same temporary place and renames it",
    killed_by="S-35 S-11",
)
class OneTemporaryFile(WardSnapshots):
    """Two saves at once: the place is renamed twice, and both ids have the snapshot of the second."""

    _temporary: Payload

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        self._temporary = snapshot
        await driver()
        await super().save(metadata, self._temporary)


@family.animal(
    bug="SEEN-110",
    system="none reported: DELETE and INSERT where an upsert was meant",
    source="https://github.com/akkadotnet/akka.net/issues/3590",
    cause="a save deletes what is there and then inserts",
    killed_by="S-38 S-11",
)
class DeletesThenInserts(WardSnapshots):
    """Cancelled in between, or asked in between, there is no snapshot at all."""

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        self._shelf.snapshots.pop((metadata.persistence_id, metadata.sequence_nr), None)
        await driver()
        await super().save(metadata, snapshot)


@family.animal(
    bug="BUG-144",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/31228",
    cause="snapshots are listed, and the newest is read later, when it is deleted",
    killed_by="S-35",
)
class ListsThenReads(WardSnapshots):
    """The file that was in the list is gone, and the actor cannot recover although an older snapshot is there."""

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        check_persistence_id(persistence_id)
        self._refuse_closed("load")
        found = self.newest(self.matching(persistence_id, criteria))
        await driver()
        if found is None:
            return None
        return self._shelf.snapshots[found.metadata.persistence_id, found.metadata.sequence_nr]


@family.animal(
    bug="SEEN-111",
    system="none reported: files deleted one by one",
    source="https://github.com/akka/akka-core/pull/31228",
    cause="snapshots are deleted one by one, and a cancelled deletion stops in between",
    killed_by="S-38",
)
class DeletesFileByFile(WardSnapshots):
    """Some of the snapshots are gone, some are there, and nobody knows which."""

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        check_persistence_id(persistence_id)
        self._refuse_closed("delete_matching")
        for selected in self._matching(persistence_id, criteria):
            self.discard(selected)
            await driver()
