"""What many actors write at the same moment is one call of a journal that takes groups; their fates stay apart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from perdure import (
    ActorRef,
    ActorSystem,
    AtomicWrite,
    BreakerSettings,
    PersistenceSettings,
    PersistentActor,
    Storage,
    WriteRejected,
)
from perdure.errors import NotDelivered, SequenceConflict
from perdure.testing import Probe, advance, fail, hold, settle, virtual_time

NAMES = ("a", "b", "c")


class Keeper(PersistentActor):
    def __init__(self, name: str, told: Probe) -> None:
        self.persistence_id = name
        self.told = told

    def receive_recover(self, message: object) -> None: ...

    def receive_command(self, message: object) -> None:
        if message == "ready?":
            self.reply("ready")
        else:
            self.persist(message, lambda event: self.told.tell((self.persistence_id, event)))

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self.told.tell((self.persistence_id, "rejected"))

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self.told.tell((self.persistence_id, type(error)))


async def keepers(system: ActorSystem, told: Probe) -> list[ActorRef]:
    found = [system.spawn(partial(Keeper, name, told), name) for name in NAMES]
    for keeper in found:
        await keeper.ask("ready?")
    return found


def tell_all(refs: Sequence[ActorRef], message: object) -> None:
    for ref in refs:
        ref.tell(message)


@virtual_time
async def test_writes_that_begin_at_the_same_moment_are_one_call(world_in_groups) -> None:
    async with world_in_groups.system() as system:
        told = Probe()
        refs = await keepers(system, told)
        sizes = system.persistence.journal("").journal.sizes
        for event in ("first", "second"):
            tell_all(refs, event)
            assert [await told.receive() for _ in NAMES] == [(name, event) for name in NAMES]
        assert sizes == [3, 3]


@virtual_time
async def test_a_conflict_a_rejection_and_an_unknown_outcome_are_those_of_one_actor_each(world_in_groups) -> None:
    async with world_in_groups.system() as system:
        told = Probe()
        refs = await keepers(system, told)
        journal = system.persistence.journal("").journal
        world_in_groups.faults.on(
            "write", fail(SequenceConflict("a", 1, 1)), when=lambda call: call.persistence_id == "a"
        )
        world_in_groups.faults.reject(lambda write: write.persistence_id == "b")
        tell_all(refs, "x")
        assert {await told.receive() for _ in NAMES} == {("a", SequenceConflict), ("b", "rejected"), ("c", "x")}
        assert journal.sizes == [3]
        with pytest.raises(NotDelivered):
            await refs[0].ask("ready?")
        assert [await ref.ask("ready?") for ref in refs[1:]] == ["ready", "ready"]


class Wrong:
    """Stands before a journal in groups, and answers as it is told."""

    def __init__(self, journal, answers) -> None:
        self.write_messages = journal.write_messages
        self.replay_messages = journal.replay_messages
        self.read_highest_sequence_nr = journal.read_highest_sequence_nr
        self.delete_messages_to = journal.delete_messages_to
        self.answers = answers

    async def write_group(self, calls: Sequence[Sequence[AtomicWrite]]) -> list[Sequence[WriteRejected | None]]:
        answers: list[Sequence[WriteRejected | None]] = self.answers(calls)
        return answers


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(lambda _: [[None], [None, None], [None]], {("a", "x"), ("b", RuntimeError), ("c", "x")}),
        pytest.param(lambda _: [[None], [None]], {(name, RuntimeError) for name in NAMES}),
        pytest.param(lambda _: 1 // 0, {(name, ZeroDivisionError) for name in NAMES}),
    ],
    ids=["one answer too many", "an answer too few", "no answer"],
)
@virtual_time
async def test_what_a_journal_answers_wrongly_is_unknown_to_those_whom_it_concerns(
    world_class, answers, expected
) -> None:
    world = world_class(lambda storage: Storage(Wrong(storage.journal, answers), storage.snapshots, storage.queries))
    async with world.system() as system:
        told = Probe()
        tell_all(await keepers(system, told), "x")
        assert {await told.receive() for _ in NAMES} == expected


@virtual_time
async def test_an_actor_that_stops_takes_nobody_with_it(world_in_groups) -> None:
    async with world_in_groups.system() as system:
        told, gate = Probe(), asyncio.Event()
        refs = await keepers(system, told)
        world_in_groups.faults.on("write", hold(gate), times=3)
        tell_all(refs, "x")
        await settle()
        await system.stop(refs[1])
        gate.set()
        assert {await told.receive() for _ in "ac"} == {("a", "x"), ("c", "x")}
        again = system.spawn(partial(Keeper, "b", told))
        assert await again.ask("ready?") == "ready"
        again.tell("y")
        assert await told.receive() == ("b", "y")
        assert world_in_groups.written()[-1] == [(2,)], "what the stopped one had begun to write is stored"


@virtual_time
async def test_a_group_that_takes_too_long_is_unknown_to_all_and_their_successors_wait_for_it(
    world_in_groups,
) -> None:
    breaker = BreakerSettings(failures_max=10, call_timeout_s=1.0, reset_timeout_s=30.0)
    async with world_in_groups.system(settings=PersistenceSettings(journal_breaker=breaker)) as system:
        told, gate = Probe(), asyncio.Event()
        refs = await keepers(system, told)
        world_in_groups.faults.on("write", hold(gate), times=3)
        tell_all(refs, "x")
        await settle()
        await advance(1.1)
        assert [await told.receive() for _ in NAMES] == [(name, TimeoutError) for name in NAMES]
        again = system.spawn(partial(Keeper, "a", told))
        again.tell("y")
        await advance(5.0)
        assert told.rest() == [], "its predecessor's write has not ended"
        gate.set()
        assert await told.receive() == ("a", "y")
        assert world_in_groups.written()[-1] == [(2,)]
