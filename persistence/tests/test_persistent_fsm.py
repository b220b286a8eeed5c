"""PersistentFSM: what is stored when it moves, what comes back, and that its time-outs are part of it.

The machine is an order: open, being filled, idle because nobody came back, paid. First come the tests that stand for
those of Akka's PersistentFSMSpec, then those for what Akka.NET gets wrong.
"""

from __future__ import annotations

import asyncio
import random
from enum import StrEnum
from typing import Any

import pytest
from perdure import (
    CurrentState,
    Directive,
    PersistentActor,
    PersistentFSM,
    PoisonPill,
    RecoveryCompleted,
    Retention,
    SaveSnapshotFailure,
    SaveSnapshotSuccess,
    SnapshotOffer,
    StateTimeout,
    Step,
    SubscribeTransitions,
    SupervisorStrategy,
    Transition,
    UnsubscribeTransitions,
)
from perdure.serialization import TIMEOUT_NEVER_MS, PersistentFSMSnapshot, StateChangeEvent
from perdure.testing import Probe, advance, fail, settle, virtual_time


class At(StrEnum):
    OPEN = "still open"
    FILLING = "being filled"
    IDLE = "idle"
    PAID = "paid"


Items = list[str]
Next = Step[At, Items, list[str]]


class Order(PersistentFSM[At, Items, list[str]]):
    persistence_id = "order"

    def __init__(self, told: Probe) -> None:
        self.told = told
        self.start_with(At.OPEN, [])
        self.when(At.OPEN, self.open)
        self.when(At.FILLING, self.filling)
        self.when(At.IDLE, self.idle)
        self.when(At.PAID, self.paid)

    def open(self, message: object, items: Items) -> Next | None:
        match message:
            case ("add", str(item)):
                return self.goto(At.FILLING).applying(["added", item]).for_max(1)
            case "items":
                return self.stay().replying(items)
        return None

    def filling(self, message: object, items: Items) -> Next | None:
        match message:
            case ("add", str(item)):
                return self.stay().applying(["added", item]).for_max(1)
            case "pay":
                return self.goto(At.PAID).applying(["paid"]).and_then(self.report_and_save)
            case "leave":
                return self.stop().applying(["discarded"]).and_then(lambda left: self.told.tell(("discarded", left)))
            case "items":
                return self.stay().replying(items)
            case StateTimeout():
                return self.goto(At.IDLE).for_max(2)
        return None

    def idle(self, message: object, items: Items) -> Next | None:
        match message:
            case StateTimeout():
                return self.stop().applying(["discarded"]).and_then(lambda left: self.told.tell(("discarded", left)))
        return None

    def paid(self, message: object, items: Items) -> Next | None:
        match message:
            case "items":
                return self.stay().replying(items)
            case "leave":
                return self.stop().and_then(lambda left: self.told.tell(("left with", left)))
        return None

    def report_and_save(self, items: Items) -> None:
        self.told.tell(("bought", items))
        self.save_state_snapshot()

    def apply_event(self, event: list[str], items: Items) -> Items:
        match event:
            case ["added", item]:
                return [*items, item]
            case ["discarded"]:
                return []
        return items


class Reader(PersistentActor):
    """Sees what another actor has stored."""

    persistence_id = "order"

    def __init__(self, told: Probe) -> None:
        self.told = told

    def receive_recover(self, message: object) -> None:
        if not isinstance(message, RecoveryCompleted):
            self.told.tell(message)


async def stored(system: Any, kind: type[Reader] = Reader) -> list[object]:
    told = Probe()
    reader = system.spawn(lambda: kind(told))
    await settle()
    await system.stop(reader)
    return told.rest()


# -- Akka's spec


