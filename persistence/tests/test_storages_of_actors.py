"""What Akka does inside of its own journals and stores, as far as an actor or a query can tell the difference."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from perdure import (
    NO_OFFSET,
    ActorSystem,
    Backend,
    BreakerSettings,
    EventAdapters,
    Location,
    Offset,
    PersistenceSettings,
    PersistentActor,
    ReadJournal,
    SnapshotMetadata,
    SnapshotOffer,
    SnapshotSelectionCriteria,
    Tagged,
)
from perdure.testing import Probe, advance, fail, hold, settle, virtual_time
from perdure_memory import backend as memory
from perdure_sqlite import backend as sqlite


class Keeper(PersistentActor):
    def __init__(self, persistence_id: str = "p") -> None:
        self.persistence_id = persistence_id
        self.kept: list[object] = []

    def receive_recover(self, message: object) -> None:
        match message:
            case SnapshotOffer(_, list() as kept):
                self.kept = kept
            case str():
                self.kept.append(message)

    def receive_command(self, message: object) -> None:
        match message:
            case "get":
                self.reply((self.kept, self.last_sequence_nr))
            case "delete":
                self.delete_messages()
            case "save":
                self.save_snapshot(self.kept)
            case str():
                self.persist(message, self.keep)

    def keep(self, event: str) -> None:
        self.kept.append(event)
        self.reply(event)


@virtual_time
async def test_deleting_everything_twice_does_not_begin_again_at_one(world) -> None:  # F-47
    """Akka.NET's MemoryJournal has a highest number of 0 after the second time."""
    async with world.system() as system:
        keeper = system.spawn(Keeper)
        await keeper.ask("a")
        for _ in range(2):
            keeper.tell("delete")
            await settle()
        await system.stop(keeper)
        keeper = system.spawn(Keeper)
        assert await keeper.ask("get") == ([], 1)
        await keeper.ask("b")
        assert await keeper.ask("get") == (["b"], 2)


@virtual_time
async def test_two_systems_may_share_a_storage(world) -> None:  # F-48
    """Akka.NET's SharedMemoryJournal shares the events, and neither the highest numbers nor the queries."""
    async with world.system() as one, ActorSystem(world.faults.storage, name="other") as other:
        keeper = one.spawn(Keeper)
        for name in "ab":
            await keeper.ask(name)
        keeper.tell("delete")
        await settle()
        await one.stop(keeper)
        assert await other.spawn(Keeper).ask("get") == ([], 2)
        queries = world.faults.storage.queries
        assert [persistence_id async for persistence_id in queries.current_persistence_ids()] == ["p"]


@virtual_time
async def test_a_slow_write_of_one_actor_keeps_no_other_waiting(world) -> None:  # F-41
    """Akka's journals answer in the order of all requests; here each actor has an order of its own."""
    async with world.system() as system:
        slow, quick, gate, probe = system.spawn(Keeper), system.spawn(partial(Keeper, "q")), asyncio.Event(), Probe()
        await settle()
        world.faults.on("write", hold(gate), when=lambda call: call.persistence_id == "p")
        slow.tell("a", probe)
        assert await quick.ask("b") == "b"
        assert probe.rest() == []
        gate.set()
        await probe.expect("a")


@virtual_time
async def test_an_open_circuit_stops_everything_but_the_replay_itself(world) -> None:  # F-40
    """As in Akka, and no recovery profits from it: the highest number is asked before."""
    breaker = BreakerSettings(failures_max=1, call_timeout_s=1, reset_timeout_s=30)
    async with world.system(settings=PersistenceSettings(journal_breaker=breaker)) as system:
        keeper, probe = system.spawn(Keeper), Probe()
        await keeper.ask("a")
        world.faults.on("replayed", fail(OSError("bad sector")), times=1)
        await system.stop(keeper)
        await system.stopped(system.spawn(Keeper))
        assert (await system.check_health())["journal ''"].status == "healthy"
        keeper = system.spawn(Keeper)
        await keeper.ask("get")
        world.faults.on("delete", fail(OSError("bad sector")), times=1)
        keeper.tell("delete")
        await settle()
        keeper.tell("b", probe)
        await system.stopped(keeper)
        assert (await system.check_health())["journal ''"].status == "degraded"
        assert [call.operation for call in world.faults.calls].count("write") == 1
        await advance(31)
        assert await system.spawn(Keeper).ask("get") == (["a"], 1)


