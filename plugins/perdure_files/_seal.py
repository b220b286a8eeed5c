"""The seal: one small file that says how far the log went when it was last closed.

A frame that is broken at the very end of the log looks the same whether a crash tore it or something damaged it later.
The seal tells them apart: up to there the log was closed in peace and must be intact. It is never taken away, for it
stays true while the log grows behind it; the next closing replaces it.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from ._frames import VERSION, Damaged

SEAL_NAME = "seal"
SEAL_MAGIC = b"PERDUREZ"

_SEAL = struct.Struct("<8sIQQ")
_CRC = struct.Struct("<I")


class Seal(msgspec.Struct, frozen=True):
    """The log went up to byte `end` of segment `segment`."""

    segment: int
    end: int


def encoded_seal(seal: Seal) -> bytes:
    content = _SEAL.pack(SEAL_MAGIC, VERSION, seal.segment, seal.end)
    return content + _CRC.pack(crc32(content))


def parse_seal(content: bytes) -> Seal:
    """Raises `Damaged`."""
    if len(content) != _SEAL.size + _CRC.size:
        raise Damaged(f"it has {len(content)} bytes instead of {_SEAL.size + _CRC.size}")
    magic, version, segment, end = _SEAL.unpack_from(content)
    if magic != SEAL_MAGIC or _CRC.unpack_from(content, _SEAL.size)[0] != crc32(content[: _SEAL.size]):
        raise Damaged("its checksum does not fit")
    if version != VERSION:
        raise Damaged(f"it has format {version}, and this edition knows {VERSION}; open it with a newer perdure")
    return Seal(segment, end)