@virtual_time
async def test_it_goes_through_its_states_and_tells_those_who_subscribed(world) -> None:  # F-56, A-37
    async with world.system() as system:
        probe = Probe()
        order = system.spawn(lambda: Order(Probe()))
        order.tell(SubscribeTransitions(probe))
        for message in ("items", ("add", "shirt"), "items", ("add", "shoes"), "items", "pay", "items", "leave"):
            order.tell(message, probe)
        await system.stopped(order)
        await probe.expect(
            CurrentState(order, "still open", None),
            [],
            Transition(order, "still open", "being filled", 1.0),
            ["shirt"],
            ["shirt", "shoes"],
            Transition(order, "being filled", "paid", None),
            ["shirt", "shoes"],
        )
        assert probe.rest() == []


@virtual_time
async def test_a_state_that_nobody_leaves_in_time_receives_a_timeout(world) -> None:  # F-56, A-37
    async with world.system() as system:
        probe, told = Probe(), Probe()
        order = system.spawn(lambda: Order(told))
        order.tell(("add", "shirt"))
        await settle()
        order.tell(SubscribeTransitions(probe))
        await advance(0.999)
        await probe.expect(CurrentState(order, At.FILLING, 1.0))
        assert probe.rest() == []
        await advance(0.001)
        assert probe.rest() == [Transition(order, "being filled", "idle", 2.0)]
        await advance(2)
        assert told.rest() == [("discarded", [])]
        await system.stopped(order)


@virtual_time
async def test_state_and_data_are_recovered(world) -> None:  # F-56, A-37
    async with world.system() as system:
        order, probe = system.spawn(lambda: Order(Probe())), Probe()
        for message in (("add", "shirt"), ("add", "shoes"), PoisonPill()):
            order.tell(message)
        await system.stopped(order)
        order = system.spawn(lambda: Order(Probe()))
        order.tell(SubscribeTransitions(probe))
        for message in ("items", ("add", "coat"), "items"):
            order.tell(message, probe)
        await probe.expect(CurrentState(order, At.FILLING, 1.0), ["shirt", "shoes"], ["shirt", "shoes", "coat"])


@virtual_time
async def test_actions_come_after_the_step_is_stored_with_its_data(world) -> None:  # F-56, A-37
    async with world.system() as system:
        told, go = Probe(), asyncio.Event()
        order = system.spawn(lambda: Order(told))
        order.tell(("add", "shirt"))
        await settle()

        async def wait(_: object, proceed: Any) -> Any:
            await go.wait()
            return await proceed()

        world.faults.on("write", wait)
        order.tell("pay")
        await settle()
        assert told.rest() == []
        go.set()
        await settle()
        assert told.rest() == [("bought", ["shirt"])]


@virtual_time
async def test_actions_of_a_stop_come_after_it_is_stored(world) -> None:  # F-56, A-37
    async with world.system() as system:
        told = Probe()
        order = system.spawn(lambda: Order(told))
        for message in (("add", "shirt"), "leave"):
            order.tell(message)
        await system.stopped(order)
        assert told.rest() == [("discarded", [])]
        assert (await stored(system))[-1] == ["discarded"]


@virtual_time
async def test_a_timeout_is_recovered_and_begins_again(world) -> None:  # F-56, A-37
    async with world.system() as system:
        probe = Probe()
        order = system.spawn(lambda: Order(Probe()))
        order.tell(("add", "shirt"))
        await advance(0.6)
        await system.stop(order)
        await advance(5)
        order = system.spawn(lambda: Order(Probe()))
        order.tell(SubscribeTransitions(probe))
        await advance(0.9)
        assert probe.rest() == [CurrentState(order, At.FILLING, 1.0)]
        await advance(0.1)
        assert probe.rest() == [Transition(order, At.FILLING, At.IDLE, 2.0)]
        await system.stop(order)
        order = system.spawn(lambda: Order(Probe()))
        order.tell(SubscribeTransitions(probe))
        await advance(2)
        assert probe.rest() == [CurrentState(order, At.IDLE, 2.0)]
        await system.stopped(order)