@virtual_time
async def test_the_store_says_when_a_snapshot_was_saved_unless_it_was_told(world) -> None:  # F-32, F-35
    async with world.system() as system:
        keeper = system.spawn(Keeper)
        await keeper.ask("a")
        keeper.tell("save")
        await settle()
        snapshots = world.faults.storage.snapshots
        found = await snapshots.load("p", SnapshotSelectionCriteria())
        assert found is not None
        assert found.metadata.timestamp > 0
        await snapshots.save(SnapshotMetadata("p", 2, 5), found.snapshot)
        older = await snapshots.load("p", SnapshotSelectionCriteria(max_timestamp=5))
        assert older is not None
        assert older.metadata == SnapshotMetadata("p", 2, 5)


@virtual_time
async def test_bounds_of_nothing_are_no_bounds_of_everything(world) -> None:  # F-35
    """Akka.NET's MemorySnapshotStore takes a highest number of 0 for none, and one delete of it for any."""
    async with world.system() as system:
        keeper = system.spawn(Keeper)
        await keeper.ask("a")
        keeper.tell("save")
        await settle()
        snapshots = world.faults.storage.snapshots
        assert await snapshots.load("p", SnapshotSelectionCriteria(max_sequence_nr=0)) is None
        await snapshots.delete_matching("p", SnapshotSelectionCriteria(max_sequence_nr=0))
        await snapshots.delete(SnapshotMetadata("p", 0))
        assert await snapshots.load("p", SnapshotSelectionCriteria()) is not None


BACKENDS = pytest.mark.parametrize("backend", [memory, sqlite], ids=["memory", "sqlite"])


class Red:
    def manifest(self, event: str) -> str:
        return ""

    def to_journal(self, event: str) -> object:
        return Tagged(event, frozenset({"red"}))


@BACKENDS
def test_a_query_goes_on_behind_the_offset_it_is_given(backend: Backend, tmp_path: Path) -> None:  # F-61, F-62, F-63
    """Akka.NET's InMemoryReadJournal gives the first event again to whoever resumes behind it."""

    async def check() -> None:
        async with (
            backend.open(Location(directory=tmp_path)) as storage,
            ActorSystem(storage, event_adapters=EventAdapters({str: [Red()]})) as system,
        ):
            keeper = system.spawn(Keeper)
            for name in "abc":
                await keeper.ask(name)
            queries = storage.queries
            assert isinstance(queries, ReadJournal)
            for query in (partial(queries.current_events_by_tag, "red"), queries.current_all_events):
                every = [(one.offset, one.sequence_nr) async for one in query(NO_OFFSET)]
                assert [number for _, number in every] == [1, 2, 3]
                for offset, number in every:
                    stored = Offset.parse(str(offset))
                    assert [one.sequence_nr async for one in query(stored)] == list(range(number + 1, 4))

    asyncio.run(check())


@BACKENDS
def test_a_live_query_sees_what_an_actor_persists(backend: Backend, tmp_path: Path) -> None:  # F-61, F-62, F-63
    async def check() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage, ActorSystem(storage) as system:
            keeper = system.spawn(Keeper)
            await keeper.ask("a")
            queries = storage.queries
            assert isinstance(queries, ReadJournal)
            numbers = []
            async for envelope in queries.events_by_persistence_id("p", 1, 3):
                numbers.append((envelope.sequence_nr, envelope.event.payload.data))
                if envelope.sequence_nr < 3:
                    await keeper.ask("bc"[envelope.sequence_nr - 1])
            assert numbers == [(1, b"a"), (2, b"b"), (3, b"c")]

    asyncio.run(check())
