"""The runtime: one message at a time, stash, timers, watch, supervision, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest
from perdure import (
    Actor,
    BackoffSupervisor,
    Directive,
    Failure,
    PoisonPill,
    ReceiveTimeout,
    SupervisorStrategy,
    Terminated,
)
from perdure.actors import Runtime
from perdure.errors import AskTimedOut, InitializationFailed, NotDelivered
from perdure.testing import Probe, advance, settle, virtual_time


class Echo(Actor):
    def receive(self, message: object) -> None:
        self.reply(message)


class Sums(Actor):
    """State that a restart loses and a resume keeps."""

    def __init__(self) -> None:
        self.total = 0

    def receive(self, message: object) -> None:
        if isinstance(message, Exception):
            raise message
        if message == "total":
            self.reply(self.total)
        else:
            self.total += message


@virtual_time
async def test_an_actor_answers_who_asked() -> None:
    async with Runtime() as runtime:
        echo = runtime.spawn(Echo, "echo")
        assert await echo.ask("hello") == "hello"
        assert echo.path == "perdure/echo"


@virtual_time
async def test_messages_are_handled_one_at_a_time_in_order_also_by_coroutines() -> None:
    class Slow(Actor):
        def __init__(self) -> None:
            self.trace: list[object] = []

        async def receive(self, message: object) -> None:
            self.trace.append(("begin", message))
            await asyncio.sleep(1)
            self.trace.append(("end", message))
            if message == 3:
                self.reply(self.trace)

    async with Runtime() as runtime:
        slow, probe = runtime.spawn(Slow), Probe()
        for number in (1, 2, 3):
            slow.tell(number, probe)
        await advance(3)
        expected = [(edge, number) for number in (1, 2, 3) for edge in ("begin", "end")]
        await probe.expect(expected)


@virtual_time
async def test_an_answer_that_does_not_come_is_an_error_that_names_the_actor() -> None:
    class Silent(Actor):
        def receive(self, message: object) -> None:
            pass

    async with Runtime() as runtime:
        asking = asyncio.create_task(runtime.spawn(Silent, "silent").ask("hello", timeout_s=2))
        await advance(1.9)
        assert not asking.done()
        await advance(0.2)
        with pytest.raises(AskTimedOut, match="perdure/silent did not answer 'hello' within 2 s"):
            await asking


@virtual_time
async def test_who_asks_a_stopped_actor_is_told_at_once() -> None:
    async with Runtime() as runtime:
        echo = runtime.spawn(Echo)
        await runtime.stop(echo)
        with pytest.raises(NotDelivered, match="has stopped"):
            await echo.ask("hello")


@virtual_time
async def test_an_answer_may_be_a_failure() -> None:
    class Refuses(Actor):
        def receive(self, message: object) -> None:
            self.reply(Failure(KeyError(message)))

    async with Runtime() as runtime:
        with pytest.raises(KeyError, match="hello"):
            await runtime.spawn(Refuses).ask("hello")


@virtual_time
async def test_stashed_messages_come_back_in_order_before_the_rest() -> None:
    class Door(Actor):
        def __init__(self) -> None:
            self.open = False

        def receive(self, message: object) -> None:
            if message == "open":
                self.open = True
                self.unstash_all()
            elif self.open:
                self.reply(message)
            else:
                self.stash()

    async with Runtime() as runtime:
        door, probe = runtime.spawn(Door), Probe()
        for message in (1, 2, 3, "open", 4):
            door.tell(message, probe)
        await probe.expect(1, 2, 3, 4)


@virtual_time
async def test_a_message_is_stashed_once_only() -> None:
    class Twice(Actor):
        def receive(self, message: object) -> None:
            self.stash()
            try:
                self.stash()
            except RuntimeError as error:
                self.reply(str(error))

    async with Runtime() as runtime:
        assert await runtime.spawn(Twice).ask("x") == "'x' is stashed already"


class Clocked(Actor):
    def receive(self, message: object) -> None:
        match message:
            case ("single", delay, sender):
                self.timers.start_single("key", ("rang", sender), delay)
            case ("periodic", interval, sender):
                self.timers.start_periodic("key", ("rang", sender), interval)
            case "cancel":
                self.timers.cancel("key")
            case ("rang", sender):
                sender.tell("rang")


@virtual_time
async def test_a_single_timer_fires_once_and_a_periodic_one_until_it_is_cancelled() -> None:
    async with Runtime() as runtime:
        clocked, probe = runtime.spawn(Clocked), Probe()
        clocked.tell(("single", 2, probe))
        await advance(1.9)
        assert probe.rest() == []
        await advance(10)
        assert probe.rest() == ["rang"]
        clocked.tell(("periodic", 2, probe))
        await advance(6.5)
        assert probe.rest() == ["rang"] * 3
        clocked.tell("cancel")
        await advance(10)
        assert probe.rest() == []


@virtual_time
async def test_a_cancelled_timer_is_not_received_even_from_the_mailbox() -> None:
    class Busy(Actor):
        async def receive(self, message: object) -> None:
            if message == "start":
                self.timers.start_single("key", "late", 1)
                await asyncio.sleep(2)  # it fires meanwhile and waits in the mailbox
                self.timers.cancel("key")
            self.reply(message)

    async with Runtime() as runtime:
        busy, probe = runtime.spawn(Busy), Probe()
        busy.tell("start", probe)
        busy.tell("after", probe)
        await advance(5)
        assert probe.rest() == ["start", "after"]


@virtual_time
async def test_a_receive_timeout_comes_when_nothing_else_does() -> None:
    class Waits(Actor):
        def pre_start(self) -> None:
            self.context.set_receive_timeout(5)

        def receive(self, message: object) -> None:
            probe.tell(message)

    async with Runtime() as runtime:
        probe = Probe()
        waits = runtime.spawn(Waits)
        await advance(4)
        waits.tell("a")
        await advance(4)
        assert probe.rest() == ["a"]
        await advance(1)
        assert probe.rest() == [ReceiveTimeout()]


@virtual_time
async def test_whoever_watches_is_told_once_and_whoever_stopped_watching_is_not() -> None:
    class Watcher(Actor):
        def receive(self, message: object) -> None:
            match message:
                case ("watch", ref):
                    self.context.watch(ref)
                case ("unwatch", ref):
                    self.context.unwatch(ref)
                case Terminated(ref):
                    probe.tell(ref.path)

    async with Runtime() as runtime:
        probe, watcher = Probe(), runtime.spawn(Watcher)
        one, two, gone = runtime.spawn(Echo, "one"), runtime.spawn(Echo, "two"), runtime.spawn(Echo, "gone")
        await runtime.stop(gone)
        for ref in (one, two, gone):
            watcher.tell(("watch", ref))
        await settle()
        assert probe.rest() == ["perdure/gone"]
        watcher.tell(("unwatch", two))
        await settle()
        await runtime.stop(one)
        await runtime.stop(two)
        await settle()
        assert probe.rest() == ["perdure/one"]


@virtual_time
async def test_a_behaviour_can_be_changed_and_changed_back() -> None:
    class Moody(Actor):
        def receive(self, message: object) -> None:
            self.reply("calm")
            if message == "poke":
                self.context.become(self.angry, discard_old=False)

        def angry(self, message: object) -> None:
            self.reply("angry")
            self.context.unbecome()

    async with Runtime() as runtime:
        moody = runtime.spawn(Moody)
        assert [await moody.ask(message) for message in ("poke", "x", "x")] == ["calm", "angry", "calm"]


class Parent(Actor):
    def __init__(self, strategy: SupervisorStrategy, child: type[Actor] = Sums) -> None:
        self.supervisor_strategy = strategy
        self.child_class = child

    def pre_start(self) -> None:
        self.child = self.context.spawn(self.child_class, "child")

    def receive(self, message: object) -> None:
        if message == "child":
            self.reply(self.child)


@pytest.mark.parametrize(
    ("directive", "total"), [(Directive.RESUME, 7), (Directive.RESTART, 2)], ids=["resume", "restart"]
)
@virtual_time
async def test_a_child_that_failed_is_resumed_or_restarted_and_keeps_its_mailbox(
    directive: Directive, total: int
) -> None:
    async with Runtime() as runtime:
        parent = runtime.spawn(lambda: Parent(SupervisorStrategy({ValueError: directive})))
        child = await parent.ask("child")
        for message in (5, ValueError("x"), 2):
            child.tell(message)
        assert await child.ask("total") == total


@virtual_time
async def test_a_child_is_stopped_when_the_strategy_says_so_or_its_restarts_are_used_up() -> None:
    async with Runtime() as runtime:
        for strategy in (
            SupervisorStrategy({ValueError: Directive.STOP}),
            SupervisorStrategy(restarts_max=0),
        ):
            parent = runtime.spawn(lambda strategy=strategy: Parent(strategy))
            child = await parent.ask("child")
            child.tell(ValueError("x"))
            await runtime.stopped(child)


@virtual_time
async def test_restarts_are_counted_within_a_time() -> None:
    async with Runtime() as runtime:
        parent = runtime.spawn(lambda: Parent(SupervisorStrategy(restarts_max=1, within_s=10)))
        child = await parent.ask("child")
        for _ in range(3):
            child.tell(ValueError("x"))
            await advance(11)
        assert await child.ask("total") == 0
        child.tell(ValueError("x"))
        child.tell(ValueError("x"))
        await runtime.stopped(child)


@virtual_time
async def test_an_escalated_failure_restarts_the_parent_and_so_its_children() -> None:
    async with Runtime() as runtime:
        parent = runtime.spawn(lambda: Parent(SupervisorStrategy({ValueError: Directive.ESCALATE})))
        first = await parent.ask("child")
        first.tell(ValueError("x"))
        await runtime.stopped(first)
        second = await parent.ask("child")
        assert second is not first
        assert await second.ask("total") == 0


async def system_with_an_escalated_failure() -> None:
    async with Runtime(supervisor_strategy=SupervisorStrategy({ValueError: Directive.ESCALATE})) as runtime:
        sums = runtime.spawn(Sums)
        sums.tell(ValueError("far too much"))
        await runtime.stopped(sums)


@virtual_time
async def test_a_failure_escalated_beyond_the_top_is_raised_where_the_system_ends() -> None:
    with pytest.raises(ValueError, match="far too much"):
        await system_with_an_escalated_failure()


@virtual_time
async def test_an_actor_that_cannot_be_made_is_stopped() -> None:
    class Broken(Actor):
        def pre_start(self) -> None:
            raise KeyError("no such file")

    def impossible() -> Actor:
        raise KeyError("no such thing")

    async with Runtime() as runtime:
        for factory in (Broken, impossible):
            await runtime.stopped(runtime.spawn(factory))


def test_the_cause_of_a_failed_start_is_a_kind_that_strategies_stop() -> None:
    assert SupervisorStrategy().decide(InitializationFailed("x")) is Directive.STOP
    assert SupervisorStrategy().decide(ValueError("x")) is Directive.RESTART
    assert SupervisorStrategy({LookupError: Directive.RESUME}).decide(KeyError("x")) is Directive.RESUME


class Noted(Actor):
    """Notes every hook."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    async def pre_start(self) -> None:
        await asyncio.sleep(1)
        self.notes.append("pre_start")

    def post_stop(self) -> None:
        self.notes.append("post_stop")

    def pre_restart(self, error: BaseException, message: object) -> object:
        self.notes.append(f"pre_restart {message!r}")
        return super().pre_restart(error, message)

    def post_restart(self, error: BaseException) -> object:
        self.notes.append("post_restart")
        return super().post_restart(error)

    def receive(self, message: object) -> None:
        self.notes.append(str(message))
        if message == "fail":
            raise ValueError(message)


