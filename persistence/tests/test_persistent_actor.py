"""PersistentActor: what is persisted, in which order handlers and commands come, and what a recovery gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from perdure import (
    DiscardToDeadLetters,
    PersistentActor,
    PoisonPill,
    RecoveryCompleted,
    ReplyToSender,
    SnapshotOffer,
)
from perdure.errors import StashOverflow
from perdure.testing import Probe, advance, hold, settle, virtual_time

Script = Callable[["Scripted", object], object]


class Scripted(PersistentActor):
    """Does with a command what the test's script says; its state is the list of its events."""

    persistence_id = "p"

    def __init__(self, script: Script | None = None) -> None:
        self.script = script
        self.state: list[object] = []

    def receive_recover(self, message: object) -> object:
        match message:
            case SnapshotOffer(_, state):
                self.state = list(state)
            case RecoveryCompleted():
                return self.unhandled(message)
            case _:
                self.state.append(message)
        return None

    def receive_command(self, message: object) -> object:
        if message == "get":
            self.reply(list(self.state))
            return None
        if self.script is None:
            self.persist(message, self.update)
            return None
        return self.script(self, message)

    def update(self, event: object) -> None:
        """Keep an event and tell whoever sent its command."""
        self.state.append(event)
        self.reply(event)


def scripted(script: Script) -> Callable[[], Scripted]:
    return lambda: Scripted(script)


async def recovered(world: object) -> list[object]:
    """The state of a new incarnation in a new system."""
    async with world.system() as system:
        return await system.spawn(Scripted).ask("get")


@virtual_time
async def test_events_are_recovered_in_order(world) -> None:  # F-1, F-3, A-2
    async with world.system() as system:
        actor = system.spawn(Scripted)
        for number in range(5):
            assert await actor.ask(number) == number
    assert await recovered(world) == [0, 1, 2, 3, 4]


@virtual_time
async def test_commands_that_arrive_during_recovery_wait_in_order(world) -> None:  # F-1, A-2
    async with world.system() as system:
        await system.spawn(Scripted).ask("a")
    async with world.system() as system:
        gate = asyncio.Event()
        world.faults.on("replay", hold(gate))
        actor, probe = system.spawn(Scripted), Probe()
        for message in ("b", "c", "get"):
            actor.tell(message, probe)
        await settle()
        assert probe.rest() == []
        gate.set()
        await probe.expect("b", "c", ["a", "b", "c"])


@virtual_time
async def test_no_command_is_received_between_persist_and_its_handler(world) -> None:  # F-3, A-3
    trace: list[str] = []

    def script(actor: Scripted, message: object) -> None:
        trace.append(f"command {message}")
        actor.persist(f"{message}1", lambda event: trace.append(f"event {event}"))
        actor.persist(f"{message}2", lambda event: trace.append(f"event {event}"))

    async with world.system() as system:
        actor = system.spawn(scripted(script))
        actor.tell("a")
        actor.tell("b")
        await settle()
    assert trace == ["command a", "event a1", "event a2", "command b", "event b1", "event b2"]


@virtual_time
async def test_persist_all_is_one_atomic_write_and_its_handler_runs_once_for_each_event(world) -> None:  # F-4, A-4
    def script(actor: Scripted, message: object) -> None:
        actor.persist_all([f"{message}{n}" for n in (1, 2, 3)], actor.update)
        actor.persist(f"{message}4", actor.update)

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        actor.tell("a", probe)
        await probe.expect("a1", "a2", "a3", "a4")
        assert world.written() == [[(1, 2, 3), (4,)]]
    assert await recovered(world) == ["a1", "a2", "a3", "a4"]


@pytest.mark.parametrize("method", ["persist_all", "persist_all_async"])
@virtual_time
async def test_persisting_no_event_does_nothing_but_complete(world, method: str) -> None:  # F-4, F-5, A-7, F-77
    def script(actor: Scripted, _: object) -> None:
        sender = actor.sender
        getattr(actor, method)([], actor.update, on_complete=lambda: sender.tell("complete"))

    async with world.system() as system:
        assert await system.spawn(scripted(script)).ask("a") == "complete"
        assert world.written() == []


