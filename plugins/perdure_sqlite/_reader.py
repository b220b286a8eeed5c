"""The thread that reads: replays, page by page, and whatever else is one query. It owns all connections that read."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ._connection import Place, explained
from ._worker import Answer, Future

Read = Callable[["Reader"], object]

_IDLE_MAX = 4
_REQUESTS_MAX = 16  # served before the loop is woken: many small replays at once share a wake-up


class Reader:
    """See `_worker.Work`. Connections are made as they are needed; a few idle ones are kept."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.layout = place.layout
        self.spools = True
        """Whether a reader must not stay in a transaction, since writers would wait for it. So without a WAL."""
        self._idle: list[sqlite3.Connection] = []
        self._taken: set[sqlite3.Connection] = set()

    def start(self) -> None:
        with explained(self._place.name):
            connection = self.take()
            self.spools = connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal"
            self.give_back(connection)

    def stop(self) -> None:
        for connection in (*self._idle, *self._taken):
            connection.close()

    def serve(self, pending: deque[tuple[Future, Read]]) -> list[Answer]:
        answers: list[Answer] = []
        while pending and len(answers) < _REQUESTS_MAX:
            future, read = pending.popleft()
            answers.append((future, self._read(read)))  # also for callers that are gone: it may be a release
        return answers

    def _read(self, read: Read) -> object:
        try:
            return read(self)
        except Exception as error:
            return error

    def take(self) -> sqlite3.Connection:
        connection = self._idle.pop() if self._idle else self._place.reopen()
        self._taken.add(connection)
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        if len(self._idle) < _IDLE_MAX:
            self._taken.discard(connection)
            self._idle.append(connection)
        else:
            self.drop(connection)

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """A connection for a moment. After an error it is dropped: nobody knows what it is left with."""
        connection = self.take()
        try:
            yield connection
        except BaseException:
            self.drop(connection)
            raise
        self.give_back(connection)

    def highest_ordering(self) -> int:
        """The highest ordering that is visible now."""
        with self.lent() as connection:
            return self.layout.highest_ordering(connection)

    def drop(self, connection: sqlite3.Connection) -> None:
        self._taken.discard(connection)
        connection.close()