class Telling(PersistentFSM[str, int, int]):
    """Two plain states; it tells of its transitions."""

    persistence_id = "order"

    def __init__(self, told: Probe) -> None:
        self.told = told
        self.start_with("a", 0)
        self.when("a", self.both)
        self.when("b", self.both)

    def both(self, message: Any, data: int) -> Step[str, int, int]:
        match message:
            case ("go", state):
                return self.goto(state)
            case ("count", *numbers):
                return self.stay().applying(*numbers)
        return self.stay()

    def apply_event(self, event: int, data: int) -> int:
        return data + event

    def on_transition(self, source: str, target: str) -> None:
        self.told.tell(f"{source} -> {target}: {self.data}")

    def on_termination(self, reason: object) -> None:
        self.told.tell(("terminated", reason))


@virtual_time
async def test_transitions_are_those_of_goto_and_one_after_recovery(world) -> None:  # F-56, A-37
    async with world.system() as system:
        told = Probe()
        machine = system.spawn(lambda: Telling(told))
        await told.expect("a -> a: 0")
        for message in (("go", "a"), "stay", ("count", 1, 2), ("go", "b")):
            machine.tell(message)
        await settle()
        assert told.rest() == ["a -> a: 0", "a -> b: 3"]


@virtual_time
async def test_staying_stores_no_state_change_except_with_a_timeout(world) -> None:  # F-56, A-37
    async with world.system() as system:
        machine = system.spawn(lambda: Telling(Probe()))
        for message in (("count", 1), "stay", ("go", "b"), ("count", 2)):
            machine.tell(message)
        await settle()
        await system.stop(machine)
        assert await stored(system) == [1, StateChangeEvent("b"), 2]
        assert world.written() == [[(1,)], [(2,)], [(3,)]]


@virtual_time
async def test_events_and_state_change_are_one_atomic_write(world) -> None:  # F-56, A-37
    async with world.system() as system:
        order = system.spawn(lambda: Order(Probe()))
        for message in (("add", "shirt"), ("add", "shoes"), "items"):
            order.tell(message)
        await settle()
        assert world.written() == [[(1, 2)], [(3, 4)]]
        await system.stop(order)
        change = StateChangeEvent("being filled", 1000)
        assert await stored(system) == [["added", "shirt"], change, ["added", "shoes"], change]


@virtual_time
async def test_a_snapshot_has_state_data_and_timeout(world) -> None:  # F-56, A-37
    async with world.system() as system:
        order, probe = system.spawn(lambda: Order(Probe())), Probe()
        for message in (("add", "shirt"), "pay"):
            order.tell(message)
        await settle()
        await system.stop(order)
        (offer,) = await stored(system)
        assert isinstance(offer, SnapshotOffer)
        assert isinstance(offer.snapshot, PersistentFSMSnapshot)
        assert (offer.snapshot.state_identifier, offer.snapshot.timeout_ms) == ("paid", None)
        order = system.spawn(lambda: Order(Probe()))
        order.tell("items", probe)
        await probe.expect(["shirt"])


class Waiting(PersistentFSM[str, str, str]):
    """One state with a default timeout."""

    persistence_id = "order"

    def __init__(self, told: Probe) -> None:
        self.told = told
        self.start_with("waiting", "")
        self.when("waiting", self.waiting, timeout_s=0.3)

    def waiting(self, message: object, data: str) -> Step[str, str, str]:
        self.told.tell(message)
        match message:
            case ("for", seconds):
                return self.stay().for_max(seconds)
            case "save":
                return self.stay().and_then(lambda _: self.save_state_snapshot())
        return self.stay()


