"""The journals of this project beside raw limits and a peer: `python benchmarks/sqlite_journal.py`.

What each figure means is told in `docs/benchmarks.md`. Events, rows and files are made before the clock starts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from _raw import (
    Row,
    fresh_raw,
    insert_rows,
    insert_snapshot,
    raw_connection,
    rows_of,
    select_events,
    select_snapshot,
)
from _table import Beside, Case, Goal, NotRun, OpenSuite, Suite, main, rate, seconds_since
from _work import (
    Calls,
    calls_of,
    event,
    events_in_turn,
    fresh_memory,
    fresh_sqlite,
    replayed,
    write_at_once,
    write_in_turn,
    writes_of,
)
from msgspec.structs import replace
from perdure import (
    AtomicWrite,
    Journal,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    SnapshotStore,
    WriteRejected,
    load_backend,
)
from perdure.errors import SequenceConflict

if TYPE_CHECKING:
    from eventsourcing.application import Application

WRITERS = 1000


# Writing


@asynccontextmanager
async def writers(place: Path) -> AsyncIterator[Suite]:
    calls = calls_of(WRITERS, rounds=60)
    yield Suite(
        f"{WRITERS} tasks, each writes one event of 100 bytes a call and waits for it",
        [
            Case("raw, 1000 rows a transaction", partial(_raw_rate, place, calls, 1000)),
            Case(
                f"{WRITERS} tasks, 1 event",
                partial(_write_rate, place, calls),
                (Beside("raw, 1000 rows a transaction", Goal(0.5)),),
            ),
        ],
    )


@asynccontextmanager
async def one_writer(place: Path) -> AsyncIterator[Suite]:
    calls = calls_of(1, rounds=3000)
    yield Suite(
        "one task writes one event of 100 bytes a call and waits for it",
        [
            Case("raw, 1 row a transaction", partial(_raw_rate, place, calls, 1)),
            Case(
                "1 task, 1 event", partial(_write_rate, place, calls), (Beside("raw, 1 row a transaction", Goal(0.7)),)
            ),
        ],
    )


@asynccontextmanager
async def batches(place: Path) -> AsyncIterator[Suite]:
    calls = calls_of(WRITERS, rounds=20, size=10)
    yield Suite(
        f"{WRITERS} tasks, each writes an AtomicWrite of 10 events of 100 bytes a call and waits for it",
        [
            Case("raw, 1000 rows a transaction", partial(_raw_rate, place, calls, 1000)),
            Case(
                f"{WRITERS} tasks, 10 events",
                partial(_write_rate, place, calls),
                (Beside("raw, 1000 rows a transaction", Goal(1.0)),),
            ),
        ],
    )


async def _write_rate(place: Path, calls: Calls) -> float:
    async with fresh_sqlite(place) as storage:
        return await rate(_events(calls), write_at_once(storage.journal, calls))


async def _raw_rate(place: Path, calls: Calls, rows_a_transaction: int) -> float:
    rows = rows_of(events_in_turn(calls))
    async with fresh_raw(place) as connection:
        return _raw_insert_rate(connection, rows, rows_a_transaction)


def _raw_insert_rate(connection: sqlite3.Connection, rows: Sequence[Row], rows_a_transaction: int) -> float:
    start = time.perf_counter()
    insert_rows(connection, rows, rows_a_transaction)
    return len(rows) / seconds_since(start)


def _events(calls: Calls) -> int:
    return sum(len(write.events) for mine in calls for write in mine)


# Writing with offenders


@asynccontextmanager
async def conflicts(place: Path) -> AsyncIterator[Suite]:
    whole = calls_of(WRITERS, rounds=30)
    conflicting = [[_conflicting(write, writer) for write in mine] for writer, mine in enumerate(whole)]
    rejected = [[_unstorable(write, writer) for write in mine] for writer, mine in enumerate(whole)]
    yield Suite(
        f"{WRITERS} tasks, 1 event a call, 1 % of the calls cannot be stored; stored events a second",
        [
            Case("all can be stored", partial(_answered_rate, place, whole, _whole)),
            Case(
                "1 % in conflict",
                partial(_answered_rate, place, conflicting, _conflict_of),
                (Beside("all can be stored", Goal(0.5)),),
            ),
            Case(
                "1 % rejected",
                partial(_answered_rate, place, rejected, _rejection_of),
                (Beside("all can be stored"),),
            ),
        ],
        note="That every offender fails and nobody else is asserted in each repetition, and counted.",
    )


Outcome = type[SequenceConflict] | type[WriteRejected] | None


def _offends(write: AtomicWrite, writer: int) -> bool:
    """One call in a hundred, each round others, and never the first: its numbers cannot be taken."""
    return write.lowest_sequence_nr > 1 and (writer + write.lowest_sequence_nr) % 100 == 0


def _conflicting(write: AtomicWrite, writer: int) -> AtomicWrite:
    return AtomicWrite((event(write.persistence_id, 1),)) if _offends(write, writer) else write


def _unstorable(write: AtomicWrite, writer: int) -> AtomicWrite:
    """Text that is not Unicode."""
    if not _offends(write, writer):
        return write
    (sound,) = write.events
    return AtomicWrite((PersistentRepr(sound.persistence_id, sound.sequence_nr, sound.payload, manifest="\ud800"),))


def _whole(_: AtomicWrite, __: int) -> Outcome:
    return None


def _conflict_of(write: AtomicWrite, turn: int) -> Outcome:
    return SequenceConflict if turn and write.lowest_sequence_nr == 1 else None


def _rejection_of(write: AtomicWrite, _: int) -> Outcome:
    return WriteRejected if write.events[0].manifest else None


async def _answered_rate(place: Path, calls: Calls, expected: Callable[[AtomicWrite, int], Outcome]) -> float:
    """Events stored a second, once it is certain that each call had the outcome that it must have."""
    wanted = [[expected(write, turn) for turn, write in enumerate(mine)] for mine in calls]
    async with fresh_sqlite(place) as storage:
        start = time.perf_counter()
        outcomes = await asyncio.gather(*(_outcomes(storage.journal, mine) for mine in calls))
        duration_s = seconds_since(start)
        assert outcomes == wanted, "another call failed than those that must"
        stored = sum(outcome is None for mine in wanted for outcome in mine)
        await _check_stored(storage.journal, calls, wanted)
    offenders = _events(calls) - stored
    assert offenders in (0, _events(calls) // 100 - WRITERS // 100), f"{offenders} offenders"
    return stored / duration_s


async def _outcomes(journal: Journal, writes: Sequence[AtomicWrite]) -> list[Outcome]:
    """What `write_in_turn` does, by a writer that goes on after a failure."""
    outcomes: list[Outcome] = []
    for write in writes:
        try:
            (answer,) = await journal.write_messages((write,))
            outcomes.append(None if answer is None else WriteRejected)
        except SequenceConflict:
            outcomes.append(SequenceConflict)
    return outcomes


async def _check_stored(journal: Journal, calls: Calls, wanted: Sequence[Sequence[Outcome]]) -> None:
    for mine, outcomes in zip(calls[::100], wanted[::100], strict=True):
        sound = [write.lowest_sequence_nr for write, outcome in zip(mine, outcomes, strict=True) if outcome is None]
        stored = [found.sequence_nr async for found in journal.replay_messages(mine[0].persistence_id)]
        assert stored == sound, f"{mine[0].persistence_id} holds {stored}"


# Replay


@asynccontextmanager
async def replay(place: Path) -> AsyncIterator[Suite]:
    count = 100_000
    location = await _filled(place, count)
    async with load_backend("sqlite").open(location) as storage:
        with raw_connection(place) as connection:
            yield Suite(
                f"replay of one id with {count:,} events of 100 bytes; events a second",
                [
                    Case("raw SELECT, decoded", partial(_raw_select_rate, connection, count)),
                    Case(
                        "replay",
                        partial(_replay_rate, storage.journal, count),
                        (Beside("raw SELECT, decoded", Goal(0.7)),),
                    ),
                ],
            )


async def _filled(place: Path, *counts: int) -> Location:
    """A location that holds ids `1`, `2`, ... with so many events each."""
    location = Location(directory=place)
    async with load_backend("sqlite").open(location) as storage:
        for number, count in enumerate(counts, 1):
            await write_in_turn(storage.journal, writes_of(str(number), count // 1000, 1000))
    return location


async def _replay_rate(journal: Journal, count: int) -> float:
    return await rate(count, replayed(journal, "1", count))


async def _raw_select_rate(connection: sqlite3.Connection, count: int) -> float:
    start = time.perf_counter()
    assert select_events(connection, "1") == count
    return count / seconds_since(start)


@asynccontextmanager
async def replay_memory(place: Path) -> AsyncIterator[Suite]:
    few, many = 10_000, 200_000
    location = await _filled(place, few, many)
    async with load_backend("sqlite").open(location) as storage:
        yield Suite(
            "how far memory grows at most during a replay, by tracemalloc",
            [
                Case(f"{few:,} events", partial(_growth, storage.journal, "1", few), unit="B"),
                Case(
                    f"{many:,} events",
                    partial(_growth, storage.journal, "2", many),
                    (Beside(f"{few:,} events", Goal(1.2, at_most=True)),),
                    unit="B",
                ),
            ],
        )


async def _growth(journal: Journal, persistence_id: str, count: int) -> float:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await replayed(journal, persistence_id, count)
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()


# The peer


@asynccontextmanager
async def peer_write(place: Path) -> AsyncIterator[Suite]:
    _require_peer()
    import _peer

    one, many = calls_of(1, rounds=1000), calls_of(WRITERS, rounds=20)
    insert, save = _peer.insert_one_by_one, _peer.save_one_by_one
    yield Suite(
        "eventsourcing: one event of 100 bytes a call; events a second",
        [
            Case("raw, 1 row a transaction", partial(_raw_rate, place, one, 1)),
            Case("peer, recorder, 1 thread", partial(_peer_rate, place, insert, 1)),
            Case("peer, recorder, 8 threads", partial(_peer_rate, place, insert, 8)),
            Case("peer, save, 1 thread", partial(_peer_rate, place, save, 1)),
            Case("peer, save, 8 threads", partial(_peer_rate, place, save, 8)),
            Case(
                "1 task",
                partial(_write_rate, place, one),
                (Beside("peer, recorder, 1 thread"), Beside("peer, save, 1 thread", Goal(1.2))),
            ),
            Case(
                f"{WRITERS} tasks",
                partial(_write_rate, place, many),
                (Beside("peer, recorder, 8 threads"), Beside("peer, save, 8 threads", Goal(50))),
            ),
        ],
        note="save makes and encodes its events within the time; the recorder, as our journal, is given them.",
    )


async def _peer_rate(place: Path, work: Callable[[Application[UUID], int], None], threads: int) -> float:
    import _peer

    each = 800 // threads
    with _peer.fresh_application(place) as application:
        start = time.perf_counter()
        _peer.in_threads(partial(work, application, each), threads)
        return each * threads / seconds_since(start)


@asynccontextmanager
async def peer_read(place: Path) -> AsyncIterator[Suite]:
    _require_peer()
    import _peer

    count = 100_000
    location = await _filled(place, count)
    theirs = place / "peer"
    theirs.mkdir()
    async with load_backend("sqlite").open(location) as storage:
        with _peer.closing_application(theirs) as application:
            account = _peer.filled(application, count)
            yield Suite(
                f"eventsourcing: read one id with {count:,} events of 100 bytes; events a second",
                [
                    Case("peer, select_events", partial(_peer_select_rate, application, account, count)),
                    Case("peer, repository.get", partial(_peer_get_rate, application, account, count)),
                    Case(
                        "replay",
                        partial(_replay_rate, storage.journal, count),
                        (Beside("peer, select_events"), Beside("peer, repository.get", Goal(12))),
                    ),
                ],
                note="repository.get also decodes the JSON of each event and applies it to its aggregate.",
            )


async def _peer_select_rate(application: Application[UUID], account: UUID, count: int) -> float:
    start = time.perf_counter()
    assert len(application.recorder.select_events(account)) == count + 1
    return count / seconds_since(start)


async def _peer_get_rate(application: Application[UUID], account: UUID, count: int) -> float:
    start = time.perf_counter()
    assert application.repository.get(account).version == count + 1
    return count / seconds_since(start)


def _require_peer() -> None:
    if find_spec("eventsourcing") is None:
        raise NotRun("the package eventsourcing is not installed; pip install 'perdure[bench]'")


# Snapshots

_SNAPSHOT = Payload(7, "account", bytes(range(256)) * 4)
_ANY = SnapshotSelectionCriteria()


@asynccontextmanager
async def snapshots(place: Path) -> AsyncIterator[Suite]:
    named = [SnapshotMetadata(f"account-{number % 100}", number) for number in range(1000)]
    async with load_backend("sqlite").open(Location(directory=place)) as storage:
        await asyncio.gather(*(storage.snapshots.save(one, _SNAPSHOT) for one in named))
        with raw_connection(place) as connection:
            yield Suite(
                "snapshots of 1 kB, ten of each of 100 ids; snapshots a second",
                [
                    Case("raw, save in a transaction", partial(_raw_save_rate, place, named)),
                    Case(
                        "1 task, save",
                        partial(_save_rate, place, named),
                        (Beside("raw, save in a transaction", Goal(0.9)),),
                    ),
                    Case("raw, SELECT of the newest", partial(_raw_load_rate, connection, named)),
                    Case(
                        "1 task, load",
                        partial(_load_rate, storage.snapshots, named, 1),
                        (Beside("raw, SELECT of the newest", Goal(0.5)),),
                    ),
                    Case(
                        "100 tasks, load",
                        partial(_load_rate, storage.snapshots, named, 100),
                        (Beside("raw, SELECT of the newest"),),
                    ),
                ],
            )


async def _save_rate(place: Path, named: Sequence[SnapshotMetadata]) -> float:
    async with fresh_sqlite(place) as storage:
        start = time.perf_counter()
        for metadata in named:
            await storage.snapshots.save(metadata, _SNAPSHOT)
        return len(named) / seconds_since(start)


async def _raw_save_rate(place: Path, named: Sequence[SnapshotMetadata]) -> float:
    async with fresh_raw(place) as connection:
        start = time.perf_counter()
        for metadata in named:
            insert_snapshot(connection, metadata, _SNAPSHOT)
        return len(named) / seconds_since(start)


async def _load_rate(store: SnapshotStore, named: Sequence[SnapshotMetadata], tasks: int) -> float:
    shares = [named[first::tasks] for first in range(tasks)]
    return await rate(len(named), asyncio.gather(*(_load_in_turn(store, mine) for mine in shares)))


async def _load_in_turn(store: SnapshotStore, named: Sequence[SnapshotMetadata]) -> None:
    for metadata in named:
        assert await store.load(metadata.persistence_id, _ANY) is not None


async def _raw_load_rate(connection: sqlite3.Connection, named: Sequence[SnapshotMetadata]) -> float:
    start = time.perf_counter()
    for metadata in named:
        select_snapshot(connection, metadata.persistence_id)
    return len(named) / seconds_since(start)


# The journal in memory


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Suite]:
    calls, large = calls_of(100, rounds=1000), calls_of(100, rounds=10, size=100)
    count = 100_000
    async with fresh_memory() as storage:
        await write_in_turn(storage.journal, writes_of("1", count // 1000, 1000))
        yield Suite(
            "the journal in memory; events a second",
            [
                Case("bare dict and list, write 1", partial(_bare_write_rate, calls)),
                Case(
                    "write, 1 event a call",
                    partial(_memory_write_rate, calls),
                    (Beside("bare dict and list, write 1", Goal(0.6)),),
                ),
                Case("bare dict and list, write 100", partial(_bare_write_rate, large)),
                Case(
                    "write, 100 events a call",
                    partial(_memory_write_rate, large),
                    (Beside("bare dict and list, write 100"),),
                ),
                Case("bare list, read", partial(_bare_read_rate, count)),
                Case("replay", partial(_replay_rate, storage.journal, count), (Beside("bare list, read"),)),
            ],
        )


async def _memory_write_rate(calls: Calls) -> float:
    async with fresh_memory() as storage:
        return await rate(_events(calls), write_at_once(storage.journal, calls))


async def _bare_write_rate(calls: Calls) -> float:
    start = time.perf_counter()
    logs: dict[str, dict[int, PersistentRepr]] = {}
    order: list[PersistentRepr] = []
    for mine in calls:
        for write in mine:
            _bare_write(logs, order, write, time.time_ns())
    assert len(order) == _events(calls)
    return len(order) / seconds_since(start)


def _bare_write(
    logs: dict[str, dict[int, PersistentRepr]], order: list[PersistentRepr], write: AtomicWrite, now: int
) -> None:
    """The least that a journal does: find the log, refuse a number that is taken, fill in the time, keep."""
    log = logs.setdefault(write.events[0].persistence_id, {})
    for one in write.events:
        if one.sequence_nr in log:
            raise SequenceConflict(one.persistence_id, one.sequence_nr, len(log))
        log[one.sequence_nr] = stored = replace(one, timestamp=now)
        order.append(stored)


async def _bare_read_rate(count: int) -> float:
    log = [one for write in writes_of("1", count // 1000, 1000) for one in write.events]
    start = time.perf_counter()
    seen = 0
    for _ in log:
        seen += 1
    assert seen == count
    return count / seconds_since(start)


SUITES: dict[str, OpenSuite] = {
    "writers": writers,
    "one_writer": one_writer,
    "batches": batches,
    "conflicts": conflicts,
    "replay": replay,
    "replay_memory": replay_memory,
    "peer_write": peer_write,
    "peer_read": peer_read,
    "snapshots": snapshots,
    "memory": memory,
}

if __name__ == "__main__":
    main("Journals and snapshot stores beside the raw limits of the same run.", SUITES)
