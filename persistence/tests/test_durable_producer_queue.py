"""The durable producer queue: every number once, confirmations by qualifier, and all of it there after a restart.

First come the tests that stand for those of Akka's EventSourcedProducerQueueSpec, then those for what Akka.NET gets
wrong.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure import (
    ActorRef,
    Chunk,
    EventSourcedProducerQueue,
    LoadState,
    Location,
    MessageSent,
    Payload,
    ProducerQueueSettings,
    ProducerQueueState,
    Retention,
    SnapshotSelectionCriteria,
    StoreMessageConfirmed,
    StoreMessageSent,
    StoreMessageSentAck,
    cut_into_chunks,
    durable_producer_queue,
    join_chunks,
)
from perdure.errors import NotDelivered, NotSerializable, UnreadablePayload, WriteFailed
from perdure.persistent._durable_producer_queue import updated, without_partial
from perdure.serialization import Cleanup, Confirmed
from perdure.testing import Probe, advance, fail, settle, virtual_time
from perdure_memory import backend

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SHORT = ProducerQueueSettings(cleanup_unused_after_s=10)


def spawn(system: Any, settings: ProducerQueueSettings = SHORT, now_ns: int = NOW) -> ActorRef:
    queue: ActorRef = system.spawn(lambda: EventSourcedProducerQueue("queue", settings, lambda: now_ns))
    return queue


def sent(seq_nr: int, message: object, qualifier: str = "", timestamp: int = NOW) -> MessageSent:
    return MessageSent(seq_nr, message, True, qualifier, timestamp)


async def store(queue: ActorRef, *messages: MessageSent) -> None:
    for message in messages:
        assert await queue.ask(StoreMessageSent(message)) == StoreMessageSentAck(message.seq_nr)


async def restarted(system: Any, queue: ActorRef, **how: Any) -> ProducerQueueState:
    await system.stop(queue)
    state: ProducerQueueState = await spawn(system, **how).ask(LoadState())
    return state


ONE, TWO, THREE = sent(1, "a"), sent(2, ["b"]), sent(3, 3)


# -- Akka's spec


@virtual_time
async def test_what_was_sent_is_stored_and_loaded_again(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        assert await queue.ask(LoadState()) == ProducerQueueState()
        await store(queue, ONE, TWO)
        expected = ProducerQueueState(3, 0, (), (ONE, TWO))
        assert await queue.ask(LoadState()) == expected
        assert await restarted(system, queue) == expected


@virtual_time
async def test_the_last_number_is_acknowledged_again_and_others_are_not_answered(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, ONE, TWO)
        await store(queue, TWO)
        assert world.written() == [[(1,)], [(2,)]]
        probe = Probe()
        for unexpected in (ONE, sent(4, "d"), sent(0, "z"), sent(-1, "y")):
            queue.tell(StoreMessageSent(unexpected), probe)
        queue.tell(LoadState(), probe)
        await probe.expect(ProducerQueueState(3, 0, (), (ONE, TWO)))


@virtual_time
async def test_an_empty_queue_acknowledges_nothing(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue, probe = spawn(system), Probe()
        queue.tell(StoreMessageSent(sent(0, "z")), probe)
        queue.tell(LoadState(), probe)
        await probe.expect(ProducerQueueState())


@virtual_time
async def test_a_confirmation_takes_what_is_below_it_too(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, ONE, TWO, THREE)
        queue.tell(StoreMessageConfirmed(2, "", NOW))
        expected = ProducerQueueState(4, 2, (Confirmed(2, "", NOW),), (THREE,))
        assert await queue.ask(LoadState()) == expected
        assert await restarted(system, queue) == expected


@virtual_time
async def test_a_confirmation_that_says_nothing_new_is_not_stored(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, ONE, TWO)
        for number in (2, 1, 2):
            queue.tell(StoreMessageConfirmed(number, "", NOW))
        await settle()
        assert world.written() == [[(1,)], [(2,)], [(3,)]]


@virtual_time
async def test_confirmations_are_kept_apart_by_qualifier(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        messages = [sent(number, number, "q1" if number < 3 else "q2") for number in range(1, 6)]
        await store(queue, *messages)
        queue.tell(StoreMessageConfirmed(4, "q2", NOW))
        left = (messages[0], messages[1], messages[4])
        expected = ProducerQueueState(6, 4, (Confirmed(4, "q2", NOW),), left)
        assert await queue.ask(LoadState()) == expected
        assert await restarted(system, queue) == expected


@virtual_time
async def test_qualifiers_that_are_not_used_any_more_are_forgotten(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, *(sent(number, number, "q1" if number < 3 else "q2", NOW) for number in range(1, 5)))
        queue.tell(StoreMessageConfirmed(1, "q1", NOW - 60 * SECOND))
        await advance(20)  # old, but number 2 is still to be confirmed
        state = await queue.ask(LoadState())
        assert state.confirmed == (Confirmed(1, "q1", NOW - 60 * SECOND),)
        queue.tell(StoreMessageConfirmed(2, "q1", NOW - 10 * SECOND))
        queue.tell(StoreMessageConfirmed(4, "q2", NOW - 10 * SECOND + 100))
        await advance(4.9)
        assert len((await queue.ask(LoadState())).confirmed) == 2
        await advance(0.1)
        expected = ProducerQueueState(5, 4, (Confirmed(4, "q2", NOW - 10 * SECOND + 100),), ())
        assert await queue.ask(LoadState()) == expected
        assert await restarted(system, queue) == expected


@virtual_time
async def test_old_qualifiers_are_forgotten_before_the_first_command(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, ONE)
        queue.tell(StoreMessageConfirmed(1, "", NOW))
        await settle()
        await system.stop(queue)
        assert await spawn(system, now_ns=NOW + 10 * SECOND).ask(LoadState()) == ProducerQueueState(2, 1)


# -- chunks


FIRST, MIDDLE, LAST = cut_into_chunks(Payload(4, "", b"abcde"), 2)


@virtual_time
async def test_chunks_of_a_message_that_was_not_stored_to_its_end_are_dropped(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, ONE, sent(2, FIRST), sent(3, MIDDLE))
        assert (await queue.ask(LoadState())).current_seq_nr == 4
        assert await restarted(system, queue) == ProducerQueueState(2, 0, (), (ONE,))


@virtual_time
async def test_the_numbers_of_dropped_chunks_are_used_again_also_after_one_more_restart(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, ONE, sent(2, FIRST), sent(3, MIDDLE))
        await system.stop(queue)
        queue = spawn(system)
        whole = [sent(2, FIRST), sent(3, MIDDLE), sent(4, LAST)]
        await store(queue, *whole)
        expected = ProducerQueueState(5, 0, (), (ONE, *whole))
        assert await queue.ask(LoadState()) == expected
        state = await restarted(system, queue)
        assert state == expected
        assert join_chunks([one.message for one in state.unconfirmed[1:]]) == Payload(4, "", b"abcde")


def test_no_number_that_was_confirmed_is_free_again() -> None:  # F-57, A-38
    """Akka goes back to behind the last complete message that waits, whatever was confirmed above it."""
    state = ProducerQueueState()
    for event in (sent(1, HI), sent(2, HI, "q"), Confirmed(2, "q"), sent(3, FIRST)):
        state = updated(state, event)
    assert without_partial(state) == ProducerQueueState(3, 2, (Confirmed(2, "q"),), (sent(1, HI),))


def test_a_message_in_pieces_that_was_given_up_in_the_middle_is_dropped_alone() -> None:  # F-57, A-38
    state = ProducerQueueState(5, 0, (), (sent(1, FIRST), sent(2, FIRST), sent(3, LAST), sent(4, HI)))
    assert without_partial(state) == ProducerQueueState(5, 0, (), state.unconfirmed[1:])


HI = Payload(17, "System.String, System.Private.CoreLib", b"hi")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(("", "q"))),
        st.tuples(st.just("chunks"), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("confirm"), st.integers(0, 5), st.sampled_from(("", "q"))),
        st.tuples(st.just("forget"), st.sampled_from(("", "q"))),
        st.just(("restart",)),
    ),
    max_size=12,
)


class Model:
    """What a queue has to remember, in another way: one entry for each number, as a plain list."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, bool]] = []  # number, qualifier, whether it is in one piece or ends one

    def whole(self) -> list[int]:
        """Numbers of messages of which no piece is missing at the end."""
        ends = [number for number, _, ends in self.messages if ends]
        return [number for number, _, _ in self.messages if ends and number <= ends[-1]]


