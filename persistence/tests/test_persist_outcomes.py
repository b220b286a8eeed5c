"""Writes that are rejected, fail, or are not answered: nothing is lost, and no number is used twice."""

from __future__ import annotations

import asyncio

import pytest
from perdure import (
    BackoffSupervisor,
    BreakerSettings,
    Directive,
    PersistenceSettings,
    PersistentActor,
    SupervisorStrategy,
)
from perdure.errors import CircuitOpen, SequenceConflict, WriteFailed
from perdure.testing import Probe, advance, fail, hold, lose_answer, settle, virtual_time


@pytest.fixture(params=["each write by itself", "writes in groups"])
def world(request, world_class, world_in_groups):
    return world_class() if request.param == "each write by itself" else world_in_groups


class Ledger(PersistentActor):
    """Keeps its events, and tells `told` about everything that happens."""

    persistence_id = "p"

    def __init__(self, told: Probe, method: str = "persist") -> None:
        self.told = told
        self.method = method
        self.state: list[object] = []

    def receive_recover(self, message: object) -> None:
        if isinstance(message, str | list):
            self.state.append(message)

    def receive_command(self, message: object) -> None:
        match message:
            case "get":
                self.reply((list(self.state), self.last_sequence_nr))
            case ("all", *events):
                self.persist_all(events, self.update)
            case ("defer after", event):
                self.persist_async(event, self.update)
                self.defer_async("deferred", self.update_not)
            case ("throw after", event):
                self.persist(event, self.update)
                raise ValueError("command")
            case ("throw in handler", event):
                self.persist(event, self.throw)
            case "not serializable":
                self.persist(object(), self.update)
            case _:
                getattr(self, self.method)(message, self.update)

    def update(self, event: object) -> None:
        self.state.append(event)
        self.told.tell(event)

    def update_not(self, value: object) -> None:
        self.told.tell(value)

    def throw(self, event: object) -> None:
        self.update(event)
        raise ValueError("handler")

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self.told.tell(("rejected", sequence_nr))

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self.told.tell(("failed", sequence_nr, type(error)))


@pytest.mark.parametrize("method", ["persist", "persist_async"])
@virtual_time
async def test_after_a_rejection_the_actor_goes_on_and_the_number_is_used(world, method: str) -> None:  # F-9, A-18
    async with world.system() as system:
        told = Probe()
        world.faults.reject(lambda write: write.events[0].payload.data == b"bad")
        actor = system.spawn(lambda: Ledger(told, method))
        for event in ("a", "bad", "b"):
            actor.tell(event)
        await told.expect("a", ("rejected", 2), "b")
        assert await actor.ask("get") == (["a", "b"], 3)
        await system.stop(actor)
        assert await system.spawn(lambda: Ledger(told)).ask("get") == (["a", "b"], 3)


@virtual_time
async def test_the_number_of_a_rejected_last_event_is_free_again_after_a_restart(world) -> None:
    async with world.system() as system:
        told = Probe()
        world.faults.reject(lambda write: write.events[0].payload.data == b"bad")
        actor = system.spawn(lambda: Ledger(told))
        for event in ("a", "bad"):
            actor.tell(event)
        await told.expect("a", ("rejected", 2))
        await system.stop(actor)
        actor = system.spawn(lambda: Ledger(told))
        actor.tell("b")
        await told.expect("b")
        assert await actor.ask("get") == (["a", "b"], 2)


@virtual_time
async def test_every_event_of_a_rejected_atomic_write_is_rejected(world) -> None:  # F-9
    async with world.system() as system:
        told = Probe()
        world.faults.reject(lambda write: len(write.events) > 1)
        actor = system.spawn(lambda: Ledger(told))
        actor.tell(("all", "a", "b"))
        actor.tell("c")
        await told.expect(("rejected", 1), ("rejected", 2), "c")


@virtual_time
async def test_an_event_that_cannot_be_serialized_is_rejected_before_anything_is_written(world) -> None:  # F-42
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: Ledger(told))
        actor.tell("not serializable")
        actor.tell("a")
        await told.expect(("rejected", 1), "a")
        assert world.written() == [[(2,)]]


@pytest.mark.parametrize("method", ["persist", "persist_async"])
@virtual_time
async def test_after_a_failure_the_hook_is_called_and_the_actor_stops(world, method: str) -> None:  # F-10, A-17
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: Ledger(told, method))
        await actor.ask("get")
        world.faults.on("write", fail(WriteFailed("disk full")))
        actor.tell("a")
        actor.tell("b")
        await system.stopped(actor)
        assert told.rest() == [("failed", 1, WriteFailed)]
        world.faults.calm()
        assert await system.spawn(lambda: Ledger(told)).ask("get") == ([], 0)


