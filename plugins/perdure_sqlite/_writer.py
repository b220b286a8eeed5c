"""The thread that writes: whatever is waiting becomes one transaction, and is acknowledged when that is committed.

Nobody waits for a fuller group: while one is committed the next one gathers. A group is applied at once; only if
something in it cannot be stored is it rolled back and applied again with a savepoint for each change, so that exactly
the offenders fail. A conflict needs no second round, for it is found before anything is changed.
"""

from __future__ import annotations

import copy
import sqlite3
from collections import deque
from collections.abc import Sequence

from perdure.errors import SequenceConflict

from ._change import Change, apply_apart, failure_of
from ._connection import Place
from ._tables import Tables
from ._worker import Answer, Future

Request = tuple[Future, Change]


class Writer:
    """See `_worker.Work`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: sqlite3.Connection | None = None

    def start(self) -> None:
        self._connection = self._place.open()
        self._tables = Tables(self._connection, self._place.layout)

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def serve(self, pending: deque[Request]) -> list[Answer]:
        changes = [request for request in pending if not request[0].cancelled()]
        pending.clear()
        answers = self._commit(changes) if changes else []
        pending.extendleft(reversed(changes[len(answers) :]))  # the transaction was full
        return answers

    def _commit(self, changes: Sequence[Request]) -> list[Answer]:
        """Apply as many changes as one transaction takes, and answer those."""
        assert self._connection is not None
        try:
            outcomes = self._apply(changes)
        except Exception as error:  # COMMIT was not issued, so nothing is stored
            self._roll_back()
            return [(future, failure_of(change, error)) for future, change in changes]
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._uncommitted(changes[: len(outcomes)], error)
        self._place.changes.announce()
        return [(future, outcome) for (future, _), outcome in zip(changes, outcomes, strict=False)]

    def _apply(self, changes: Sequence[Request]) -> list[object]:
        self._tables.begin()
        try:
            return self._apply_together(changes)
        except Exception:
            self._roll_back()
        self._tables.begin()
        return self._apply_each(changes)

    def _apply_together(self, changes: Sequence[Request]) -> list[object]:
        tables = self._tables
        outcomes: list[object] = []
        for _, change in changes:
            try:
                outcomes.append(change.apply(tables))
            except SequenceConflict as conflict:
                outcomes.append(conflict)
            if tables.room <= 0:
                break
        tables.flush()
        return outcomes

    def _apply_each(self, changes: Sequence[Request]) -> list[object]:
        outcomes: list[object] = []
        for _, change in changes:
            outcomes.append(apply_apart(change, self._tables))
            if self._tables.room <= 0:
                break
        return outcomes

    def _roll_back(self) -> bool:
        """Undo the transaction, if SQLite has not done so. False: it could not be; then no other one begins either."""
        assert self._connection is not None
        self._tables.forget()
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return False
        return True

    def _uncommitted(self, changes: Sequence[Request], error: sqlite3.Error) -> list[Answer]:
        """COMMIT failed. Nothing is stored if the transaction is still there to be rolled back; else nobody knows:
        a WAL whose syncing failed may hold the whole commit, and a crash may bring it to light."""
        assert self._connection is not None
        known = self._connection.in_transaction and self._roll_back()
        self._tables.forget()
        return [(future, failure_of(change, error) if known else copy.copy(error)) for future, change in changes]
