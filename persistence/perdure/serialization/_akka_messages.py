"""What the messages of Akka.NET have in common: how they are parsed, and what time is in them. Loads protobuf."""

from __future__ import annotations

from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from .._arguments import MAX_TIMESTAMP, check_number

TICKS_AT_UNIX_EPOCH: Final = 621_355_968_000_000_000

_NANOSECONDS_IN_A_TICK: Final = 100

M = TypeVar("M", bound=Message)


def parsed(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(f"the bytes are no {kind.DESCRIPTOR.name}: {error}") from error


def ticks_of(timestamp: int) -> int:
    """0 stands for none on both sides."""
    if not timestamp:
        return 0
    check_number("timestamp", timestamp, -MAX_TIMESTAMP, MAX_TIMESTAMP)
    return timestamp // _NANOSECONDS_IN_A_TICK + TICKS_AT_UNIX_EPOCH


def timestamp_of(ticks: int) -> int:
    """A date that nanoseconds of 64 bits cannot hold is refused: .NET has dates up to the year 9999."""
    if not ticks:
        return 0
    nanoseconds = (ticks - TICKS_AT_UNIX_EPOCH) * _NANOSECONDS_IN_A_TICK
    check_number("timestamp", nanoseconds, -MAX_TIMESTAMP, MAX_TIMESTAMP)
    return nanoseconds
