"""Databases that the real Akka.NET wrote, read through the SQLite backend into plain values, with the totals it had.

They are not part of this repository; without them this is not run, and says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from perdure import (
    NO_OFFSET,
    AtomicWrite,
    EventAdapters,
    Location,
    Serialization,
    SnapshotSelectionCriteria,
    Storage,
    Tagged,
    prepare_write,
    recover_event,
)
from perdure.errors import Unreadable
from perdure.serialization import PrimitiveSerializer
from perdure_sqlite import sqlite_backend

AKKA_NET = sqlite_backend(layout="akka-net")
DATA = Path(
    os.environ.get("PERDURE_AKKA_NET_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data" / "akka-net"
)
CLUSTERS = ["akka-persistence-sqlite-test-data.1.4.43.db", "akka-persistence-sqlite-test-data.latest.db"]
ENTITIES = range(100)
ALL = SnapshotSelectionCriteria()
COMMON = "Akka.Persistence.Sql.Compat.Common"


class CustomShardedMessages:
    """The serializer that the test cluster brought itself: four bytes."""

    identifier = 999

    def from_bytes(self, data: bytes, manifest: str) -> object:
        if manifest != "CSM" or len(data) != 4:
            raise ValueError("it is no CustomShardedMessage")
        return {"$type": "CustomShardedMessage", "Message": int.from_bytes(data, "little", signed=True)}


class Amounts:
    """What an actor wants to know of the four forms of an event: a number. It tags what it writes."""

    def from_journal(self, event: Any, manifest: str) -> list[object]:
        return [event.get("Message", 0) if isinstance(event, dict) else int(event)]

    def manifest(self, event: int) -> str:
        return ""

    def to_journal(self, event: int) -> object:
        return Tagged(event, frozenset({"Tag1"})) if event % 3 == 1 else event


SERIALIZATION = Serialization(readers=[CustomShardedMessages()], primitives=PrimitiveSerializer(bits=32))
ADAPTERS = EventAdapters({int: Amounts(), str: Amounts(), dict: Amounts()})


def on(name: str, directory: Path, use: Callable[[Storage], Awaitable[None]]) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"NOT RUN: no Akka.NET databases at {DATA}")
    shutil.copyfile(DATA / name, directory / "perdure.db")

    async def main() -> None:
        async with AKKA_NET.open(Location(directory=directory, page_size=6)) as storage:
            await use(storage)

    asyncio.run(main())


async def recovered(storage: Storage, persistence_id: str, from_sequence_nr: int = 1) -> list[Any]:
    return [
        one
        async for event in storage.journal.replay_messages(persistence_id, from_sequence_nr)
        for one in recover_event(event, SERIALIZATION, ADAPTERS)
    ]


async def last_state(storage: Storage, persistence_id: str) -> tuple[int, dict[str, Any]]:
    selected = await storage.snapshots.load(persistence_id, ALL)
    assert selected is not None
    return selected.metadata.sequence_nr, SERIALIZATION.from_payload(selected.snapshot)


@pytest.mark.parametrize("name", CLUSTERS)
def test_entity_7_decodes_to_what_it_was(tmp_path: Path, name: str) -> None:
    async def use(storage: Storage) -> None:
        events = [
            SERIALIZATION.from_payload(event.payload) async for event in storage.journal.replay_messages("7", 13, 24)
        ]
        sharded = {"$type": f"{COMMON}.ShardedMessage, {COMMON}", "EntityId": "7"}
        assert events == [
            *(21, 22, 23),
            *("21", "22", "23"),
            *({**sharded, "Message": amount} for amount in (21, 22, 23)),
            *({"$type": "CustomShardedMessage", "Message": amount} for amount in (21, 22, 23)),
        ]
        state = {"$type": f"{COMMON}.StateSnapshot, {COMMON}", "Total": 528, "Persisted": 24}
        assert await last_state(storage, "7") == (24, state)

    on(name, tmp_path, use)


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_entity_decodes_to_its_totals(tmp_path: Path, name: str) -> None:
    async def use(storage: Storage) -> None:
        for entity in ENTITIES:
            one_round = (entity * 9 + 3) * 4
            number, state = await last_state(storage, str(entity))
            assert (number, state["Total"], state["Persisted"]) == (24, 2 * one_round, 24)
            later = await recovered(storage, str(entity), number + 1)
            assert (len(later), state["Total"] + sum(later)) == (12, 3 * one_round)
            assert sum(await recovered(storage, str(entity))) == 2 * one_round

    on(name, tmp_path, use)


def test_a_journal_of_akka_net_goes_on_with_events_in_its_own_form(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        write = prepare_write([100, 101], "7", 37, SERIALIZATION, ADAPTERS)
        assert isinstance(write, AtomicWrite)
        assert await storage.journal.write_messages([write]) == [None]
        assert (await recovered(storage, "7"))[-3:] == [23, 100, 101]
        stored = [event async for event in storage.journal.replay_messages("7", 37)]
        assert [(event.payload.manifest, event.payload.data) for event in stored] == [
            ("System.Int32, System.Private.CoreLib", b"\x64\0\0\0"),
            ("System.Int32, System.Private.CoreLib", b"\x65\0\0\0"),
        ]
        tagged = [one.event async for one in storage.queries.current_events_by_tag("Tag1", NO_OFFSET)]
        assert len(tagged) == 1_601
        assert (tagged[-1].persistence_id, tagged[-1].sequence_nr) == ("7", 37)

    on(CLUSTERS[1], tmp_path, use)


def test_an_event_whose_serializer_nobody_brought_is_named(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        [event] = [event async for event in storage.journal.replay_messages("7", 22, 22)]
        with pytest.raises(Unreadable, match=r"event 22 of '7' cannot be read: .* 999, manifest 'CSM', .*readers="):
            recover_event(event, Serialization())

    on(CLUSTERS[1], tmp_path, use)


def test_rows_from_before_serializers_had_numbers_are_read(tmp_path: Path) -> None:
    kind = "Akka.Persistence.Sqlite.Tests.Legacy.PersistedLegacyActor+Persisted, Akka.Persistence.Sqlite.Tests"

    async def use(storage: Storage) -> None:
        for persistence_id in "ABC":
            events = [
                SERIALIZATION.from_payload(event.payload)
                async for event in storage.journal.replay_messages(persistence_id)
            ]
            assert events == [{"$type": kind, "Payload": number} for number in range(6, 11)]
            assert (await last_state(storage, persistence_id))[1] == {"$type": kind, "Payload": 5}

    on("legacy-Sqlite.v1.3.0.db", tmp_path, use)


def test_an_object_from_before_serializers_had_numbers_is_read(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        events = [event async for event in storage.journal.replay_messages("old")]
        kind = "Akka.Persistence.Sqlite.Tests.Persisted, Akka.Persistence.Sqlite.Tests"
        assert [SERIALIZATION.from_payload(event.payload) for event in events] == [{"$type": kind, "Payload": "old"}]

    on("legacy-Sqlite.CustomObject.db", tmp_path, use)