@virtual_time
async def test_hooks_are_called_in_order_and_awaited() -> None:
    notes: list[str] = []
    async with Runtime() as runtime:
        noted = runtime.spawn(lambda: Noted(notes))
        noted.tell("a")
        noted.tell("fail")
        noted.tell("b")
        await advance(3)
        assert notes == [
            "pre_start", "a", "fail", "pre_restart 'fail'", "post_stop", "post_restart", "pre_start", "b",
        ]  # fmt: skip
    assert notes[8:] == ["post_stop"]


@virtual_time
async def test_a_poison_pill_waits_its_turn_and_what_follows_is_a_dead_letter() -> None:
    async with Runtime() as runtime:
        letters: list[object] = []
        runtime.on_dead_letter(lambda letter: letters.append(letter.message))
        echo, probe = runtime.spawn(Echo), Probe()
        for message in ("a", PoisonPill(), "b"):
            echo.tell(message, probe)
        await runtime.stopped(echo)
        echo.tell("c", probe)
        assert (probe.rest(), letters) == (["a"], ["b", "c"])


@virtual_time
async def test_children_stop_before_their_parent() -> None:
    stopped: list[str] = []

    class Tree(Actor):
        def __init__(self, depth: int) -> None:
            self.depth = depth

        def pre_start(self) -> None:
            if self.depth:
                self.context.spawn(lambda: Tree(self.depth - 1))

        def post_stop(self) -> None:
            stopped.append(f"depth {self.depth}")

    async with Runtime() as runtime:
        tree = runtime.spawn(lambda: Tree(2))
        await settle()
        await runtime.stop(tree)
        assert stopped == ["depth 0", "depth 1", "depth 2"]


