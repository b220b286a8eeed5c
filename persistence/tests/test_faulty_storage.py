"""FaultyStorage: fails, rejects and delays what the test chooses, and tells what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import pytest
from perdure import (
    AtomicWrite,
    EventAdapters,
    JsonType,
    Payload,
    PersistentActor,
    PersistentRepr,
    Serialization,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)
from perdure.errors import UnreadablePayload
from perdure.testing import advance, delay, fail, has_manifest, has_value, settle, virtual_time


class PaidIn(msgspec.Struct, frozen=True):
    amount: int


class PaidOut(msgspec.Struct, frozen=True):
    amount: int


class PaidOutAbroad(PaidOut, frozen=True):
    pass


TYPES = Serialization(JsonType(PaidIn, "paid-in"), JsonType(PaidOut, "paid-out"), PaidOutAbroad)


def write(first: int, *values: object, persistence_id: str = "p", manifest: str = "") -> AtomicWrite:
    return AtomicWrite(
        tuple(
            PersistentRepr(persistence_id, number, TYPES.to_payload(value), manifest)
            for number, value in enumerate(values, first)
        )
    )


@virtual_time
async def test_a_write_fails_by_the_type_of_an_event(world) -> None:  # F-64
    async with world.system():
        journal = world.faults.storage.journal
        world.faults.on("write", fail(OSError("printer on fire")), when=has_value(PaidOut, TYPES))
        assert list(await journal.write_messages([write(1, PaidIn(1))])) == [None]
        for value in (PaidOut(1), PaidOutAbroad(1)):
            with pytest.raises(OSError, match="printer on fire"):
                await journal.write_messages([write(2, PaidIn(2)), write(3, PaidIn(3), value)])
        assert await journal.read_highest_sequence_nr("p") == 1


@virtual_time
async def test_an_atomic_write_is_rejected_as_a_whole_by_one_of_its_events(world) -> None:  # F-64
    """Akka.NET's test journal stores the events before the one that is rejected, and its RejectOnType fails instead."""
    async with world.system():
        journal = world.faults.storage.journal
        world.faults.reject(has_value(lambda value: value.amount > 100, TYPES), "too much")
        answers = await journal.write_messages(
            [write(1, PaidIn(1), PaidIn(101)), write(1, PaidIn(1), persistence_id="q")]
        )
        assert [answer and answer.reason for answer in answers] == ["too much", None]
        assert [await journal.read_highest_sequence_nr(one) for one in "pq"] == [0, 1]


@virtual_time
async def test_a_write_is_delayed_by_the_manifest_of_an_event(world) -> None:  # F-64
    async with world.system():
        journal, loop = world.faults.storage.journal, asyncio.get_running_loop()
        world.faults.on("write", delay(5), when=has_manifest("paid-out", "by-adapter"))
        for values, manifest, wanted in (
            ((PaidIn(1),), "", True),
            ((PaidOut(1),), "", False),
            ((PaidIn(1),), "by-adapter", False),
        ):
            number = await journal.read_highest_sequence_nr("p") + 1
            writing = loop.create_task(journal.write_messages([write(number, *values, manifest=manifest)]))
            await settle()
            assert writing.done() is wanted
            await advance(5)
            assert writing.done()


@virtual_time
async def test_a_replay_fails_at_an_event_of_a_type_and_a_load_is_chosen_by_what_was_saved(world) -> None:  # F-64
    async with world.system():
        journal, snapshots = world.faults.storage.journal, world.faults.storage.snapshots
        await journal.write_messages([write(1, PaidIn(1), PaidOut(2), PaidIn(3))])
        world.faults.on("replayed", fail(OSError("torn page")), when=has_value(PaidOut, TYPES), times=1)
        seen: list[int] = []

        async def replay() -> None:
            async for event in journal.replay_messages("p"):
                seen.append(event.sequence_nr)

        with pytest.raises(OSError, match="torn page"):
            await replay()
        assert seen == [1]
        world.faults.on("save", fail(OSError("disk full")), when=has_value((PaidIn, PaidOut), TYPES))
        await snapshots.save(SnapshotMetadata("p", 1), TYPES.to_payload("small"))
        with pytest.raises(OSError, match="disk full"):
            await snapshots.save(SnapshotMetadata("p", 2), TYPES.to_payload(PaidIn(9)))
        found = await snapshots.load("p", SnapshotSelectionCriteria())
        assert found is not None
        assert found.metadata.sequence_nr == 1


@virtual_time
async def test_a_condition_that_cannot_read_an_event_says_so(world) -> None:  # F-64
    async with world.system():
        world.faults.on("write", fail(), when=has_value(PaidIn, Serialization()))
        with pytest.raises(UnreadablePayload, match="paid-in"):
            await world.faults.storage.journal.write_messages([write(1, PaidIn(1))])


@virtual_time
async def test_it_tells_everything_that_was_asked_writes_too(world) -> None:  # F-50, F-64
    """Akka publishes such commands to its event stream when told to; in .NET, writes are not among them."""

    class Doubling:
        def manifest(self, event: int) -> str:
            return "doubled"

        def to_journal(self, event: int) -> object:
            return 2 * event

        def from_journal(self, event: int, manifest: str) -> Iterable[object]:
            return [event // 2]

    class Busy(PersistentActor):
        persistence_id = "p"

        def receive_recover(self, message: object) -> None:
            pass

        def receive_command(self, message: object) -> None:
            if message == "go":
                self.persist(7, lambda _: self.delete_messages())
                self.defer(None, lambda _: self.save_snapshot("s"))

    async with world.system(event_adapters=EventAdapters({int: [Doubling()]})) as system:
        system.spawn(Busy).tell("go")
        await settle()
        calls = world.faults.calls
        assert [call.operation for call in calls] == ["load", "highest", "write", "delete", "save"]
        assert [call.sequence_nr for call in calls[3:]] == [1, 1]
        (event,) = calls[2].writes[0].events
        assert (event.payload, event.manifest) == (
            Payload(17, event.payload.manifest, (14).to_bytes(8, "little")),
            "doubled",
        )
