"""Recovery: snapshots, bounds, permits, time limits, and what happens when something cannot be read."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from perdure import (
    NO_SNAPSHOT,
    DeleteMessagesFailure,
    DeleteMessagesSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotSuccess,
    Payload,
    PersistenceSettings,
    PersistentActor,
    ReceiveTimeout,
    Recovery,
    RecoveryCompleted,
    SaveSnapshotFailure,
    SaveSnapshotSuccess,
    Serialization,
    SnapshotMetadata,
    SnapshotOffer,
    SnapshotSelectionCriteria,
    Storage,
)
from perdure.errors import NotSerializable, Unreadable
from perdure.testing import Probe, advance, delay, fail, hold, settle, virtual_time


class Kept(PersistentActor):
    """Its state is the list of its events. `seen` is all that recovery gave it."""

    persistence_id = "p"
    takes_snapshots = True

    def __init__(self, told: Probe | None = None, recovery: Recovery | None = None) -> None:
        self.told = told or Probe()
        self.recovery = recovery or Recovery()
        self.state: list[object] = []
        self.seen: list[object] = []

    def receive_recover(self, message: object) -> object:
        match message:
            case SnapshotOffer(metadata, state):
                if not self.takes_snapshots:
                    return self.unhandled(message)
                self.state = list(state)
                self.seen.append(("snapshot", metadata.sequence_nr))
            case RecoveryCompleted():
                self.seen.append("completed")
            case _:
                self.state.append(message)
                self.seen.append(message)
        return None

    def receive_command(self, message: object) -> None:
        match message:
            case "get":
                self.reply((list(self.state), self.last_sequence_nr))
            case "seen":
                self.reply(list(self.seen))
            case "save":
                self.save_snapshot(list(self.state))
            case ("delete snapshot", number):
                self.delete_snapshot(number)
            case ("delete snapshots", criteria):
                self.delete_snapshots(criteria)
            case ("delete", *to):
                self.delete_messages(*to)
            case str():
                self.persist(message, self.state.append)
            case _:
                self.told.tell(message)

    def on_recovery_failure(self, error: Exception, event: object) -> None:
        self.told.tell((str(error), event))


async def fill(world, commands: list[object], actor_class: type[Kept] = Kept) -> None:
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: actor_class(told))
        for command in commands:
            actor.tell(command)
            await actor.ask("get")
            if not isinstance(command, str) or command == "save":
                assert "Failure" not in type(await told.receive()).__name__


async def see(world, recovery: Recovery | None = None, actor_class: type[Kept] = Kept) -> list[object]:
    async with world.system() as system:
        return await system.spawn(lambda: actor_class(recovery=recovery)).ask("seen")


SIX = ["a", "b", "save", "c", "d", "save", "e", "f"]
"""Six events, with snapshots at 2 and at 4."""


@pytest.mark.parametrize(
    ("recovery", "expected"),
    [
        (Recovery(), [("snapshot", 4), "e", "f"]),
        (Recovery(to_sequence_nr=3), [("snapshot", 2), "c"]),
        (Recovery(to_sequence_nr=3, replay_max=0), [("snapshot", 2)]),
        (Recovery(SnapshotSelectionCriteria(max_sequence_nr=2)), [("snapshot", 2), "c", "d", "e", "f"]),
        (Recovery(SnapshotSelectionCriteria(max_sequence_nr=2), to_sequence_nr=3), [("snapshot", 2), "c"]),
        (Recovery(NO_SNAPSHOT), ["a", "b", "c", "d", "e", "f"]),
        (Recovery(NO_SNAPSHOT, replay_max=2), ["a", "b"]),
        (Recovery(SnapshotSelectionCriteria(min_sequence_nr=5)), ["a", "b", "c", "d", "e", "f"]),
        (Recovery(SnapshotSelectionCriteria(min_sequence_nr=5), to_sequence_nr=3), ["a", "b", "c"]),
        (Recovery.none, []),
    ],
)
@virtual_time
async def test_a_recovery_gives_what_its_bounds_allow(  # F-20, F-21, F-31, F-33, A-25, A-28, A-34
    world, recovery: Recovery, expected: list[object]
) -> None:
    await fill(world, SIX)
    assert await see(world, recovery) == [*expected, "completed"]


@pytest.mark.parametrize("recovery", [Recovery.none, Recovery(to_sequence_nr=3), Recovery(NO_SNAPSHOT, replay_max=1)])
@virtual_time
async def test_bounds_cut_the_replay_and_not_the_next_number(world, recovery: Recovery) -> None:  # F-20, F-21, A-35
    await fill(world, SIX)
    async with world.system() as system:
        actor = system.spawn(lambda: Kept(recovery=recovery))
        actor.tell("g")
        assert (await actor.ask("get"))[1] == 7
        assert world.written() == [[(7,)]]


@virtual_time
async def test_without_snapshot_wanted_the_store_is_not_asked(world) -> None:  # F-21, F-31, A-28
    await fill(world, SIX)
    async with world.system() as system:
        await system.spawn(lambda: Kept(recovery=Recovery.none)).ask("seen")
        assert [call.operation for call in world.faults.calls] == ["highest"]


@virtual_time
async def test_a_snapshot_that_is_not_taken_up_leads_to_a_full_replay(world) -> None:  # F-22, A-25
    class TakesNone(Kept):
        takes_snapshots = False

    await fill(world, SIX)
    assert await see(world, actor_class=TakesNone) == ["a", "b", "c", "d", "e", "f", "completed"]


@virtual_time
async def test_a_snapshot_above_an_emptied_journal_fixes_the_next_number(world) -> None:  # F-20, A-27
    async with world.system() as system:
        snapshots = world.faults.storage.snapshots
        await snapshots.save(SnapshotMetadata("p", 41), Serialization().to_payload(["x"]))
        actor = system.spawn(Kept)
        actor.tell("y")
        assert await actor.ask("get") == (["x", "y"], 42)


@virtual_time
async def test_a_snapshot_counts_the_events_that_were_handled_not_those_under_way(world) -> None:  # F-30, A-33
    class Hasty(Kept):
        def receive_command(self, message: object) -> None:
            if message == "hasty":
                self.persist_async("x", self.state.append)
                self.persist_async("y", self.state.append)
                self.save_snapshot(list(self.state))
            else:
                super().receive_command(message)

    await fill(world, ["a"])
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: Hasty(told))
        actor.tell("hasty")
        assert await told.receive() == SaveSnapshotSuccess(SnapshotMetadata("p", 1))
    assert await see(world) == [("snapshot", 1), "x", "y", "completed"]


@virtual_time
async def test_snapshots_are_deleted_one_by_one_and_by_criteria(world) -> None:  # F-30, A-25
    await fill(world, SIX)
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: Kept(told))
        actor.tell(("delete snapshot", 4))
        await told.expect(DeleteSnapshotSuccess(SnapshotMetadata("p", 4)))
        assert (await see(world))[0] == ("snapshot", 2)
        criteria = SnapshotSelectionCriteria(max_sequence_nr=3)
        actor.tell(("delete snapshots", criteria))
        await told.expect(DeleteSnapshotsSuccess(criteria))
        assert (await see(world))[0] == "a"


@virtual_time
async def test_failures_around_snapshots_and_deletions_are_told_to_the_actor(world) -> None:  # F-14, F-30, F-31, A-26
    await fill(world, SIX)
    async with world.system() as system:
        told = Probe()
        for operation in ("save", "delete_snapshot", "delete_snapshots", "delete"):
            world.faults.on(operation, fail(OSError("disk error")))
        actor = system.spawn(lambda: Kept(told))
        criteria = SnapshotSelectionCriteria()
        for command, failure in (
            ("save", SaveSnapshotFailure),
            (("delete snapshot", 4), DeleteSnapshotFailure),
            (("delete snapshots", criteria), DeleteSnapshotsFailure),
            (("delete", 2), DeleteMessagesFailure),
        ):
            actor.tell(command)
            answer = await told.receive()
            assert isinstance(answer, failure)
            assert isinstance(answer.cause, OSError)
        # A failed save must not be cleaned up by deleting: that could take an earlier good snapshot with it.
        assert [call.operation for call in world.faults.calls if call.operation == "delete_snapshot"] == [
            "delete_snapshot"
        ]


@virtual_time
async def test_a_state_that_cannot_be_serialized_is_a_failure_to_save(world) -> None:  # F-30
    class Odd(Kept):
        def receive_command(self, message: object) -> None:
            if message == "odd":
                self.save_snapshot(object())
            else:
                super().receive_command(message)

    async with world.system() as system:
        told = Probe()
        system.spawn(lambda: Odd(told)).tell("odd")
        answer = await told.receive()
        assert isinstance(answer, SaveSnapshotFailure)
        assert isinstance(answer.cause, NotSerializable)


@pytest.mark.parametrize(("to", "left"), [((2,), ["c", "d"]), ((), []), ((4,), [])])
@virtual_time
async def test_events_are_deleted_and_their_numbers_stay(
    world, to: tuple[int, ...], left: list[str]
) -> None:  # F-14, A-16
    await fill(world, ["a", "b", "c", "d", ("delete", *to)])
    async with world.system() as system:
        assert await system.spawn(Kept).ask("get") == (left, 4)


@virtual_time
async def test_deleting_above_the_last_number_is_refused_without_asking_the_journal(world) -> None:  # F-14, A-16
    await fill(world, ["a", "b"])
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: Kept(told))
        actor.tell(("delete", 3))
        answer = await told.receive()
        assert isinstance(answer, DeleteMessagesFailure)
        assert "delete" not in [call.operation for call in world.faults.calls]
        actor.tell(("delete", 2))
        await told.expect(DeleteMessagesSuccess(2))


@virtual_time
async def test_an_unhandled_failure_is_logged(world, caplog) -> None:  # F-14, F-30
    class Ignores(Kept):
        def receive_command(self, message: object) -> object:
            if isinstance(message, DeleteMessagesFailure):
                return self.unhandled(message)
            return super().receive_command(message)

    async with world.system() as system:
        actor = system.spawn(Ignores)
        actor.tell(("delete", 3))
        await actor.ask("get")
        await settle()
    assert "DeleteMessagesFailure(to_sequence_nr=3" in caplog.text


# -- what cannot be recovered


async def failing(world, told: Probe, actor_class: type[Kept] = Kept, **settings: object) -> object:
    """Start an actor that must stop in recovery, and give what its hook was told."""
    async with world.system(**settings) as system:
        actor = system.spawn(lambda: actor_class(told))
        await system.stopped(actor)
    (told_about,) = told.rest()
    return told_about


async def with_fault(world, operation: str, error: Exception, actor_class: type[Kept] = Kept) -> object:
    told = Probe()
    async with world.system() as system:
        world.faults.on(operation, fail(error))
        await system.stopped(system.spawn(lambda: actor_class(told)))
    (told_about,) = told.rest()
    return told_about


@pytest.mark.parametrize("operation", ["replay", "highest", "load"])
@virtual_time
async def test_recovery_that_fails_calls_the_hook_and_stops(world, operation: str) -> None:  # F-24, F-27, A-19
    await fill(world, SIX)
    reason, event = await with_fault(world, operation, OSError("disk error"))
    assert "'p' cannot recover:" in reason
    assert "disk error" in reason
    assert event is None


@virtual_time
async def test_a_replay_that_breaks_off_is_not_taken_for_the_whole(world) -> None:  # F-27, A-19
    await fill(world, ["a", "b", "c"])
    told = Probe()
    async with world.system() as system:
        world.faults.on("replayed", fail(OSError("lost")), when=lambda call: call.sequence_nr == 3)
        await system.stopped(system.spawn(lambda: Kept(told)))
    assert [event for _, event in told.rest()] == [None]


class Throws(Kept):
    at: ClassVar[object] = None

    def receive_recover(self, message: object) -> object:
        if message == self.at or (isinstance(message, type(self.at)) and not isinstance(message, str)):
            raise ValueError("handler")
        return super().receive_recover(message)


@virtual_time
async def test_a_handler_that_raises_for_an_event_fails_the_recovery_and_names_it(world) -> None:  # F-26, A-19
    class ThrowsAtB(Throws):
        at = "b"

    await fill(world, ["a", "b", "c"])
    assert await failing(world, Probe(), ThrowsAtB) == ("'p' cannot recover: handler", "b")


@virtual_time
async def test_a_handler_that_raises_for_a_snapshot_ends_the_recovery_there(world) -> None:  # F-23
    class ThrowsAtOffer(Kept):
        def receive_recover(self, message: object) -> object:
            if isinstance(message, SnapshotOffer):
                raise ValueError("handler")
            return super().receive_recover(message)

    await fill(world, SIX)
    told = Probe()
    async with world.system() as system:
        await system.stopped(system.spawn(lambda: ThrowsAtOffer(told)))
        assert [call.operation for call in world.faults.calls] == ["load"]
    ((reason, offer),) = told.rest()
    assert (reason, offer.metadata.sequence_nr) == ("'p' cannot recover: handler", 4)


@virtual_time
async def test_an_event_that_cannot_be_deserialized_is_named(world) -> None:  # F-26
    await fill(world, ["a"])
    async with world.system() as system:
        from perdure import AtomicWrite, PersistentRepr

        event = PersistentRepr("p", 2, Payload(77, "Lost", b""))
        await world.faults.storage.journal.write_messages([AtomicWrite((event,))])
        told = Probe()
        await system.stopped(system.spawn(lambda: Kept(told)))
        ((reason, _),) = told.rest()
        assert "event 2 of 'p' cannot be read: a payload of serializer 77, manifest 'Lost', cannot be read" in reason


def unreadable(*numbers: int):
    """Loading one of these snapshots says that it is damaged."""

    async def action(_: object, proceed: object) -> object:
        found = await proceed()
        if found is not None and found.metadata.sequence_nr in numbers:
            raise Unreadable("snapshot", "p", found.metadata.sequence_nr, "bad checksum")
        return found

    return action


@virtual_time
async def test_an_older_snapshot_stands_in_for_one_that_cannot_be_read(world) -> None:  # F-34, A-26
    await fill(world, SIX)
    async with world.system() as system:
        world.faults.on("load", unreadable(4))
        assert await system.spawn(Kept).ask("seen") == [("snapshot", 2), "c", "d", "e", "f", "completed"]


@virtual_time
async def test_recovery_fails_if_no_snapshot_can_be_read(world) -> None:  # F-24, A-26
    await fill(world, SIX)
    told = Probe()
    async with world.system() as system:
        world.faults.on("load", unreadable(2, 4))
        await system.stopped(system.spawn(lambda: Kept(told)))
    ((reason, _),) = told.rest()
    assert "snapshot 4 of 'p' cannot be read: bad checksum" in reason


class Optional(Kept):
    snapshot_is_optional = True


@virtual_time
async def test_an_optional_snapshot_that_cannot_be_read_is_replaced_by_all_events(world) -> None:  # F-24, F-71, A-26
    await fill(world, SIX)
    async with world.system() as system:
        world.faults.on("load", unreadable(2, 4))
        assert await system.spawn(Optional).ask("seen") == ["a", "b", "c", "d", "e", "f", "completed"]


@pytest.mark.parametrize(("damaged", "actor_class"), [((2, 4), Optional), ((4,), Kept)])
@virtual_time
async def test_events_that_were_deleted_cannot_replace_a_snapshot(  # F-24, A-26
    world, damaged: tuple[int, ...], actor_class: type[Kept]
) -> None:
    await fill(world, [*SIX, ("delete", 4)])
    told = Probe()
    async with world.system() as system:
        world.faults.on("load", unreadable(*damaged))
        await system.stopped(system.spawn(lambda: actor_class(told)))
    ((reason, _),) = told.rest()
    assert "the events from" in reason


@virtual_time
async def test_recovery_without_a_snapshot_store_works_and_saving_fails(world) -> None:  # F-36
    from perdure import ActorSystem

    await fill(world, ["a"])
    async with world.system():
        bare = Storage(world.faults.storage.journal)
        async with ActorSystem(bare) as system:
            told = Probe()
            actor = system.spawn(lambda: Kept(told))
            assert await actor.ask("get") == (["a"], 1)
            actor.tell("save")
            answer = await told.receive()
            assert isinstance(answer, SaveSnapshotFailure)


@virtual_time
async def test_a_handler_of_recovery_completed_that_raises_is_supervised(world) -> None:  # F-28, A-29
    class Late(Kept):
        failures: ClassVar[list[str]] = []

        def receive_recover(self, message: object) -> object:
            if isinstance(message, RecoveryCompleted) and not self.failures:
                self.failures.append("once")
                raise ValueError("completed")
            return super().receive_recover(message)

    await fill(world, ["a"])
    async with world.system(settings=PersistenceSettings(concurrent_recoveries_max=1)) as system:
        assert await system.spawn(Late).ask("seen") == ["a", "completed"]
        assert await system.spawn(Kept).ask("seen") == ["a", "completed"]  # the only permit was given back


# -- time limits and permits

SHORT = PersistenceSettings(recovery_event_timeout_s=5)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [("load", "its snapshot did not arrive within 5"), ("replayed", "no event arrived within 5")],
)
@virtual_time
async def test_recovery_gives_up_when_nothing_arrives(world, operation: str, reason: str) -> None:  # F-25, A-24
    await fill(world, SIX)
    told, never = Probe(), asyncio.Event()
    async with world.system(settings=SHORT) as system:
        world.faults.on(operation, hold(never))
        actor = system.spawn(lambda: Kept(told))
        await advance(4)
        assert told.rest() == []
        await advance(2)
        await system.stopped(actor)
    ((found, _),) = told.rest()
    assert reason in found


@virtual_time
async def test_a_slow_replay_is_no_reason_to_give_up_as_long_as_events_arrive(world) -> None:  # F-25, A-24
    await fill(world, ["a", "b", "c", "d"])
    async with world.system(settings=SHORT) as system:
        world.faults.on("replayed", delay(4))
        asking = asyncio.create_task(system.spawn(Kept).ask("get", timeout_s=60))
        await advance(17)
        assert await asking == (["a", "b", "c", "d"], 4)


@virtual_time
async def test_the_receive_timeout_of_an_actor_is_not_disturbed_by_recovery(world) -> None:  # F-25, A-24
    class Patient(Kept):
        def pre_start(self) -> None:
            self.context.set_receive_timeout(8)

    await fill(world, ["a", "b", "c"])
    async with world.system(settings=SHORT) as system:
        world.faults.on("replayed", delay(4))
        told = Probe()
        system.spawn(lambda: Patient(told))
        await advance(13)
        await told.expect(ReceiveTimeout())


@virtual_time
async def test_only_so_many_actors_recover_at_a_time(world) -> None:  # F-29, A-29
    ids = [f"p{number}" for number in range(100)]
    under_way, most = 0, 0

    async def count(_: object, proceed: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1)
        under_way -= 1
        return await proceed()

    async with world.system(settings=PersistenceSettings(concurrent_recoveries_max=3)) as system:
        world.faults.on("highest", count)
        actors = [system.spawn(type("One", (Kept,), {"persistence_id": persistence_id})) for persistence_id in ids]
        await advance(40)
        for actor in actors:
            assert await actor.ask("get") == ([], 0)
    assert most == 3


@virtual_time
async def test_a_recovery_that_failed_gives_back_its_permit(world) -> None:  # F-26, F-27, F-29, A-29
    class Unhandy(Kept):
        def receive_recover(self, message: object) -> object:
            raise ValueError("no event is good enough")

    await fill(world, ["a"])
    async with world.system(settings=PersistenceSettings(concurrent_recoveries_max=1)) as system:
        for point in ("highest", "replayed"):
            world.faults.on(point, fail(OSError("no answer")), times=1)
            system.spawn(Kept)
            await settle()
        system.spawn(Unhandy)
        asking = asyncio.create_task(system.spawn(Kept).ask("get", timeout_s=1))
        await advance(2)
        assert await asking == (["a"], 1)


@virtual_time
async def test_an_actor_that_stops_gives_back_its_permit_or_its_place_in_the_queue(world) -> None:  # F-29, A-29
    async with world.system(settings=PersistenceSettings(concurrent_recoveries_max=1)) as system:
        world.faults.on("highest", hold(asyncio.Event()), times=1)
        holding, waiting, last = (system.spawn(Kept) for _ in range(3))
        await settle()
        await system.stop(waiting)
        await system.stop(holding)
        assert await last.ask("get") == ([], 0)


@virtual_time
async def test_handlers_of_recovery_may_be_coroutines_and_take_their_time(world) -> None:  # F-16, F-25, F-77
    class Slow(Kept):
        async def receive_recover(self, message: object) -> object:
            await asyncio.sleep(20)  # longer than the journal may take: this is the actor's own time
            return super().receive_recover(message)

    await fill(world, ["a", "b", "save", "c"])
    async with world.system(settings=SHORT) as system:
        asking = asyncio.create_task(system.spawn(Slow).ask("seen", timeout_s=200))
        await advance(100)
        assert await asking == [("snapshot", 2), "c", "completed"]
