"""Persistent actors over SQLite: threads answer, several actors share a transaction, and a new process recovers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from perdure import (
    ActorSystem,
    AtomicWrite,
    EventAdapters,
    Location,
    Payload,
    PersistentActor,
    PersistentRepr,
    SnapshotOffer,
    Storage,
    WriteRejected,
)
from perdure.errors import SequenceConflict
from perdure_sqlite import SqliteJournal, backend

ACTORS = 50
ROUNDS = 20


class Counter(PersistentActor):
    def __init__(self, persistence_id: str) -> None:
        self.persistence_id = persistence_id
        self.seen: list[int] = []

    def receive_command(self, message: object) -> None:
        if message == "seen":
            self.reply(list(self.seen))
        elif isinstance(message, int):
            self.persist_all([message, -message], self.kept)

    def receive_recover(self, message: object) -> None:
        match message:
            case SnapshotOffer(_, seen):
                self.seen = list(seen)
            case int():
                self.seen.append(message)

    def kept(self, event: int) -> None:
        self.seen.append(event)
        if self.last_sequence_nr == ROUNDS:
            self.save_snapshot(self.seen)
        if event < 0:
            self.reply(event)


async def count(directory: Path) -> None:
    async with backend.open(Location(directory=directory)) as storage, ActorSystem(storage) as system:
        actors = [system.spawn(partial(Counter, f"counter-{number}")) for number in range(ACTORS)]
        for number in range(1, ROUNDS + 1):
            await asyncio.gather(*(actor.ask(number, timeout_s=120) for actor in actors))


async def recovered(directory: Path) -> list[list[int]]:
    async with backend.open(Location(directory=directory)) as storage, ActorSystem(storage) as system:
        actors = [system.spawn(partial(Counter, f"counter-{number}")) for number in range(ACTORS)]
        return await asyncio.gather(*(actor.ask("seen", timeout_s=120) for actor in actors))


def test_what_was_acknowledged_is_recovered(tmp_path: Path) -> None:
    asyncio.run(count(tmp_path))
    expected = [sign * number for number in range(1, ROUNDS + 1) for sign in (1, -1)]
    assert asyncio.run(recovered(tmp_path)) == [expected] * ACTORS


def test_leaving_the_system_at_once_stores_what_was_persisted(tmp_path: Path) -> None:
    class Hasty(Counter):
        def receive_command(self, message: object) -> None:
            for number in range(100):
                self.persist_async(number)
            self.reply("persisted")

    async def main() -> list[int]:
        async with backend.open(Location(directory=tmp_path)) as storage:
            async with ActorSystem(storage) as system:
                await system.spawn(lambda: Hasty("hasty")).ask("go", timeout_s=120)
            async with ActorSystem(storage) as system:
                found: list[int] = await system.spawn(lambda: Counter("hasty")).ask("seen", timeout_s=120)
                return found

    assert asyncio.run(main()) == list(range(100))


class Keeper(PersistentActor):
    """Persists what it is told, and answers by what became of it."""

    def __init__(self, persistence_id: str) -> None:
        self.persistence_id = persistence_id

    def receive_recover(self, message: object) -> None: ...

    def receive_command(self, message: object) -> None:
        if message == "ready?":
            self.reply("ready")
        else:
            self.persist(message, self.reply)

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self.reply("rejected")

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self.reply(type(error))


class Unstorable:
    """An event adapter whose manifest no database can keep."""

    def manifest(self, _: str) -> str:
        return "\ud800"

    def to_journal(self, event: str) -> str:
        return event


class Counting(SqliteJournal):
    """Counts how many calls came in each group."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.__dict__.update(journal.__dict__)
        self.sizes: list[int] = []

    async def write_group(
        self, calls: Sequence[Sequence[AtomicWrite]]
    ) -> Sequence[Sequence[WriteRejected | None] | Exception]:
        self.sizes.append(len(calls))
        return await super().write_group(calls)


def test_a_conflict_in_a_group_of_actors_fails_the_one_whose_number_was_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            assert isinstance(storage.journal, SqliteJournal)
            journal = Counting(storage.journal)
            adapters = EventAdapters({str: Unstorable()})
            async with ActorSystem(Storage(journal, storage.snapshots), event_adapters=adapters) as system:
                keepers = {name: system.spawn(partial(Keeper, name)) for name in "abcd"}
                for keeper in keepers.values():
                    await keeper.ask("ready?", timeout_s=120)
                taken = PersistentRepr("b", 1, Payload(4, "", b"another writer's"))
                await storage.journal.write_messages([AtomicWrite((taken,))])
                events = {"a": b"a", "b": b"b", "c": "c", "d": b"d"}
                answers = await asyncio.gather(
                    *(keeper.ask(events[name], timeout_s=120) for name, keeper in keepers.items())
                )
            assert answers == [b"a", SequenceConflict, "rejected", b"d"]
            assert journal.sizes == [4], "they were one call, and one transaction"
            stored = {
                name: [event.payload.data async for event in storage.journal.replay_messages(name)] for name in keepers
            }
            assert stored == {"a": [b"a"], "b": [b"another writer's"], "c": [], "d": [b"d"]}

    asyncio.run(main())
