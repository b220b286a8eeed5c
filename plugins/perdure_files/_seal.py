"""The seal: one small file that says how far the log went when it was last closed, and which snapshots there were.

A frame that is broken at the very end of the log looks the same whether a crash tore it or something damaged it later.
The seal tells them apart: up to there the log was closed in peace and must be intact. It stays true while the log grows
behind it; the next closing replaces it. A snapshot that is deleted is taken from the seal first.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from ._frames import VERSION, Damaged

SEAL_NAME = "seal"
SEAL_MAGIC = b"PERDUREZ"

_HEADER = struct.Struct("<8sIQI")


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """The log went up to byte `end` of segment `segment`, and there were snapshots in files of these names."""

    segment: int
    end: int
    snapshots: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Seal)


def encoded_seal(seal: Seal) -> bytes:
    body = _encoder.encode(seal)
    return _HEADER.pack(SEAL_MAGIC, VERSION, len(body), crc32(body)) + body


def parse_seal(content: bytes) -> Seal:
    """Raises `Damaged`."""
    if len(content) < _HEADER.size:
        raise Damaged(f"it ends after {len(content)} bytes, within its header")
    magic, version, length, checksum = _HEADER.unpack_from(content)
    body = content[_HEADER.size :]
    if magic != SEAL_MAGIC:
        raise Damaged(f"it begins with {magic!r}, not with {SEAL_MAGIC!r}")
    if version != VERSION:
        raise Damaged(f"it has format {version}, and this edition knows {VERSION}; open it with a newer perdure")
    if (len(body), crc32(body)) != (length, checksum):
        raise Damaged("its checksum does not fit")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged(f"it is not a seal: {error}") from error