@given(EVENTS)
def test_events_lead_to_the_same_state_however_often_the_queue_restarts(events: list[Any]) -> None:  # F-57, A-38
    live, stored = ProducerQueueState(), []
    model = Model()

    def add(event: Any) -> None:
        nonlocal live
        live = updated(live, event)
        stored.append(event)

    for event in events:
        match event:
            case ("send", qualifier) if all_whole(live):
                model.messages.append((live.current_seq_nr, qualifier, True))
                add(MessageSent(live.current_seq_nr, HI, False, qualifier))
            case ("chunks", count, complete) if all_whole(live):
                for at in range(count):
                    ends = complete and at == count - 1
                    model.messages.append((live.current_seq_nr, "", ends))
                    add(MessageSent(live.current_seq_nr, Chunk(HI, at == 0, ends)))
            case ("confirm", back, qualifier) if all_whole(live) and live.current_seq_nr - 1 - back > 0:
                number = live.current_seq_nr - 1 - back
                model.messages = [one for one in model.messages if one[0] > number or one[1] != qualifier]
                add(Confirmed(number, qualifier))
            case ("forget", qualifier):
                add(Cleanup((qualifier,)))
            case ("restart",):
                live = without_partial(live)
                whole = set(model.whole())
                model.messages = [one for one in model.messages if one[0] in whole]
    replayed = ProducerQueueState()
    for event in stored:
        replayed = updated(replayed, event)
    assert without_partial(replayed) == without_partial(live)
    assert [one.seq_nr for one in without_partial(live).unconfirmed] == model.whole()