@virtual_time
async def test_what_was_deferred_runs_after_a_rejection_and_never_after_a_failure(world) -> None:  # F-6, A-32
    async with world.system() as system:
        told = Probe()
        world.faults.reject(lambda write: write.events[0].payload.data == b"bad")
        actor = system.spawn(lambda: Ledger(told))
        actor.tell(("defer after", "bad"))
        await told.expect(("rejected", 1), "deferred")
        world.faults.on("write", fail(WriteFailed("disk full")))
        actor.tell(("defer after", "a"))
        await system.stopped(actor)
        assert told.rest() == [("failed", 2, WriteFailed)]


@virtual_time
async def test_nothing_is_written_after_a_failure(world) -> None:  # F-10, F-11
    async with world.system() as system:
        told, gate = Probe(), asyncio.Event()
        actor = system.spawn(lambda: Ledger(told, "persist_async"))
        await actor.ask("get")

        async def fail_later(*_: object) -> None:
            await gate.wait()
            raise WriteFailed("disk full")

        world.faults.on("write", fail_later)
        for event in "abc":
            actor.tell(event)
        await settle()
        gate.set()
        await system.stopped(actor)
        assert world.written() == [[(1,)]]


SUPERVISION = pytest.mark.parametrize("directive", [Directive.RESUME, Directive.RESTART], ids=["resume", "restart"])


@SUPERVISION
@virtual_time
async def test_what_a_command_persisted_before_it_raised_is_stored(world, directive: Directive) -> None:  # F-8, A-20
    async with world.system(supervisor_strategy=SupervisorStrategy({ValueError: directive})) as system:
        told = Probe()
        actor = system.spawn(lambda: Ledger(told))
        for message in ("a", ("throw after", "err"), "b"):
            actor.tell(message)
        assert await actor.ask("get") == (["a", "err", "b"], 3)
        handled = ["a", "err", "b"] if directive is Directive.RESUME else ["a", "b"]
        assert told.rest() == handled


@SUPERVISION
@virtual_time
async def test_a_handler_that_raises_loses_nothing(world, directive: Directive) -> None:  # F-8, A-20
    async with world.system(supervisor_strategy=SupervisorStrategy({ValueError: directive})) as system:
        told = Probe()
        actor = system.spawn(lambda: Ledger(told))
        for message in ("a", ("throw in handler", "err"), "b"):
            actor.tell(message)
        assert await actor.ask("get") == (["a", "err", "b"], 3)
        assert told.rest() == ["a", "err", "b"]


@virtual_time
async def test_what_had_gathered_is_written_in_order_after_a_restart(world) -> None:  # F-12, A-21
    async with world.system() as system:
        told, gate = Probe(), asyncio.Event()
        actor = system.spawn(lambda: Ledger(told, "persist_async"))
        await actor.ask("get")
        world.faults.on("write", hold(gate))
        for message in ("a", "b", "c", ("throw after", "d"), "e"):
            actor.tell(message)
        await settle()
        assert world.written() == [[(1,)]]
        gate.set()
        await told.expect("e")  # the handlers of the others went with their incarnation
        assert await actor.ask("get") == (["a", "b", "c", "d", "e"], 5)
        assert world.written() == [[(1,)], [(2,), (3,), (4,)], [(5,)]]


QUICK = PersistenceSettings(
    journal_breaker=BreakerSettings(failures_max=3, call_timeout_s=10, reset_timeout_s=30),
    recovery_event_timeout_s=60,
)


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
@virtual_time
async def test_after_a_write_that_timed_out_the_next_incarnation_waits_for_it(  # F-43, F-73
    world, stored: bool
) -> None:
    """It sees all of it or none, and does not use its numbers for something else while it may still be stored."""
    async with world.system(settings=QUICK) as system:
        told, gate = Probe(), asyncio.Event()

        async def end_late(_: object, proceed: object) -> object:
            await gate.wait()
            if stored:
                return await proceed()
            raise WriteFailed("too late")

        actor = system.spawn(lambda: Ledger(told), "first")
        await actor.ask("get")
        world.faults.on("write", end_late, times=1)
        actor.tell(("all", "a", "b"))
        await advance(11)
        assert told.rest() == [("failed", 1, TimeoutError)]
        await system.stopped(actor)

        second = system.spawn(lambda: Ledger(told), "second")
        second.tell("c")
        await advance(20)
        assert told.rest() == []
        gate.set()
        await told.expect("c")
        expected = (["a", "b", "c"], 3) if stored else (["c"], 1)
        assert await second.ask("get") == expected


@virtual_time
async def test_recovery_fails_rather_than_overtake_a_write_that_does_not_end(world, caplog) -> None:  # F-43
    async with world.system(settings=QUICK) as system:
        told, gate = Probe(), asyncio.Event()
        actor = system.spawn(lambda: Ledger(told))
        await actor.ask("get")
        world.faults.on("write", hold(gate))
        actor.tell("a")
        await advance(11)
        again = system.spawn(lambda: Ledger(told))
        await advance(61)
        await system.stopped(again)
        assert "an earlier write has not ended within 60" in caplog.text
        gate.set()
        assert await system.spawn(lambda: Ledger(told)).ask("get") == (["a"], 1)