def test_nothing_is_left_when_the_system_has_ended() -> None:
    class Forever(Actor):
        async def receive(self, message: object) -> None:
            await asyncio.get_running_loop().create_future()

    async def main() -> set[asyncio.Task[object]]:
        async with Runtime(stop_timeout_s=0.01) as runtime:
            forever = runtime.spawn(Forever)
            forever.tell("begin")
            runtime.spawn(Clocked).tell(("periodic", 0.001, Probe()))
            runtime.spawn(Echo)
            await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(main()) == set()


def test_cancelling_the_system_stops_its_actors_and_is_not_swallowed() -> None:
    stopped: list[str] = []

    class Forever(Actor):
        async def receive(self, message: object) -> None:
            message.set()
            await asyncio.get_running_loop().create_future()

        def post_stop(self) -> None:
            stopped.append("forever")

    async def system(ready: asyncio.Event) -> None:
        async with Runtime(stop_timeout_s=3600) as runtime:
            runtime.spawn(Forever).tell(ready)
            await asyncio.get_running_loop().create_future()

    async def main() -> set[asyncio.Task[object]]:
        ready = asyncio.Event()
        task = asyncio.create_task(system(ready))
        await ready.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # the second one does not wait for the handler
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(main()) == set()
    assert stopped == ["forever"]


