"""The SQLite backend as a whole: settings, opening and refusing, closing, and what is kept byte for byte."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from perdure import (
    AtomicWrite,
    Backend,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    WriteRejected,
)
from perdure.errors import OpenFailed, StorageClosed, Unreadable, WriteFailed
from perdure_sqlite import backend, sqlite_backend

ALL = SnapshotSelectionCriteria()


def event(
    persistence_id: str, sequence_nr: int, data: bytes = b"x", tags: frozenset[str] = frozenset()
) -> PersistentRepr:
    return PersistentRepr(persistence_id, sequence_nr, Payload(1, "m", data), timestamp=7, tags=tags)


def write(persistence_id: str, first: int, last: int | None = None) -> AtomicWrite:
    return AtomicWrite(tuple(event(persistence_id, number) for number in range(first, (last or first) + 1)))


async def replayed(storage: Storage, persistence_id: str) -> list[PersistentRepr]:
    return [event async for event in storage.journal.replay_messages(persistence_id)]


def on(location: Location, use: Callable[[Storage], Awaitable[None]], which: Backend = backend) -> None:
    async def main() -> None:
        async with which.open(location) as storage:
            await use(storage)

    asyncio.run(main())


async def nothing(_: Storage) -> None:
    pass


def refusal(directory: Path, which: Backend = backend, namespace: str = "perdure") -> str:
    """The message of `OpenFailed`, which is one line and names the file."""
    with pytest.raises(OpenFailed) as caught:
        on(Location(directory=directory, namespace=namespace), nothing, which)
    message = str(caught.value)
    assert "\n" not in message
    assert str(directory / "perdure.db") in message
    return message


def file_with(directory: Path, *statements: str) -> Path:
    path = directory / "perdure.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


# --- settings and claims ---------------------------------------------------------------------------------------------


def test_settings_are_explicit_and_the_default_is_durable() -> None:
    assert backend.settings == {
        "layout": "perdure",
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "busy_timeout_s": "5",
    }
    assert backend.version == f"SQLite {sqlite3.sqlite_version}"
    assert backend.claims.power_durable == "yes"


@pytest.mark.parametrize(
    ("journal_mode", "synchronous", "claimed"),
    [
        ("WAL", "FULL", "yes"),
        ("WAL", "NORMAL", "prefix"),
        ("WAL", "OFF", "no"),
        ("TRUNCATE", "FULL", "yes"),
        ("DELETE", "FULL", "prefix"),
        ("DELETE", "EXTRA", "yes"),
        ("PERSIST", "EXTRA", "yes"),
        ("DELETE", "NORMAL", "no"),
        ("KEEP", "FULL", "prefix"),
    ],
)
def test_power_durability_is_claimed_as_the_settings_give_it(journal_mode: str, synchronous: str, claimed: str) -> None:
    claims = backend.configured({"journal_mode": journal_mode, "synchronous": synchronous}).claims
    assert (claims.power_durable, claims.kill_durable) == (claimed, True)


def test_configuring_keeps_what_was_chosen_before() -> None:
    configured = sqlite_backend(layout="akka-net").configured({"busy_timeout_s": "1.5"})
    assert configured.settings == {
        "layout": "akka-net",
        "journal_mode": "KEEP",
        "synchronous": "EXTRA",
        "busy_timeout_s": "1.5",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"color": "red"}, "no setting color; it has: layout, journal_mode, synchronous, busy_timeout_s"),
        ({"layout": "jvm"}, "layout 'jvm' is unknown; allowed: perdure, akka-net"),
        ({"journal_mode": "MEMORY"}, "journal_mode 'MEMORY' is unknown; allowed: WAL, DELETE, TRUNCATE, PERSIST, KEEP"),
        ({"synchronous": "2"}, "synchronous '2' is unknown; allowed: OFF, NORMAL, FULL, EXTRA"),
        ({"busy_timeout_s": "soon"}, "busy_timeout_s 'soon' is not a number of seconds"),
        ({"busy_timeout_s": "-1"}, "busy_timeout_s -1 is out of range; 0 to 3600 is allowed"),
        ({"busy_timeout_s": "nan"}, "busy_timeout_s nan is out of range; 0 to 3600 is allowed"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_value(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        backend.configured(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_every_journal_mode_keeps_what_was_written(tmp_path: Path, journal_mode: str) -> None:
    location = Location(directory=tmp_path, page_size=2)
    configured = backend.configured({"journal_mode": journal_mode})

    async def writes(storage: Storage) -> None:
        assert await storage.journal.write_messages([write("p", 1, 5)]) == [None]

    async def reads(storage: Storage) -> None:
        assert await replayed(storage, "p") == [event("p", number) for number in range(1, 6)]

    on(location, writes, configured)
    on(location, reads, configured)


# --- opening and refusing --------------------------------------------------------------------------------------------


def test_a_missing_directory_is_made_if_its_parent_is_there(tmp_path: Path) -> None:
    on(Location(directory=tmp_path / "new"), nothing)
    assert (tmp_path / "new" / "perdure.db").is_file()


def test_a_directory_without_parent_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory; create it" in refusal(tmp_path / "no" / "such")


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "File exists" in refusal(tmp_path / "file")


def test_a_database_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "perdure.db").mkdir()
    assert "unable to open database file; check that its directory may be written" in refusal(tmp_path)


def test_a_directory_without_write_permission_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("NOT RUN: root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        assert "unable to open database file; check that its directory may be written" in refusal(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "perdure.db"
    path.write_bytes(b"persistence " * 1000)
    assert "file is not a database; give another directory or namespace" in refusal(tmp_path)
    assert path.read_bytes() == b"persistence " * 1000


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["CREATE TABLE invoice (n)"], "it holds other tables (invoice) and no journal"),
        (["CREATE TABLE event_journal (ordering)"], "lacks column persistence_id, sequence_nr"),
    ],
)
def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path, statements: list[str], message: str) -> None:
    path = file_with(tmp_path, *statements)
    before = path.read_bytes()
    assert message in refusal(tmp_path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["perdure.db"]


@pytest.mark.parametrize(("layout", "other"), [("perdure", "akka-net"), ("akka-net", "perdure")])
def test_the_other_layout_is_refused_by_name_and_left_alone(tmp_path: Path, layout: str, other: str) -> None:
    on(Location(directory=tmp_path), nothing, sqlite_backend(layout=layout))
    before = (tmp_path / "perdure.db").read_bytes()
    assert f"it has the layout {layout}; open it with layout={layout}" in refusal(
        tmp_path, sqlite_backend(layout=other)
    )
    assert (tmp_path / "perdure.db").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["perdure.db"]


def test_a_refused_file_keeps_what_a_crash_has_left_in_its_wal(tmp_path: Path) -> None:
    """Opening it for writing and closing it would move that into the file."""
    crashed, found = tmp_path / "crashed", tmp_path / "found"
    found.mkdir()

    async def copies(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1)])
        for name in ("perdure.db", "perdure.db-wal"):
            shutil.copyfile(crashed / name, found / name)

    on(Location(directory=crashed), copies)
    before = [(found / name).read_bytes() for name in ("perdure.db", "perdure.db-wal")]
    assert "open it with layout=perdure" in refusal(found, sqlite_backend(layout="akka-net"))
    assert [(found / name).read_bytes() for name in ("perdure.db", "perdure.db-wal")] == before

    async def reads(storage: Storage) -> None:
        assert len(await replayed(storage, "p")) == 1

    on(Location(directory=found), reads)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    on(Location(directory=tmp_path), nothing)
    file_with(tmp_path, "PRAGMA user_version = 2")
    assert "its schema has version 2 and this edition knows 1; open it with a newer perdure" in refusal(tmp_path)


def test_a_locked_database_is_refused_after_the_busy_timeout(tmp_path: Path) -> None:
    on(Location(directory=tmp_path), nothing)
    connection = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    message = refusal(tmp_path, sqlite_backend(busy_timeout_s=0))
    connection.close()
    assert "database is locked; another process holds it; close that one, or raise busy_timeout_s" in message


def test_a_mode_that_cannot_be_set_is_refused(tmp_path: Path) -> None:
    """A file that is open elsewhere in WAL mode cannot leave it."""

    async def opens_again(_: Storage) -> None:
        async with sqlite_backend(journal_mode="DELETE", busy_timeout_s=0).open(Location(directory=tmp_path)):
            pass

    with pytest.raises(OpenFailed, match="database is locked"):
        on(Location(directory=tmp_path), opens_again)


# --- places ----------------------------------------------------------------------------------------------------------


def test_namespaces_share_nothing_whatever_they_are_called(tmp_path: Path) -> None:
    namespaces = ["a", "A", "a/b", "..", "", "a%2fb", "ä", "a.db", "\x00", "?mode=memory", "#", "\ud800"]

    async def writes(storage: Storage) -> None:
        assert await storage.journal.read_highest_sequence_nr("p") == 0
        assert await storage.journal.write_messages([write("p", 1)]) == [None]

    for namespace in namespaces:
        on(Location(directory=tmp_path, namespace=namespace), writes)
    assert len({entry.name.lower() for entry in tmp_path.iterdir()}) == len(namespaces)


def test_memory_lives_as_long_as_its_location_and_is_shared_by_its_handles() -> None:
    location = Location()

    async def main() -> None:
        async with backend.open(location) as first, backend.open(location) as second:
            await first.journal.write_messages([write("p", 1, 2)])
            assert len(await replayed(second, "p")) == 2
        async with backend.open(location) as third:
            assert await third.journal.read_highest_sequence_nr("p") == 2
        async with backend.open(Location()) as other:
            assert await other.journal.read_highest_sequence_nr("p") == 0

    asyncio.run(main())


# --- closing ---------------------------------------------------------------------------------------------------------


def descriptors() -> set[str]:
    return {
        os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
    }


def test_closing_leaves_no_thread_and_no_file_open(tmp_path: Path) -> None:
    async def abandons_a_replay(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1, 10)])
        iterator = storage.journal.replay_messages("p")
        assert (await anext(iterator)).sequence_nr == 1
        kept.append(iterator)

    kept: list[object] = []
    on(Location(directory=tmp_path, page_size=1), abandons_a_replay)
    assert [thread.name for thread in threading.enumerate() if "perdure" in thread.name] == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"perdure.db"}
    if os.path.isdir("/proc/self/fd"):
        assert not any(str(tmp_path) in target for target in descriptors())


def test_closing_waits_for_what_was_queued(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            tasks = [asyncio.create_task(storage.journal.write_messages([write(str(n), 1)])) for n in range(50)]
            await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == [[None]] * 50

    asyncio.run(main())


def test_a_closed_storage_refuses_everything(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path, page_size=1)) as storage:
            await storage.journal.write_messages([write("p", 1, 3)])
            iterator = storage.journal.replay_messages("p")
            await anext(iterator)
        with pytest.raises(WriteFailed, match="closed"):
            await storage.journal.write_messages([write("p", 4)])
        with pytest.raises(WriteFailed, match="closed"):
            await storage.snapshots.save(SnapshotMetadata("p", 1), Payload(1, "", b""))
        with pytest.raises(StorageClosed, match="replay_messages"):
            await anext(iterator)
        with pytest.raises(StorageClosed, match="read_highest_sequence_nr"):
            await storage.journal.read_highest_sequence_nr("p")
        with pytest.raises(StorageClosed, match="delete_messages_to"):
            await storage.journal.delete_messages_to("p", 1)
        with pytest.raises(StorageClosed, match="load"):
            await storage.snapshots.load("p", ALL)

    asyncio.run(main())


def test_a_cancelled_closing_still_ends_the_threads(tmp_path: Path) -> None:
    async def main() -> None:
        async def holder() -> None:
            async with backend.open(Location(directory=tmp_path)) as storage:
                task = asyncio.create_task(storage.journal.write_messages([write("p", 1)]))
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(holding.cancel)
            await task

        holding = asyncio.create_task(holder())
        with pytest.raises(asyncio.CancelledError):
            await holding

    asyncio.run(main())
    assert [thread.name for thread in threading.enumerate() if "perdure" in thread.name] == []


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_every_field_comes_back_as_it_was(tmp_path: Path) -> None:
    awkward = PersistentRepr(
        "p\x00q' ;%",
        2**63 - 1,
        Payload(-(2**63), "m\x00ä", bytes(range(256))),
        manifest="adapter\x00",
        writer_uuid="uuid\x00",
        timestamp=-5,
        tags=frozenset(["", ";", "a\x00b", "a", "😀", '"']),
        metadata=Payload(2**40, "\x00", b"\xff\x00"),
    )

    async def use(storage: Storage) -> None:
        empty = PersistentRepr("p", 1, Payload(0, "", b""), timestamp=1, metadata=Payload(0, "", b""))
        assert await storage.journal.write_messages([AtomicWrite((awkward,)), AtomicWrite((empty,))]) == [None, None]
        assert await replayed(storage, awkward.persistence_id) == [awkward]
        assert await replayed(storage, "p") == [empty]

    on(Location(directory=tmp_path), use)


def test_persistence_ids_are_told_apart_beyond_a_nul(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        names = ["p", "p\x00", "p\x00a", "p\x00b"]
        await storage.journal.write_messages([write(name, 1, number) for number, name in enumerate(names, 1)])
        await storage.journal.delete_messages_to("p\x00a", 2)
        assert [await storage.journal.read_highest_sequence_nr(name) for name in names] == [1, 2, 3, 4]
        assert [len(await replayed(storage, name)) for name in names] == [1, 2, 1, 4]

    on(Location(directory=tmp_path), use)


def test_numbers_that_do_not_fit_are_rejected_and_the_rest_is_stored(tmp_path: Path) -> None:
    wide = AtomicWrite((PersistentRepr("q", 1, Payload(2**63, "", b"")),))

    async def use(storage: Storage) -> None:
        answers = await storage.journal.write_messages([write("p", 1), wide, write("p", 2)])
        assert answers == [
            None,
            WriteRejected("payload.serializer_id 9223372036854775808 of event 1 does not fit into 64 bits"),
            None,
        ]
        assert len(await replayed(storage, "p")) == 2
        assert await storage.journal.read_highest_sequence_nr("q") == 0

    on(Location(directory=tmp_path), use)


def test_an_ordering_is_never_given_twice_even_if_the_newest_event_was_deleted(tmp_path: Path) -> None:
    location = Location(directory=tmp_path)

    async def writes_and_deletes(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1, 3)])
        await storage.journal.delete_messages_to("p", 3)

    async def writes(storage: Storage) -> None:
        await storage.journal.write_messages([write("q", 1)])

    on(location, writes_and_deletes)
    on(location, writes)
    connection = sqlite3.connect(tmp_path / "perdure.db")
    assert connection.execute("SELECT ordering FROM event").fetchall() == [(4,)]
    connection.close()


def test_deleting_events_deletes_their_tags(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        tagged = [event("p", number, tags=frozenset(["t"])) for number in (1, 2)]
        await storage.journal.write_messages([AtomicWrite(tuple(tagged))])
        await storage.journal.delete_messages_to("p", 1)
        assert await replayed(storage, "p") == tagged[1:]

    on(Location(directory=tmp_path), use)
    connection = sqlite3.connect(tmp_path / "perdure.db")
    assert connection.execute("SELECT * FROM event_tag").fetchall() == [(2, "t")]
    connection.close()


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("payload = 'text'", "column payload is 'text', not a BLOB"),
        ("manifest = x'00'", "column manifest is b'\\x00', not valid TEXT"),
        ("timestamp = 'noon'", "column timestamp is 'noon', not an INTEGER"),
        ("writer_uuid = CAST(x'ff' AS TEXT)", "column writer_uuid is b'\\xff', not valid TEXT"),
        ("metadata = x'c1'", "column metadata: "),
        ("tag_count = 2", "column tag_count is 2, and event_tag has 0"),
    ],
)
def test_a_damaged_event_is_an_error_that_names_it(tmp_path: Path, damage: str, reason: str) -> None:
    location = Location(directory=tmp_path, page_size=2)

    async def writes(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1, 5)])

    async def reads(storage: Storage) -> None:
        with pytest.raises(Unreadable) as caught:
            await replayed(storage, "p")
        assert (caught.value.persistence_id, caught.value.sequence_nr) == ("p", 4)
        assert reason in caught.value.reason
        window = storage.journal.replay_messages("p", 5)
        assert [event.sequence_nr async for event in window] == [5]

    on(location, writes)
    file_with(tmp_path, f"UPDATE event SET {damage} WHERE sequence_nr = 4")
    on(location, reads)


@pytest.mark.parametrize("damage", ["payload = 'text'", "manifest = CAST(x'ff' AS TEXT)", "serializer_id = 'x'"])
def test_a_damaged_snapshot_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    location = Location(directory=tmp_path)

    async def saves(storage: Storage) -> None:
        for number in (3, 4):
            await storage.snapshots.save(SnapshotMetadata("p", number, 1), Payload(1, "m", b"s"))

    async def loads(storage: Storage) -> None:
        with pytest.raises(Unreadable, match="snapshot 4 of 'p' cannot be read: column"):
            await storage.snapshots.load("p", ALL)
        assert await storage.snapshots.load("p", SnapshotSelectionCriteria(max_sequence_nr=3)) is not None

    on(location, saves)
    file_with(tmp_path, f"UPDATE snapshot SET {damage} WHERE sequence_nr = 4")
    on(location, loads)


def test_a_torn_database_is_an_error_and_never_a_shorter_replay(tmp_path: Path) -> None:
    location = Location(directory=tmp_path)

    async def writes(storage: Storage) -> None:
        big = tuple(event("p", number, bytes(5000)) for number in range(1, 40))
        await storage.journal.write_messages([AtomicWrite(big)])

    async def reads(storage: Storage) -> None:
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            await replayed(storage, "p")

    on(location, writes)
    path = tmp_path / "perdure.db"
    pages = bytearray(path.read_bytes())
    pages[4096 * 20 : 4096 * 40] = bytes(4096 * 20)
    path.write_bytes(pages)
    on(location, reads)


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_a_snapshot_with_text_that_is_not_unicode_fails_and_leaves_the_old_one(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        metadata = SnapshotMetadata("p", 1, 5)
        await storage.snapshots.save(metadata, Payload(1, "m", b"old"))
        with pytest.raises(WriteFailed, match="surrogates"):
            await storage.snapshots.save(metadata, Payload(1, "\ud800", b"new"))
        selected = await storage.snapshots.load("p", ALL)
        assert selected is not None
        assert selected.snapshot.data == b"old"

    on(Location(directory=tmp_path), use)


def test_a_timestamp_beyond_64_bits_deletes_nothing(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await storage.snapshots.save(SnapshotMetadata("p", 1, 5), Payload(1, "m", b""))
        await storage.snapshots.delete(SnapshotMetadata("p", 1, 2**70))
        assert await storage.snapshots.load("p", ALL) is not None

    on(Location(directory=tmp_path), use)
