"""Checks of arguments: what every backend refuses with `ValueError` before it touches anything. (J-84, S-39)

The limits are part of the contract, so they are checked here, once, and backends call this at the start of an
operation. Each message names the argument, its value and the limit.
"""

from __future__ import annotations

MAX_SEQUENCE_NR = 2**63 - 1
"""The largest sequence number, and the largest bound or count of any operation."""

MAX_TIMESTAMP = 2**63 - 1
"""The largest timestamp, in nanoseconds since the Unix epoch (the year 2262)."""


def check_persistence_id(persistence_id: str) -> None:
    """A persistence id is any non-empty string that Unicode can encode."""
    if not persistence_id:
        raise ValueError("persistence_id is empty; any non-empty string is allowed")
    if not persistence_id.isascii():
        try:
            persistence_id.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"persistence_id {persistence_id!r} is not valid Unicode: {error.reason}") from None


def check_tag(tag: str) -> None:
    """A tag that is asked for is any string that Unicode can encode; the empty one is a tag as well."""
    if not tag.isascii():
        try:
            tag.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"tag {tag!r} is not valid Unicode: {error.reason}") from None


def check_sequence_nr(name: str, value: int) -> None:
    """The number of an event: 1 to 2**63-1."""
    check_number(name, value, 1, MAX_SEQUENCE_NR)


def check_number(name: str, value: int, least: int, most: int) -> None:
    """Any whole number between two inclusive limits."""
    if not least <= value <= most:
        raise ValueError(f"{name} {value} is out of range; {least} to {most} is allowed")


def check_replay(persistence_id: str, from_sequence_nr: int, to_sequence_nr: int, max_count: int) -> None:
    """The arguments of `Journal.replay_messages`: a window may start at 0, which means 1. (J-52)"""
    check_persistence_id(persistence_id)
    check_number("from_sequence_nr", from_sequence_nr, 0, MAX_SEQUENCE_NR)
    check_number("to_sequence_nr", to_sequence_nr, 0, MAX_SEQUENCE_NR)
    check_number("max_count", max_count, 0, MAX_SEQUENCE_NR)


def check_read_highest(persistence_id: str, from_sequence_nr: int) -> None:
    """The arguments of `Journal.read_highest_sequence_nr`."""
    check_persistence_id(persistence_id)
    check_number("from_sequence_nr", from_sequence_nr, 0, MAX_SEQUENCE_NR)


def check_delete(persistence_id: str, to_sequence_nr: int) -> None:
    """The arguments of `Journal.delete_messages_to`: 0 deletes nothing."""
    check_persistence_id(persistence_id)
    check_number("to_sequence_nr", to_sequence_nr, 0, MAX_SEQUENCE_NR)