@pytest.mark.parametrize("method", ["persist_all", "persist_all_async"])
@virtual_time
async def test_on_complete_comes_after_all_handlers(world, method: str) -> None:  # F-77, A-39
    def script(actor: Scripted, _: object) -> None:
        getattr(actor, method)(["a", "b"], actor.update, on_complete=lambda: actor.reply("complete"))

    async with world.system() as system:
        probe = Probe()
        system.spawn(scripted(script)).tell("go", probe)
        await probe.expect("a", "b", "complete")


@virtual_time
async def test_events_that_raise_while_they_are_listed_change_nothing(world) -> None:
    def events() -> object:
        yield "a"
        raise LookupError("half-way")

    def script(actor: Scripted, message: object) -> None:
        if message == "bad":
            try:
                actor.persist_all(events(), actor.update)
            except LookupError as error:
                actor.reply(str(error))
        else:
            actor.persist(message, actor.update)

    async with world.system() as system:
        actor = system.spawn(scripted(script))
        assert [await actor.ask(message) for message in ("bad", "b")] == ["half-way", "b"]
        assert world.written() == [[(1,)]]


@virtual_time
async def test_persist_async_lets_commands_through_and_keeps_order_and_senders(world) -> None:  # F-5, A-5
    def script(actor: Scripted, message: object) -> None:
        actor.reply(f"command {message}")
        for part in (1, 2):
            actor.persist_async(f"{message}{part}", lambda event: actor.reply(f"event {event}"))

    async with world.system() as system:
        gate = asyncio.Event()
        world.faults.on("write", hold(gate))
        actor, one, two = system.spawn(scripted(script)), Probe("one"), Probe("two")
        actor.tell("a", one)
        actor.tell("b", two)
        await settle()
        assert (one.rest(), two.rest()) == (["command a"], ["command b"])
        gate.set()
        await one.expect("event a1", "event a2")
        await two.expect("event b1", "event b2")


@virtual_time
async def test_one_event_object_may_be_persisted_several_times(world) -> None:
    def script(actor: Scripted, _: object) -> None:
        event = ["same"]
        for _ in range(3):
            actor.persist_async(event, actor.update)

    async with world.system() as system:
        probe = Probe()
        system.spawn(scripted(script)).tell("go", probe)
        await probe.expect(["same"], ["same"], ["same"])
    assert await recovered(world) == [["same"]] * 3


@pytest.mark.parametrize(
    "calls",
    [("persist", "persist_async", "persist"), ("persist_async", "persist", "persist_async")],
    ids=["sync first", "async first"],
)
@virtual_time
async def test_sync_and_async_persists_keep_their_order(world, calls: tuple[str, ...]) -> None:
    def script(actor: Scripted, message: object) -> None:
        for number, call in enumerate(calls):
            getattr(actor, call)(f"{message}{number}", actor.update)

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        actor.tell("a", probe)
        actor.tell("b", probe)
        if calls[0] == "persist":
            await probe.expect("a0", "a1", "a2", "b0", "b1", "b2")
        else:
            await settle()
            told = probe.rest()
            assert [event for event in told if event[0] == "a"] == ["a0", "a1", "a2"]
            assert sorted(told) == ["a0", "a1", "a2", "b0", "b1", "b2"]
            assert told.index("a1") < told.index("b0")


