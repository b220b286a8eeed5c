"""The backend on plain files: an append-only log in segments, and a file for each snapshot.

It is small, and written to be read by whoever lays out files: how a torn end is told from damage, where each sync is
needed, what a failed one means. docs/file-format.md has the bytes and the reasons.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from perdure import Backend, Location, Storage
from perdure.errors import OpenFailed

from ._compaction import Compaction as Compaction
from ._disk import Disk as Disk
from ._disk import NothingStored as NothingStored
from ._journal import FilesJournal as FilesJournal
from ._lock import Locked as Locked
from ._log import SegmentLog as SegmentLog
from ._recovery import Recovery as Recovery
from ._settings import SEGMENT_SIZE as SEGMENT_SIZE
from ._settings import Settings, changed
from ._snapshot_files import SnapshotFiles as SnapshotFiles
from ._snapshots import FilesSnapshotStore as FilesSnapshotStore
from ._store import Parts as Parts
from ._store import Store

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_RIGHT = Parts()


def files_backend(
    segment_size: int = SEGMENT_SIZE, fsync: bool = True, *, name: str = "files", parts: Parts = _RIGHT
) -> Backend:
    """The backend on plain files. Raises `ValueError` for a segment size that is too small."""
    settings = Settings(segment_size=segment_size, fsync=fsync)

    @asynccontextmanager
    async def open_files(location: Location) -> AsyncIterator[Storage]:
        async with Store(directory_of(location), settings.segment_size, settings.fsync, parts) as store:
            yield Storage(
                FilesJournal(store, location.clock, location.page_size),
                FilesSnapshotStore(store, location.clock),
            )

    def configured(texts: Mapping[str, str]) -> Backend:
        chosen = changed(settings, texts)
        return files_backend(chosen.segment_size, chosen.fsync, name=name, parts=parts)

    return Backend(
        name=name,
        open=open_files,
        claims=settings.claims(),
        version="format 1",
        settings=settings.described(),
        configured=configured,
    )


def directory_of(location: Location) -> Path:
    """The directory of a namespace. Capitals are escaped too: on some systems two names differ by more than case."""
    if location.directory is None:
        raise OpenFailed("files: the location has no directory; give it one: Location(directory=...)")
    name = "".join(
        character
        if character in _PLAIN
        else "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
        for character in location.namespace
    )
    return Path(location.directory) / f"{name}.files"


backend = files_backend()
