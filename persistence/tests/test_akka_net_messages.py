"""The messages of Akka.NET, held against bytes that were worked out by hand from the table of fields.

A field is its number * 8 + its wire type (0 varint, 2 length and bytes), then the value; what is 0 or empty is left
out. A varint has 7 bits a byte, the lowest first, and 80 in all bytes but the last. A sint64 n is the varint of 2n.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import perdure.serialization
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from perdure import AtomicWrite, Payload, PersistentRepr, Serialization
from perdure.errors import NotSerializable, UnreadablePayload
from perdure.serialization import akka_net, persistence_pb2
from perdure.serialization.akka_net import (
    AtLeastOnceDeliverySnapshot,
    PersistenceMessageSerializer,
    PersistentFSMSnapshot,
    StateChangeEvent,
    UnconfirmedDelivery,
)

SERIALIZER = PersistenceMessageSerializer()
SERIALIZATION = Serialization(bindings=[(kind, SERIALIZER) for kind in SERIALIZER.types])

HI = Payload(17, "S", b"hi")
PAYLOAD = (
    "08 11"        # 1 serializerId: 17
    "12 02 68 69"  # 2 payload: hi
    "1A 01 53"     # 3 payloadManifest: S
)  # fmt: skip

BARE_EVENT = PersistentRepr("p-1", 1, HI)
BARE_MESSAGE = (
    "0A 09" + PAYLOAD   # 1 payload, 9 bytes
    + "10 01"           # 2 sequenceNr: 1
    + "1A 03 70 2D 31"  # 3 persistenceId: p-1
)  # fmt: skip

# 1970-01-01 plus 1000 ns is 621355968000000010 ticks; doubled, in groups of seven bits:
# 0010001 0011111 0111111 1111101 0111110 1111011 0101100 0000000 0010100
FULL_EVENT = PersistentRepr("p-1", 300, HI, "m", "w", 1_000, metadata=Payload(4, "", b"\xff"))
FULL_MESSAGE = (
    "0A 09" + PAYLOAD
    + "10 AC 02"                       # 2 sequenceNr: 300 = 2 * 128 + 44
    + "1A 03 70 2D 31"
    + "62 01 6D"                       # 12 manifest: m
    + "6A 01 77"                       # 13 writerGuid: w
    + "70 94 80 AC FB BE FD BF 9F 11"  # 14 timestamp, a sint64
    + "7A 05 08 04 12 01 FF"           # 15 metadata: serializer 4, the byte FF
)  # fmt: skip

DELIVERIES = AtLeastOnceDeliverySnapshot(5, (UnconfirmedDelivery(3, "/user/a", HI), UnconfirmedDelivery(4, "", HI)))
DELIVERIES_MESSAGE = (
    "08 05"                                # 1 currentDeliveryId: 5
    "12 16"                                # 2 unconfirmedDeliveries, 22 bytes
    "08 03"                                #   1 deliveryId: 3
    "12 07 2F 75 73 65 72 2F 61"           #   2 destination: /user/a
    "1A 09" + PAYLOAD                      #   3 payload
    + "12 0D 08 04 1A 09" + PAYLOAD        # 2 unconfirmedDeliveries, 13 bytes: number 4, no destination
)  # fmt: skip

STATE_CHANGE_MESSAGE = (
    "0A 04 69 6E 69 74"  # 1 stateIdentifier: init
    "10 F0 EF 14"        # 2 timeoutMillis: 342000 = 20 * 16384 + 111 * 128 + 112
)  # fmt: skip
FSM_SNAPSHOT_MESSAGE = (
    "0A 04 69 6E 69 74"
    "12 09" + PAYLOAD  # 2 data
    + "18 F0 EF 14"    # 3 timeoutMillis: 342000
)  # fmt: skip

A = "Akka.Persistence"
GOLDEN: list[tuple[object, str, str]] = [
    (BARE_EVENT, f"{A}.Persistent, {A}", BARE_MESSAGE),
    (FULL_EVENT, f"{A}.Persistent, {A}", FULL_MESSAGE),
    (
        AtomicWrite((BARE_EVENT, PersistentRepr("p-1", 2, HI))),
        f"{A}.AtomicWrite, {A}",
        "0A 12" + BARE_MESSAGE + "0A 12" + BARE_MESSAGE.replace("10 01", "10 02"),
    ),
    (DELIVERIES, f"{A}.AtLeastOnceDeliverySnapshot, {A}", DELIVERIES_MESSAGE),
    (AtLeastOnceDeliverySnapshot(0), f"{A}.AtLeastOnceDeliverySnapshot, {A}", ""),
    (StateChangeEvent("init", 342_000), f"{A}.Fsm.PersistentFSM+StateChangeEvent, {A}", STATE_CHANGE_MESSAGE),
    (StateChangeEvent("init"), f"{A}.Fsm.PersistentFSM+StateChangeEvent, {A}", "0A 04 69 6E 69 74"),
    (
        PersistentFSMSnapshot("init", HI, 342_000),
        f"{A}.Fsm.PersistentFSM+PersistentFSMSnapshot`1, {A}",
        FSM_SNAPSHOT_MESSAGE,
    ),
]


@pytest.mark.parametrize(("value", "manifest", "golden"), GOLDEN)
def test_messages_have_the_bytes_that_the_table_says(value: object, manifest: str, golden: str) -> None:
    payload = Payload(7, manifest, bytes.fromhex(golden))
    assert SERIALIZATION.to_payload(value) == payload
    assert SERIALIZATION.from_payload(payload) == value


def test_a_snapshot_in_a_file_of_akka_net_is_a_payload_alone() -> None:
    assert akka_net.payload_to_bytes(HI) == bytes.fromhex(PAYLOAD)
    assert akka_net.payload_from_bytes(bytes.fromhex(PAYLOAD)) == HI
    assert akka_net.payload_to_bytes(Payload(4, "", b"")) == bytes.fromhex("08 04")
    assert akka_net.payload_to_bytes(Payload(-1, "", b"")) == bytes.fromhex("08 FF FF FF FF FF FF FF FF FF 01")
    assert akka_net.payload_from_bytes(b"") == Payload(0, "", b"")


# --- what others write and we do not ---------------------------------------------------------------------------------


def test_the_sender_is_left_out_and_an_unknown_field_is_passed_over() -> None:
    sender = "5A 07 2F 75 73 65 72 2F 61"  # 11 sender: /user/a
    unknown = "82 01 01 78"  # 16: x
    assert akka_net.event_from_bytes(bytes.fromhex(BARE_MESSAGE + sender + unknown)) == BARE_EVENT


def test_fields_may_come_in_any_order() -> None:
    assert akka_net.event_from_bytes(bytes.fromhex("10 01 1A 03 70 2D 31 0A 09" + PAYLOAD)) == BARE_EVENT


def test_an_event_is_read_under_the_name_of_its_interface_too() -> None:
    payload = Payload(7, f"{A}.IPersistentRepresentation, {A}", bytes.fromhex(BARE_MESSAGE))
    assert SERIALIZATION.from_payload(payload) == BARE_EVENT


def test_a_snapshot_of_a_state_machine_is_read_whatever_its_data_and_written_as_it_is_told() -> None:
    data_type = "System.String, System.Private.CoreLib"
    manifest = f"{A}.Fsm.PersistentFSM+PersistentFSMSnapshot`1[[{data_type}]], {A}"
    snapshot = PersistentFSMSnapshot("init", HI, 342_000)
    assert PersistenceMessageSerializer(data_type).manifest(snapshot) == manifest
    assert SERIALIZATION.from_payload(Payload(7, manifest, bytes.fromhex(FSM_SNAPSHOT_MESSAGE))) == snapshot


def test_a_timeout_of_zero_is_none_on_the_wire_and_cannot_be_made() -> None:
    explicit_zero = bytes.fromhex("0A 04 69 6E 69 74 10 00")
    payload = Payload(7, f"{A}.Fsm.PersistentFSM+StateChangeEvent, {A}", explicit_zero)
    assert SERIALIZATION.from_payload(payload) == StateChangeEvent("init", None)
    with pytest.raises(ValueError, match="timeout_ms 0 cannot be told from no timeout"):
        StateChangeEvent("init", 0)
    with pytest.raises(ValueError, match="timeout_ms -5"):
        PersistentFSMSnapshot("init", HI, -5)


def test_a_timestamp_is_kept_in_ticks() -> None:
    event = PersistentRepr("p", 1, HI, timestamp=1_667_586_848_123_456_789)
    assert akka_net.event_from_bytes(akka_net.event_to_bytes(event)).timestamp == 1_667_586_848_123_456_700


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("Persistent", "10 01 1A 03 70 2D 31", "event 1 of 'p-1' has no payload"),
        ("Persistent", BARE_MESSAGE + "20 01", "event 1 of 'p-1' is marked as deleted"),
        ("Persistent", BARE_MESSAGE[:-6], "the bytes are no PersistentMessage"),
        ("Persistent", BARE_MESSAGE + "70 FE FF FF FF FF FF FF FF FF 01", r"timestamp \d+ is out of range"),
        ("Persistent", "0A 05 08 04 1A 01 FF 10 01", "utf-8"),
        ("Persistent", BARE_MESSAGE + "62 01 FF", "the bytes are no PersistentMessage"),
        ("AtomicWrite", "", "at least one event"),
        ("AtomicWrite", "0A 12" + BARE_MESSAGE + "0A 12" + BARE_MESSAGE, "2 is expected after 1, not 1"),
        ("AtLeastOnceDeliverySnapshot", "08 05 12 02 08 03", "delivery 3 has no message"),
        ("Fsm.PersistentFSM+PersistentFSMSnapshot`1", "0A 01 78", "the snapshot of state 'x' has no data"),
        ("Fsm.PersistentFSM+StateChangeEvent", "0A 01 78 10 FF FF FF FF FF FF FF FF FF 01", "timeout_ms -1"),
        ("Fsm.Nothing", "", "'Akka.Persistence.Fsm.Nothing' is no message of Akka.Persistence; known: "),
    ],
)
def test_what_is_no_such_message_is_one_clear_error(name: str, data: str, message: str) -> None:
    payload = Payload(7, f"{A}.{name}, {A}", bytes.fromhex(data))
    with pytest.raises(UnreadablePayload, match=message) as unreadable:
        SERIALIZATION.from_payload(payload)
    assert unreadable.value.manifest == payload.manifest


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (PersistentRepr("p", 1, HI, tags=frozenset({"t"})), r"no field for tags, and event 1 has \['t'\]"),
        (PersistentRepr("p", 1, Payload(2**31, "", b"")), "Value out of range|2147483648"),
        (PersistentRepr("p", 1, Payload(4, "\ud83d", b"")), "surrogates not allowed"),
        (PersistentRepr("p", 1, HI, timestamp=2**63), r"timestamp 9223372036854775808 is out of range"),
    ],
)
def test_what_the_message_cannot_hold_is_refused(event: PersistentRepr, message: str) -> None:
    with pytest.raises(NotSerializable, match=message):
        SERIALIZATION.to_payload(event)


# --- any values ------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PAYLOADS = st.builds(Payload, st.integers(-(2**31), 2**31 - 1), TEXT, st.binary(max_size=20))
TIMEOUTS = st.none() | st.integers(1, 2**63 - 1)
TICKS = st.integers(0, 92_233_720_368_547_758).map(lambda ticks: ticks * 100)
EVENTS = st.builds(
    PersistentRepr,
    TEXT.filter(bool),
    st.integers(1, 2**63 - 1),
    PAYLOADS,
    TEXT,
    TEXT,
    TICKS,
    metadata=st.none() | PAYLOADS,
)
DELIVERIES_OF_ANY_KIND = st.lists(st.builds(UnconfirmedDelivery, st.integers(0, 2**63 - 1), TEXT, PAYLOADS), max_size=3)
VALUES = st.one_of(
    EVENTS,
    EVENTS.map(lambda event: AtomicWrite((event,))),
    st.builds(AtLeastOnceDeliverySnapshot, st.integers(0, 2**63 - 1), DELIVERIES_OF_ANY_KIND.map(tuple)),
    st.builds(StateChangeEvent, TEXT, TIMEOUTS),
    st.builds(PersistentFSMSnapshot, TEXT, PAYLOADS, TIMEOUTS),
)


@given(VALUES)
def test_any_value_comes_back(value: object) -> None:
    assert SERIALIZATION.from_payload(SERIALIZATION.to_payload(value)) == value


@given(PAYLOADS)
def test_any_payload_comes_back(payload: Payload) -> None:
    assert akka_net.payload_from_bytes(akka_net.payload_to_bytes(payload)) == payload


READERS: list[Callable[[bytes], Any]] = [
    akka_net.payload_from_bytes,
    akka_net.event_from_bytes,
    akka_net.write_from_bytes,
]


@given(st.sampled_from(READERS), st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_with_a_value_error(read: Callable[[bytes], Any], data: bytes) -> None:
    try:
        read(data)
    except ValueError:
        return


# --- the table -------------------------------------------------------------------------------------------------------

TABLE = """
PersistentMessage           1 payload                message
PersistentMessage           2 sequenceNr             int64
PersistentMessage           3 persistenceId          string
PersistentMessage           4 deleted                bool
PersistentMessage          11 sender                 string
PersistentMessage          12 manifest               string
PersistentMessage          13 writerGuid             string
PersistentMessage          14 timestamp              sint64
PersistentMessage          15 metadata               message
PersistentPayload           1 serializerId           int32
PersistentPayload           2 payload                bytes
PersistentPayload           3 payloadManifest        bytes
AtomicWrite                 1 payload                message repeated
UnconfirmedDelivery         1 deliveryId             int64
UnconfirmedDelivery         2 destination            string
UnconfirmedDelivery         3 payload                message
AtLeastOnceDeliverySnapshot 1 currentDeliveryId      int64
AtLeastOnceDeliverySnapshot 2 unconfirmedDeliveries  message repeated
PersistentStateChangeEvent  1 stateIdentifier        string
PersistentStateChangeEvent  2 timeoutMillis          int64
PersistentFSMSnapshot       1 stateIdentifier        string
PersistentFSMSnapshot       2 data                   message
PersistentFSMSnapshot       3 timeoutMillis          int64
"""
TYPES = {
    FieldDescriptor.TYPE_MESSAGE: "message",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "sint64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def test_the_generated_code_has_the_fields_of_the_table() -> None:
    found = [
        (message.name, str(field.number), field.name, TYPES[field.type], *(["repeated"] if field.is_repeated else []))
        for message in persistence_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    ]
    assert sorted(found) == sorted(tuple(line.split()) for line in TABLE.strip().splitlines())


def test_the_generated_code_is_that_of_the_proto_file() -> None:
    """As far as names, numbers and types go; `protoc` is not needed for the tests."""
    text = (Path(perdure.serialization.__file__).parent / "persistence.proto").read_text(encoding="utf-8")
    declared = re.findall(r"^  (repeated )?(\w+) (\w+) = (\d+);", text, re.MULTILINE)
    generated = [
        (
            "repeated " if field.is_repeated else "",
            TYPES[field.type] if field.message_type is None else field.message_type.name,
            field.name,
            str(field.number),
        )
        for message in persistence_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    ]
    assert declared == generated