@pytest.mark.parametrize("method", ["defer", "defer_async"])
@virtual_time
async def test_what_is_deferred_comes_after_what_was_persisted_and_is_not_kept(world, method: str) -> None:  # F-6, A-9
    def script(actor: Scripted, message: object) -> None:
        actor.persist_async(f"{message}1", actor.update)
        getattr(actor, method)(f"{message}-deferred", actor.reply)
        actor.persist_async(f"{message}2", actor.update)

    async with world.system() as system:
        actor, one, two = system.spawn(scripted(script)), Probe(), Probe()
        actor.tell("a", one)
        actor.tell("b", two)
        await one.expect("a1", "a-deferred", "a2")
        await two.expect("b1", "b-deferred", "b2")
    assert await recovered(world) == ["a1", "a2", "b1", "b2"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@virtual_time
async def test_what_is_deferred_with_nothing_pending_is_called_before_the_next_command(  # F-6, A-9
    world, asynchronous: bool
) -> None:
    def script(actor: Scripted, message: object) -> None:
        async def later(value: object) -> None:
            await asyncio.sleep(1)
            actor.reply(value)

        actor.defer_async(message, later if asynchronous else actor.reply)

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        for message in ("a", "get", "b"):
            actor.tell(message, probe)
        await advance(2)
        assert probe.rest() == ["a", [], "b"]
        assert world.written() == []


@virtual_time
async def test_defer_holds_commands_back_and_defer_async_does_not(world) -> None:  # F-6, A-9
    def script(actor: Scripted, message: object) -> None:
        sender = actor.sender
        actor.persist_async("event", None)
        getattr(actor, message)("x", lambda _: sender.tell(f"after {message}"))

    for method, expected in (("defer", ["after defer", []]), ("defer_async", [[], "after defer_async"])):
        async with world.system() as system:
            actor, probe = system.spawn(scripted(script)), Probe()
            await settle()
            gate = asyncio.Event()
            world.faults.on("write", hold(gate))
            actor.tell(method, probe)
            await settle()
            actor.tell("get", probe)
            await settle()
            gate.set()
            await settle()
            told = [[] if isinstance(one, list) else one for one in probe.rest()]
            assert told == expected


@pytest.mark.parametrize("outer", ["persist", "persist_async"])
@pytest.mark.parametrize("inner", ["persist", "persist_async"])
@virtual_time
async def test_nested_persists_come_layer_by_layer(world, outer: str, inner: str) -> None:  # F-3, A-10
    def script(actor: Scripted, _: object) -> None:
        def first(event: object) -> None:
            actor.update(event)
            getattr(actor, inner)(f"{event}-inner", second)

        def second(event: object) -> None:
            actor.update(event)
            if len(actor.state) < 6:
                getattr(actor, inner)(f"{event}-deep", actor.update)

        getattr(actor, outer)("a", first)
        getattr(actor, outer)("b", first)

    async with world.system() as system:
        probe = Probe()
        system.spawn(scripted(script)).tell("go", probe)
        expected = ["a", "b", "a-inner", "b-inner", "a-inner-deep", "b-inner-deep"]
        await probe.expect(*expected)
        assert await system.spawn(lambda: Scripted(), "other").ask("get") == expected


@virtual_time
async def test_persist_within_the_handler_of_persist_async_holds_commands_back(world) -> None:
    def script(actor: Scripted, message: object) -> None:
        actor.reply(f"command {message}")
        if message == "a":
            actor.persist_async("outer", lambda _: actor.persist("inner", actor.update))

    async with world.system() as system:
        inner = asyncio.Event()
        world.faults.on("write", hold(inner), when=lambda call: b"inner" in call.writes[0].events[0].payload.data)
        actor, probe = system.spawn(scripted(script)), Probe()
        actor.tell("a", probe)
        await settle()
        actor.tell("b", probe)
        await settle()
        assert probe.rest() == ["command a"]
        inner.set()
        await probe.expect("inner", "command b")


@pytest.mark.parametrize("place", ["before", "after"])
@virtual_time
async def test_behaviour_may_change_in_a_handler(world, place: str) -> None:  # F-17, A-11
    def script(actor: Scripted, message: object) -> None:
        def changed(other: object) -> None:
            actor.persist(f"changed {other}", actor.update)

        def handler(event: object) -> None:
            if place == "before":
                actor.context.become(changed)
            actor.update(event)
            if place == "after":
                actor.context.become(changed)

        actor.persist_all([message, f"{message}2"], handler)

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        actor.tell("a", probe)
        actor.tell("b", probe)
        await probe.expect("a", "a2", "changed b")


@virtual_time
async def test_handlers_and_commands_may_be_coroutines(world) -> None:  # F-16, F-77, A-39
    async def script(actor: Scripted, message: object) -> None:
        async def handler(event: object) -> None:
            await asyncio.sleep(1)
            actor.update(event)

        actor.persist(f"{message}1", handler)
        await asyncio.sleep(1)
        actor.persist(f"{message}2", handler)

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        actor.tell("a", probe)
        actor.tell("b", probe)
        await advance(10)
        assert probe.rest() == ["a1", "a2", "b1", "b2"]
        assert world.written() == [[(1,), (2,)], [(3,), (4,)]]


@virtual_time
async def test_recovery_completed_comes_once_after_the_last_event_and_may_persist(world) -> None:  # F-1, A-14
    class Completes(Scripted):
        def receive_recover(self, message: object) -> None:
            if isinstance(message, RecoveryCompleted):
                self.state.append(("completed", self.is_recovering))
                self.persist("started", self.state.append)
            else:
                self.state.append((message, self.is_recovering))

    for expected in (
        [["completed", False], "started"],
        [["started", True], ["completed", False], "started"],
    ):
        async with world.system() as system:
            found = await system.spawn(Completes).ask("get")
            assert [list(one) if isinstance(one, tuple) else one for one in found] == expected


@virtual_time
async def test_persisting_during_recovery_is_refused(world) -> None:  # F-3, A-15
    class Eager(Scripted):
        def receive_recover(self, message: object) -> None:
            if isinstance(message, str):
                try:
                    self.persist("too early")
                except RuntimeError as error:
                    self.state.append(str(error))

    async with world.system() as system:
        await system.spawn(Scripted).ask("a")
        assert await system.spawn(Eager).ask("get") == [
            "persist() is not allowed during recovery or after a stop; persist in a command"
        ]


@virtual_time
async def test_an_actor_without_a_persistence_id_is_not_started(world) -> None:  # F-2, A-1
    class Nameless(Scripted):
        persistence_id = ""

    async with world.system() as system:
        await system.stopped(system.spawn(Nameless))
        assert world.faults.calls == []


@virtual_time
async def test_an_unknown_storage_stops_the_actor_at_once(world, caplog) -> None:  # F-18
    class Elsewhere(Scripted):
        journal_backend = "archive"

    async with world.system() as system:
        await system.stopped(system.spawn(Elsewhere))
    assert "no storage named 'archive' in this system; there are: ''" in caplog.text


@virtual_time
async def test_each_actor_may_name_its_storages(world) -> None:  # F-18
    from perdure import Location
    from perdure_memory import backend

    class Elsewhere(Scripted):
        journal_backend = "archive"

    async with backend.open(Location()) as archive, world.system(storages={"archive": archive}) as system:
        assert await system.spawn(Elsewhere).ask("a") == "a"
        assert world.faults.calls == []
        assert await archive.journal.read_highest_sequence_nr("p") == 1


@virtual_time
async def test_user_stash_works_with_persist(world) -> None:  # F-12, A-22
    def script(actor: Scripted, message: object) -> None:
        if message == "open":
            actor.persist("open", lambda event: (actor.update(event), actor.unstash_all()))
        elif "open" in actor.state:
            actor.persist(message, actor.update)
        else:
            actor.stash()

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        for message in ("a", "b", "open", "c"):
            actor.tell(message, probe)
        await probe.expect("open", "a", "b", "c")


@virtual_time
async def test_there_is_nothing_to_stash_in_a_handler(world) -> None:
    def script(actor: Scripted, message: object) -> None:
        def handler(_: object) -> None:
            try:
                actor.stash()
            except RuntimeError as error:
                actor.reply(str(error))

        actor.persist(message, handler)

    async with world.system() as system:
        assert "a persist handler is no message" in await system.spawn(scripted(script)).ask("a")


@virtual_time
async def test_stashed_commands_survive_a_failure(world) -> None:  # F-12, A-22
    def script(actor: Scripted, message: object) -> None:
        if message == "fail":
            raise ValueError("on purpose")
        if message == "first" and not actor.state:
            actor.persist("seen", actor.state.append)
            actor.stash()
            return
        actor.persist(message, actor.update)

    async with world.system() as system:
        actor, probe = system.spawn(scripted(script)), Probe()
        for message in ("first", "fail", "last"):
            actor.tell(message, probe)
        await probe.expect("first", "last")
    assert await recovered(world) == ["seen", "first", "last"]


class Bounded(Scripted):
    internal_stash_capacity = 2


async def overflow(world, actor_class: type[Scripted], **settings: object) -> tuple[list[object], list[object]]:
    """Five commands, of which the first is being persisted while the others arrive: what is answered, what is dead."""
    letters: list[object] = []
    async with world.system(**settings) as system:
        system.on_dead_letter(lambda letter: letters.append(letter.message))
        gate = asyncio.Event()
        actor, probe = system.spawn(actor_class), Probe()
        await settle()
        world.faults.on("write", hold(gate))
        actor.tell("a", probe)
        await settle()
        for message in "bcde":
            actor.tell(message, probe)
        gate.set()
        await settle()
        return probe.rest(), letters


@virtual_time
async def test_too_many_waiting_messages_make_the_actor_fail(world, caplog) -> None:  # F-13, A-23
    told, letters = await overflow(world, Bounded)
    assert letters == ["d", "e"]
    assert told[-2:] == ["b", "c"]  # the restart keeps the mailbox
    assert await recovered(world) == ["a", "b", "c"]
    assert StashOverflow.__name__ in caplog.text


@virtual_time
async def test_too_many_waiting_messages_can_be_dead_letters(world) -> None:  # F-13, A-23
    class Discards(Bounded):
        stash_overflow_strategy = DiscardToDeadLetters()

    assert await overflow(world, Discards) == (["a", "b", "c"], ["d", "e"])


@virtual_time
async def test_too_many_waiting_messages_can_be_answered(world) -> None:  # F-13, A-23
    class Replies(Bounded):
        stash_overflow_strategy = ReplyToSender("busy")

    assert await overflow(world, Replies) == (["busy", "busy", "a", "b", "c"], [])


@virtual_time
async def test_an_actor_does_not_answer_itself_that_it_has_no_room(world) -> None:  # F-13, A-23
    class Replies(Bounded):
        stash_overflow_strategy = ReplyToSender("busy")

        def receive_command(self, message: object) -> None:
            self.persist(message, self.state.append)

    async with world.system() as system:
        gate, actor = asyncio.Event(), system.spawn(Replies)
        await settle()
        world.faults.on("write", hold(gate))
        actor.tell("a")
        await settle()
        for message in "bcd":  # the answer to a request of its own, such as SaveSnapshotSuccess, comes like this
            actor.tell(message, actor)
        gate.set()
        await settle()
    assert await recovered(world) == ["a", "b", "c"]


@virtual_time
async def test_timers_and_poison_wait_while_the_actor_persists(world) -> None:  # F-19
    def script(actor: Scripted, message: object) -> None:
        if message == "start":
            actor.timers.start_single("key", "tick", 1)
        actor.persist(message, actor.state.append)

    async with world.system() as system:
        gate = asyncio.Event()
        actor = system.spawn(scripted(script))
        await settle()
        world.faults.on("write", hold(gate))
        actor.tell("start")
        await advance(2)
        actor.tell(PoisonPill())
        await settle()
        gate.set()
        await system.stopped(actor)
    assert await recovered(world) == ["start", "tick"]


@virtual_time
async def test_one_write_at_a_time_and_the_next_takes_all_that_gathered(world) -> None:  # F-7, A-21
    def script(actor: Scripted, message: object) -> None:
        actor.persist_async(message, actor.update)

    async with world.system() as system:
        gates = [asyncio.Event(), asyncio.Event()]
        for gate in gates:
            world.faults.on("write", hold(gate), times=1)
        actor, probe = system.spawn(scripted(script)), Probe()
        for number in range(100):
            actor.tell(number, probe)
        await settle()
        assert world.written() == [[(1,)]]
        gates[0].set()
        await settle()
        assert world.written() == [[(1,)], [(number,) for number in range(2, 101)]]
        assert probe.rest() == [0]
        gates[1].set()
        await probe.expect(*range(1, 100))


@virtual_time
async def test_a_command_from_the_first_incarnation_is_answered_by_the_second_after_a_restart(world) -> None:
    def script(actor: Scripted, message: object) -> None:
        if message == "fail":
            raise ValueError("on purpose")
        actor.persist(message, actor.update)

    class Recovers(Scripted):
        def pre_restart(self, error: BaseException, message: object) -> object:
            self.ref.tell(f"again {message}", probe)
            return super().pre_restart(error, message)

    async with world.system() as system:
        probe = Probe()
        actor = system.spawn(lambda: Recovers(script))
        actor.tell("a", probe)
        actor.tell("fail", probe)
        await probe.expect("a", "again fail")
        assert await actor.ask("get") == ["a", "again fail"]


@virtual_time
async def test_answers_to_an_earlier_incarnation_are_not_handled_by_a_later_one(world) -> None:  # F-2, A-13
    def script(actor: Scripted, message: object) -> None:
        if message == "fail":
            raise ValueError("on purpose")
        actor.persist_async(message, lambda event: (trace.append(id(actor)), actor.update(event)))

    async with world.system() as system:
        trace: list[int] = []
        gate = asyncio.Event()
        actor, probe = system.spawn(scripted(script)), Probe()
        await settle()
        world.faults.on("write", hold(gate), times=1)
        actor.tell("a", probe)
        actor.tell("fail", probe)
        actor.tell("b", probe)
        await settle()
        gate.set()
        await probe.expect("b")
        assert len(trace) == 1
        assert await actor.ask("get") == ["a", "b"]
