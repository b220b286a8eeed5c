"""Persistent actors beside raw limits and a peer: `python benchmarks/actors.py`.

A command is told, persists one event of 100 bytes, and is answered by the event's handler; it counts when it is
answered. Actors have recovered before the clock starts. The suite `cpu` measures the same by the processor time of all
threads: what an event costs, whatever the disk does and whoever else uses the machine.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from _raw import fresh_raw, insert_rows, raw_connection, rows_of, select_events
from _table import Beside, Case, Goal, OpenSuite, Suite, main, seconds_since
from _work import calls_of, events_in_turn, fresh_memory, fresh_sqlite
from perdure import (
    ActorRef,
    ActorSystem,
    AtomicWrite,
    Location,
    Payload,
    PersistentActor,
    PersistentRepr,
    Storage,
    load_backend,
)

if TYPE_CHECKING:
    from eventsourcing.application import Application

ACTORS = 1000
ROUNDS = 20
ALONE = 1000
HISTORY = 100_000

_EVENT = bytes(range(100))


class Account(PersistentActor):
    """Persists each command as it is, by the method that it was made with; `size` events at once, if more than one."""

    def __init__(self, persistence_id: str, method: str = "persist", size: int = 1) -> None:
        self.persistence_id = persistence_id
        self.method = method
        self.size = size
        self.count = 0

    def receive_command(self, message: object) -> None:
        if message == "count":
            self.reply(self.count)
        elif self.size > 1:
            self.persist_all([message] * self.size, self.applied)
        elif self.method == "persist":
            self.persist(message, self.applied)
        else:
            self.persist_async(message, self.applied)

    def receive_recover(self, message: object) -> None:
        if isinstance(message, bytes):
            self.count += 1

    def applied(self, event: object) -> None:
        self.count += 1
        self.reply(event)


class Countdown(ActorRef):
    """Is done when it was told so many messages."""

    def __init__(self, count: int) -> None:
        super().__init__("countdown")
        self._left = count
        self.done = asyncio.get_running_loop().create_future()

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        self._left -= 1
        if self._left == 0:
            self.done.set_result(None)


Clock = Callable[[], float]


async def commands(
    storage: Storage, actors: int, rounds: int, method: str = "persist", size: int = 1, clock: Clock = time.perf_counter
) -> float:
    """Events a second, of actors that are told all their commands at once."""
    async with ActorSystem(storage) as system:
        refs = [system.spawn(partial(Account, f"account-{number}", method, size)) for number in range(actors)]
        for ref in refs:
            await ref.ask("count", timeout_s=60)
        countdown = Countdown(actors * rounds * size)
        start = clock()
        for _ in range(rounds):
            for ref in refs:
                ref.tell(_EVENT, countdown)
        await countdown.done
        return actors * rounds * size / (clock() - start)


async def on_sqlite(
    place: Path, actors: int, rounds: int, method: str = "persist", size: int = 1, clock: Clock = time.perf_counter
) -> float:
    async with fresh_sqlite(place) as storage:
        return await commands(storage, actors, rounds, method, size, clock)


async def on_memory(actors: int, rounds: int, method: str = "persist") -> float:
    async with fresh_memory() as storage:
        return await commands(storage, actors, rounds, method)


async def raw(place: Path, rows_a_transaction: int, count: int, clock: Clock = time.perf_counter) -> float:
    rows = rows_of(events_in_turn(calls_of(rows_a_transaction, count // rows_a_transaction)))
    async with fresh_raw(place) as connection:
        start = clock()
        insert_rows(connection, rows, rows_a_transaction)
        return len(rows) / (clock() - start)


@asynccontextmanager
async def sqlite(place: Path) -> AsyncIterator[Suite]:
    one, many = "raw executemany, 1 row a transaction", f"raw executemany, {ACTORS} rows a transaction"
    cases = [
        Case(one, partial(raw, place, 1, ALONE)),
        Case(many, partial(raw, place, ACTORS, ACTORS * ROUNDS)),
        Case("1 actor, persist", partial(on_sqlite, place, 1, ALONE), (Beside(one),)),
        Case("1 actor, persist_async", partial(on_sqlite, place, 1, ACTORS * ROUNDS, "persist_async"), (Beside(many),)),
        Case(f"{ACTORS} actors, persist", partial(on_sqlite, place, ACTORS, ROUNDS), (Beside(many, Goal(0.5)),)),
        Case(
            f"{ACTORS} actors, persist_all of 10",
            partial(on_sqlite, place, ACTORS, ROUNDS // 10, "persist", 10),
            (Beside(many, Goal(1.0)),),
        ),
    ]
    if find_spec("eventsourcing") is not None:
        peer = "eventsourcing, Application.save, 1 thread"
        cases.append(Case(peer, partial(_peer, place)))
        cases[3] = Case(cases[3].name, cases[3].run, (*cases[3].beside, Beside(peer, Goal(50))))
        cases[4] = Case(cases[4].name, cases[4].run, (*cases[4].beside, Beside(peer, Goal(50))))
    yield Suite("events a second over SQLite, synchronous FULL", cases)


async def _peer(place: Path) -> float:
    from _peer import fresh_application, save_one_by_one

    with fresh_application(place) as application:
        start = time.perf_counter()
        save_one_by_one(application, ALONE)
        return ALONE / seconds_since(start)


@asynccontextmanager
async def cpu(place: Path) -> AsyncIterator[Suite]:
    many, selected = f"raw executemany, {ACTORS} rows a transaction", "raw SELECT, decode and count"
    spent = time.process_time
    async with load_backend("sqlite").open(Location(directory=place)) as storage:
        await _fill(storage, "long", HISTORY)
        yield Suite(
            "events a second of processor time, over SQLite",
            [
                Case(many, partial(raw, place, ACTORS, ACTORS * ROUNDS, spent)),
                Case(
                    "1 actor, persist_async",
                    partial(on_sqlite, place, 1, ACTORS * ROUNDS, "persist_async", 1, spent),
                    (Beside(many),),
                ),
                Case(
                    f"{ACTORS} actors, persist",
                    partial(on_sqlite, place, ACTORS, ROUNDS, "persist", 1, spent),
                    (Beside(many),),
                ),
                Case(
                    f"{ACTORS} actors, persist_all of 10",
                    partial(on_sqlite, place, ACTORS, ROUNDS // 10, "persist", 10, spent),
                    (Beside(many),),
                ),
                Case(selected, partial(_raw_select, place, spent)),
                Case("recovery of an actor", partial(_recover, storage, "long", HISTORY, spent), (Beside(selected),)),
            ],
        )


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Suite]:
    bare = "the journal alone, one write a call"
    cases = [
        Case(bare, partial(_bare_writes, ACTORS * ROUNDS)),
        Case("1 actor, persist", partial(on_memory, 1, ACTORS * ROUNDS), (Beside(bare),)),
        Case("1 actor, persist_async", partial(on_memory, 1, ACTORS * ROUNDS, "persist_async"), (Beside(bare),)),
        Case(f"{ACTORS} actors, persist", partial(on_memory, ACTORS, ROUNDS), (Beside(bare),)),
    ]
    if find_spec("eventsourcing") is not None:
        peer = "eventsourcing, Application.save in memory"
        cases.append(Case(peer, _peer_in_memory))
        cases[3] = Case(cases[3].name, cases[3].run, (*cases[3].beside, Beside(peer, Goal(40))))
    yield Suite("events a second in memory", cases)


async def _peer_in_memory() -> float:
    from _peer import memory_application, save_one_by_one

    with memory_application() as application:
        start = time.perf_counter()
        save_one_by_one(application, ALONE)
        return ALONE / seconds_since(start)


async def _bare_writes(count: int) -> float:
    writes = [AtomicWrite((event,)) for event in events_in_turn(calls_of(1, count))]
    async with fresh_memory() as storage:
        start = time.perf_counter()
        for write in writes:
            await storage.journal.write_messages((write,))
        return count / seconds_since(start)


@asynccontextmanager
async def recovery(place: Path) -> AsyncIterator[Suite]:
    selected = "raw SELECT, decode and count"
    title = f"events a second of one recovery of {HISTORY:,} events on SQLite"
    async with load_backend("sqlite").open(Location(directory=place)) as storage:
        await _fill(storage, "long", HISTORY)
        ours = Case("recovery of an actor", partial(_recover, storage, "long", HISTORY), (Beside(selected, Goal(0.7)),))
        cases = [Case(selected, partial(_raw_select, place)), ours]
        if find_spec("eventsourcing") is None:
            yield Suite(title, cases)
            return
        from _peer import closing_application, filled

        peer = "eventsourcing, repository.get"
        theirs = place / "peer"
        theirs.mkdir()
        with closing_application(theirs) as application:
            cases[1] = Case(ours.name, ours.run, (*ours.beside, Beside(peer, Goal(12))))
            cases.append(Case(peer, partial(_peer_get, application, filled(application, HISTORY))))
            yield Suite(title, cases, "repository.get also decodes the JSON of each event.")


async def _peer_get(application: Application[UUID], account: UUID) -> float:
    start = time.perf_counter()
    assert application.repository.get(account).version == HISTORY + 1
    return HISTORY / seconds_since(start)


@asynccontextmanager
async def recovery_memory(place: Path) -> AsyncIterator[Suite]:
    few = f"{HISTORY // 10:,} events"
    async with load_backend("sqlite").open(Location(directory=place)) as storage:
        for persistence_id, count in (("long", HISTORY), ("short", HISTORY // 10)):
            await _fill(storage, persistence_id, count)
        yield Suite(
            "how far memory grows at most during a recovery, by tracemalloc",
            [
                Case(few, partial(_growth, storage, "short", HISTORY // 10), unit="B"),
                Case(
                    f"{HISTORY:,} events",
                    partial(_growth, storage, "long", HISTORY),
                    (Beside(few, Goal(1.2, at_most=True)),),
                    unit="B",
                ),
            ],
        )


async def _fill(storage: Storage, persistence_id: str, count: int) -> None:
    for first in range(1, count + 1, 1000):
        events = [
            PersistentRepr(persistence_id, number, Payload(4, "", _EVENT)) for number in range(first, first + 1000)
        ]
        await storage.journal.write_messages([AtomicWrite(tuple(events))])


async def _raw_select(place: Path, clock: Clock = time.perf_counter) -> float:
    with raw_connection(place) as connection:
        start = clock()
        assert select_events(connection, "long") == HISTORY
        return HISTORY / (clock() - start)


async def _recover(storage: Storage, persistence_id: str, count: int, clock: Clock = time.perf_counter) -> float:
    async with ActorSystem(storage) as system:
        start = clock()
        found = await system.spawn(partial(Account, persistence_id)).ask("count", timeout_s=600)
        assert found == count, f"{found} events instead of {count}"
        return count / (clock() - start)


async def _growth(storage: Storage, persistence_id: str, count: int) -> float:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await _recover(storage, persistence_id, count)
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()


SUITES: dict[str, OpenSuite] = {
    "sqlite": sqlite,
    "cpu": cpu,
    "memory": memory,
    "recovery": recovery,
    "recovery_memory": recovery_memory,
}


if __name__ == "__main__":
    main("Persistent actors beside raw limits and a peer.", SUITES)
