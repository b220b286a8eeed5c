"""What a durable producer queue of Akka.NET stores, held against bytes that were worked out by hand.

How to read them is said in `test_akka_net_messages.py`. Here a time is a plain int64: 1970-01-01 plus 1000 ns is
621355968000000010 ticks, in groups of seven bits:
0001000 1001111 1011111 1111110 1011111 0111101 1010110 0000000 0001010.
"""

from __future__ import annotations

import re
from pathlib import Path

import perdure.serialization
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from perdure import Chunk, MessageSent, Payload, ProducerQueueState, Serialization
from perdure.errors import NotSerializable, UnreadablePayload
from perdure.serialization import Cleanup, Confirmed
from perdure.serialization import reliable_delivery_pb2 as messages
from perdure.serialization.reliable_delivery import ReliableDeliverySerializer

SERIALIZATION = Serialization()
TIME = "8A 80 D6 BD DF FE DF CF 08"
HI = Payload(17, "S", b"hi")
CONTENT = (
    "0A 02 68 69"  # 1 message: hi
    "10 11"        # 2 serializerId: 17
    "1A 01 53"     # 3 messageManifest: S
)  # fmt: skip

SENT = (
    "08 03"                # 1 seqNr: 3
    "12 02 71 31"          # 2 qualifier: q1
    "18 01"                # 3 ack
    "20" + TIME            # 4 timestamp
    + "2A 09" + CONTENT    # 5 message, 9 bytes
    + "30 01 38 01"        # 6 firstChunk, 7 lastChunk: it is in one piece
)  # fmt: skip
MIDDLE = (
    "08 AC 02"             # 1 seqNr: 300
    + "2A 09" + CONTENT
    + "48 01"              # 9 isChunk, neither the first nor the last
)  # fmt: skip
CONFIRMED = (
    "08 03"        # 1 seqNr
    "12 02 71 32"  # 2 qualifier: q2
    "18" + TIME    # 3 timestamp
)  # fmt: skip
STATE = (
    "08 04"                    # 1 currentSeqNr
    "10 03"                    # 2 highestConfirmedSeqNr
    "1A 10" + CONFIRMED        # 3 confirmed, 16 bytes
    + "22 21" + SENT           # 4 unconfirmed, 33 bytes
)  # fmt: skip

GOLDEN: list[tuple[object, str, str]] = [
    (MessageSent(3, HI, True, "q1", 1000), "f", SENT),
    (MessageSent(300, Chunk(HI, False, False)), "f", MIDDLE),
    (MessageSent(300, Chunk(HI, True, False)), "f", MIDDLE.replace("48 01", "30 01 48 01")),
    (MessageSent(300, Chunk(HI, False, True)), "f", MIDDLE.replace("48 01", "38 01 48 01")),
    (Confirmed(3, "q2", 1000), "g", CONFIRMED),
    (Confirmed(1), "g", "08 01"),
    (
        ProducerQueueState(4, 3, (Confirmed(3, "q2", 1000),), (MessageSent(3, HI, True, "q1", 1000),)),
        "h",
        STATE,
    ),
    (ProducerQueueState(), "h", "08 01"),
    (Cleanup(("q1", "")), "i", "0A 02 71 31 0A 00"),
]


@pytest.mark.parametrize(("value", "manifest", "golden"), GOLDEN)
def test_messages_have_the_bytes_that_the_table_says(value: object, manifest: str, golden: str) -> None:  # F-57, F-68
    payload = Payload(36, manifest, bytes.fromhex(golden))
    assert SERIALIZATION.to_payload(value) == payload
    assert SERIALIZATION.from_payload(payload) == value


def test_the_type_of_the_messages_is_written_for_net_and_passed_over_here() -> None:  # F-57, F-68
    serializer = ReliableDeliverySerializer("T, A")
    typed = Serialization(bindings=[(kind, serializer) for kind in (MessageSent, ProducerQueueState)])
    sent = MessageSent(1, HI)
    payload = typed.to_payload(sent)
    assert payload.data == bytes.fromhex(
        "08 01" + "2A 09" + CONTENT + "30 01 38 01"
        "42 06 0A 04 54 2C 20 41"  # 8 typeInfo: 1 typeName
    )  # fmt: skip
    assert SERIALIZATION.from_payload(payload) == sent
    state = typed.to_payload(ProducerQueueState())
    assert state.data == bytes.fromhex("08 01" "2A 06 0A 04 54 2C 20 41")  # fmt: skip  # 5 typeInfo


@pytest.mark.parametrize(
    ("manifest", "data", "reason"),
    [
        ("a", "", "it is no message of a durable producer queue; known: f, g, h, i"),
        ("f", "08 01", "message 1 has no payload"),
        ("g", "08", "the bytes are no Confirmed"),
    ],
)
def test_what_is_no_such_message_is_refused(manifest: str, data: str, reason: str) -> None:  # F-68
    with pytest.raises(UnreadablePayload, match=reason):
        SERIALIZATION.from_payload(Payload(36, manifest, bytes.fromhex(data)))


@pytest.mark.parametrize("number", [7, 36])
def test_a_reader_that_is_given_takes_the_place_of_the_one_that_is_there(number: int) -> None:  # F-68
    class Mine:
        identifier = number

        def from_bytes(self, data: bytes, manifest: str) -> object:
            return (data, manifest)

    assert Serialization(readers=[Mine()]).from_payload(Payload(number, "m", b"d")) == (b"d", "m")


def test_only_payloads_are_stored() -> None:  # F-68
    with pytest.raises(NotSerializable, match="message 1 is a str; what is stored is a Payload"):
        SERIALIZATION.to_payload(MessageSent(1, "hi"))


@given(st.sampled_from("fghi"), st.binary(max_size=40))
def test_whatever_the_bytes_are_there_is_a_value_or_a_named_error(manifest: str, data: bytes) -> None:  # F-68
    try:
        value = SERIALIZATION.from_payload(Payload(36, manifest, data))
    except UnreadablePayload:
        return
    again = SERIALIZATION.to_payload(value)
    assert again.manifest == manifest
    assert SERIALIZATION.from_payload(again) == value


TYPES = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
}


def test_the_generated_code_is_that_of_the_proto_file() -> None:  # F-68
    text = (Path(perdure.serialization.__file__).parent / "reliable_delivery.proto").read_text(encoding="utf-8")
    declared = re.findall(r"^  (repeated )?(\w+) (\w+) = (\d+);", text, re.MULTILINE)
    generated = [
        (
            "repeated " if field.is_repeated else "",
            TYPES[field.type] if field.message_type is None else field.message_type.name,
            field.name,
            str(field.number),
        )
        for message in messages.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    ]
    assert declared == generated
    assert len(declared) == 22
