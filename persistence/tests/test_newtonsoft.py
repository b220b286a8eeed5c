"""What Akka.NET's JSON serializer stores, read into plain values, and refused where it is not clear."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure import Payload, Serialization
from perdure.errors import UnreadablePayload
from perdure.serialization import NEWTONSOFT_ID, NO_SERIALIZER_ID

SERIALIZATION = Serialization()


def read(text: str | bytes, serializer_id: int = NEWTONSOFT_ID, manifest: str = "") -> Any:
    data = text if isinstance(text, bytes) else text.encode()
    return SERIALIZATION.from_payload(Payload(serializer_id, manifest, data))


def test_an_object_is_a_dict_with_its_type() -> None:
    text = '{"$id":"1","$type":"Bank.Deposited, Bank","Account":"7","Message":{"$":"I21"},"Note":null}'
    assert read(text) == {"$type": "Bank.Deposited, Bank", "Account": "7", "Message": 21, "Note": None}


def test_a_row_that_names_no_serializer_is_read_as_json_whatever_type_its_manifest_names() -> None:
    assert read('"a-1"', NO_SERIALIZER_ID, "System.String, mscorlib") == "a-1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$":"I-2147483648"}', -(2**31)),
        ('{"$":"F1.5"}', 1.5),
        ('{"$":"F1E+10"}', 1e10),
        ('{"$":"F-Infinity"}', float("-inf")),
        ('{"$":"M79228162514264337593543950335"}', Decimal("79228162514264337593543950335")),
        ('{"$":"M0.10"}', Decimal("0.10")),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551616", 2**64),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("0.1", 0.1),
        ("0.10000000000000001", 0.1),
        ("1.7976931348623157E+308", 1.7976931348623157e308),
        ("5E-324", 5e-324),
        ("-0.0", -0.0),
        ("0.1234567890123456789012345678", Decimal("0.1234567890123456789012345678")),
        ("1E+400", Decimal("1E+400")),
        ("1E-400", Decimal("1E-400")),
        ('"NaN"', "NaN"),
        ("true", True),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"2022-11-04T18:34:08.1234567Z"', "2022-11-04T18:34:08.1234567Z"),
    ],
)
def test_numbers_and_text_keep_every_digit(text: str, value: object) -> None:
    found = read(text)
    assert (found, type(found)) == (value, type(value))


def test_lists_and_bytes_lose_their_wrappings() -> None:
    text = """{"$id":"1","$type":"T, A",
        "Items":{"$type":"System.Collections.Generic.List`1[[System.Int64, mscorlib]], mscorlib","$values":[1,2]},
        "Raw":{"$type":"System.Byte[], mscorlib","$value":"AP8="},
        "Plain":[{"$":"I1"},[]]}"""
    assert read(text) == {"$type": "T, A", "Items": [1, 2], "Raw": b"\0\xff", "Plain": [1, []]}


def test_a_value_in_a_wrapping_that_is_not_known_keeps_it() -> None:
    text = '{"$type":"System.Guid, mscorlib","$value":"6f9619ff-8b86-d011-b42d-00c04fc964ff"}'
    assert read(text) == {"$type": "System.Guid, mscorlib", "$value": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}


def test_references_lead_to_one_and_the_same_object() -> None:
    found = read('{"$id":"1","A":{"$id":"2","X":5},"B":{"$ref":"2"},"L":{"$id":"3","$values":[{"$ref":"2"}]}}')
    assert found == {"A": {"X": 5}, "B": {"X": 5}, "L": [{"X": 5}]}
    assert found["A"] is found["B"] is found["L"][0]


def test_an_object_may_refer_to_itself() -> None:
    found = read('{"$id":"1","Parent":{"$ref":"1"},"Children":{"$id":"2","$values":[{"$ref":"2"},{"$ref":"1"}]}}')
    assert found["Parent"] is found
    assert found["Children"][0] is found["Children"]
    assert found["Children"][1] is found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ('{"A":1}}', "Extra data"),
        ('{"A":1,"A":2}', "a name occurs twice in one object: A, A"),
        ('{"$ref":"1"}', r"\$ref '1' refers to nothing before it"),
        ('{"A":{"$ref":"2"},"B":{"$id":"2"}}', r"\$ref '2' refers to nothing before it"),
        ('{"$id":"1","$ref":"1"}', r"a \$ref stands alone, and here are \$id, \$ref"),
        ('{"$ref":1}', r"\$ref is text, not 1"),
        ('{"$id":"1","A":{"$id":"1"}}', r"\$id '1' is given twice"),
        ('{"$id":1}', r"\$id is text, not 1"),
        ('{"$values":5}', r"\$values is a list"),
        ('{"$values":[],"A":1}', r"beside it, not A"),
        ('{"$":"X1"}', "'X1' is no number of Akka.NET"),
        ('{"$":""}', "'' is no number"),
        ('{"$":5}', r"\$ is text, not 5"),
        ('{"$":"I1","A":2}', r"a number 'I1' stands alone"),
        ('{"$":"I"}', "'I' is no number"),
        ('{"$":"I1.5"}', "'I1.5' is no number"),
        ('{"$":"I1_000"}', "'I1_000' is no number"),
        ('{"$":"F1_0"}', "'F1_0' is no number"),
        ('{"$":"MNaN"}', "'MNaN' is no number"),
        ('{"$":"I2147483648"}', "out of range"),
        ('{"$":"Mx"}', "is no number of Akka.NET"),
        ('{"$type":"System.Byte[], mscorlib","$value":"?"}', "base64|alphabet|padding"),
        ('{"$type":"System.Byte[], mscorlib","$value":5}', r"\$value is text, not 5"),
        ("NaN", "NaN is no JSON"),
        ("-Infinity", "-Infinity is no JSON"),
        (b'"\xff"', "utf-8"),
        ('"x"'.encode("utf-16"), "utf-8|Expecting value"),
        ("[" * 100_000, "recursion"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_what_is_not_clear_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(UnreadablePayload, match=f"serializer 1, manifest '', cannot be read: .*(?:{message})"):
        read(text)


NAMES = st.text(max_size=5).filter(lambda name: not name.startswith("$"))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_json_is_read_as_it_is(value: object) -> None:
    found = read(json.dumps(value))
    assert repr(found) == repr(value)


@given(PLAIN)
def test_wrappings_change_nothing(value: object) -> None:
    """Every list in `$values`, every object with `$id` and every 32-bit integer as Akka.NET boxes it."""
    numbers = iter(range(1, 1_000))

    def wrapped(inner: Any) -> Any:
        if type(inner) is int and abs(inner) < 2**31:
            return {"$": f"I{inner}"}
        if isinstance(inner, list):
            return {"$id": str(next(numbers)), "$type": "L", "$values": [wrapped(one) for one in inner]}
        if isinstance(inner, dict):
            return {"$id": str(next(numbers)), **{name: wrapped(one) for name, one in inner.items()}}
        return inner

    assert repr(read(json.dumps(wrapped(value)))) == repr(value)
