"""The registry of serializers: what goes in comes back equal, and whatever cannot is one clear error."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure import JsonType, Payload, Serialization
from perdure.errors import NotSerializable, UnreadablePayload
from perdure.serialization import JSON_ID, PRIMITIVE_ID, PrimitiveSerializer
from perdure.serialization.protobuf import ProtobufSerializer


class Deposited(msgspec.Struct, frozen=True):
    account: str
    amount: int
    note: str | None = None


class LargeDeposit(Deposited, frozen=True):
    pass


@dataclass(frozen=True)
class Withdrawn:
    account: str
    amount: Decimal
    at: datetime
    tags: frozenset[str] = frozenset()
    raw: bytes = b""


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Number(enum.IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: float
    y: float


class Loose(msgspec.Struct, frozen=True):
    """A field where nobody says what may be in it."""

    value: Any
    rate: float | None = None


SERIALIZATION = Serialization(Deposited, Withdrawn, Colour, Point, Loose, uuid.UUID)


def round_trip(value: object, serialization: Serialization = SERIALIZATION) -> object:
    return serialization.from_payload(serialization.to_payload(value))


def reading(serializer_id: int, manifest: str, data: bytes, serialization: Serialization = SERIALIZATION) -> object:
    return serialization.from_payload(Payload(serializer_id, manifest, data))


# --- what is stored --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (b"\x00\xff", Payload(4, "", b"\x00\xff")),
        (b"", Payload(4, "", b"")),
        ("", Payload(17, "System.String, System.Private.CoreLib", b"")),
        ("ő", Payload(17, "System.String, System.Private.CoreLib", b"\xc5\x91")),
        (21, Payload(17, "System.Int64, System.Private.CoreLib", b"\x15\0\0\0\0\0\0\0")),
        (-2, Payload(17, "System.Int64, System.Private.CoreLib", b"\xfe\xff\xff\xff\xff\xff\xff\xff")),
        (None, Payload(0, "", b"")),
        (True, Payload(1001, "bool", b"true")),
        (1.0, Payload(1001, "float", b"1.0")),
        ({}, Payload(1001, "dict", b"{}")),
        ([1, None, "x"], Payload(1001, "list", b'[1,null,"x"]')),
        (Deposited("a", 5), Payload(1001, "Deposited", b'{"account":"a","amount":5,"note":null}')),
        (Colour.BLUE, Payload(1001, "Colour", b'"b"')),
        (Point(1.5, -0.0), Payload(1001, "Point", b"[1.5,-0.0]")),
    ],
)
def test_values_are_stored_in_a_form_that_stays(value: object, payload: Payload) -> None:
    assert SERIALIZATION.to_payload(value) == payload
    back = SERIALIZATION.from_payload(payload)
    assert (back, type(back)) == (value, type(value))


def test_integers_can_be_written_for_readers_that_expect_32_bits() -> None:
    narrow = Serialization(primitives=PrimitiveSerializer(bits=32))
    assert narrow.to_payload(21) == Payload(17, "System.Int32, System.Private.CoreLib", b"\x15\0\0\0")
    assert round_trip(-(2**31), narrow) == -(2**31)
    with pytest.raises(NotSerializable, match="does not fit into 32 bits"):
        narrow.to_payload(2**31)


@pytest.mark.parametrize(
    ("manifest", "data", "value"),
    [
        ("I", b"\0\0\0\x80", -(2**31)),
        ("System.Int32, System.Private.CoreLib", b"\x15\0\0\0", 21),
        ("System.Int32, mscorlib", b"\xff\xff\xff\xff", -1),
        ("L", b"\xff\xff\xff\xff\xff\xff\xff\x7f", 2**63 - 1),
        ("System.Int64, System.Private.CoreLib", b"\0\0\0\0\0\0\0\x80", -(2**63)),
        ("System.Int64, mscorlib", b"\x01\0\0\0\0\0\0\0", 1),
        ("S", b"\xc3\xa1rv", "árv"),
        ("System.String, System.Private.CoreLib", b"21", "21"),
        ("System.String, mscorlib", b"", ""),
    ],
)
def test_primitives_are_read_under_every_name_that_akka_net_gave_them(manifest: str, data: bytes, value: Any) -> None:
    assert reading(PRIMITIVE_ID, manifest, data) == value


# --- what comes back -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN_KEYS = st.dictionaries(TEXT, st.recursive(st.none() | st.booleans() | TEXT | st.integers(), st.lists), max_size=4)
VALUES = st.one_of(
    TEXT,
    st.binary(),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    PLAIN_KEYS,
    st.sampled_from(Colour),
    st.uuids(),
    st.builds(Deposited, TEXT, st.integers(), st.none() | TEXT),
    st.builds(
        Withdrawn,
        TEXT,
        st.decimals(allow_nan=False, allow_infinity=False),
        st.datetimes(timezones=st.just(UTC)) | st.datetimes(),
        st.frozensets(TEXT),
        st.binary(),
    ),
    st.builds(Point, st.floats(allow_nan=False, allow_infinity=False), st.just(0.0)),
)


@given(VALUES)
def test_what_goes_in_comes_back_equal_and_of_its_type(value: object) -> None:
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)


@settings(max_examples=50)
@given(st.builds(Loose, st.recursive(VALUES | st.floats(), lambda inner: st.lists(inner) | st.tuples(inner, inner))))
def test_a_value_of_any_kind_comes_back_equal_or_is_refused(value: Loose) -> None:
    try:
        payload = SERIALIZATION.to_payload(value)
    except NotSerializable:
        return
    assert SERIALIZATION.from_payload(payload) == value


@pytest.mark.parametrize(
    "value",
    [
        Loose((1, 2)),
        Loose({1: "a"}),
        Loose(b"bytes"),
        Loose(Deposited("a", 1)),
        Loose(float("nan")),
        Loose(0, float("inf")),
        Loose(0, float("nan")),
        Loose(Colour.RED),
        float("nan"),
        float("-inf"),
        {1: 2},
        [(1, 2)],
        Deposited("a", "5"),  # type: ignore[arg-type]  # the point
        Deposited("a", True),
        Deposited("a", 1.5),  # type: ignore[arg-type]  # the point
        Deposited(None, 1),  # type: ignore[arg-type]  # the point
        Deposited("\ud83d", 1),
        "\ud83d",
        2**63,
        -(2**63) - 1,
        Point(1, "2"),  # type: ignore[arg-type]  # the point
    ],
    ids=repr,
)
def test_what_would_not_come_back_equal_is_refused_before_it_is_written(value: object) -> None:
    with pytest.raises(NotSerializable) as refused:
        SERIALIZATION.to_payload(value)
    assert refused.value.kind is type(value)


def test_what_refers_to_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(NotSerializable):
        SERIALIZATION.to_payload(endless)


def test_without_verification_a_broken_event_is_found_only_when_it_is_read() -> None:
    trusting = Serialization(Deposited, verify=False)
    payload = trusting.to_payload(Deposited("a", "5"))  # type: ignore[arg-type]  # the point
    with pytest.raises(UnreadablePayload, match="Expected `int`, got `str`"):
        trusting.from_payload(payload)


class Unknown:
    pass


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            Unknown(),
            r"type \S+\.Unknown cannot be serialized: its type is not registered; .*Unknown, 'its",
        ),
        (LargeDeposit("a", 1), r"its type is not registered; Serialization\(JsonType\(LargeDeposit, 'its name'\)\)"),
        (Number.ONE, "it would come back as int"),
        (Text("x"), "it would come back as str"),
        (bytearray(b"x"), "its type is not registered"),
        ((1, 2), "its type is not registered"),
    ],
)
def test_a_type_that_is_not_known_is_refused_with_the_way_out(value: object, message: str) -> None:
    with pytest.raises(NotSerializable, match=message):
        SERIALIZATION.to_payload(value)


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serializer_id", "manifest", "data", "message"),
    [
        (999, "CSM", b"", r"999, manifest 'CSM', cannot be read: no serializer has this number; known: -1, 0,"),
        (JSON_ID, "Depositted", b"{}", r"this name; known: .*Deposited.*; add JsonType\(its type, 'Depositted'\)"),
        (JSON_ID, "", b"{}", "no type has this name"),
        (JSON_ID, "Deposited#2", b"{}", r"version 2 is not one of 'Deposited' \(1 to 1\); was a newer program here"),
        (JSON_ID, "Deposited", b"", "truncated"),
        (JSON_ID, "Deposited", b'{"account":"a"}', "missing required field `amount`"),
        (JSON_ID, "Deposited", b'{"account":"a","amount":1', "truncated"),
        (JSON_ID, "Deposited", b'{"account":"a","amount":1}}', "trailing characters"),
        (JSON_ID, "Deposited", b'{"account":"a","amount":"1"}', "Expected `int`, got `str`"),
        (JSON_ID, "Deposited", b'{"account":"\xff","amount":1}', "UTF-8|utf-8"),
        (JSON_ID, "Deposited", b"null", "Expected `object`, got `null`"),
        (JSON_ID, "Colour", b'"g"', "Invalid enum value"),
        (PRIMITIVE_ID, "System.Int32, System.Private.CoreLib", b"\0\0\0", "3 bytes instead of 4"),
        (PRIMITIVE_ID, "System.Int64, System.Private.CoreLib", b"\0\0\0\0", "4 bytes instead of 8"),
        (PRIMITIVE_ID, "System.String, System.Private.CoreLib", b"\xff", "utf-8"),
        (PRIMITIVE_ID, "System.Double, System.Private.CoreLib", b"\0", "known manifests are"),
        (PRIMITIVE_ID, "", b"\0", "known manifests are"),
        (4, "System.Int32", b"", "bytes have no manifest"),
        (0, "", b"\0", "this has 1 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_error_that_names_number_manifest_and_reason(
    serializer_id: int, manifest: str, data: bytes, message: str
) -> None:
    with pytest.raises(UnreadablePayload, match=message) as unreadable:
        reading(serializer_id, manifest, data)
    assert (unreadable.value.serializer_id, unreadable.value.manifest) == (serializer_id, manifest)


MANIFESTS = ["", "Deposited", "Withdrawn", "Colour", "Point", "Loose", "dict", "S", "I", "L", "Deposited#2"]


@settings(max_examples=60)
@given(st.sampled_from([-1, 0, 1, 4, 17, 999, JSON_ID]), st.sampled_from(MANIFESTS) | st.text(), st.binary())
def test_any_bytes_give_a_value_or_the_one_error(serializer_id: int, manifest: str, data: bytes) -> None:
    try:
        reading(serializer_id, manifest, data)
    except UnreadablePayload:
        return


@given(st.builds(Deposited, TEXT, st.integers(), st.none() | TEXT), st.data())
def test_bytes_that_are_cut_off_or_go_on_are_no_value(value: Deposited, data: st.DataObject) -> None:
    payload = SERIALIZATION.to_payload(value)
    cut = data.draw(st.integers(0, len(payload.data) - 1))
    for garbled in (payload.data[:cut], payload.data + b"x", payload.data + payload.data):
        with pytest.raises(UnreadablePayload):
            reading(payload.serializer_id, payload.manifest, garbled)


# --- names and versions ----------------------------------------------------------------------------------------------


class Moved(msgspec.Struct, frozen=True):
    account: str
    cents: int
    currency: str


def add_currency_then_cents(version: int, fields: dict[str, Any]) -> dict[str, Any]:
    if version < 2:
        fields["currency"] = "EUR"
    if version < 3:
        fields["cents"] = fields.pop("amount") * 100
    return fields


MIGRATED = Serialization(
    JsonType(Moved, "bank.moved", version=3, migrate=add_currency_then_cents, aliases=("Deposit", "bank.deposit"))
)


@pytest.mark.parametrize(
    ("manifest", "data"),
    [
        ("Deposit", b'{"account":"a","amount":5}'),
        ("bank.moved", b'{"account":"a","amount":5}'),
        ("bank.moved#2", b'{"account":"a","amount":5,"currency":"EUR"}'),
        ("bank.deposit#2", b'{"account":"a","amount":5,"currency":"EUR"}'),
        ("bank.moved#3", b'{"account":"a","cents":500,"currency":"EUR"}'),
        ("Deposit#3", b'{"account":"a","cents":500,"currency":"EUR"}'),
    ],
)
def test_what_was_stored_under_old_names_and_in_old_shapes_is_read_as_the_type_of_today(
    manifest: str, data: bytes
) -> None:
    assert reading(JSON_ID, manifest, data, MIGRATED) == Moved("a", 500, "EUR")


def test_the_newest_name_and_version_are_written() -> None:
    assert MIGRATED.to_payload(Moved("a", 1, "EUR")).manifest == "bank.moved#3"


@pytest.mark.parametrize(
    ("manifest", "data", "message"),
    [
        ("bank.moved#4", b"{}", r"version 4 is not one of 'bank.moved' \(1 to 3\); was a newer program here"),
        ("bank.moved#1", b"{}", "version 1 is not one of"),
        ("bank.moved#x", b"{}", "version x is not one of"),
        ("bank.moved", b"{}", "amount"),
        ("bank.moved#2", b'{"account":"a","amount":null}', "NoneType"),
        ("Moved", b"{}", "no type has this name"),
    ],
)
def test_a_version_that_is_not_known_or_cannot_be_migrated_is_an_error(
    manifest: str, data: bytes, message: str
) -> None:
    with pytest.raises(UnreadablePayload, match=message):
        reading(JSON_ID, manifest, data, MIGRATED)


class WithoutEquality(msgspec.Struct, eq=False):
    value: int


def other_deposited() -> type:
    class Deposited(msgspec.Struct):
        pass

    return Deposited


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ([lambda: JsonType(Deposited, "")], "a name is not empty"),
        ([lambda: JsonType(Deposited, "a#2")], "'a#2' cannot name a type"),
        ([lambda: JsonType(Deposited, "a", aliases=("b#2",))], "'b#2' cannot name a type"),
        ([lambda: JsonType(Deposited, "a", version=0)], "versions begin at 1"),
        ([lambda: JsonType(Deposited, "a", version=2)], "a later one needs `migrate`"),
        ([lambda: JsonType(Unknown, "a")], "msgspec cannot read .*Unknown"),
        ([lambda: JsonType(WithoutEquality, "a")], "has no equality"),
        ([lambda: JsonType(list[int], "a")], r"msgspec cannot read list\[int\]"),
        ([lambda: Deposited, other_deposited], "two types are registered under the name 'Deposited'"),
        ([lambda: Deposited, lambda: JsonType(Colour, "c", aliases=("Deposited",))], "two types .* 'Deposited'"),
        ([lambda: Deposited, lambda: JsonType(Deposited, "again")], "registered twice"),
        ([lambda: JsonType(Colour, "dict")], "two types are registered under the name 'dict'"),
    ],
)
def test_registrations_that_cannot_work_are_refused(types: Sequence[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Serialization(*(make() for make in types))


# --- serializers of one's own ----------------------------------------------------------------------------------------


class Reversed:
    """Stores the name of a value backwards."""

    def __init__(self, identifier: int = 5000) -> None:
        self.identifier = identifier

    def manifest(self, value: Any) -> str:
        return type(value).__name__

    def to_bytes(self, value: Any) -> bytes:
        return bytes(reversed(value.account.encode()))

    def from_bytes(self, data: bytes, manifest: str) -> object:
        return manifest, bytes(reversed(data)).decode()


class Base:
    account = "base"


class Derived(Base):
    account = "derived"


def test_a_serializer_of_ones_own_gets_its_types_and_their_subclasses() -> None:
    serialization = Serialization(bindings=[(Base, Reversed())])
    assert serialization.to_payload(Derived()) == Payload(5000, "Derived", b"devired")
    assert round_trip(Base(), serialization) == ("Base", "base")


def test_the_serializer_of_the_most_specific_type_counts() -> None:
    serialization = Serialization(
        bindings=[(object, Reversed(5000)), (Derived, Reversed(5001)), (Base, Reversed(5002))]
    )
    assert [serialization.to_payload(value).serializer_id for value in (Derived(), Base())] == [5001, 5002]
    assert serialization.to_payload(LargeDeposit("x", 1)).serializer_id == 5000
    assert serialization.to_payload("text").serializer_id == PRIMITIVE_ID


def test_a_type_registered_for_json_keeps_it_although_its_base_is_bound() -> None:
    serialization = Serialization(LargeDeposit, bindings=[(Deposited, Reversed())])
    assert serialization.to_payload(LargeDeposit("x", 1)).serializer_id == JSON_ID
    assert serialization.to_payload(Deposited("x", 1)).serializer_id == 5000


def test_a_reader_is_for_what_others_wrote() -> None:
    serialization = Serialization(readers=[Reversed(999)])
    assert reading(999, "CSM", b"abc", serialization) == ("CSM", "cba")
    with pytest.raises(NotSerializable, match="not registered"):
        serialization.to_payload(Base())


@pytest.mark.parametrize(
    ("bindings", "readers", "message"),
    [
        ([(Base, Reversed())], [Reversed()], "two serializers have the number 5000"),
        ([(Base, Reversed(JSON_ID))], [], "two serializers have the number 1001"),
        ([(Base, Reversed(2**31))], [], "2147483648 of .* does not fit into 32 bits"),
        ([(Base, Reversed()), (Base, Reversed())], [], "Base is bound twice"),
        ([(Deposited, Reversed())], [], "Deposited: registered for JSON and bound to a serializer"),
    ],
)
def test_serializers_that_contradict_each_other_are_refused(bindings: Any, readers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Serialization(Deposited, bindings=bindings, readers=readers)


def test_whatever_a_serializer_raises_is_one_of_two_errors() -> None:
    serialization = Serialization(bindings=[(Unknown, Reversed())])
    with pytest.raises(NotSerializable, match="no attribute 'account'") as refused:
        serialization.to_payload(Unknown())
    assert isinstance(refused.value.__cause__, AttributeError)
    with pytest.raises(UnreadablePayload, match="utf-8"):
        reading(5000, "", b"\xff", serialization)


# --- protobuf --------------------------------------------------------------------------------------------------------

MESSAGES = ProtobufSerializer([StringValue, Timestamp], aliases={"My.Text, MyAssembly": StringValue})
PROTOBUF = Serialization(bindings=[(Message, MESSAGES)])


def test_messages_are_stored_by_their_full_names() -> None:
    payload = PROTOBUF.to_payload(StringValue(value="hi"))
    assert payload == Payload(1002, "google.protobuf.StringValue", b"\x0a\x02hi")
    assert PROTOBUF.from_payload(payload) == StringValue(value="hi")


@given(TEXT, st.integers(0, 10**9))
def test_messages_come_back(text: str, seconds: int) -> None:
    assert round_trip(StringValue(value=text), PROTOBUF) == StringValue(value=text)
    assert round_trip(Timestamp(seconds=seconds), PROTOBUF) == Timestamp(seconds=seconds)


def test_messages_of_akka_net_are_read_under_its_names() -> None:
    theirs = ProtobufSerializer([], aliases={"My.Text, MyAssembly": StringValue}, identifier=2)
    assert reading(2, "My.Text, MyAssembly", b"\x0a\x02hi", Serialization(readers=[theirs])) == StringValue(value="hi")


def test_messages_that_are_not_given_are_refused() -> None:
    with pytest.raises(NotSerializable, match=r"message 'google.protobuf.Int64Value' is not one of this serializer's"):
        PROTOBUF.to_payload(Int64Value(value=1))
    with pytest.raises(UnreadablePayload, match=r"no message has this name; known: My\.Text, MyAssembly, google"):
        reading(1002, "google.protobuf.Int64Value", b"", PROTOBUF)
    with pytest.raises(UnreadablePayload, match="1002"):
        reading(1002, "google.protobuf.StringValue", b"\x0a\x05hi", PROTOBUF)


def test_times_and_amounts_keep_every_digit() -> None:
    value = Withdrawn(
        "a", Decimal("0.1000000000000000000000000001"), datetime(1, 1, 1, tzinfo=UTC) + timedelta(0, 0, 1)
    )
    assert round_trip(value) == value
