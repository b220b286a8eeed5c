"""The peer: the package `eventsourcing` on SQLite in its own way, which also is WAL mode with `synchronous` FULL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent


class Account(Aggregate):
    """An aggregate whose events take about 100 bytes when they are stored."""

    note: str = ""

    @event("Deposited")
    def deposit(self, note: str) -> None:
        self.note = note


_NOTE = "n" * 20  # with the JSON around it, 100 bytes
_STATE = bytes(range(100))


@contextmanager
def fresh_application(place: Path) -> Iterator[Application[UUID]]:
    with TemporaryDirectory(dir=place) as directory, closing_application(Path(directory)) as application:
        yield application


@contextmanager
def closing_application(directory: Path) -> Iterator[Application[UUID]]:
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(directory / "peer.db"),
        "SQLITE_POOL_SIZE": "8",
    }
    application: Application[UUID] = Application(env=environment)
    try:
        yield application
    finally:
        application.close()


@contextmanager
def memory_application() -> Iterator[Application[UUID]]:
    """The peer without a database: its plain old Python objects."""
    application: Application[UUID] = Application(env={"PERSISTENCE_MODULE": "eventsourcing.popo"})
    try:
        yield application
    finally:
        application.close()


def save_one_by_one(application: Application[UUID], events: int) -> None:
    """`Application.save` after each event of one aggregate."""
    account = Account()
    for _ in range(events):
        account.deposit(_NOTE)
        application.save(account)


def insert_one_by_one(application: Application[UUID], events: int) -> None:
    """The recorder below it: the same rows without an application above."""
    for stored in stored_events(uuid4(), events):
        application.recorder.insert_events([stored])


def stored_events(persistence_id: UUID, count: int) -> Sequence[StoredEvent]:
    return [StoredEvent(persistence_id, number, "benchmark:Deposited", _STATE) for number in range(1, count + 1)]


def in_threads(work: Callable[[], None], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def filled(application: Application[UUID], events: int) -> UUID:
    """An aggregate with so many events besides its first."""
    account = Account()
    for _ in range(events):
        account.deposit(_NOTE)
    application.save(account)
    return account.id
