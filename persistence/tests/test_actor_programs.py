"""Generated programs of one actor, with failures at any point: no acknowledged event lost, none handled twice.

Each program is made from a seed: commands of every way to persist, crashes in commands and in handlers, rejections,
failed writes, lost answers, and slow writes that time out. A supervisor starts the actor again. What the actor was told
by its handlers is then compared with what the journal holds and with what a last recovery gives back.
"""

from __future__ import annotations

import random

import pytest
from perdure import (
    BackoffSupervisor,
    BreakerSettings,
    Directive,
    PersistenceSettings,
    PersistentActor,
    SupervisorStrategy,
)
from perdure.errors import WriteFailed
from perdure.testing import Probe, advance, delay, fail, lose_answer, virtual_time

PROGRAMS = 1000
GROUPS = 10
SETTINGS = PersistenceSettings(
    journal_breaker=BreakerSettings(failures_max=1000, call_timeout_s=5, reset_timeout_s=1),
    recovery_event_timeout_s=60,
)


class Recorded(PersistentActor):
    """`handled` is (incarnation, number, event) of each event handled; `recovered` what each recovery replayed."""

    persistence_id = "p"

    def __init__(self, log: Log) -> None:
        self.log = log
        log.incarnations += 1
        self.incarnation = log.incarnations
        self.state: list[tuple[int, str]] = []

    def receive_recover(self, message: object) -> None:
        if isinstance(message, str):
            self.state.append((self.last_sequence_nr, message))

    def receive_command(self, message: object) -> None:
        if message == "get":
            self.reply(list(self.state))
            return
        name, method, crash = message
        if crash == "before":
            raise ValueError("before")
        if method in ("persist_all", "persist_all_async"):
            getattr(self, method)([f"{name}.{part}" for part in range(3)], lambda event: self.handle(event, crash))
        else:
            getattr(self, method)(name, lambda event: self.handle(event, crash))
        if crash == "after":
            raise ValueError("after")

    def handle(self, event: str, crash: str) -> None:
        self.state.append((self.last_sequence_nr, event))
        self.log.handled.append((self.incarnation, self.last_sequence_nr, event))
        if crash == "handler":
            raise ValueError("handler")

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self.log.rejected.append(event)

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self.log.failures += 1


class Log:
    def __init__(self) -> None:
        self.incarnations = 0
        self.failures = 0
        self.handled: list[tuple[int, int, str]] = []
        self.rejected: list[object] = []


METHODS = ["persist", "persist_async", "persist_all", "persist_all_async"]
CRASHES = ["", "", "", "", "", "before", "after", "handler"]


async def run_program(world, seed: int) -> Log:
    chance = random.Random(seed)
    log = Log()
    directive = chance.choice([Directive.RESTART, Directive.RESUME, Directive.STOP])
    async with world.system(settings=SETTINGS) as system:
        world.faults.reject(lambda write: b"bad" in write.events[0].payload.data)
        child = system.spawn(lambda: _Supervisor(lambda: Recorded(log), directive, chance.random), "supervisor")
        for number in range(chance.randrange(3, 12)):
            if chance.random() < 0.25:
                action = chance.choice([fail(WriteFailed("full")), fail(), lose_answer(), delay(3), delay(12)])
                world.faults.on("write", action, times=1)
            name = f"{'bad' if chance.random() < 0.1 else 'e'}{number}"
            child.tell((name, chance.choice(METHODS), chance.choice(CRASHES)))
            if chance.random() < 0.5:
                await advance(chance.choice([0, 0.1, 2, 8]))
        await advance(60)
        world.faults.calm()
        asked, probe = 0, Probe()
        while not (answers := probe.rest()):
            child.tell("get", probe)
            await advance(15)
            asked += 1
            assert asked < 20, f"seed {seed}: the actor does not come back"
        journal = world.faults.storage.journal
        stored = [(event.sequence_nr, event.payload.data.decode()) async for event in journal.replay_messages("p")]
        state = answers[0]
    async with world.system() as system:
        recovered = await system.spawn(lambda: Recorded(Log())).ask("get")
    check(seed, log, stored, state, recovered)
    return log


class _Supervisor(BackoffSupervisor):
    def __init__(self, child: object, directive: Directive, chance: object) -> None:
        super().__init__(child, backoff_min_s=0.5, backoff_max_s=4, chance=chance)
        self.supervisor_strategy = SupervisorStrategy({Exception: directive})


def check(seed: int, log: Log, stored: list, state: list, recovered: list) -> None:
    numbers = [number for number, _ in stored]
    names = [name for _, name in stored]
    assert numbers == sorted(set(numbers)), f"seed {seed}: a number twice"
    assert len(names) == len(set(names)), f"seed {seed}: an event stored twice"
    for incarnation, number, event in log.handled:
        assert (number, event) in stored, f"seed {seed}: {event} was acknowledged to {incarnation} and is lost"
    handled = [event for _, _, event in log.handled]
    assert len(handled) == len(set(handled)), f"seed {seed}: a handler was called twice"
    order = [number for _, number, _ in log.handled]
    assert order == sorted(order), f"seed {seed}: handlers out of order"
    assert not set(log.rejected) & set(names), f"seed {seed}: a rejected event is stored"
    assert state == recovered == stored, f"seed {seed}: the state is not the sum of the events"
    wholes: dict[str, int] = {}
    for name in names:
        if "." in name:
            wholes[name.split(".")[0]] = wholes.get(name.split(".")[0], 0) + 1
    assert set(wholes.values()) <= {3}, f"seed {seed}: part of an AtomicWrite"


@pytest.mark.parametrize("group", range(GROUPS))
def test_generated_programs_lose_nothing_and_repeat_nothing(world_class, group: int) -> None:  # F-8, F-10, F-12, F-43
    logs = []

    @virtual_time
    async def run(seed: int) -> None:
        logs.append(await run_program(world_class(), seed))

    for seed in range(group * PROGRAMS // GROUPS, (group + 1) * PROGRAMS // GROUPS):
        run(seed)
    # The programs are worth something only if all of this happened in them.
    assert sum(len(log.handled) for log in logs) > 300
    assert sum(len(log.rejected) for log in logs) > 20
    assert sum(log.failures for log in logs) > 50
    assert sum(log.incarnations - 1 for log in logs) > 100