@virtual_time
async def test_a_timeout_can_be_turned_off_and_stays_off_after_recovery(world) -> None:  # F-56, A-37
    async with world.system() as system:
        told = Probe()
        machine = system.spawn(lambda: Waiting(told))
        await advance(0.7)
        assert told.rest() == [StateTimeout(), StateTimeout()]
        machine.tell(("for", None))
        await advance(1000)
        assert told.rest() == [("for", None)]
        await system.stop(machine)
        machine = system.spawn(lambda: Waiting(told))
        await advance(1000)
        assert told.rest() == []
        machine.tell("anything")  # ends that, and the default counts again
        await advance(0.3)
        assert told.rest() == ["anything", StateTimeout()]
        await system.stop(machine)
        assert await stored(system) == [StateChangeEvent("waiting", TIMEOUT_NEVER_MS)]


class Saving(Telling):
    retention = Retention(snapshot_every=3)

    def both(self, message: Any, data: int) -> Step[str, int, int]:
        return super().both(message, data).replying(data)


@virtual_time
async def test_snapshots_are_saved_at_the_end_of_the_step_that_passes_a_multiple(world) -> None:  # F-56, A-37
    async with world.system() as system:
        machine = system.spawn(lambda: Saving(Probe()))
        for message in (("count", 1), ("count", 2), ("count", 3), ("go", "b"), ("count", 10, 10, 10, 10)):
            await machine.ask(message)
            await settle()
        saved = [call.sequence_nr for call in world.faults.calls if call.operation == "save"]
        assert saved == [3, 8]
        await system.stop(machine)
        (offer,) = await stored(system)
        assert isinstance(offer, SnapshotOffer)
        assert offer.snapshot.data.data == (46).to_bytes(8, "little")


@virtual_time
async def test_an_action_gets_the_latest_data(world) -> None:  # F-56, A-37
    class Echo(Telling):
        def both(self, message: Any, data: int) -> Step[str, int, int]:
            return self.goto("b").applying(message).and_then(lambda found: self.reply((data, found, self.data)))

    async with world.system() as system:
        machine = system.spawn(lambda: Echo(Probe()))
        assert await machine.ask(1) == (0, 1, 1)
        assert await machine.ask(2) == (1, 3, 3)


# -- where Akka.NET does otherwise, and what is ours


@virtual_time
async def test_an_action_without_events_is_performed(world) -> None:  # F-56, A-37
    async with world.system() as system:
        told = Probe()
        order = system.spawn(lambda: Order(told))
        for message in (("add", "shirt"), "pay", "leave"):
            order.tell(message)
        await system.stopped(order)
        assert told.rest() == [("bought", ["shirt"]), ("left with", ["shirt"])]


@virtual_time
async def test_a_state_that_is_not_there_is_refused_before_anything_is_stored(world) -> None:  # F-56, A-37
    async with world.system() as system:
        told = Probe()
        machine = system.spawn(lambda: Telling(told))
        machine.tell(("go", "nowhere"))
        machine.tell(("count", 1))
        await settle()
        assert world.written() == [[(1,)]]
        assert told.rest() == ["a -> a: 0", ("terminated", "shutdown"), "a -> a: 0"]


@virtual_time
async def test_a_stored_state_that_is_not_there_any_more_fails_the_recovery(world, caplog) -> None:  # F-56, A-37
    class Renamed(Telling):
        def __init__(self, told: Probe) -> None:
            self.told = told
            self.start_with("a", 0)
            self.when("a", self.both)

    async with world.system() as system:
        machine = system.spawn(lambda: Telling(Probe()))
        machine.tell(("go", "b"))
        await settle()
        await system.stop(machine)
        await system.stopped(system.spawn(lambda: Renamed(Probe())))
    assert "has no state 'b' any more; there are: ['a']" in caplog.text


@virtual_time
async def test_a_rejected_step_changes_nothing_and_the_timeout_goes_on(world) -> None:  # F-56, A-37
    async with world.system() as system:
        probe = Probe()
        order = system.spawn(lambda: Order(Probe()))
        order.tell(("add", "shirt"))
        await advance(0.5)
        order.tell(SubscribeTransitions(probe))
        world.faults.reject(lambda write: b"shoes" in write.events[0].payload.data)
        order.tell(("add", "shoes"))
        order.tell(("add", "shoes"))
        await advance(0.49)
        assert probe.rest() == [CurrentState(order, At.FILLING, 1.0)]
        world.faults.calm()
        await advance(0.01)
        assert probe.rest() == [Transition(order, At.FILLING, At.IDLE, 2.0)]


