"""EventSourcedBehavior: two pure functions on the machinery of PersistentActor, and the driver that tests them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest
from perdure import Effect, EventSourcedBehavior, Retention, Serialization, SnapshotSelectionCriteria, effects
from perdure.testing import BehaviorDriver, Probe, advance, fail, settle, virtual_time


class Deposit(msgspec.Struct, frozen=True):
    amount: int


class Withdraw(msgspec.Struct, frozen=True):
    amount: int


class Changed(msgspec.Struct, frozen=True):
    by: int


class Frozen(msgspec.Struct, frozen=True):
    pass


class Account(msgspec.Struct, frozen=True):
    balance: int = 0
    frozen: bool = False


TYPES = Serialization(Changed, Frozen, Account)


def on_command(account: Account, command: object) -> Effect[Changed | Frozen, Account]:
    match command:
        case "balance":
            return effects.reply(account.balance)
        case "thaw":
            return effects.persist(Changed(0)).then_unstash_all()
        case "freeze":
            return effects.persist(Frozen()).then_run(lambda _: None)
        case "close":
            return effects.stop()
        case _ if account.frozen:
            return effects.stash()
        case Deposit(amount):
            return effects.persist(Changed(amount)).then_reply(lambda state: state.balance)
        case Withdraw(amount) if amount <= account.balance:
            return effects.persist(Changed(-amount), Changed(0)).then_reply(lambda state: state.balance)
        case Withdraw():
            return effects.reply("not enough")
        case _:
            return effects.unhandled()


def on_event(account: Account, event: Changed | Frozen) -> Account:
    if isinstance(event, Frozen):
        return Account(account.balance, True)
    return Account(account.balance + event.by, account.frozen and event.by != 0)


ACCOUNT = EventSourcedBehavior(
    persistence_id="account", empty_state=Account(), on_command=on_command, on_event=on_event
)


@virtual_time
async def test_commands_lead_to_events_and_events_to_the_state(world) -> None:  # F-67
    async with world.system(serialization=TYPES) as system:
        account = system.spawn(ACCOUNT.actor)
        assert await account.ask(Deposit(10)) == 10
        assert await account.ask(Withdraw(3)) == 7
        assert await account.ask(Withdraw(8)) == "not enough"
        assert world.written() == [[(1,)], [(2, 3)]]
    async with world.system(serialization=TYPES) as system:
        assert await system.spawn(ACCOUNT.actor).ask("balance") == 7


@virtual_time
async def test_stashed_commands_are_handled_when_an_effect_unstashes_them(world) -> None:  # F-67
    thawing = replace(
        ACCOUNT,
        on_event=lambda account, event: (
            Account(account.balance, False) if event == Changed(0) else on_event(account, event)
        ),
    )
    async with world.system(serialization=TYPES) as system:
        account, probe = system.spawn(thawing.actor), Probe()
        for command in ("freeze", Deposit(1), Deposit(2), "balance", "thaw"):
            account.tell(command, probe)
        await probe.expect(0, 1, 3)


@virtual_time
async def test_an_effect_can_stop_the_actor(world) -> None:  # F-67
    async with world.system(serialization=TYPES) as system:
        account = system.spawn(ACCOUNT.actor)
        account.tell("close")
        await system.stopped(account)


@virtual_time
async def test_what_follows_a_persist_is_not_done_if_it_is_rejected_or_fails(world) -> None:  # F-67
    async with world.system(serialization=TYPES) as system:
        account, probe = system.spawn(ACCOUNT.actor), Probe()
        world.faults.reject(lambda write: b"666" in write.events[0].payload.data)
        account.tell(Deposit(666), probe)
        account.tell(Deposit(1), probe)
        await probe.expect(1)
        world.faults.on("write", fail())
        account.tell(Deposit(2), probe)
        await system.stopped(account)
        assert probe.rest() == []


@virtual_time
async def test_coroutines_that_follow_are_awaited_in_order(world) -> None:  # F-67
    trace: list[str] = []

    async def slow(state: Account) -> None:
        await asyncio.sleep(1)
        trace.append(f"slow {state.balance}")

    def handler(_: Account, command: Deposit) -> Effect[Changed, Account]:
        return (
            effects.persist(Changed(command.amount))
            .then_run(slow)
            .then_run(lambda state: trace.append(f"then {state.balance}"))
        )

    async with world.system(serialization=TYPES) as system:
        account = system.spawn(replace(ACCOUNT, on_command=handler).actor)
        account.tell(Deposit(1))
        account.tell(Deposit(2))
        await advance(3)
    assert trace == ["slow 1", "then 1", "slow 3", "then 3"]


@pytest.mark.parametrize(("delete_events", "first_event"), [(False, 1), (True, 5)])
@virtual_time
async def test_retention_keeps_so_many_snapshots_and_what_is_needed_after_them(  # F-15, F-37, F-67
    world, delete_events: bool, first_event: int
) -> None:
    kept = replace(ACCOUNT, retention=Retention(snapshot_every=4, keep=2, delete_events=delete_events))
    async with world.system(serialization=TYPES) as system:
        account = system.spawn(kept.actor)
        for _ in range(14):
            await account.ask(Deposit(1))
            await settle()
        operations = [call.operation for call in world.faults.calls]
        assert operations.count("save") == 3
        events = [event.sequence_nr async for event in world.faults.storage.journal.replay_messages("account")]
        assert events == list(range(first_event, 15))
        found = []
        for number in (4, 8, 12):
            criteria = SnapshotSelectionCriteria(max_sequence_nr=number, min_sequence_nr=number)
            found.append(await world.faults.storage.snapshots.load("account", criteria) is not None)
        assert found == [False, True, True]
        await system.stop(account)
        assert await system.spawn(kept.actor).ask("balance") == 14


def test_a_snapshot_is_due_when_several_events_pass_a_multiple() -> None:  # F-15
    retention = Retention(snapshot_every=10, keep=2)
    assert [retention.due(8, 9), retention.due(9, 10), retention.due(10, 11), retention.due(8, 12)] == [
        False,
        True,
        False,
        True,
    ]
    assert [retention.obsolete(number) for number in (10, 20, 30)] == [0, 0, 10]
    with pytest.raises(ValueError, match="snapshot_every 0 is out of range"):
        Retention(snapshot_every=0)


# -- the driver


def test_the_driver_tells_what_a_command_led_to() -> None:  # F-65
    driver = BehaviorDriver(ACCOUNT, TYPES)
    outcome = driver.run(Deposit(10))
    assert (outcome.events, outcome.state, outcome.replies) == ((Changed(10),), Account(10), (10,))
    assert driver.run(Withdraw(11)).replies == ("not enough",)
    assert driver.run("nonsense").handled is False
    driver.run("freeze")
    assert driver.run(Deposit(1)).stashed
    assert driver.restart() == Account(10, True)
    assert driver.run("close").stopped


def test_the_driver_finds_events_that_do_not_come_back() -> None:  # F-65
    class Coarse(Serialization):
        def from_payload(self, payload: object) -> object:
            found = super().from_payload(payload)
            return Changed(min(found.by, 99)) if isinstance(found, Changed) else found

    driver = BehaviorDriver(ACCOUNT, Coarse(Changed))
    driver.run(Deposit(99))
    with pytest.raises(AssertionError, match=r"event Changed\(by=100\) came back from the serialization as"):
        driver.run(Deposit(100))


def test_the_driver_finds_a_command_handler_that_is_not_pure() -> None:  # F-65
    count = iter(range(100))
    driver = BehaviorDriver(replace(ACCOUNT, on_command=lambda *_: effects.persist(Changed(next(count)))), TYPES)
    with pytest.raises(AssertionError, match="on_command is not pure"):
        driver.run(Deposit(1))


def test_the_driver_finds_a_state_that_is_changed_in_place() -> None:  # F-65
    def append(state: list[int], event: int) -> list[int]:
        state.append(event)
        return state

    behavior = EventSourcedBehavior(
        persistence_id="p", empty_state=[], on_command=lambda _, command: effects.persist(command), on_event=append
    )
    with pytest.raises(AssertionError, match="on_event changed the state"):
        BehaviorDriver(behavior).run(1)


def test_the_driver_finds_a_state_that_depends_on_more_than_events() -> None:  # F-65
    count = iter(range(100))
    driver = BehaviorDriver(replace(ACCOUNT, on_event=lambda *_: Account(next(count))), TYPES)
    with pytest.raises(AssertionError, match="the events replay to"):
        driver.run(Deposit(1))
