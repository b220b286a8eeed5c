"""How the backend on files is set up, and what it may claim because of that. Nothing here touches a file."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from perdure import Claims

SEGMENT_SIZE = 16 << 20
SEGMENT_SIZE_MIN = 256
FSYNC = {"yes": True, "no": False}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`segment_size`: how many bytes a file of the log may have before the next is begun; a frame that reaches beyond
    is written whole. `fsync` False: nothing is synced, and a power cut may take anything or leave damage."""

    segment_size: int = SEGMENT_SIZE
    fsync: bool = True

    def __post_init__(self) -> None:
        if self.segment_size < SEGMENT_SIZE_MIN:
            raise ValueError(f"segment_size {self.segment_size} is out of range; {SEGMENT_SIZE_MIN} or more is allowed")

    def described(self) -> dict[str, str]:
        return {"segment_size": str(self.segment_size), "fsync": "yes" if self.fsync else "no"}

    def claims(self) -> Claims:
        return Claims(
            survives_close=True,
            kill_durable=True,  # with or without fsync: what was written to a file survives its process
            power_durable="yes" if self.fsync else "no",
        )


def changed(settings: Settings, texts: Mapping[str, str]) -> Settings:
    """Settings as text, as they come from a command line. Raises `ValueError`."""
    known = settings.described()
    unknown = sorted(texts.keys() - known.keys())
    if unknown:
        raise ValueError(f"files has no setting {', '.join(unknown)}; it has: {', '.join(known)}")
    chosen = {**known, **texts}
    if not (chosen["segment_size"].isascii() and chosen["segment_size"].isdecimal()):
        raise ValueError(f"segment_size {chosen['segment_size']!r} is not a whole number of bytes")
    if chosen["fsync"] not in FSYNC:
        raise ValueError(f"fsync {chosen['fsync']!r} is unknown; allowed: {', '.join(FSYNC)}")
    return Settings(segment_size=int(chosen["segment_size"]), fsync=FSYNC[chosen["fsync"]])
