"""A look into a file: both layouts, read-only, and nothing left beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from perdure import (
    AtomicWrite,
    IdSummary,
    Inspection,
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
)
from perdure.errors import OpenFailed, Unreadable
from perdure_sqlite import backend, sqlite_backend


def write(persistence_id: str, first: int, last: int) -> AtomicWrite:
    return AtomicWrite(
        tuple(
            PersistentRepr(persistence_id, number, Payload(1, "", b"x"), timestamp=100, tags=frozenset(["t"]))
            for number in range(first, last + 1)
        )
    )


async def fill(directory: Path, layout: str) -> None:
    async with sqlite_backend(layout=layout).open(Location(directory=directory)) as storage:
        await storage.journal.write_messages(
            [write("b", 1, 2), write("a", 1, 3), write("b", 3, 4), write("gone", 1, 1)]
        )
        await storage.journal.delete_messages_to("b", 1)
        await storage.journal.delete_messages_to("gone", 1)
        await storage.snapshots.save(SnapshotMetadata("only", 0, 100), Payload(1, "", b"s"))
        await storage.snapshots.save(SnapshotMetadata("a", 2, 100), Payload(1, "", b"s"))


async def inspected(path: Path) -> Inspection:
    assert backend.inspect is not None
    async with backend.inspect(path) as inspection:
        assert list(inspection.ids()) == [
            IdSummary("a", 3, 1, 3, 1),
            IdSummary("b", 3, 2, 4, 0),
            IdSummary("gone", 0, 0, 0, 0),
            IdSummary("only", 0, 0, 0, 1),
        ]
        everything = [(event.persistence_id, event.sequence_nr) for event in inspection.events()]
        assert everything == [("b", 2), ("a", 1), ("a", 2), ("a", 3), ("b", 3), ("b", 4)]
        assert tuple(inspection.events("b")) == write("b", 2, 4).events
        assert list(inspection.events("nobody")) == []
        of_a = SelectedSnapshot(SnapshotMetadata("a", 2, 100), Payload(1, "", b"s"))
        assert list(inspection.snapshots("a")) == [of_a]
        assert [found.metadata.persistence_id for found in inspection.snapshots()] == ["a", "only"]
        return inspection


@pytest.mark.parametrize(("layout", "description"), [("perdure", "perdure 1"), ("akka-net", "akka-net")])
def test_a_file_is_shown_and_left_as_it_is(tmp_path: Path, layout: str, description: str) -> None:
    asyncio.run(fill(tmp_path, layout))
    path = tmp_path / "perdure.db"
    before = path.read_bytes()
    assert asyncio.run(inspected(path)).layout == description
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["perdure.db"]


def test_a_file_is_shown_while_it_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        await fill(tmp_path, "perdure")
        async with backend.open(Location(directory=tmp_path)) as storage:
            await storage.journal.write_messages([write("c", 1, 1)])
            await storage.journal.delete_messages_to("c", 1)
            assert backend.inspect is not None
            async with backend.inspect(tmp_path / "perdure.db") as inspection:
                assert [found.persistence_id for found in inspection.ids()] == ["a", "b", "c", "gone", "only"]

    asyncio.run(main())


def refusal(path: Path) -> str:
    async def main() -> None:
        assert backend.inspect is not None
        async with backend.inspect(path):
            pass

    with pytest.raises(OpenFailed, match=r"^[^\n]+$") as caught:
        asyncio.run(main())
    return str(caught.value)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"{tmp_path / 'none'}: there is no such file; give the path of a database"
    assert "there is no such file" in refusal(tmp_path)
    (tmp_path / "text").write_bytes(b"text" * 1000)
    assert "file is not a database" in refusal(tmp_path / "text")
    (tmp_path / "empty").write_bytes(b"")
    assert "it is empty" in refusal(tmp_path / "empty")
    connection = sqlite3.connect(tmp_path / "other")
    connection.execute("CREATE TABLE invoice (n)")
    connection.close()
    assert "it holds other tables (invoice) and no journal" in refusal(tmp_path / "other")


def test_an_unreadable_event_is_named(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path, "perdure"))
    connection = sqlite3.connect(tmp_path / "perdure.db", isolation_level=None)
    connection.execute(
        "UPDATE event SET writer_uuid = CAST(x'ff' AS TEXT) WHERE persistence_id = 'a' AND sequence_nr = 2"
    )
    connection.close()

    async def main() -> None:
        assert backend.inspect is not None
        async with backend.inspect(tmp_path / "perdure.db") as inspection:
            with pytest.raises(Unreadable, match="event 2 of 'a' cannot be read: column writer_uuid"):
                list(inspection.events())

    asyncio.run(main())
