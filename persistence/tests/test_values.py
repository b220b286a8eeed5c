"""The values check themselves: what no backend should ever see is refused by their constructors."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from perdure import (
    MAX_SEQUENCE_NR,
    MAX_TIMESTAMP,
    AtomicWrite,
    Claims,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    unstorable_text,
)

LONE_SURROGATE = "\ud83d"


def event(number: int, persistence_id: str = "p", **fields: object) -> PersistentRepr:
    return PersistentRepr(persistence_id, number, Payload(4, "", b"x"), **fields)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((), "at least one event"),
        ((event(1, "p"), event(2, "q")), "one persistence id, not of 'p' and 'q'"),
        ((event(1), event(3)), "2 is expected after 1, not 3"),
        ((event(2), event(1)), "3 is expected after 2, not 1"),
        ((event(1), event(1)), "2 is expected after 1, not 1"),
        ((event(0),), "sequence_nr 0 is out of range; 1 to 9223372036854775807"),
        ((event(-1),), "sequence_nr -1 is out of range"),
        ((event(2**63),), f"sequence_nr {2**63} is out of range"),
        ((event(MAX_SEQUENCE_NR), event(2**63)), f"sequence_nr {2**63} is out of range"),
        ((event(1, ""),), "persistence_id is empty"),
        ((event(1, LONE_SURROGATE),), "not valid Unicode"),
    ],
)
def test_an_atomic_write_refuses_what_cannot_be_one(events: tuple[PersistentRepr, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AtomicWrite(events)


def test_an_atomic_write_knows_its_id_and_its_range() -> None:
    write = AtomicWrite((event(7), event(8), event(9)))
    assert (write.persistence_id, write.lowest_sequence_nr, write.highest_sequence_nr) == ("p", 7, 9)


def test_an_atomic_write_may_end_at_the_largest_number() -> None:
    write = AtomicWrite((event(MAX_SEQUENCE_NR - 1), event(MAX_SEQUENCE_NR)))
    assert write.highest_sequence_nr == MAX_SEQUENCE_NR


@pytest.mark.parametrize("value", [AtomicWrite((event(1),)), event(1), Payload(4, "", b""), SnapshotMetadata("p", 1)])
def test_values_are_frozen(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], None)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"min_sequence_nr": 3, "max_sequence_nr": 2}, "min_sequence_nr 3 is above max_sequence_nr 2"),
        ({"min_timestamp": 3, "max_timestamp": 2}, "min_timestamp 3 is above max_timestamp 2"),
        ({"min_sequence_nr": -1}, "min_sequence_nr -1 is out of range; 0 to"),
        ({"max_sequence_nr": 2**63}, f"max_sequence_nr {2**63} is out of range"),
        ({"max_timestamp": 2**63}, f"max_timestamp {2**63} is out of range"),
        ({"max_timestamp": -1}, "max_timestamp -1 is out of range"),
        ({"min_timestamp": -1}, "min_timestamp -1 is out of range"),
        ({"max_sequence_nr": -1}, "max_sequence_nr -1 is out of range"),
    ],
)
def test_criteria_that_cannot_match_anything_are_refused(bounds: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SnapshotSelectionCriteria(**bounds)


@pytest.mark.parametrize(
    ("number", "timestamp", "matches"),
    [(2, 20, True), (4, 40, True), (1, 20, False), (5, 40, False), (2, 19, False), (4, 41, False)],
)
def test_criteria_match_within_all_four_inclusive_bounds(number: int, timestamp: int, matches: bool) -> None:
    criteria = SnapshotSelectionCriteria(4, 40, 2, 20)
    assert criteria.matches(SnapshotMetadata("p", number, timestamp)) is matches


def test_criteria_without_bounds_match_everything() -> None:
    ends = SnapshotMetadata("p", 0, 0), SnapshotMetadata("p", MAX_SEQUENCE_NR, MAX_TIMESTAMP)
    assert all(map(SnapshotSelectionCriteria().matches, ends))


@pytest.mark.parametrize(
    ("persistence_id", "number", "message"),
    [
        ("", 1, "persistence_id is empty"),
        (LONE_SURROGATE, 1, "not valid Unicode"),
        ("p", -1, "sequence_nr -1 is out of range; 0 to"),
        ("p", 2**63, "out of range"),
    ],
)
def test_snapshot_metadata_refuses_what_names_no_snapshot(persistence_id: str, number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SnapshotMetadata(persistence_id, number)


def test_a_snapshot_may_be_taken_before_the_first_event() -> None:
    assert SnapshotMetadata("p", 0).sequence_nr == 0


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (event(1, manifest=LONE_SURROGATE), "manifest"),
        (event(1, writer_uuid="a" + LONE_SURROGATE), "writer_uuid"),
        (event(1, tags=frozenset({"fine", LONE_SURROGATE})), "tag"),
        (event(1, metadata=Payload(4, LONE_SURROGATE, b"")), r"metadata\.manifest"),
        (PersistentRepr("p", 1, Payload(4, LONE_SURROGATE, b"")), r"payload\.manifest"),
    ],
)
def test_text_that_is_not_unicode_is_a_rejection_that_names_it(wrong: PersistentRepr, name: str) -> None:
    rejected = unstorable_text(AtomicWrite((wrong,)))
    assert rejected is not None
    assert rejected.reason.startswith(name.replace("\\", ""))
    assert r"\ud83d'" in rejected.reason  # escaped, so that the reason itself can be shown and stored


def test_the_second_event_of_a_write_is_looked_at_too() -> None:
    rejected = unstorable_text(AtomicWrite((event(1), event(2, manifest=LONE_SURROGATE))))
    assert rejected is not None
    assert "event 2" in rejected.reason


def test_text_that_unicode_can_encode_is_storable() -> None:
    fine = event(1, manifest="ä🚀\0", writer_uuid="", tags=frozenset({"", "𝕏"}), metadata=Payload(4, "ß", b"\xff"))
    assert unstorable_text(AtomicWrite((fine,))) is None


@pytest.mark.parametrize("page_size", [0, -1])
def test_a_location_needs_pages_of_one_event_or_more(page_size: int) -> None:
    with pytest.raises(ValueError, match=f"page_size {page_size} is out of range; 1 or more"):
        Location(page_size=page_size)


def test_two_locations_are_never_equal() -> None:
    assert Location() != Location()


def test_what_a_backend_does_not_offer_says_so() -> None:
    storage = Storage()
    calls = [
        storage.journal.write_messages([]),
        storage.journal.read_highest_sequence_nr("p"),
        storage.journal.delete_messages_to("p", 1),
        anext(storage.journal.replay_messages("p")),
        storage.snapshots.save(SnapshotMetadata("p", 1), Payload(4, "", b"")),
        storage.snapshots.delete(SnapshotMetadata("p", 1)),
        storage.snapshots.delete_matching("p", SnapshotSelectionCriteria()),
    ]

    async def call_all() -> None:
        for call in calls:
            with pytest.raises(NotImplementedError, match="this backend offers no"):
                await call
        assert await storage.snapshots.load("p", SnapshotSelectionCriteria()) is None

    asyncio.run(call_all())


@pytest.mark.parametrize("resolution", [0, -1, 1_000_000_001])
def test_a_resolution_of_time_is_a_nanosecond_to_a_second(resolution: int) -> None:
    with pytest.raises(ValueError, match="timestamp_resolution_ns"):
        Claims(timestamp_resolution_ns=resolution)
