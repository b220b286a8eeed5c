"""What Akka.NET's own actors store: the events and snapshots of state machines and of durable producer queues.

Plain values, so that actors can use them without loading protobuf. Their bytes are made in `akka_net` and
`reliable_delivery`. Payloads inside of them stay payloads.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .._events import Payload

TIMEOUT_NEVER_MS: Final = 922_337_203_685_477
"""The longest timeout that .NET knows, in whole milliseconds. It stands for "never", where none means "the default"."""


class StateChangeEvent(msgspec.Struct, frozen=True, gc=False):
    """A state machine has gone to a state, with a timeout of whole milliseconds or none. (F-56)

    The message cannot tell a timeout of 0 from none, so there is no timeout of 0 here.
    """

    state_identifier: str
    timeout_ms: int | None = None

    def __post_init__(self) -> None:
        _check_timeout(self.timeout_ms)


class PersistentFSMSnapshot(msgspec.Struct, frozen=True, gc=False):
    """State and data of a state machine. (F-56)"""

    state_identifier: str
    data: Payload
    timeout_ms: int | None = None

    def __post_init__(self) -> None:
        _check_timeout(self.timeout_ms)


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A piece of a message that is sent in several: `payload` has some of its bytes, its serializer and manifest."""

    payload: Payload
    is_first: bool
    is_last: bool


class MessageSent(msgspec.Struct, frozen=True):
    """A producer has sent a message under a number, to be confirmed under a qualifier. (F-57)

    `message` is any value; in what is stored it is a `Payload` or a `Chunk`, and where one of these is given, it is
    stored as it is. `ack` says that the producer wants to know when it was delivered. `timestamp` is in nanoseconds
    since 1970, UTC; what is below 100 ns is not stored.
    """

    seq_nr: int
    message: object
    ack: bool = False
    qualifier: str = ""
    timestamp: int = 0


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """Every message of a qualifier up to a number was delivered and processed. (F-57)"""

    seq_nr: int
    qualifier: str = ""
    timestamp: int = 0


class Cleanup(msgspec.Struct, frozen=True):
    """These qualifiers were not used for so long that what was confirmed under them is forgotten. (F-57)"""

    qualifiers: tuple[str, ...]


class ProducerQueueState(msgspec.Struct, frozen=True):
    """What a durable producer queue remembers. (F-57)

    `confirmed` has the highest number that was confirmed under each qualifier, with the time of it; `unconfirmed` what
    was sent and not confirmed, by number.
    """

    current_seq_nr: int = 1
    highest_confirmed_seq_nr: int = 0
    confirmed: tuple[Confirmed, ...] = ()
    unconfirmed: tuple[MessageSent, ...] = ()


def _check_timeout(timeout_ms: int | None) -> None:
    if timeout_ms is not None and timeout_ms < 1:
        raise ValueError(f"timeout_ms {timeout_ms} cannot be told from no timeout; None or at least 1 is allowed")
