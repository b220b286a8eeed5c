"""Snapshots, one file each. A new one is made beside its place and renamed into it, so the old one stays until then.

The name holds the number, and a hash of the id, which may have any length and any characters. So a file of which the
content cannot be read still says whose snapshot it is and which: it is `Unreadable`, and never none.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from zlib import crc32

import msgspec
from perdure import Payload, SelectedSnapshot, SnapshotMetadata, SnapshotSelectionCriteria
from perdure.errors import Unreadable

from ._disk import Disk
from ._frames import VERSION, Damaged
from ._log import SegmentLog

SNAPSHOT_MAGIC = b"PERDURES"
SNAPSHOT_NAME = re.compile(r"([0-9a-f]{64})-(\d{19})\.snapshot")

_HEADER = struct.Struct("<8sIQQII")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CRC.size


class About(msgspec.Struct, frozen=True, array_like=True):
    """Everything about a snapshot but its bytes. MessagePack, an array."""

    persistence_id: str
    sequence_nr: int
    timestamp: int
    serializer_id: int
    manifest: str


class Kept(msgspec.Struct, frozen=True):
    """One file: its name, and what it is about, or why that cannot be read. `start` is where the bytes begin."""

    name: str
    about: About | None
    reason: str = ""
    start: int = 0
    length: int = 0
    checksum: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(About)


class SnapshotFiles:
    """The snapshots of one directory, known by reading the head of each file once."""

    def __init__(self, disk: Disk, log: SegmentLog) -> None:
        self.disk = disk
        self.log = log
        self._kept: dict[str, dict[int, Kept]] = {}

    def recover(self) -> None:
        """After the log: its seal knows of files that should be there."""
        names = self.disk.names()
        sealed = self.log.seal.snapshots if self.log.seal is not None else ()
        for name in sorted({*names, *sealed}):
            found = SNAPSHOT_NAME.fullmatch(name)
            if found:
                missing = Kept(name, None, f"{self.disk.directory / name}: the file is missing")
                self._keep(found[1], int(found[2]), self.read_head(name) if name in names else missing)

    def names(self) -> list[str]:
        return sorted(kept.name for of_one in self._kept.values() for kept in of_one.values())

    def _keep(self, owner: str, sequence_nr: int, kept: Kept) -> None:
        self._kept.setdefault(owner, {})[sequence_nr] = kept

    # --- the contract

    def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        """Raises as `Disk.put` does, and `ValueError` or `OverflowError` for what the format cannot hold."""
        name = snapshot_name(metadata.persistence_id, metadata.sequence_nr)
        about = About(
            metadata.persistence_id,
            metadata.sequence_nr,
            metadata.timestamp,
            snapshot.serializer_id,
            snapshot.manifest,
        )
        head = encoded_head(about, snapshot.data)
        self.disk.put(name, [head, snapshot.data])
        kept = Kept(name, about, start=len(head), length=len(snapshot.data), checksum=crc32(snapshot.data))
        self._keep(owner_of(metadata.persistence_id), metadata.sequence_nr, kept)

    def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        kept = self._of(persistence_id)
        for sequence_nr in sorted(kept, reverse=True):
            if self._may_match(persistence_id, sequence_nr, kept[sequence_nr], criteria):
                return self._selected(persistence_id, sequence_nr, kept[sequence_nr])
        return None

    def delete(self, metadata: SnapshotMetadata) -> None:
        kept = self._of(metadata.persistence_id).get(metadata.sequence_nr)
        if kept is None:
            return
        if (
            metadata.timestamp
            and self._known(metadata.persistence_id, metadata.sequence_nr, kept) != metadata.timestamp
        ):
            return
        self.remove(metadata.persistence_id, [metadata.sequence_nr])

    def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        everything = SnapshotSelectionCriteria()
        any_time = (criteria.min_timestamp, criteria.max_timestamp) == (0, everything.max_timestamp)
        matching = []
        for sequence_nr, kept in self._of(persistence_id).items():
            if not any_time and criteria.min_sequence_nr <= sequence_nr <= criteria.max_sequence_nr:
                self._known(persistence_id, sequence_nr, kept)
            if self._may_match(persistence_id, sequence_nr, kept, criteria):
                matching.append(sequence_nr)
        self.remove(persistence_id, matching)

    def remove(self, persistence_id: str, numbers: Sequence[int]) -> None:
        """Remove files, and sync that they are gone."""
        kept = self._of(persistence_id)
        self.log.unseal([kept[sequence_nr].name for sequence_nr in numbers])
        for sequence_nr in numbers:
            with suppress(FileNotFoundError):  # a missing one is deleted like a damaged one
                self.disk.remove(kept[sequence_nr].name)
            del kept[sequence_nr]
        if numbers:
            self.disk.sync_names()

    # --- finding

    def _of(self, persistence_id: str) -> dict[int, Kept]:
        return self._kept.get(owner_of(persistence_id), {})

    def _may_match(
        self, persistence_id: str, sequence_nr: int, kept: Kept, criteria: SnapshotSelectionCriteria
    ) -> bool:
        """The time of a damaged one is not known: it may be the one that is wanted, so it is."""
        timestamp = criteria.min_timestamp if kept.about is None else kept.about.timestamp
        return criteria.matches(SnapshotMetadata(persistence_id, sequence_nr, timestamp))

    def _known(self, persistence_id: str, sequence_nr: int, kept: Kept) -> int:
        """The time of a snapshot. Raises `Unreadable`."""
        if kept.about is None:
            raise Unreadable("snapshot", persistence_id, sequence_nr, kept.reason)
        return kept.about.timestamp

    # --- reading

    def read_head(self, name: str) -> Kept:
        """What a file is about; a damaged one says why it cannot be known."""
        with self.disk.reading(name) as descriptor:
            size = self.disk.size(descriptor)
            content = self.disk.read(descriptor, 0, min(size, HEADER_SIZE))
            try:
                about_length, length, about_crc, checksum = parse_head(content, size)
                about = parse_about(self.disk.read(descriptor, HEADER_SIZE, about_length), about_crc)
                if snapshot_name(about.persistence_id, about.sequence_nr) != name:
                    raise Damaged(f"it is number {about.sequence_nr} of {about.persistence_id!r}: it was renamed")
            except Damaged as error:
                return Kept(name, None, f"{self.disk.directory / name}: {error}")
        return Kept(name, about, "", HEADER_SIZE + about_length, length, checksum)

    def _selected(self, persistence_id: str, sequence_nr: int, kept: Kept) -> SelectedSnapshot:
        """Raises `Unreadable`."""
        self._known(persistence_id, sequence_nr, kept)
        assert kept.about is not None
        try:
            content = self.read_data(kept)
        except (OSError, Damaged) as error:
            reason = f"{self.disk.directory / kept.name}: {error}"
            raise Unreadable("snapshot", persistence_id, sequence_nr, reason) from error
        about = kept.about
        metadata = SnapshotMetadata(about.persistence_id, about.sequence_nr, about.timestamp)
        return SelectedSnapshot(metadata, Payload(about.serializer_id, about.manifest, content))

    def read_data(self, kept: Kept) -> bytes:
        """Raises `Damaged` or `OSError`."""
        with self.disk.reading(kept.name) as descriptor:
            content = self.disk.read(descriptor, kept.start, kept.length)
        check_data(kept, content)
        return content


# --- the bytes of a file: header, about, data


def owner_of(persistence_id: str) -> str:
    return sha256(persistence_id.encode()).hexdigest()


def snapshot_name(persistence_id: str, sequence_nr: int) -> str:
    return f"{owner_of(persistence_id)}-{sequence_nr:019}.snapshot"


def encoded_head(about: About, content: bytes) -> bytes:
    written = _encoder.encode(about)
    header = _HEADER.pack(SNAPSHOT_MAGIC, VERSION, len(written), len(content), crc32(written), crc32(content))
    return header + _CRC.pack(crc32(header)) + written


def parse_head(content: bytes, size: int) -> tuple[int, int, int, int]:
    """Lengths and checksums of what follows. Raises `Damaged`."""
    if len(content) < HEADER_SIZE:
        raise Damaged(f"it ends after {len(content)} bytes, within its header")
    magic, version, about_length, length, about_crc, checksum = _HEADER.unpack_from(content)
    if magic != SNAPSHOT_MAGIC or _CRC.unpack_from(content, _HEADER.size)[0] != crc32(content[: _HEADER.size]):
        raise Damaged("the checksum of its header does not fit")
    if version != VERSION:
        raise Damaged(f"it has format {version}, and this edition knows {VERSION}; open it with a newer perdure")
    if size != HEADER_SIZE + about_length + length:
        raise Damaged(f"it has {size} bytes instead of {HEADER_SIZE + about_length + length}")
    return about_length, length, about_crc, checksum


def parse_about(content: bytes, checksum: int) -> About:
    """Raises `Damaged`."""
    if crc32(content) != checksum:
        raise Damaged("the checksum of what it is about does not fit")
    try:
        return _decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise Damaged(f"what it is about cannot be read: {error}") from error


def check_data(kept: Kept, content: bytes) -> None:
    """Raises `Damaged`."""
    if len(content) != kept.length or crc32(content) != kept.checksum:
        raise Damaged("the checksum of its bytes does not fit")
