"""At-least-once delivery in bad weather: whatever is lost on the way or fails in the journals, all of it arrives.

After Akka's AtLeastOnceDeliveryFailureSpec, with its probabilities; but every run can be repeated, and the clock is the
test's.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from perdure import (
    Actor,
    AtLeastOnceDelivery,
    BackoffSupervisor,
    BreakerSettings,
    PersistenceSettings,
    PersistentActor,
)
from perdure.testing import Call, advance, virtual_time

MESSAGES = list(range(1, 11))
NEVER_OPEN = PersistenceSettings(
    journal_breaker=BreakerSettings(failures_max=1000, call_timeout_s=10, reset_timeout_s=10)
)


class Sender(AtLeastOnceDelivery):
    """Is told a number again and again until it has it, for a failed write is an answer to nobody."""

    persistence_id = "sender"
    redeliver_interval_s = 1.0

    def __init__(self) -> None:
        self.sent: list[int] = []

    def receive_command(self, message: object) -> None:
        match message:
            case ("send", int(number)) if number not in self.sent:
                self.persist(["sent", number], self.apply)
            case ("arrived", int(delivery_id)):
                self.persist(["arrived", delivery_id], self.apply)
            case "get":
                self.reply((list(self.sent), self.unconfirmed_count))

    def receive_recover(self, message: object) -> None:
        if isinstance(message, list):
            self.apply(message)

    def apply(self, event: list[Any]) -> None:
        if event[0] == "sent":
            self.sent.append(event[1])
            self.deliver("perdure/line", lambda delivery_id: ("deliver", delivery_id, event[1]))
        else:
            self.confirm_delivery(event[1])


class Destination(PersistentActor):
    """Takes each delivery once, and confirms it each time, when it is stored."""

    persistence_id = "destination"

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}

    def receive_command(self, message: object) -> None:
        match message:
            case ("deliver", int(delivery_id), int(number)):
                if delivery_id not in self.taken:
                    self.persist([delivery_id, number], self.apply)
                self.defer(None, lambda _: self.reply(("arrived", delivery_id)))
            case "get":
                self.reply(sorted(self.taken.values()))

    def receive_recover(self, message: object) -> None:
        if isinstance(message, list):
            self.apply(message)

    def apply(self, event: list[int]) -> None:
        assert event[0] not in self.taken
        self.taken[event[0]] = event[1]


class Line(Actor):
    """Between the two, and loses three messages of ten, either way."""

    def __init__(self, chance: random.Random, lost: list[object]) -> None:
        self.chance = chance
        self.lost = lost

    def receive(self, message: Any) -> None:
        ends = {"deliver": "perdure/destination", "arrived": "perdure/sender"}
        if self.chance.random() < 0.3:
            self.lost.append(message)
            return
        end = self.context.system.find(ends[message[0]])
        assert end is not None
        end.tell(message, self.ref)


def below_a_supervisor(actor: type[Actor]) -> Any:
    return lambda: BackoffSupervisor(actor, backoff_min_s=0.1, backoff_max_s=0.1, jitter=0)


@pytest.mark.parametrize("seed", range(4))
@virtual_time
async def test_everything_arrives_once_whatever_is_lost_or_fails(world, seed: int) -> None:  # F-55, A-36
    chance, lost, struck = random.Random(seed), [], []

    async def strike(call: Call, _: object) -> None:
        struck.append(call.operation)
        raise OSError("bad weather")

    async with world.system(settings=NEVER_OPEN) as system:
        for operation, odds in (("write", 0.3), ("replayed", 0.05), ("highest", 0.1)):
            world.faults.on(operation, strike, when=lambda _, odds=odds: chance.random() < odds)
        system.spawn(lambda: Line(chance, lost), "line")
        system.spawn(below_a_supervisor(Destination), "destination")
        sender = system.spawn(below_a_supervisor(Sender), "sender")
        for _ in range(60):
            for number in MESSAGES:
                sender.tell(("send", number))
            await advance(1)
        assert {*struck} == {"write", "replayed", "highest"}
        assert len(lost) > 5
        world.faults.calm()
        await advance(1000)
        sent, unconfirmed = await sender.ask("get")
        assert (sorted(sent), unconfirmed) == (MESSAGES, 0)
    async with world.system() as system:
        assert await system.spawn(Destination).ask("get") == MESSAGES
        recovered, unconfirmed = await system.spawn(Sender).ask("get")
        assert (recovered, unconfirmed) == (sent, 0)
