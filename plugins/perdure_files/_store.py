"""One open directory: the log, the snapshots, and the one thread that touches them.

Whoever asks waits in the event loop. Writes and deletions that are waiting when the thread comes to them share one
frame and one sync (group commit); everything else is done in the order in which it was asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from perdure.errors import OpenFailed, StorageClosed

from ._compaction import Compaction, compact_if_worth_it
from ._disk import Disk, NothingStored
from ._lock import LOCK_NAME, Locked, locked
from ._log import Entry, SegmentLog
from ._recovery import Recovery
from ._snapshot_files import SnapshotFiles

Answer = TypeVar("Answer")
Future = asyncio.Future[Any]


class Change(Protocol):
    """A write or a deletion that waits for the next frame."""

    def entries(self, draft: Draft) -> tuple[Sequence[Entry], object]:
        """What it adds to the log, and its answer once that is durable. Raises what it is refused with."""
        ...

    def failure(self, error: Exception) -> Exception:
        """How this caller is told that the frame provably could not be stored."""
        ...


class Draft:
    """What the ids will be like once the frame is stored that is being put together."""

    def __init__(self, log: SegmentLog) -> None:
        self._index = log.index
        self.highest: dict[str, int] = {}
        self.deleted_to: dict[str, int] = {}

    def highest_sequence_nr(self, persistence_id: str) -> int:
        return self.highest.get(persistence_id) or self._index.highest(persistence_id)

    def deleted(self, persistence_id: str) -> int:
        log = self._index.logs.get(persistence_id)
        return self.deleted_to.get(persistence_id, log.deleted_to if log else 0)


class Parts(msgspec.Struct, frozen=True):
    """What a store is made of. Whoever wants to see what one of them is good for puts a wrong one in its place."""

    disk: Callable[[Path, bool], Disk] = Disk
    log: Callable[[Disk, int], SegmentLog] = SegmentLog
    recovery: Callable[[Disk, SegmentLog], Recovery] = Recovery
    compaction: Callable[[Disk, SegmentLog], Compaction] = Compaction
    snapshots: Callable[[Disk, SegmentLog], SnapshotFiles] = SnapshotFiles
    lock: Callable[[Path], Any] = locked


class Store:
    """An async context manager. Entering it raises `OpenFailed`; leaving it does what is queued, and seals the log."""

    def __init__(self, directory: Path, segment_size: int, syncs: bool, parts: Parts) -> None:
        self.directory = directory
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="perdure-files")
        self._waiting: deque[tuple[Change, Future]] = deque()
        self._resources = ExitStack()
        self.disk = parts.disk(directory, syncs)
        self.log = parts.log(self.disk, segment_size)
        self.snapshots = parts.snapshots(self.disk, self.log)
        self.closed = False
        self.replays = 0
        """How many replays have begun and not ended: they know places in files, so nothing is compacted meanwhile."""

    async def __aenter__(self) -> Store:
        try:
            await self.run(self._open)
        except BaseException:
            self.closed = True
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True
        try:
            await asyncio.shield(self.run(self._close))
        finally:
            self._thread.shutdown()  # waits only if this task was cancelled while the thread was still at work

    def run(self, work: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Do something in the thread, after everything that was asked before."""
        return self._loop.run_in_executor(self._thread, work)

    def refuse_closed(self, operation: str) -> None:
        if self.closed:
            raise StorageClosed(operation)

    # --- in the thread

    def _open(self) -> None:
        with _explained(self.directory):
            self.disk.make_directories()
            with ExitStack() as resources:
                resources.enter_context(self._parts.lock(self.directory))
                resources.callback(self.log.close_segment)
                self._parts.recovery(self.disk, self.log).recover()
                self.snapshots.recover()
                self._resources = resources.pop_all()

    def _close(self) -> None:
        with self._resources:
            self.log.close(self.snapshots.names())

    def read(self, operation: str, work: Callable[[], Answer]) -> Answer:
        """Read something, unless what is on the disk has become unknown."""
        if self.log.broken is not None:
            raise StorageClosed(operation) from self.log.broken
        return work()

    def certainly(self, work: Callable[[], None]) -> None:
        """Change files. An error that leaves it open whether they have changed breaks the log, and goes on."""
        try:
            work()
        except OSError as error:
            self.log.broken = error
            raise

    # --- group commit

    def change(self, change: Change) -> Future:
        """The future may be cancelled at any time; the change may be made nevertheless."""
        future = self._loop.create_future()
        self._waiting.append((change, future))
        self._thread.submit(self._commit_waiting)
        return future

    def _commit_waiting(self) -> None:
        """Make every change that is waiting. Those of which a later one was asked for find nothing to do."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if taken:
            outcomes = self.commit([change for change, _ in taken])
            answered = list(zip((future for _, future in taken), outcomes, strict=True))
            with suppress(RuntimeError):  # the loop was closed under us: nobody waits for these answers any more
                self._loop.call_soon_threadsafe(_settle, answered)

    def commit(self, changes: Sequence[Change]) -> Sequence[object]:
        """The answer to each change, or the exception that it ends in."""
        if self.log.broken is not None:
            refusal = OSError(f"an earlier sync failed ({self.log.broken}); open the location again")
            return [change.failure(refusal) for change in changes]
        outcomes = self._append(changes, Draft(self.log))
        if self.log.last.full and not self.replays and self.log.broken is None:
            compact_if_worth_it(self.disk, self.log, self._parts.compaction)
        return outcomes

    def _append(self, changes: Sequence[Change], draft: Draft) -> Sequence[object]:
        outcomes: list[object] = []
        entries: list[Entry] = []
        stored: list[int] = []
        for place, change in enumerate(changes):
            try:
                own, answer = change.entries(draft)
            except Exception as error:
                outcomes.append(error)
                continue
            entries.extend(own)
            outcomes.append(answer)
            stored.append(place)
        try:
            if entries:
                self.log.append(entries)
        except NothingStored as error:
            for place in stored:
                outcomes[place] = changes[place].failure(error)
        except OSError as error:
            for place in stored:
                outcomes[place] = error
        return outcomes


def _settle(answered: Sequence[tuple[Future, object]]) -> None:
    for future, outcome in answered:
        if future.done():
            continue  # the caller was cancelled
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn whatever keeps a directory from being opened into an `OpenFailed` that names it."""
    try:
        yield
    except Locked as error:
        raise OpenFailed(
            f"{directory / LOCK_NAME}: another storage has it open; close it, or give another directory or namespace"
        ) from error
    except NothingStored as error:
        raise OpenFailed(f"{directory}: {error}; make room, and check that it may be written") from error
    except OSError as error:
        raise OpenFailed(
            f"{error.filename or directory}: {error.strerror or error}; check that it may be read and written"
        ) from error
