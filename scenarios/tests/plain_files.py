"""A backend that keeps events in one plain file, named to workers as `plain_files:backend`. It has moods, set by ids.

`late` writes to a file of its own as soon as the event loop is free again, which is after the acknowledgement was told.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from perdure import AtomicWrite, Backend, Claims, Location, PersistentRepr, Storage, WriteRejected
from perdure._failpoints import failpoint
from perdure.errors import OpenFailed, Unreadable, WriteFailed


class PlainJournal:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.late: asyncio.Event | None = None

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        self._mood(writes[0].persistence_id)
        lines = b"".join(msgspec.json.encode(event) + b"\n" for write in writes for event in write.events)
        failpoint("before the write")
        descriptor = os.open(self._directory / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, lines) < len(lines):
                raise WriteFailed("the disk is full")
            failpoint("between write and sync")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return [None for _ in writes]

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = 2**63 - 1,
        max_count: int = 2**63 - 1,
    ) -> AsyncIterator[PersistentRepr]:
        self._mood(persistence_id)
        for event in self._events(persistence_id):
            if persistence_id == "unreadable" and event.sequence_nr == 2:
                raise Unreadable("event", persistence_id, 2, "it is meant to be")
            yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        return max((event.sequence_nr for event in self._events(persistence_id)), default=0)

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        raise NotImplementedError

    def _events(self, persistence_id: str) -> list[PersistentRepr]:
        file = self._directory / "events"
        lines = file.read_bytes().splitlines() if file.exists() else []
        events = [msgspec.json.decode(line, type=PersistentRepr) for line in lines]
        return [event for event in events if event.persistence_id == persistence_id]

    def _mood(self, persistence_id: str) -> None:
        if persistence_id == "hang":
            time.sleep(1000)
        if persistence_id == "die":
            os._exit(7)
        if persistence_id == "fork":
            child = os.fork()
            if not child:
                time.sleep(1000)
            (self._directory / "pid").write_text(str(child))
        if persistence_id == "late":
            self.late = asyncio.Event()
            asyncio.get_running_loop().call_soon(self._write_late, self.late)

    def _write_late(self, done: asyncio.Event) -> None:
        (self._directory / "late").write_bytes(b"x")
        done.set()


@asynccontextmanager
async def open_plain(location: Location) -> AsyncIterator[Storage]:
    assert location.directory is not None
    if (location.directory / "refuse").exists():
        raise OpenFailed(f"{location.directory} is refused")
    journal = PlainJournal(location.directory)
    yield Storage(journal)
    if journal.late:
        await journal.late.wait()


def configured(settings: Mapping[str, str]) -> Backend:
    print("configured with", dict(settings))
    return backend


backend = Backend("plain", open_plain, Claims(survives_close=True), configured=configured)
