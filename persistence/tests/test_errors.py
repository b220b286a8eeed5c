"""The exceptions keep their facts as attributes and say in one line what happened."""

from __future__ import annotations

import re

import perdure
import pytest
from perdure import errors
from perdure.errors import (
    NotSerializable,
    OffsetConflict,
    OverlappingWriters,
    PerdureError,
    SequenceConflict,
    StorageClosed,
    TooManyUnconfirmed,
    Unreadable,
    UnreadablePayload,
    WriteFailed,
)


def test_a_conflict_is_a_failed_write_that_names_both_numbers() -> None:
    error = SequenceConflict("p", 3, 5)
    assert isinstance(error, WriteFailed)
    assert (error.persistence_id, error.sequence_nr, error.highest_sequence_nr) == ("p", 3, 5)
    assert "sequence_nr 3 of 'p' is taken: the highest is 5" in str(error)


def test_what_cannot_be_read_is_named() -> None:
    error = Unreadable("event", "p", 3, "bad checksum")
    assert (error.what, error.persistence_id, error.sequence_nr, error.reason) == ("event", "p", 3, "bad checksum")
    assert str(error) == "event 3 of 'p' cannot be read: bad checksum"


def test_a_closed_storage_names_the_operation_and_the_way_out() -> None:
    error = StorageClosed("load")
    assert error.operation == "load"
    assert str(error) == "load: the storage is closed; open its location again"


def test_a_projection_that_was_moved_on_names_both_places() -> None:
    error = OffsetConflict("balances", "sqlite:3", "sqlite:7")
    assert (error.name, error.expected, error.stored) == ("balances", "sqlite:3", "sqlite:7")
    assert "projection 'balances' stands at sqlite:7, not at sqlite:3" in str(error)


def test_a_value_that_cannot_be_serialized_is_named_by_its_type() -> None:
    error = NotSerializable(int, "too large")
    assert (error.kind, error.reason) == (int, "too large")
    assert str(error) == "a value of type builtins.int cannot be serialized: too large"


def test_a_payload_that_cannot_be_read_is_named_by_number_and_manifest() -> None:
    error = UnreadablePayload(17, "S", "cut off")
    assert (error.serializer_id, error.manifest, error.reason) == (17, "S", "cut off")
    assert str(error) == "a payload of serializer 17, manifest 'S', cannot be read: cut off"


def test_an_event_out_of_place_is_named_with_its_writer() -> None:
    error = OverlappingWriters("p", 3, "w", "an earlier number")
    assert (error.persistence_id, error.sequence_nr, error.writer_uuid, error.reason) == (
        "p",
        3,
        "w",
        "an earlier number",
    )
    assert "event 3 of 'p', writer 'w', is out of place: an earlier number; two actors" in str(error)


def test_a_delivery_too_many_says_how_many_wait_and_the_way_out() -> None:
    error = TooManyUnconfirmed("p", 4)
    assert (error.persistence_id, error.unconfirmed) == ("p", 4)
    assert str(error) == "'p': 4 deliveries are not confirmed; raise unconfirmed_max or deliver fewer"


KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PerdureError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_one_root_and_none_looks_like_a_bad_argument(kind: type[Exception]) -> None:
    assert issubclass(kind, PerdureError)
    assert not issubclass(kind, ValueError)


def test_the_tree_shows_every_error_below_its_base() -> None:
    """Each level is four characters further in."""
    tree = re.findall(r"^    (.*?)(\w+)(?:  .*)?$", (errors.__doc__ or "").partition("\nA rejected")[0], re.MULTILINE)
    bases: list[str] = []
    drawn = {}
    for indent, name in tree:
        bases[len(indent) // 4 :] = [name]
        drawn[name] = bases[-2] if len(bases) > 1 else "Exception"
    assert drawn == {kind.__name__: kind.__mro__[1].__name__ for kind in KINDS}


def test_no_module_keeps_an_error_of_its_own() -> None:
    """Except that of finding backends, whose two are for programs that look for backends."""

    def below(kind: type[Exception]) -> list[type[Exception]]:
        return [one for child in kind.__subclasses__() for one in (child, *below(child))]

    of_perdure = {kind for kind in below(perdure.errors.PerdureError) if kind.__module__.startswith("perdure.")}
    assert of_perdure - set(KINDS) == {perdure.BrokenBackend, perdure.UnknownBackend}
