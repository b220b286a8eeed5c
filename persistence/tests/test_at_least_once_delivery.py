"""AtLeastOnceDelivery: sent again until confirmed, in the order of the ids, also after a crash."""

from __future__ import annotations

from perdure import (
    Actor,
    AtLeastOnceDelivery,
    DeliverySnapshot,
    Serialization,
    SnapshotOffer,
    UnconfirmedWarning,
)
from perdure.errors import TooManyUnconfirmed
from perdure.testing import Probe, advance, fail, settle, virtual_time

TYPES = Serialization(DeliverySnapshot)


class Sender(AtLeastOnceDelivery):
    persistence_id = "sender"
    redeliver_interval_s = 5.0
    warn_after_attempts = 3
    unconfirmed_max = 4
    redelivery_burst_limit = 2

    def __init__(self, told: Probe) -> None:
        self.told = told

    def receive_command(self, message: object) -> None:
        match message:
            case ("send", text):
                self.persist(["sent", text], self.apply)
            case ("confirm", delivery_id):
                self.persist(["confirmed", delivery_id], self.apply)
            case "save":
                self.save_snapshot(self.delivery_snapshot())
            case UnconfirmedWarning(deliveries):
                self.told.tell([delivery.delivery_id for delivery in deliveries])
            case "count":
                self.reply(self.unconfirmed_count)

    def receive_recover(self, message: object) -> None:
        match message:
            case SnapshotOffer(_, snapshot):
                self.restore_deliveries(snapshot)
            case list():
                self.apply(message)

    def apply(self, event: list[object]) -> None:
        match event:
            case ["sent", text]:
                try:
                    self.deliver("perdure/target", lambda delivery_id: [delivery_id, text])
                except TooManyUnconfirmed as error:
                    self.told.tell(str(error))
            case ["confirmed", delivery_id]:
                self.told.tell(self.confirm_delivery(delivery_id))


def target(probe: Probe) -> type[Actor]:
    class Target(Actor):
        def receive(self, message: object) -> None:
            probe.tell(message)

    return Target


@virtual_time
async def test_what_is_not_confirmed_is_sent_again_and_what_is_confirmed_is_not(world) -> None:  # F-55, A-36
    async with world.system() as system:
        arrived, told = Probe(), Probe()
        system.spawn(target(arrived), "target")
        sender = system.spawn(lambda: Sender(told))
        for text in "ab":
            sender.tell(("send", text))
        await settle()
        assert arrived.rest() == [[1, "a"], [2, "b"]]
        for answer in (True, False):
            sender.tell(("confirm", 1))
            await told.expect(answer)
        await advance(12)
        assert arrived.rest() == [[2, "b"]]
        sender.tell(("confirm", 2))
        await advance(60)
        assert arrived.rest() == []
        assert await sender.ask("count") == 0


@virtual_time
async def test_after_a_restart_the_unconfirmed_come_first_with_their_ids(world) -> None:  # F-55, A-36
    arrived, told = Probe(), Probe()
    async with world.system() as system:
        sender = system.spawn(lambda: Sender(told))
        for text in "abc":
            sender.tell(("send", text))
        sender.tell(("confirm", 2))
        await told.expect(True)
    async with world.system() as system:
        system.spawn(target(arrived), "target")
        sender = system.spawn(lambda: Sender(told))
        sender.tell(("send", "d"))
        await settle()
        assert arrived.rest() == [[1, "a"], [3, "c"], [4, "d"]]


@virtual_time
async def test_deliveries_are_restored_from_a_snapshot(world) -> None:  # F-55, A-36
    arrived, told = Probe(), Probe()
    async with world.system(serialization=TYPES) as system:
        sender = system.spawn(lambda: Sender(told))
        for message in (("send", "a"), ("send", "b"), ("confirm", 1), "save"):
            sender.tell(message)
        await settle()
    async with world.system(serialization=TYPES) as system:
        system.spawn(target(arrived), "target")
        sender = system.spawn(lambda: Sender(told))
        sender.tell(("send", "c"))
        await settle()
        assert arrived.rest() == [[2, "b"], [3, "c"]]


@virtual_time
async def test_the_actor_is_warned_once_and_bursts_are_limited(world) -> None:  # F-55, A-36
    async with world.system() as system:
        arrived, told = Probe(), Probe()
        system.spawn(target(arrived), "target")
        sender = system.spawn(lambda: Sender(told))
        for text in "abc":
            sender.tell(("send", text))
        await settle()
        assert len(arrived.rest()) == 3
        await advance(7.5)
        assert arrived.rest() == [[1, "a"], [2, "b"]]
        await advance(5)
        assert arrived.rest() == [[3, "c"], [1, "a"]]
        await advance(40)
        warned = sorted(delivery_id for one in told.rest() for delivery_id in one)
        assert warned == [1, 2, 3]


@virtual_time
async def test_too_many_unconfirmed_deliveries_are_refused(world) -> None:  # F-55, A-36
    async with world.system() as system:
        told = Probe()
        sender = system.spawn(lambda: Sender(told))
        for text in "abcde":
            sender.tell(("send", text))
        await told.expect("'sender': 4 deliveries are not confirmed; raise unconfirmed_max or deliver fewer")
        assert await sender.ask("count") == 4


@virtual_time
async def test_everything_arrives_in_order_and_once_when_nothing_is_lost(world) -> None:  # F-55, A-36
    class Confirming(Actor):
        def receive(self, message: list[object]) -> None:
            arrived.tell(message)
            self.reply(("confirm", message[0]))

    async with world.system() as system:
        arrived, told = Probe(), Probe()
        system.spawn(Confirming, "target")
        sender = system.spawn(lambda: Sender(told))
        for text in "abcdefgh":
            sender.tell(("send", text))
            await settle()
        await advance(60)
        assert arrived.rest() == [[number, text] for number, text in enumerate("abcdefgh", 1)]
        assert await sender.ask("count") == 0


@virtual_time
async def test_an_actor_that_crashes_before_its_event_is_stored_sends_nothing(world) -> None:  # F-55, A-36
    class Crashing(Sender):
        def receive_command(self, message: object) -> None:
            super().receive_command(message)
            if message == ("send", "b") and not crashed:
                crashed.append(message)
                raise OSError("out of paper")

    crashed: list[object] = []
    async with world.system() as system:
        arrived, told = Probe(), Probe()
        system.spawn(target(arrived), "target")
        sender = system.spawn(lambda: Crashing(told))
        await settle()
        world.faults.on("write", fail(OSError("disk full")), times=1)
        sender.tell(("send", "a"))
        await system.stopped(sender)
        assert arrived.rest() == []
        sender = system.spawn(lambda: Crashing(told))
        sender.tell(("send", "b"))  # stored before it was lost with its handler: sent by the next incarnation
        await settle()
        assert arrived.rest() == [[1, "b"]]
        assert await sender.ask("count") == 1


@virtual_time
async def test_a_destination_is_one_path_and_may_come_later(world) -> None:  # F-55, A-36
    async with world.system() as system:
        arrived, told = Probe(), Probe()
        sender = system.spawn(lambda: Sender(told))
        sender.tell(("send", "a"))
        await advance(3)
        system.spawn(target(arrived), "target-2")
        await advance(5)
        assert arrived.rest() == []
        system.spawn(target(arrived), "target")
        await advance(5)
        assert arrived.rest() == [[1, "a"]]