@virtual_time
async def test_a_lost_answer_is_resolved_by_recovery(world) -> None:  # F-43, F-64
    async with world.system() as system:
        told = Probe()
        actor = system.spawn(lambda: BackoffSupervisor(lambda: Ledger(told), backoff_min_s=1))
        await settle()
        world.faults.on("write", lose_answer(), times=1)
        actor.tell("a")
        await advance(5)
        assert told.rest() == [("failed", 1, ConnectionError)]
        assert await actor.ask("get") == (["a"], 1)


@virtual_time
async def test_a_write_that_comes_to_light_after_all_does_not_take_a_used_number(world) -> None:  # F-43, J-16
    """A journal that forgets a write when it is cancelled, and stores it later all the same."""
    async with world.system(settings=QUICK) as system:
        told, ghosts = Probe(), []

        async def later(_: object, proceed: object) -> None:
            ghosts.append(proceed)
            raise ConnectionError("reset by peer")

        actor = system.spawn(lambda: Ledger(told))
        await actor.ask("get")
        world.faults.on("write", later, times=1)
        actor.tell("ghost")
        await system.stopped(actor)
        second = system.spawn(lambda: Ledger(told))
        await second.ask("get")
        await ghosts[0]()  # the number of its next event is taken now
        second.tell("b")
        await system.stopped(second)
        assert told.rest() == [("failed", 1, ConnectionError), ("failed", 1, SequenceConflict)]
        third = system.spawn(lambda: Ledger(told))
        third.tell("c")
        assert await third.ask("get") == (["ghost", "c"], 2)


@virtual_time
async def test_the_circuit_opens_after_failures_and_closes_after_one_success(world) -> None:  # F-43, F-75
    async with world.system(settings=QUICK) as system:
        told = Probe()
        actors = []
        for number in range(5):
            actor_class = type("One", (Ledger,), {"persistence_id": f"p{number}"})
            actors.append(system.spawn(lambda actor_class=actor_class: actor_class(told)))
            await actors[-1].ask("get")
        world.faults.on("write", fail(OSError("disk error")))
        for actor in actors[:4]:
            actor.tell("a")
            await settle()
        assert told.rest() == [("failed", 1, OSError)] * 3 + [("failed", 1, CircuitOpen)]
        assert len(world.written()) == 3
        health = (await system.check_health())["journal ''"]
        assert (health.status, health.description[:40]) == ("degraded", "the circuit breaker is open; last failur")

        asked = [call.operation for call in world.faults.calls]
        await system.stopped(system.spawn(lambda: Ledger(told)))  # it cannot recover either, and is told so at once
        assert [call.operation for call in world.faults.calls][len(asked) :] == ["load"]

        world.faults.calm()
        await advance(31)
        actors[4].tell("b")
        await told.expect("b")
        assert (await system.check_health())["journal ''"].status == "healthy"


@virtual_time
async def test_health_tells_of_a_journal_that_does_not_answer(world) -> None:  # F-75
    async with world.system() as system:
        assert {one.status for one in (await system.check_health()).values()} == {"healthy"}
        world.faults.on("highest", fail(OSError("gone")))
        health = await system.check_health()
        assert health["journal ''"].status == "unhealthy"
        assert "gone" in health["journal ''"].description
        assert health["snapshot store ''"].status == "healthy"


@virtual_time
async def test_leaving_the_system_waits_for_writes_and_cancels_those_that_do_not_end(world) -> None:  # F-12
    told, gate = Probe(), asyncio.Event()
    async with world.system() as system:
        actor = system.spawn(lambda: Ledger(told, "persist_async"))
        await actor.ask("get")
        world.faults.on("write", hold(gate))
        actor.tell("a")
        actor.tell("b")
        await settle()
        asyncio.get_running_loop().call_later(5, gate.set)
        timer = asyncio.create_task(advance(6))
    await timer
    async with world.system() as system:
        assert await system.spawn(lambda: Ledger(told)).ask("get") == (["a", "b"], 2)
        never = asyncio.Event()
        actor = system.spawn(lambda: Ledger(told))
        await actor.ask("get")
        world.faults.on("write", hold(never))
        actor.tell("c")
        await settle()
        timer = asyncio.create_task(advance(30))
    await timer
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_cancelling_a_system_that_waits_for_a_write_leaves_no_task_behind(world) -> None:
    async def run(waiting: asyncio.Event) -> None:
        async with world.system() as system:
            actor = system.spawn(lambda: Ledger(Probe()))
            await actor.ask("get")
            world.faults.on("write", hold(asyncio.Event()))
            actor.tell("a")
            await settle()
            waiting.set()

    waiting = asyncio.Event()
    task = asyncio.create_task(run(waiting))
    await waiting.wait()
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
