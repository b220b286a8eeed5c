"""Journals of Akka.NET: read as Akka.NET would read them, continued, and left as Akka.NET can go on with them.

The databases were written by the real Akka.NET. They are not part of this repository; without them most of this is not
run, and says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from perdure import (
    AtomicWrite,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    WriteRejected,
)
from perdure.errors import OpenFailed, SequenceConflict, Unreadable
from perdure_sqlite import NO_SERIALIZER_ID, backend, sqlite_backend

AKKA_NET = sqlite_backend(layout="akka-net")
DATA = Path(
    os.environ.get("PERDURE_AKKA_NET_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data" / "akka-net"
)
CLUSTERS = ["akka-persistence-sqlite-test-data.1.4.43.db", "akka-persistence-sqlite-test-data.latest.db"]
ENTITIES = range(100)
ALL = SnapshotSelectionCriteria()
TICKS_AT_UNIX_EPOCH = 621355968000000000


def copied(name: str, directory: Path) -> Path:
    if not (DATA / name).is_file():
        pytest.skip(f"NOT RUN: no Akka.NET databases at {DATA}")
    path = directory / "perdure.db"
    shutil.copyfile(DATA / name, path)
    return path


def on(directory: Path, use: Callable[[Storage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AKKA_NET.open(Location(directory=directory, page_size=6)) as storage:
            await use(storage)

    asyncio.run(main())


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def replayed(storage: Storage, persistence_id: str) -> list[PersistentRepr]:
    return [event async for event in storage.journal.replay_messages(persistence_id)]


def event(persistence_id: str, number: int, tags: frozenset[str] = frozenset()) -> PersistentRepr:
    return PersistentRepr(persistence_id, number, Payload(17, "m", b"x"), timestamp=12_300, tags=tags)


def amount(payload: Payload) -> int:
    """What an event of the test cluster adds, in the four forms in which it was written."""
    match payload.serializer_id, payload.manifest:
        case 17, "System.Int32, System.Private.CoreLib":
            return int.from_bytes(payload.data, "little")
        case 17, "System.String, System.Private.CoreLib":
            return int(payload.data)
        case 1, "":
            return int(json.loads(payload.data).get("Message", {"$": "I0"})["$"][1:])
        case 999, "CSM":
            return int.from_bytes(payload.data, "little")
        case unknown:
            raise AssertionError(unknown)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_entity_recovers_to_the_state_that_it_had(tmp_path: Path, name: str) -> None:
    copied(name, tmp_path)

    async def use(storage: Storage) -> None:
        tags: Counter[str] = Counter()
        for entity in ENTITIES:
            one_round = (entity * 9 + 3) * 4
            events = await replayed(storage, str(entity))
            assert [event.sequence_nr for event in events] == list(range(13, 37))
            assert sum(amount(event.payload) for event in events) == 2 * one_round
            assert await storage.journal.read_highest_sequence_nr(str(entity)) == 36
            selected = await storage.snapshots.load(str(entity), ALL)
            assert selected is not None
            assert selected.metadata.sequence_nr == 24
            state = json.loads(selected.snapshot.data)
            assert (state["Total"], state["Persisted"]) == ({"$": f"I{2 * one_round}"}, {"$": "I24"})
            later = [amount(event.payload) for event in events if event.sequence_nr > 24]
            assert (2 * one_round + sum(later), 24 + len(later)) == (3 * one_round, 36)
            tags.update(tag for event in events for tag in event.tags)
        assert tags == {"Tag1": 1600, "Tag2": 800}

    on(tmp_path, use)


def test_the_shard_coordinator_is_read_with_its_snapshots(tmp_path: Path) -> None:
    copied(CLUSTERS[1], tmp_path)
    coordinator = "/system/sharding/testCoordinator/singleton/coordinator"

    async def use(storage: Storage) -> None:
        events = await replayed(storage, coordinator)
        assert [event.sequence_nr for event in events] == list(range(41, 83))
        assert {(event.payload.serializer_id, event.payload.manifest) for event in events} == {
            (13, "AD"),
            (13, "AF"),
            (13, "AG"),
        }
        found = [
            await storage.snapshots.load(coordinator, SnapshotSelectionCriteria(max_sequence_nr=number))
            for number in (39, 59, 79, 99)
        ]
        assert [selected and len(selected.snapshot.data) for selected in found] == [None, 1850, 1708, 250]

    on(tmp_path, use)


def test_ticks_become_nanoseconds(tmp_path: Path) -> None:
    path = copied(CLUSTERS[1], tmp_path)
    ((ticks,),) = rows(path, "SELECT timestamp FROM event_journal WHERE persistence_id = '7' AND sequence_nr = 13")
    assert isinstance(ticks, int)

    async def use(storage: Storage) -> None:
        first = (await replayed(storage, "7"))[0]
        assert first.timestamp == (ticks - TICKS_AT_UNIX_EPOCH) * 100
        assert 1667586848 <= first.timestamp // 10**9 <= 1667586872  # 2022-11-04 18:34:08 to 18:34:32 UTC

    on(tmp_path, use)


def test_inspecting_shows_the_ids_of_a_real_file(tmp_path: Path) -> None:
    path = copied(CLUSTERS[1], tmp_path)

    async def main() -> None:
        assert backend.inspect is not None
        async with backend.inspect(path) as inspection:
            ids = {found.persistence_id: found for found in inspection.ids()}
            assert {name for name in ids if not name.startswith("/")} == {str(entity) for entity in ENTITIES}
            assert (ids["7"].events, ids["7"].lowest_sequence_nr, ids["7"].highest_sequence_nr) == (24, 13, 36)
            assert sum(1 for _ in inspection.events()) == 2542
            assert sum(1 for _ in inspection.snapshots()) == 203

    asyncio.run(main())


@pytest.mark.parametrize("name", ["legacy-Sqlite.v1.3.0.db"])
def test_rows_without_a_serializer_are_read_and_may_be_written_again(tmp_path: Path, name: str) -> None:
    path = copied(name, tmp_path)

    async def use(storage: Storage) -> None:
        for persistence_id in "ABC":
            events = await replayed(storage, persistence_id)
            assert [event.sequence_nr for event in events] == [6, 7, 8, 9, 10]
            assert {event.payload.serializer_id for event in events} == {NO_SERIALIZER_ID}
            assert all("PersistedLegacyActor+Persisted" in event.payload.manifest for event in events)
            selected = await storage.snapshots.load(persistence_id, ALL)
            assert selected is not None
            assert (selected.metadata.sequence_nr, selected.snapshot.serializer_id) == (5, NO_SERIALIZER_ID)
        again = PersistentRepr("A", 11, events[0].payload, timestamp=100)
        assert await storage.journal.write_messages([AtomicWrite((again,))]) == [None]
        assert (await replayed(storage, "A"))[-1] == again
        await storage.snapshots.save(SnapshotMetadata("A", 11, 100), again.payload)

    on(tmp_path, use)
    assert rows(path, "SELECT serializer_id FROM event_journal WHERE sequence_nr = 11") == [(None,)]
    assert rows(path, "SELECT serializer_id FROM snapshot WHERE sequence_nr = 11") == [(None,)]


def test_a_custom_object_without_a_serializer_is_read(tmp_path: Path) -> None:
    copied("legacy-Sqlite.CustomObject.db", tmp_path)

    async def use(storage: Storage) -> None:
        (found,) = await replayed(storage, "old")
        assert found.payload.serializer_id == NO_SERIALIZER_ID
        assert found.payload.manifest.startswith("Akka.Persistence.Sqlite.Tests.Persisted, ")
        assert json.loads(found.payload.data)["$type"] == found.payload.manifest

    on(tmp_path, use)


# --- continuing ------------------------------------------------------------------------------------------------------


def test_a_real_journal_is_continued_and_stays_one_of_akka_net(tmp_path: Path) -> None:
    path = copied(CLUSTERS[1], tmp_path)
    schema = rows(path, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name")
    others = rows(path, "SELECT * FROM event_journal WHERE persistence_id <> '7'")

    async def writes_and_deletes(storage: Storage) -> None:
        tagged = event("7", 38, frozenset(["Tag2", "Tag1"]))
        assert await storage.journal.write_messages([AtomicWrite((event("7", 37), tagged))]) == [None]
        with pytest.raises(SequenceConflict, match="the highest is 38"):
            await storage.journal.write_messages([AtomicWrite((event("7", 12),))])
        await storage.journal.delete_messages_to("7", 24)
        await storage.journal.delete_messages_to("8", 2**63 - 1)
        await storage.journal.delete_messages_to("8", 2**63 - 1)
        await storage.journal.delete_messages_to("unknown", 5)

    async def reads(storage: Storage) -> None:
        events = await replayed(storage, "7")
        assert [event.sequence_nr for event in events] == list(range(25, 39))
        assert events[-1] == event("7", 38, frozenset(["Tag1", "Tag2"]))
        assert await replayed(storage, "8") == []
        assert await storage.journal.read_highest_sequence_nr("8") == 36
        with pytest.raises(SequenceConflict, match="the highest is 36"):
            await storage.journal.write_messages([AtomicWrite((event("8", 36),))])

    on(tmp_path, writes_and_deletes)
    on(tmp_path, reads)
    newest = (
        "SELECT is_deleted, manifest, timestamp, payload, tags, serializer_id FROM event_journal ORDER BY ordering DESC"
    )
    ticks = TICKS_AT_UNIX_EPOCH + 123
    assert rows(path, f"{newest} LIMIT 2") == [
        (0, "m", ticks, b"x", ";Tag1;Tag2;", 17),
        (0, "m", ticks, b"x", None, 17),
    ]
    assert rows(path, "SELECT * FROM journal_metadata WHERE persistence_id IN ('7', '8', 'unknown')") == [("8", 36)]
    assert rows(path, "SELECT count(*) FROM journal_metadata") == [(99,)]  # that of 7 was deleted with its events
    left = [row for row in others if row[1] != "8"]
    assert rows(path, "SELECT * FROM event_journal WHERE persistence_id NOT IN ('7', '8')") == left
    assert rows(path, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name") == schema
    assert [rows(path, f"PRAGMA {name}") for name in ("application_id", "user_version", "journal_mode")] == [
        [(0,)],
        [(0,)],
        [("delete",)],
    ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_snapshots_of_a_real_file_are_replaced_and_deleted_by_their_time(tmp_path: Path) -> None:
    path = copied(CLUSTERS[1], tmp_path)

    async def use(storage: Storage) -> None:
        newest = await storage.snapshots.load("7", ALL)
        assert newest is not None
        await storage.snapshots.delete(SnapshotMetadata("7", 24, newest.metadata.timestamp - 100))
        assert await storage.snapshots.load("7", ALL) == newest
        by_time = SnapshotSelectionCriteria(min_timestamp=newest.metadata.timestamp)
        assert await storage.snapshots.load("7", by_time) == newest
        earlier = SnapshotSelectionCriteria(max_timestamp=newest.metadata.timestamp - 1)
        before = await storage.snapshots.load("7", earlier)
        assert before is not None
        assert before.metadata.sequence_nr == 12
        await storage.snapshots.save(SnapshotMetadata("7", 24, 1_000), Payload(1, "", b"new"))
        await storage.snapshots.delete(before.metadata)
        assert rows(path, "SELECT sequence_nr, created_at, payload FROM snapshot WHERE persistence_id = '7'") == [
            (24, TICKS_AT_UNIX_EPOCH + 10, b"new")
        ]
        await storage.snapshots.delete_matching("7", SnapshotSelectionCriteria(max_timestamp=999))
        assert await storage.snapshots.load("7", ALL) is not None
        await storage.snapshots.delete_matching("7", ALL)
        assert await storage.snapshots.load("7", ALL) is None

    on(tmp_path, use)


# --- without the real files ------------------------------------------------------------------------------------------


def test_a_new_file_has_the_tables_of_akka_net(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        assert await storage.journal.write_messages([AtomicWrite((event("p", 1),))]) == [None]

    on(tmp_path, use)
    tables = rows(tmp_path / "perdure.db", "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert tables == [("event_journal",), ("journal_metadata",), ("snapshot",), ("sqlite_sequence",)]
    assert rows(tmp_path / "perdure.db", "PRAGMA journal_mode") == [("delete",)]


def test_the_claims_say_what_the_columns_cannot_hold() -> None:
    claims = AKKA_NET.claims
    assert (claims.writer_uuid, claims.event_manifest, claims.metadata, claims.tags) == (False, False, False, True)
    assert (claims.tags_without, claims.timestamp_resolution_ns, claims.power_durable) == (";", 100, "yes")


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (event("p", 2, frozenset(["a;b"])), "tag 'a;b' cannot be kept in a list"),
        (event("p", 2, frozenset([""])), "tag '' cannot be kept in a list"),
        (event("p", 2, frozenset(["x" * 1999])), "its tags take 2001 characters; 2000 fit"),
        (event("p", 2, frozenset(["\ud800"])), "is not valid Unicode"),
        (PersistentRepr("p", 2, Payload(2**31, "", b"")), "serializer_id 2147483648 is out of what .NET can hold"),
        (PersistentRepr("p", 2, Payload(1, "", b""), timestamp=-(10**20)), "is out of what .NET can hold"),
    ],
)
def test_what_the_columns_would_mangle_is_rejected_alone(tmp_path: Path, refused: PersistentRepr, reason: str) -> None:
    async def use(storage: Storage) -> None:
        writes = [AtomicWrite((event("p", 1),)), AtomicWrite((refused,)), AtomicWrite((event("p", 3),))]
        answers = await storage.journal.write_messages(writes)
        assert answers[0] is answers[2] is None
        assert isinstance(answers[1], WriteRejected)
        assert reason in answers[1].reason
        assert [event.sequence_nr for event in await replayed(storage, "p")] == [1, 3]

    on(tmp_path, use)


def test_tags_up_to_the_width_of_the_column_are_kept(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        widest = event("p", 1, frozenset(["x" * 1000, "y" * 997]))
        assert await storage.journal.write_messages([AtomicWrite((widest,))]) == [None]
        assert await replayed(storage, "p") == [widest]

    on(tmp_path, use)


def test_events_marked_as_deleted_are_passed_over_and_count_to_the_highest(tmp_path: Path) -> None:
    async def writes(storage: Storage) -> None:
        await storage.journal.write_messages([AtomicWrite(tuple(event("p", number) for number in range(1, 11)))])

    async def reads(storage: Storage) -> None:
        assert [event.sequence_nr for event in await replayed(storage, "p")] == [1]
        assert await storage.journal.read_highest_sequence_nr("p") == 10
        assert await storage.journal.read_highest_sequence_nr("q") == 7

    on(tmp_path, writes)
    connection = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
    connection.execute("UPDATE event_journal SET is_deleted = 1 WHERE sequence_nr > 1")
    connection.execute("INSERT INTO journal_metadata VALUES ('p', 3), ('q', 5), ('q', 7)")
    connection.close()
    on(tmp_path, reads)


def test_a_damaged_row_is_an_error_that_names_it(tmp_path: Path) -> None:
    async def writes(storage: Storage) -> None:
        await storage.journal.write_messages([AtomicWrite((event("p", 1), event("p", 2)))])

    async def reads(storage: Storage) -> None:
        with pytest.raises(
            Unreadable, match="event 2 of 'p' cannot be read: column tags is b'\\\\xff', not valid TEXT"
        ):
            await replayed(storage, "p")

    on(tmp_path, writes)
    connection = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
    connection.execute("UPDATE event_journal SET tags = x'ff' WHERE sequence_nr = 2")
    connection.close()
    on(tmp_path, reads)


def test_snapshots_with_the_extreme_times_of_net_match_unbounded_criteria(tmp_path: Path) -> None:
    async def reads(storage: Storage) -> None:
        for persistence_id in ("least", "most"):
            assert await storage.snapshots.load(persistence_id, ALL) is not None

    async def nothing(_: Storage) -> None:
        pass

    on(tmp_path, nothing)
    connection = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
    insert = "INSERT INTO snapshot VALUES (?, 1, ?, '', x'00', 1)"
    connection.execute(insert, ("least", 0))
    connection.execute(insert, ("most", 3155378975999999999))
    connection.close()
    on(tmp_path, reads)


def test_a_file_from_before_serializer_ids_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "perdure.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "CREATE TABLE event_journal (ordering INTEGER PRIMARY KEY, persistence_id, sequence_nr, is_deleted, manifest, "
        "timestamp, payload, tags)"
    )
    connection.close()
    before = path.read_bytes()

    async def nothing(_: Storage) -> None:
        pass

    with pytest.raises(OpenFailed, match="lacks column serializer_id in table event_journal; let Akka"):
        on(tmp_path, nothing)
    assert path.read_bytes() == before