@virtual_time
async def test_a_rejected_timeout_comes_again(world) -> None:  # F-56, A-37
    async with world.system() as system:
        probe = Probe()
        order = system.spawn(lambda: Order(Probe()))
        order.tell(("add", "shirt"))
        await settle()
        order.tell(SubscribeTransitions(probe))
        world.faults.reject(lambda _: True)
        await advance(1)
        world.faults.calm()
        await advance(0.9)
        assert probe.rest() == [CurrentState(order, At.FILLING, 1.0)]
        await advance(0.1)
        assert probe.rest() == [Transition(order, At.FILLING, At.IDLE, 2.0)]


@virtual_time
async def test_answers_about_snapshots_are_no_messages_to_a_state(world, caplog) -> None:  # F-56, A-37
    async with world.system() as system:
        told = Probe()
        machine = system.spawn(lambda: Waiting(told))
        await settle()
        machine.tell(("for", 5))
        machine.tell("save")
        await settle()
        world.faults.on("save", fail(OSError("disk full")))
        machine.tell("save")
        await advance(0.299)
        assert told.rest() == [("for", 5), "save", "save"]
        assert "SaveSnapshotFailure" in caplog.text
        await advance(0.001)
        assert told.rest() == [StateTimeout()]


@virtual_time
async def test_a_snapshot_after_recovery_still_has_the_timeout(world) -> None:  # F-56, A-37
    class Keeping(Waiting):
        def on_recovery_completed(self) -> None:
            self.save_state_snapshot()

        def on_storage_answer(self, answer: object) -> None:
            self.told.tell(type(answer))

    async with world.system() as system:
        told = Probe()
        machine = system.spawn(lambda: Waiting(told))
        machine.tell(("for", 5))
        await settle()
        await system.stop(machine)
        await told.expect(("for", 5))
        for _ in range(2):  # the second recovers from the snapshot alone
            machine = system.spawn(lambda: Keeping(told))
            await settle()
            await system.stop(machine)
        assert told.rest() == [SaveSnapshotSuccess] * 2
        (offer,) = await stored(system)
        assert isinstance(offer, SnapshotOffer)
        assert offer.snapshot.timeout_ms == 5000


@virtual_time
async def test_data_that_cannot_be_serialized_fails_the_snapshot_alone(world) -> None:  # F-56, A-37
    class Unserializable(Telling):
        def on_recovery_completed(self) -> None:
            self._data = object()  # which nobody can serialize
            self.save_state_snapshot()

        def on_storage_answer(self, answer: object) -> None:
            self.told.tell(type(answer))

    async with world.system() as system:
        told = Probe()
        system.spawn(lambda: Unserializable(told))
        await told.expect("a -> a: 0", SaveSnapshotFailure)


@virtual_time
async def test_the_reason_of_a_stop_is_told(world, caplog) -> None:  # F-56, A-37
    class Stopping(Telling):
        def both(self, message: Any, data: int) -> Step[str, int, int]:
            step = self.stop() if message == "stop" else self.stop(OSError("no paper"))
            return step.replying("bye")

    async with world.system() as system:
        told, probe = Probe(), Probe()
        for message in ("stop", "fail"):
            machine = system.spawn(lambda: Stopping(told))
            machine.tell(message, probe)
            await system.stopped(machine)
        machine = system.spawn(lambda: Stopping(told))
        await settle()
        await system.stop(machine)
        reasons = [one[1] for one in told.rest() if isinstance(one, tuple)]
        assert probe.rest() == ["bye", "bye"]
    assert [reasons[0], str(reasons[1]), reasons[2]] == ["normal", "no paper", "shutdown"]
    assert "no paper" in caplog.text


