"""What a write transaction is made of: changes, each of which is done or fails by itself."""

from __future__ import annotations

from typing import Protocol

from perdure.errors import SequenceConflict

from ._tables import Tables


class Change(Protocol):
    """Something to do within a transaction that holds other changes as well."""

    def apply(self, tables: Tables) -> object:
        """Do it and give the answer. Any exception but `SequenceConflict` may leave it half done."""
        ...

    def apply_carefully(self, tables: Tables) -> object:
        """The same, after something in the group could not be stored: perhaps a part of this change."""
        ...

    def failure(self, error: Exception) -> Exception:
        """The answer if nothing of it is stored because of this error."""
        ...


def apply_apart(change: Change, tables: Tables) -> object:
    """Do a change, carefully, and give its answer; its failure leaves nothing of it and everything else.

    Raises what made SQLite give up the whole transaction, as it does when the disk is full.
    """
    connection = tables.connection
    connection.execute("SAVEPOINT change")
    try:
        outcome = change.apply_carefully(tables)
        tables.flush()
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO change")
        tables.forget()
        outcome = failure_of(change, error)
    connection.execute("RELEASE change")
    return outcome


def failure_of(change: Change, error: Exception) -> Exception:
    """The failure of a change, with the error as its cause."""
    if isinstance(error, SequenceConflict):
        return error
    failure = change.failure(error)
    if failure is not error:
        failure.__cause__ = error
    return failure