@virtual_time
async def test_a_name_is_taken_once_and_free_again_after_a_stop() -> None:
    async with Runtime() as runtime:
        echo = runtime.spawn(Echo, "echo")
        with pytest.raises(ValueError, match="has a child named 'echo' already"):
            runtime.spawn(Echo, "echo")
        await runtime.stop(echo)
        assert await runtime.spawn(Echo, "echo").ask(1) == 1
        with pytest.raises(ValueError, match="actor name 'a/b' is not allowed"):
            runtime.spawn(Echo, "a/b")


@virtual_time
async def test_a_child_that_stops_is_started_again_after_pauses_that_double() -> None:
    starts: list[float] = []
    loop = asyncio.get_running_loop()

    class Fragile(Actor):
        def pre_start(self) -> None:
            starts.append(loop.time())
            self.context.stop(self.ref)

    async with Runtime() as runtime:
        supervisor = runtime.spawn(
            lambda: BackoffSupervisor(
                Fragile, backoff_min_s=1, backoff_max_s=5, jitter=0, reset_after_s=100, restarts_max=5
            )
        )
        await advance(60)
        assert starts == [0, 1, 3, 7, 12, 17]
        await runtime.stopped(supervisor)


@virtual_time
async def test_a_child_that_holds_lets_its_failures_be_forgotten_and_gets_its_messages() -> None:
    starts: list[float] = []
    loop = asyncio.get_running_loop()

    class Sometimes(Sums):
        def pre_start(self) -> None:
            starts.append(loop.time())

    async with Runtime() as runtime:
        supervisor = runtime.spawn(lambda: BackoffSupervisor(Sometimes, backoff_min_s=1, jitter=0, reset_after_s=10))
        supervisor.tell(4)
        assert await supervisor.ask("total") == 4
        for _ in range(3):
            supervisor.tell(ValueError("x"))
            await advance(20)
        assert starts == [0, 1, 21, 41]
