"""A backend that writes through a memory map, named to workers as `mapped_files:backend`: no call shows what it writes.

As `mapped_files:forgetful` it answers before anything is synced, and claims the same.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from perdure import AtomicWrite, Backend, Claims, Location, PersistentRepr, Storage, WriteRejected
from perdure._failpoints import failpoint
from perdure.errors import SequenceConflict, WriteFailed

SIZE = 1 << 16
HEAD = struct.Struct("<II")


class Deleted(msgspec.Struct, frozen=True, tag="deleted"):
    persistence_id: str
    to_sequence_nr: int


class Written(msgspec.Struct, frozen=True, tag="written"):
    events: tuple[PersistentRepr, ...]


class Map:
    """Records one behind the other, each with its length and a checksum. What does not check is no record."""

    def __init__(self, directory: Path, syncs: bool) -> None:
        self._syncs = syncs
        file = directory / "events.map"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < SIZE:
                os.ftruncate(descriptor, SIZE)
            os.fsync(descriptor)
            _sync_names(directory)
            self._bytes = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self._end = 0

    def records(self) -> Iterator[Deleted | Written]:
        while self._end + HEAD.size <= SIZE:
            length, checksum = HEAD.unpack_from(self._bytes, self._end)
            start = self._end + HEAD.size
            content = self._bytes[start : start + length]
            if not length or zlib.crc32(content) != checksum:
                return
            self._end = start + length
            yield msgspec.json.decode(content, type=Deleted | Written)

    def append(self, record: Deleted | Written) -> None:
        content = msgspec.json.encode(record)
        start = self._end + HEAD.size
        if start + len(content) > SIZE:
            raise WriteFailed("the map is full")
        self._bytes[start : start + len(content)] = content
        failpoint("before the head of a record")
        self._bytes[self._end : start] = HEAD.pack(len(content), zlib.crc32(content))
        failpoint("before the sync")
        if self._syncs:
            self._bytes.flush()
        self._end = start + len(content)

    def close(self) -> None:
        self._bytes.close()


def _sync_names(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class MappedJournal:
    def __init__(self, records: Map, clock: Callable[[], int]) -> None:
        self._map, self._clock = records, clock
        self._events: dict[str, dict[int, PersistentRepr]] = {}
        self._highest: dict[str, int] = {}
        for record in records.records():
            self._learn(record)

    def _learn(self, record: Deleted | Written) -> None:
        if isinstance(record, Deleted):
            kept = self._events.get(record.persistence_id, {})
            for number in [number for number in kept if number <= record.to_sequence_nr]:
                del kept[number]
            return
        for event in record.events:
            self._events.setdefault(event.persistence_id, {})[event.sequence_nr] = event
            self._highest[event.persistence_id] = event.sequence_nr

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        for write in writes:
            first, highest = write.events[0], self._highest.get(write.events[0].persistence_id, 0)
            if first.sequence_nr <= highest:
                raise SequenceConflict(first.persistence_id, first.sequence_nr, highest)
            self._store(Written(tuple(map(self._stamped, write.events))))
        return [None for _ in writes]

    def _stamped(self, event: PersistentRepr) -> PersistentRepr:
        return msgspec.structs.replace(event, timestamp=event.timestamp or self._clock())

    def _store(self, record: Deleted | Written) -> None:
        self._map.append(record)
        self._learn(record)

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = 2**63 - 1,
        max_count: int = 2**63 - 1,
    ) -> AsyncIterator[PersistentRepr]:
        kept = [event for number, event in sorted(self._events.get(persistence_id, {}).items())]
        for event in [one for one in kept if from_sequence_nr <= one.sequence_nr <= to_sequence_nr][:max_count]:
            yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        return self._highest.get(persistence_id, 0)

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        self._store(Deleted(persistence_id, to_sequence_nr))


def mapped(name: str, syncs: bool) -> Backend:
    @asynccontextmanager
    async def open_mapped(location: Location) -> AsyncIterator[Storage]:
        assert location.directory is not None
        records = Map(location.directory, syncs)
        try:
            yield Storage(MappedJournal(records, location.clock))
        finally:
            records.close()

    claims = Claims(survives_close=True, kill_durable=True, power_durable="yes")
    return Backend(name, open_mapped, claims)


backend = mapped("mapped", syncs=True)
forgetful = mapped("mapped-forgetful", syncs=False)