@virtual_time
async def test_a_hook_that_raises_leaves_a_state_that_agrees_with_what_is_stored(world) -> None:  # F-56, A-37
    class Raising(Telling):
        def on_transition(self, source: str, target: str) -> None:
            if target == "b":
                raise OSError("not now")

        def both(self, message: Any, data: int) -> Step[str, int, int]:
            return self.goto("b").applying(1) if message == "go" else self.stay().replying((self.state, data))

    strategy = SupervisorStrategy({OSError: Directive.RESUME})
    async with world.system(supervisor_strategy=strategy) as system:
        machine = system.spawn(lambda: Raising(Probe()))
        machine.tell("go")
        assert await machine.ask("where") == ("b", 1)


@virtual_time
async def test_functions_hooks_and_actions_may_be_coroutines(world) -> None:  # F-56, A-37
    class Slow(Telling):
        async def slowly(self, message: Any, data: int) -> Step[str, int, int] | None:
            await asyncio.sleep(1)
            return None if message == "what" else self.goto("b").applying(message).and_then(self.later)

        def __init__(self, told: Probe) -> None:
            super().__init__(told)
            self.when("slow", self.slowly)
            self.start_with("slow", 0)

        async def on_transition(self, source: str, target: str) -> None:
            await asyncio.sleep(1)
            super().on_transition(source, target)

        async def when_unhandled(self, message: object, data: int) -> Step[str, int, int]:
            await asyncio.sleep(1)
            return self.stay().replying("nothing")

        async def later(self, data: int) -> None:
            await asyncio.sleep(1)
            self.reply(data)

    async with world.system() as system:
        told, probe = Probe(), Probe()
        machine = system.spawn(lambda: Slow(told))
        for message in ("what", 5, "stay"):
            machine.tell(message, probe)
        await advance(3)
        assert (told.rest(), probe.rest()) == (["slow -> slow: 0"], ["nothing"])
        await advance(2)
        assert (told.rest(), probe.rest()) == (["slow -> b: 5"], [])
        await advance(1)
        assert probe.rest() == [5]


@virtual_time
async def test_those_who_unsubscribe_or_stop_are_told_nothing(world) -> None:  # F-56, A-37
    async with world.system() as system:
        letters: list[object] = []
        system.on_dead_letter(lambda letter: letters.append(letter.message))
        probe = Probe()
        machine = system.spawn(lambda: Telling(Probe()))
        watcher = system.spawn(lambda: Order(Probe()), "watcher")
        for subscriber in (probe, probe, watcher):
            machine.tell(SubscribeTransitions(subscriber))
        machine.tell(("go", "b"))
        await settle()
        assert probe.rest() == [CurrentState(machine, "a")] * 2 + [Transition(machine, "a", "b")]
        machine.tell(UnsubscribeTransitions(probe))
        machine.tell(UnsubscribeTransitions(probe))
        await system.stop(watcher)
        machine.tell(("go", "a"))
        await settle()
        assert (probe.rest(), letters) == ([], [])


@virtual_time
async def test_a_machine_must_say_where_it_begins(world, caplog) -> None:  # F-56, A-37
    class Nowhere(Telling):
        def __init__(self) -> None:
            self.start_with("x", 0)

    async with world.system() as system:
        await system.stopped(system.spawn(Nowhere))
    assert "call start_with(), and when() for that state, in __init__" in caplog.text
    with pytest.raises(ValueError, match="state 'a' has its function already"):
        Telling(Probe()).when("a", lambda *_: None)


