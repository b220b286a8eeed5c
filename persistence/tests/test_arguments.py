"""What every backend refuses before it touches anything: the messages name argument, value and limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from perdure import (
    MAX_SEQUENCE_NR,
    check_delete,
    check_number,
    check_persistence_id,
    check_read_highest,
    check_replay,
    check_sequence_nr,
)

TOO_LARGE = MAX_SEQUENCE_NR + 1

Check = Callable[[], None]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_persistence_id(""), "persistence_id is empty"),
        (lambda: check_persistence_id("a\udc80"), r"persistence_id 'a\\udc80' is not valid Unicode"),
        (lambda: check_sequence_nr("sequence_nr", 0), "sequence_nr 0 is out of range; 1 to 9223372036854775807"),
        (lambda: check_number("limit", 11, 1, 10), "limit 11 is out of range; 1 to 10 is allowed"),
        (lambda: check_replay("", 1, 2, 3), "persistence_id"),
        (lambda: check_replay("p", -1, 2, 3), "from_sequence_nr -1"),
        (lambda: check_replay("p", TOO_LARGE, 2, 3), "from_sequence_nr"),
        (lambda: check_replay("p", 1, -2, 3), "to_sequence_nr -2"),
        (lambda: check_replay("p", 1, TOO_LARGE, 3), "to_sequence_nr"),
        (lambda: check_replay("p", 1, 2, -3), "max_count -3"),
        (lambda: check_replay("p", 1, 2, TOO_LARGE), "max_count"),
        (lambda: check_read_highest("", 0), "persistence_id"),
        (lambda: check_read_highest("p", -1), "from_sequence_nr -1"),
        (lambda: check_read_highest("p", TOO_LARGE), "from_sequence_nr"),
        (lambda: check_delete("", 1), "persistence_id"),
        (lambda: check_delete("p", -1), "to_sequence_nr -1"),
        (lambda: check_delete("p", TOO_LARGE), "to_sequence_nr"),
    ],
)
def test_an_argument_outside_its_limits_is_refused_by_name(check: Check, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check()


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_persistence_id(" "),
        lambda: check_persistence_id("\0🚀" * 500),
        lambda: check_sequence_nr("sequence_nr", 1),
        lambda: check_sequence_nr("sequence_nr", MAX_SEQUENCE_NR),
        lambda: check_replay("p", 0, 0, 0),
        lambda: check_replay("p", 5, 3, 1),
        lambda: check_replay("p", MAX_SEQUENCE_NR, MAX_SEQUENCE_NR, MAX_SEQUENCE_NR),
        lambda: check_read_highest("p", MAX_SEQUENCE_NR),
        lambda: check_delete("p", 0),
    ],
)
def test_the_ends_of_the_limits_are_allowed(check: Check) -> None:
    check()