def all_whole(state: ProducerQueueState) -> bool:
    """Nothing is under way in pieces: only then does a producer go on."""
    return without_partial(state) == state


@given(st.binary(max_size=20), st.integers(1, 7))
def test_chunks_are_of_the_size_and_make_the_message_again(data: bytes, size_max: int) -> None:  # F-57, A-38
    payload = Payload(17, "S", data)
    chunks = cut_into_chunks(payload, size_max)
    assert join_chunks(chunks) == payload
    assert all(len(chunk.payload.data) <= size_max for chunk in chunks)
    assert len(chunks) == max(1, -(-len(data) // size_max))


@pytest.mark.parametrize("chunks", [(), (FIRST, MIDDLE), (FIRST, LAST, MIDDLE), (MIDDLE, LAST), (FIRST, FIRST, LAST)])
def test_chunks_that_are_not_all_of_one_message_are_refused(chunks: tuple[Chunk, ...]) -> None:  # F-57
    with pytest.raises(ValueError, match="not all pieces of one message"):
        join_chunks(chunks)


# -- what can go wrong


@virtual_time
async def test_the_queue_is_started_again_after_a_failure_with_growing_pauses(world) -> None:  # F-57, A-38
    settings = ProducerQueueSettings(restart_backoff_max_s=3)
    async with world.system() as system:
        queue = system.spawn(lambda: durable_producer_queue("queue", settings, lambda: NOW), "queue")
        await store(queue, ONE)
        world.faults.on("write", fail(WriteFailed("disk full")))
        for pause in (1, 2, 3, 3):
            queue.tell(StoreMessageSent(TWO))
            await settle()
            with pytest.raises(NotDelivered):
                await queue.ask(LoadState())
            await advance(pause - 0.01)
            assert system.find("perdure/queue/producer-queue") is None
            await advance(pause * 0.1 + 0.01)
            assert system.find("perdure/queue/producer-queue") is not None
        world.faults.calm()
        await store(queue, TWO)
        assert await queue.ask(LoadState()) == ProducerQueueState(3, 0, (), (ONE, TWO))


@virtual_time
async def test_a_message_that_cannot_be_stored_is_answered_by_its_error(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        with pytest.raises(NotSerializable):
            await queue.ask(StoreMessageSent(sent(1, object())))
        world.faults.reject(lambda _: True, "too large")
        with pytest.raises(WriteFailed, match="message 1 was rejected: too large"):
            await queue.ask(StoreMessageSent(ONE))
        world.faults.calm()
        await store(queue, ONE)


@virtual_time
async def test_a_message_that_cannot_be_read_is_answered_by_its_error(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        await store(queue, sent(1, Payload(999, "?", b"")))
        with pytest.raises(UnreadablePayload, match="999"):
            await queue.ask(LoadState())


@virtual_time
async def test_a_number_that_was_never_sent_is_not_confirmed(world) -> None:  # F-57, A-38
    async with world.system() as system:
        queue = spawn(system)
        queue.tell(StoreMessageConfirmed(1, "", NOW))
        await store(queue, ONE)
        queue.tell(StoreMessageConfirmed(1, "", NOW))
        assert await queue.ask(LoadState()) == ProducerQueueState(2, 1, (Confirmed(1, "", NOW),))


@pytest.mark.parametrize(("delete_events", "first"), [(True, 5), (False, 1)])
@virtual_time
async def test_snapshots_are_saved_and_what_they_make_superfluous_is_deleted(  # F-57, A-38
    world, delete_events: bool, first: int
) -> None:
    retention = Retention(snapshot_every=4, keep=2, delete_events=delete_events)
    settings = ProducerQueueSettings(retention=retention)
    async with world.system() as system:
        queue = spawn(system, settings)
        for number in range(1, 8):
            await store(queue, sent(number, number))
            queue.tell(StoreMessageConfirmed(number - 1, "", NOW))
            await settle()
        journal, snapshots = world.faults.storage.journal, world.faults.storage.snapshots
        assert [event.sequence_nr async for event in journal.replay_messages("queue")] == list(range(first, 14))
        found = [
            await snapshots.load("queue", SnapshotSelectionCriteria(max_sequence_nr=at, min_sequence_nr=at)) is not None
            for at in (4, 8, 12)
        ]
        assert found == [False, True, True]
        expected = ProducerQueueState(8, 6, (Confirmed(6, "", NOW),), (sent(7, 7),))
        assert await restarted(system, queue, settings=settings) == expected


@virtual_time
async def test_each_queue_may_name_its_storages(world) -> None:  # F-57, A-38
    async with backend.open(Location()) as other, world.system(storages={"other": other}) as system:
        await store(spawn(system, ProducerQueueSettings(journal_backend="other")), ONE)
        assert world.written() == []
        assert await other.journal.read_highest_sequence_nr("queue") == 1


def test_settings_say_what_is_wrong_with_them() -> None:
    with pytest.raises(ValueError, match="cleanup_unused_after_s 0 is out of range"):
        ProducerQueueSettings(cleanup_unused_after_s=0)