class Walker(PersistentFSM[str, list[int], int]):
    """Three rooms, a default timeout in one of them; what it is told says what its step is."""

    persistence_id = "order"
    retention = Retention(snapshot_every=4, keep=2, delete_events=True)

    def __init__(self) -> None:
        self.start_with("a", [])
        for room in "abc":
            self.when(room, self.go, timeout_s=3 if room == "c" else None)

    def go(self, message: Any, seen: list[int]) -> Step[str, list[int], int]:
        if message == "where":
            return self.stay().replying((self.state, seen))
        if isinstance(message, StateTimeout):
            return self.goto("a")
        room, events, timeout_s = message
        step = (self.stay() if room == self.state else self.goto(room)).applying(*events)
        return step if timeout_s == 0 else step.for_max(timeout_s)

    def apply_event(self, event: int, seen: list[int]) -> list[int]:
        return [*seen, event]


@pytest.mark.parametrize("seed", range(20))
@virtual_time
async def test_generated_walks_are_recovered_to_where_they_were(world, seed: int) -> None:  # F-56, A-37
    """The oracle is a plain record of what the steps that were not rejected said. 0 is no timeout, None is never."""
    chance = random.Random(seed)
    room, seen, timeout_s = "a", [], 0
    async with world.system() as system:
        for number in range(40):
            machine = system.spawn(Walker)
            for _ in range(chance.randrange(3)):
                message = (chance.choice("abc"), [number] * chance.randrange(3), chance.choice((0, 0, 1, 2, None)))
                changes = message[0] != room or message[2] != 0
                if chance.random() < 0.2 and (changes or message[1]):
                    world.faults.reject(lambda _: True)
                elif changes or message[1]:
                    room, seen, timeout_s = message[0], seen + message[1], message[2]
                machine.tell(message)
                await settle()
                world.faults.calm()
            await system.stop(machine)
            machine = system.spawn(Walker)
            await settle()
            if chance.random() < 0.3:
                await advance(5)
                if (3 if room == "c" else None) if timeout_s == 0 else timeout_s:
                    room, timeout_s = "a", 0
            assert await machine.ask("where") == (room, seen)
            await system.stop(machine)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(1, 1000), (0.0001, 1), (1.0004, 1001), (0.3, 300), (2.001, 2001)]
)
def test_timeouts_are_whole_milliseconds_rounded_up(seconds: float, milliseconds: int) -> None:  # F-56
    assert Step("a", True).for_max(seconds).timeout_ms == milliseconds


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12])
def test_timeouts_that_cannot_be_stored_are_refused(seconds: float) -> None:  # F-56
    with pytest.raises(ValueError, match="is out of range; above 0 is allowed"):
        Step("a", True).for_max(seconds)


@virtual_time
async def test_what_is_stored_has_the_bytes_of_akka_net(world) -> None:  # F-56, A-37
    async with world.system() as system:
        machine = system.spawn(lambda: Waiting(Probe()))
        machine.tell(("for", 0.3))
        await settle()
        machine.tell("save")
        await settle()
        (write,) = [call for call in world.faults.calls if call.operation == "write"]
        (save,) = [call for call in world.faults.calls if call.operation == "save"]
    event = write.writes[0].events[0].payload
    assert event.serializer_id == save.payload.serializer_id == 7
    assert event.manifest == "Akka.Persistence.Fsm.PersistentFSM+StateChangeEvent, Akka.Persistence"
    assert event.data == bytes.fromhex(
        "0A 07 77 61 69 74 69 6E 67"  # 1 stateIdentifier: waiting
        "10 AC 02"  # 2 timeoutMillis: 300
    )
    assert save.payload.manifest == "Akka.Persistence.Fsm.PersistentFSM+PersistentFSMSnapshot`1, Akka.Persistence"
    assert save.payload.data == bytes.fromhex(
        "0A 07 77 61 69 74 69 6E 67"
        "12 29 08 11 1A 25"  # 2 data, 41 bytes: serializer 17, no bytes, a manifest of 37 characters
        + b"System.String, System.Private.CoreLib".hex()
        + "18 AC 02"  # 3 timeoutMillis: 300
    )
