"""The backend on files does what the backend in memory does, also over closings, kills and compactions."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure import (
    AtomicWrite,
    Backend,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
)
from perdure_files import Disk, Parts, files_backend
from perdure_memory import backend as memory

IDS = ("p", "P", "p/../q", "é")
STEPS = 40


class Quick(Disk):
    """No crash of the machine happens here, so nothing needs to be synced."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, directory: Path) -> None:
        pass


def clock() -> int:
    return 1_700_000_000_000_000_000


async def step(storage: Storage, code: int) -> None:
    """What three bytes ask for."""
    kind, which, argument = code & 0xFF, (code >> 8) & 0xFF, (code >> 16) & 0xFF
    persistence_id = IDS[which % len(IDS)]
    highest = await storage.journal.read_highest_sequence_nr(persistence_id)
    if kind < 120:
        first = highest + 1 + (argument % 7 == 0)
        numbers = range(first, first + 1 + argument % 4)
        await storage.journal.write_messages([AtomicWrite(tuple(event(persistence_id, number) for number in numbers))])
    elif kind < 180:
        await storage.journal.delete_messages_to(persistence_id, max(0, highest + 2 - argument % 6))
    elif kind < 210:
        metadata = SnapshotMetadata(persistence_id, argument % 5, which)
        await storage.snapshots.save(metadata, Payload(1, "s", bytes([argument])))
    elif kind < 220:
        await storage.snapshots.delete(SnapshotMetadata(persistence_id, argument % 5))
    else:
        await storage.snapshots.delete_matching(persistence_id, SnapshotSelectionCriteria(max_sequence_nr=argument % 4))


def event(persistence_id: str, sequence_nr: int) -> PersistentRepr:
    return PersistentRepr(persistence_id, sequence_nr, Payload(1, "m", b"x" * (sequence_nr % 50)), tags=frozenset("ab"))


async def everything(storage: Storage) -> list[object]:
    found: list[object] = []
    for persistence_id in IDS:
        found.append([one async for one in storage.journal.replay_messages(persistence_id)])
        found.append(await storage.journal.read_highest_sequence_nr(persistence_id))
        found.append(await storage.snapshots.load(persistence_id, SnapshotSelectionCriteria()))
    return found


async def compare(codes: bytes, directory: Path) -> None:
    """Each round ends in a closing or in a kill: a copy of the files as they were while the storage was open."""
    files: Backend = files_backend(segment_size=300, parts=Parts(disk=Quick))
    steps = [int.from_bytes(codes[at : at + 3], "little") for at in range(0, len(codes), 3)]
    async with memory.open(Location(clock=clock)) as truth:
        for number, start in enumerate(range(0, STEPS, 8)):
            location = Location(directory=directory / str(number), clock=clock, page_size=3)
            async with files.open(location) as storage:
                assert await everything(storage) == await everything(truth)
                for code in steps[start : start + 8]:
                    await step(storage, code)
                    await step(truth, code)
                assert await everything(storage) == await everything(truth)
                if codes[start] % 2:
                    shutil.copytree(directory / str(number), directory / str(number + 1))
            if not codes[start] % 2:
                shutil.copytree(directory / str(number), directory / str(number + 1))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=3 * STEPS, max_size=3 * STEPS))
def test_programs_end_alike_in_files_and_in_memory(codes: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(compare(codes, Path(directory)))
