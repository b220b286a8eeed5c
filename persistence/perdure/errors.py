"""The exceptions of Perdure. Anything else that escapes an operation means: outcome unknown.

    PerdureError
    ├── AskTimedOut           no answer to `ask` in time
    ├── CircuitOpen           not tried: the backend failed so often that it is left alone for a while
    ├── InitializationFailed  an actor could not be started
    ├── NotDelivered          asked an actor that has stopped
    ├── NotSerializable       a value cannot become a payload; nothing was written
    ├── OffsetConflict        a projection was moved on by another runner
    ├── OpenFailed            a location could not be opened: not a database, no permission, wrong settings
    ├── OverlappingWriters    two incarnations of an actor wrote at the same time
    ├── RecoveryFailed        a persistent actor could not recover, and stops
    ├── StashOverflow         more messages wait for a persistent actor than it allows
    ├── StorageClosed         an operation other than a write, after the storage was closed
    ├── TooManyUnconfirmed    as many deliveries as are allowed wait for their confirmation
    ├── Unreadable            an event or snapshot is there and cannot be read
    ├── UnreadablePayload     bytes are there and cannot become a value again
    └── WriteFailed           a write of which provably nothing is stored
        └── SequenceConflict  ... because a number of it is at or below the highest one

A rejected write is not here: it is a value (`WriteRejected`), for the writer goes on. Bad arguments are `ValueError`.
"""

from __future__ import annotations


class PerdureError(Exception):
    """The root of all exceptions that Perdure raises on purpose."""


class AskTimedOut(PerdureError, TimeoutError):
    """Nobody answered in time. Whether the message was received, or will be, is not known."""


class CircuitOpen(PerdureError):
    """The circuit breaker around a journal or a snapshot store is open: the operation was not begun."""


class InitializationFailed(PerdureError):
    """The factory or a start hook of an actor raised. The cause is chained."""


class NotDelivered(PerdureError):
    """An actor was asked after it had stopped, or stopped before it took the message. It was never received."""


class OpenFailed(PerdureError):
    """A location could not be opened. The message names location, cause and way out; nothing was changed."""


class NotSerializable(PerdureError):
    """A value cannot become a payload, or would not come back as it was. Raised before anything is written. (J-25)"""

    def __init__(self, kind: type, reason: str) -> None:
        super().__init__(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be serialized: {reason}")
        self.kind = kind
        self.reason = reason


class OffsetConflict(PerdureError):
    """A projection stands elsewhere than where this runner left it: another one runs it too. Nothing was done."""

    def __init__(self, name: str, expected: object, stored: object) -> None:
        super().__init__(
            f"projection {name!r} stands at {stored}, not at {expected}: another runner moved it on; "
            f"run a projection in one place at a time"
        )
        self.name = name
        self.expected = expected
        self.stored = stored


class OverlappingWriters(PerdureError):
    """Events of one persistence id were written by two incarnations at the same time, and are replayed with the filter
    in mode `fail`. (J-64)"""

    def __init__(self, persistence_id: str, sequence_nr: int, writer_uuid: str, reason: str) -> None:
        super().__init__(
            f"event {sequence_nr} of {persistence_id!r}, writer {writer_uuid!r}, is out of place: {reason}; "
            f"two actors with this id were alive at the same time"
        )
        self.persistence_id = persistence_id
        self.sequence_nr = sequence_nr
        self.writer_uuid = writer_uuid
        self.reason = reason


class RecoveryFailed(PerdureError):
    """Recovery could not be completed, so the actor stops without having received a command. The cause is chained."""

    def __init__(self, persistence_id: str, reason: str) -> None:
        super().__init__(f"{persistence_id!r} cannot recover: {reason}")
        self.persistence_id = persistence_id
        self.reason = reason


class StashOverflow(PerdureError):
    """More messages arrived while a persistent actor persisted or recovered than `internal_stash_capacity` allows."""

    def __init__(self, path: str, capacity: int) -> None:
        super().__init__(f"{path}: more than {capacity} messages wait; raise internal_stash_capacity or send fewer")
        self.path = path
        self.capacity = capacity


class StorageClosed(PerdureError):
    """The storage was closed before this operation began. A write raises `WriteFailed` instead, which says more."""

    def __init__(self, operation: str) -> None:
        super().__init__(f"{operation}: the storage is closed; open its location again")
        self.operation = operation


class TooManyUnconfirmed(PerdureError):
    """An at-least-once delivery was not accepted. The actor decides what that means; nothing was sent."""

    def __init__(self, persistence_id: str, unconfirmed: int) -> None:
        super().__init__(
            f"{persistence_id!r}: {unconfirmed} deliveries are not confirmed; raise unconfirmed_max or deliver fewer"
        )
        self.persistence_id = persistence_id
        self.unconfirmed = unconfirmed


class Unreadable(PerdureError):
    """An event or a snapshot exists and cannot be read: damaged, or written in a form that this backend does not know.

    Raised instead of leaving it out: a shorter stream or a missing snapshot would be taken for the truth. (J-60, S-26)
    """

    def __init__(self, what: str, persistence_id: str, sequence_nr: int, reason: str) -> None:
        super().__init__(f"{what} {sequence_nr} of {persistence_id!r} cannot be read: {reason}")
        self.what = what
        self.persistence_id = persistence_id
        self.sequence_nr = sequence_nr
        self.reason = reason


class UnreadablePayload(PerdureError):
    """The bytes of a payload cannot become a value: garbled, or their serializer or manifest is not known here.

    Whoever knows which event or snapshot it is raises `Unreadable` from it.
    """

    def __init__(self, serializer_id: int, manifest: str, reason: str) -> None:
        super().__init__(f"a payload of serializer {serializer_id}, manifest {manifest!r}, cannot be read: {reason}")
        self.serializer_id = serializer_id
        self.manifest = manifest
        self.reason = reason


class WriteFailed(PerdureError):
    """Nothing of this call is stored, and nothing of it will appear later. (J-05)

    Raise it only when that is certain. Where it is not (a lost connection, a timeout, a commit without an answer), let
    the original exception through: the caller then treats the outcome as unknown.
    """


class SequenceConflict(WriteFailed):
    """A write used a number at or below the highest one of its persistence id; the stored events stay. (J-16)

    What a second writer of the same id gets. `highest_sequence_nr` is what the journal held when it refused.
    """

    def __init__(self, persistence_id: str, sequence_nr: int, highest_sequence_nr: int) -> None:
        super().__init__(
            f"sequence_nr {sequence_nr} of {persistence_id!r} is taken: the highest is {highest_sequence_nr}; "
            f"another writer was here, recover before writing again"
        )
        self.persistence_id = persistence_id
        self.sequence_nr = sequence_nr
        self.highest_sequence_nr = highest_sequence_nr
