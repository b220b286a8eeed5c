from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PersistentMessage(_message.Message):
    __slots__ = ("payload", "sequenceNr", "persistenceId", "deleted", "sender", "manifest", "writerGuid", "timestamp", "metadata")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCENR_FIELD_NUMBER: _ClassVar[int]
    PERSISTENCEID_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    WRITERGUID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    payload: PersistentPayload
    sequenceNr: int
    persistenceId: str
    deleted: bool
    sender: str
    manifest: str
    writerGuid: str
    timestamp: int
    metadata: PersistentPayload
    def __init__(self, payload: _Optional[_Union[PersistentPayload, _Mapping]] = ..., sequenceNr: _Optional[int] = ..., persistenceId: _Optional[str] = ..., deleted: _Optional[bool] = ..., sender: _Optional[str] = ..., manifest: _Optional[str] = ..., writerGuid: _Optional[str] = ..., timestamp: _Optional[int] = ..., metadata: _Optional[_Union[PersistentPayload, _Mapping]] = ...) -> None: ...

class PersistentPayload(_message.Message):
    __slots__ = ("serializerId", "payload", "payloadManifest")
    SERIALIZERID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOADMANIFEST_FIELD_NUMBER: _ClassVar[int]
    serializerId: int
    payload: bytes
    payloadManifest: bytes
    def __init__(self, serializerId: _Optional[int] = ..., payload: _Optional[bytes] = ..., payloadManifest: _Optional[bytes] = ...) -> None: ...

class AtomicWrite(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: _containers.RepeatedCompositeFieldContainer[PersistentMessage]
    def __init__(self, payload: _Optional[_Iterable[_Union[PersistentMessage, _Mapping]]] = ...) -> None: ...

class UnconfirmedDelivery(_message.Message):
    __slots__ = ("deliveryId", "destination", "payload")
    DELIVERYID_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    deliveryId: int
    destination: str
    payload: PersistentPayload
    def __init__(self, deliveryId: _Optional[int] = ..., destination: _Optional[str] = ..., payload: _Optional[_Union[PersistentPayload, _Mapping]] = ...) -> None: ...

class AtLeastOnceDeliverySnapshot(_message.Message):
    __slots__ = ("currentDeliveryId", "unconfirmedDeliveries")
    CURRENTDELIVERYID_FIELD_NUMBER: _ClassVar[int]
    UNCONFIRMEDDELIVERIES_FIELD_NUMBER: _ClassVar[int]
    currentDeliveryId: int
    unconfirmedDeliveries: _containers.RepeatedCompositeFieldContainer[UnconfirmedDelivery]
    def __init__(self, currentDeliveryId: _Optional[int] = ..., unconfirmedDeliveries: _Optional[_Iterable[_Union[UnconfirmedDelivery, _Mapping]]] = ...) -> None: ...

class PersistentStateChangeEvent(_message.Message):
    __slots__ = ("stateIdentifier", "timeoutMillis")
    STATEIDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTMILLIS_FIELD_NUMBER: _ClassVar[int]
    stateIdentifier: str
    timeoutMillis: int
    def __init__(self, stateIdentifier: _Optional[str] = ..., timeoutMillis: _Optional[int] = ...) -> None: ...

class PersistentFSMSnapshot(_message.Message):
    __slots__ = ("stateIdentifier", "data", "timeoutMillis")
    STATEIDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTMILLIS_FIELD_NUMBER: _ClassVar[int]
    stateIdentifier: str
    data: PersistentPayload
    timeoutMillis: int
    def __init__(self, stateIdentifier: _Optional[str] = ..., data: _Optional[_Union[PersistentPayload, _Mapping]] = ..., timeoutMillis: _Optional[int] = ...) -> None: ...
