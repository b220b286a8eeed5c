from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeliveryPayload(_message.Message):
    __slots__ = ("message", "serializerId", "messageManifest")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SERIALIZERID_FIELD_NUMBER: _ClassVar[int]
    MESSAGEMANIFEST_FIELD_NUMBER: _ClassVar[int]
    message: bytes
    serializerId: int
    messageManifest: bytes
    def __init__(self, message: _Optional[bytes] = ..., serializerId: _Optional[int] = ..., messageManifest: _Optional[bytes] = ...) -> None: ...

class TypeDescriptor(_message.Message):
    __slots__ = ("typeName",)
    TYPENAME_FIELD_NUMBER: _ClassVar[int]
    typeName: str
    def __init__(self, typeName: _Optional[str] = ...) -> None: ...

class MessageSent(_message.Message):
    __slots__ = ("seqNr", "qualifier", "ack", "timestamp", "message", "firstChunk", "lastChunk", "typeInfo", "isChunk")
    SEQNR_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIRSTCHUNK_FIELD_NUMBER: _ClassVar[int]
    LASTCHUNK_FIELD_NUMBER: _ClassVar[int]
    TYPEINFO_FIELD_NUMBER: _ClassVar[int]
    ISCHUNK_FIELD_NUMBER: _ClassVar[int]
    seqNr: int
    qualifier: str
    ack: bool
    timestamp: int
    message: DeliveryPayload
    firstChunk: bool
    lastChunk: bool
    typeInfo: TypeDescriptor
    isChunk: bool
    def __init__(self, seqNr: _Optional[int] = ..., qualifier: _Optional[str] = ..., ack: _Optional[bool] = ..., timestamp: _Optional[int] = ..., message: _Optional[_Union[DeliveryPayload, _Mapping]] = ..., firstChunk: _Optional[bool] = ..., lastChunk: _Optional[bool] = ..., typeInfo: _Optional[_Union[TypeDescriptor, _Mapping]] = ..., isChunk: _Optional[bool] = ...) -> None: ...

class Confirmed(_message.Message):
    __slots__ = ("seqNr", "qualifier", "timestamp")
    SEQNR_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    seqNr: int
    qualifier: str
    timestamp: int
    def __init__(self, seqNr: _Optional[int] = ..., qualifier: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Cleanup(_message.Message):
    __slots__ = ("qualifiers",)
    QUALIFIERS_FIELD_NUMBER: _ClassVar[int]
    qualifiers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, qualifiers: _Optional[_Iterable[str]] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("currentSeqNr", "highestConfirmedSeqNr", "confirmed", "unconfirmed", "typeInfo")
    CURRENTSEQNR_FIELD_NUMBER: _ClassVar[int]
    HIGHESTCONFIRMEDSEQNR_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    UNCONFIRMED_FIELD_NUMBER: _ClassVar[int]
    TYPEINFO_FIELD_NUMBER: _ClassVar[int]
    currentSeqNr: int
    highestConfirmedSeqNr: int
    confirmed: _containers.RepeatedCompositeFieldContainer[Confirmed]
    unconfirmed: _containers.RepeatedCompositeFieldContainer[MessageSent]
    typeInfo: TypeDescriptor
    def __init__(self, currentSeqNr: _Optional[int] = ..., highestConfirmedSeqNr: _Optional[int] = ..., confirmed: _Optional[_Iterable[_Union[Confirmed, _Mapping]]] = ..., unconfirmed: _Optional[_Iterable[_Union[MessageSent, _Mapping]]] = ..., typeInfo: _Optional[_Union[TypeDescriptor, _Mapping]] = ...) -> None: ...
