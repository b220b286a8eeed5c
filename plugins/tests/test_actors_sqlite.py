"""Persistent actors over SQLite: threads answer, several actors share a transaction, and a new process recovers."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from perdure import ActorSystem, Location, PersistentActor, SnapshotOffer
from perdure_sqlite import backend

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
