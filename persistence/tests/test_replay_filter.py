"""The replay filter: events of a writer that went on after another had taken over. (F-44, A-30)"""

from __future__ import annotations

import pytest
from perdure import (
    AtomicWrite,
    Payload,
    PersistenceSettings,
    PersistentActor,
    PersistentRepr,
    Serialization,
)
from perdure import ReplayFilter as Filter
from perdure.errors import OverlappingWriters
from perdure.testing import Probe, virtual_time

A, B, C = "A", "B", "C"

Events = list[tuple[int, str]]


def passed(mode: str, events: Events, window: int = 100, old_writers_max: int = 10) -> Events:
    """What the filter lets through of some events, each a number and its writer."""
    replay_filter = Filter(mode, window, old_writers_max)
    ready = [replay_filter.push(PersistentRepr("p", nr, Payload(1, "", b""), "", writer)) for nr, writer in events]
    kept = [event for event in ready if event is not None] + replay_filter.rest()
    return [(event.sequence_nr, event.writer_uuid) for event in kept]


CLEAN = [
    pytest.param([(1, A), (2, A), (3, A)], id="one writer"),
    pytest.param([(1, ""), (2, ""), (3, A), (4, A)], id="none, then one"),
    pytest.param([(1, A), (2, A), (3, B), (4, B), (5, C)], id="one after the other"),
    pytest.param([(1, A), (5, A), (9, B)], id="gaps"),
]
REPAIRED = [
    pytest.param([(1, A), (2, A), (3, A), (2, B), (3, B)], [(1, A), (2, B), (3, B)], id="same numbers"),
    pytest.param([(1, A), (2, B), (2, A), (3, B), (3, A)], [(1, A), (2, B), (3, B)], id="after the switch"),
    pytest.param(
        [(1, A), (2, B), (3, C), (2, A), (3, B), (4, C)], [(1, A), (2, B), (3, C), (4, C)], id="several old writers"
    ),
    pytest.param([(1, A), (3, A), (2, A), (4, A)], [(1, A), (3, A), (4, A)], id="one writer goes back"),
]


@pytest.mark.parametrize("mode", ["repair-by-discard-old", "fail", "warn"])
@pytest.mark.parametrize("events", CLEAN)
def test_everything_of_writers_that_follow_each_other_passes(mode: str, events: Events) -> None:
    assert passed(mode, events) == events


@pytest.mark.parametrize(("events", "expected"), REPAIRED)
def test_repairing_leaves_out_the_events_of_old_writers(events: Events, expected: Events) -> None:
    assert passed("repair-by-discard-old", events) == expected


@pytest.mark.parametrize(("events", "expected"), REPAIRED)
def test_failing_raises_at_the_first_event_out_of_place(events: Events, expected: Events) -> None:
    assert len(expected) < len(events)
    with pytest.raises(OverlappingWriters, match="of 'p', writer"):
        passed("fail", events)


@pytest.mark.parametrize(("events", "expected"), REPAIRED)
def test_warning_keeps_everything_and_says_so(
    events: Events, expected: Events, caplog: pytest.LogCaptureFixture
) -> None:
    assert sorted(passed("warn", events)) == sorted(events)
    assert len(caplog.records) == len(events) - len(expected)


def test_only_what_is_within_the_window_can_be_repaired() -> None:
    events = [(number, A) for number in (1, 2, 3, 4)] + [(2, B)]
    assert passed("repair-by-discard-old", events, window=2) == [(1, A), (2, A), (3, A), (2, B)]


def test_only_so_many_old_writers_are_remembered() -> None:
    events = [(1, A), (2, B), (3, C), (4, A)]
    assert passed("repair-by-discard-old", events, old_writers_max=2) == [(1, A), (2, B), (3, C)]
    assert passed("repair-by-discard-old", events, old_writers_max=1) == events


class Kept(PersistentActor):
    persistence_id = "p"

    def __init__(self, told: Probe) -> None:
        self.told = told
        self.state: list[object] = []

    def receive_recover(self, message: object) -> None:
        if isinstance(message, str):
            self.state.append(message)

    def receive_command(self, message: object) -> None:
        self.reply(list(self.state))

    def on_recovery_failure(self, error: Exception, event: object) -> None:
        self.told.tell(error)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("repair-by-discard-old", ["a1", "b2", "b4"]),
        ("warn", ["a1", "b2", "a3", "b4"]),
        ("off", ["a1", "b2", "a3", "b4"]),
    ],
)
@virtual_time
async def test_an_actor_recovers_through_the_filter(world, mode: str, expected: list[str]) -> None:
    async with world.system(settings=PersistenceSettings(replay_filter=mode)) as system:
        await write_overlapping(world)
        assert await system.spawn(lambda: Kept(Probe())).ask("get") == expected


@virtual_time
async def test_an_actor_whose_writers_overlap_stops_if_it_is_to_fail(world) -> None:
    async with world.system(settings=PersistenceSettings(replay_filter="fail")) as system:
        await write_overlapping(world)
        told = Probe()
        await system.stopped(system.spawn(lambda: Kept(told)))
        (error,) = told.rest()
        assert isinstance(error.__cause__, OverlappingWriters)


async def write_overlapping(world) -> None:
    """Writer a goes on after b has taken over."""
    for number, name in enumerate(("a1", "b2", "a3", "b4"), 1):
        event = PersistentRepr("p", number, Serialization().to_payload(name), "", name[0])
        await world.faults.storage.journal.write_messages([AtomicWrite((event,))])
