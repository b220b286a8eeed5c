"""Operations: what a client of a backend can do, as frozen values that know their text form.

The model says what each means, the runner carries it out, the parser reads it; all three dispatch on these classes.
Nothing here knows a backend. The grammar is in `docs/scenario-files.md`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import lru_cache

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    MAX_TIMESTAMP,
    AtomicWrite,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)

from .actor_operations import ACTOR_OPERATIONS as ACTOR_OPERATIONS
from .actor_operations import Crash as Crash
from .actor_operations import Disturb as Disturb
from .actor_operations import Release as Release
from .actor_operations import StartActor as StartActor
from .actor_operations import StopActor as StopActor
from .actor_operations import Tell as Tell
from .actor_operations import Wait as Wait
from .operation import BARE_WORD as BARE_WORD
from .operation import Operation as Operation
from .operation import quoted as quoted
from .operation import shown_number as shown_number
from .operation import shown_range as shown_range
from .operation import shown_window as shown_window
from .query_operations import Close as Close
from .query_operations import Query as Query
from .query_operations import Resume as Resume
from .query_operations import Take as Take

DEFAULT_SERIALIZER_ID = 4


class Content(msgspec.Struct, frozen=True):
    """The bytes of a payload, as text: `"text"`, `hex:00ff`, `size:4096` (a pattern of that length), or `empty`."""

    text: str = ""
    hex: str = ""
    size: int = 0

    def data(self) -> bytes:
        if self.size:
            return pattern(self.size)
        return bytes.fromhex(self.hex) if self.hex else self.text.encode()

    def __str__(self) -> str:
        if self.size:
            return f"size:{self.size}"
        if self.hex:
            return f"hex:{self.hex}"
        return quoted(self.text) if self.text else "empty"


@lru_cache(maxsize=32)
def pattern(size: int) -> bytes:
    """Bytes without a short period, so that a page that is lost, doubled or swapped shows."""
    blocks = range(size // 32 + 1)
    return b"".join(hashlib.sha256(b"%d" % block).digest() for block in blocks)[:size]


class Batch(msgspec.Struct, frozen=True):
    """One AtomicWrite of a program: a range of numbers of one id; what is said of it holds for each of its events.

    Without `content` each event gets a payload that names its id, its number and the step that wrote it, so that an
    event that turns up in the wrong place is recognised.
    """

    persistence_id: str
    first: int
    last: int
    content: Content | None = None
    serializer_id: int = DEFAULT_SERIALIZER_ID
    payload_manifest: str = ""
    manifest: str = ""
    writer_uuid: str = ""
    timestamp: int = 0
    tags: tuple[str, ...] = ()
    metadata: Content | None = None

    def atomic_write(self, step: int) -> AtomicWrite:
        """What is asked to be written, when this is a part of step `step`."""
        return _atomic_write(self, step)

    def attributes(self) -> str:
        shown = [
            ("data", str(self.content) if self.content else ""),
            ("serializer", "" if self.serializer_id == DEFAULT_SERIALIZER_ID else str(self.serializer_id)),
            ("payload_manifest", quoted(self.payload_manifest) if self.payload_manifest else ""),
            ("manifest", quoted(self.manifest) if self.manifest else ""),
            ("writer", quoted(self.writer_uuid) if self.writer_uuid else ""),
            ("at", str(self.timestamp) if self.timestamp else ""),
            ("tags", "+".join(quoted(tag) for tag in self.tags)),
            ("metadata", str(self.metadata) if self.metadata else ""),
        ]
        return "".join(f" {name}={value}" for name, value in shown if value)


@lru_cache(maxsize=128)
def _atomic_write(batch: Batch, step: int) -> AtomicWrite:
    """Kept for a while, since the runner asks, and then the model; what they are given cannot be changed."""
    owner, content = batch.persistence_id, batch.content.data() if batch.content else None
    tags = frozenset(batch.tags)
    metadata = Payload(DEFAULT_SERIALIZER_ID, "metadata", batch.metadata.data()) if batch.metadata else None

    def event(number: int) -> PersistentRepr:
        data = default_data(owner, number, step) if content is None else content
        payload = Payload(batch.serializer_id, batch.payload_manifest, data)
        return PersistentRepr(
            owner, number, payload, batch.manifest, batch.writer_uuid, batch.timestamp, tags, metadata
        )

    return AtomicWrite(tuple(map(event, range(batch.first, batch.last + 1))))


def default_data(persistence_id: str, number: int, step: int) -> bytes:
    return f"{number} of {persistence_id} by step {step}".encode(errors="replace")


class Write(Operation, frozen=True):
    """`Journal.write_messages`: `write p 1..3, 4, q 1 data="x"`; `write p each 1..3` is three writes of one event."""

    kind = "write"
    batches: tuple[Batch, ...]

    def __str__(self) -> str:
        shown, known = [], None
        for _, group in itertools.groupby(enumerate(self.batches), _place_in_run):
            batches = [batch for _, batch in group]
            first, last = batches[0], batches[-1]
            owner = "" if first.persistence_id == known else quoted(first.persistence_id) + " "
            each = "each " if len(batches) > 1 else ""
            shown.append(f"{owner}{each}{shown_range(first.first, last.last)}{first.attributes()}")
            known = first.persistence_id
        return f"write {', '.join(shown) or 'nothing'}"


def _place_in_run(numbered: tuple[int, Batch]) -> tuple[str, str, int]:
    """What neighbouring writes of one event have in common if they may be shown as `each 1..3`."""
    place, batch = numbered
    single = batch.first == batch.last
    return batch.persistence_id, batch.attributes(), batch.first - place if single else -place - 1


class Replay(Operation, frozen=True):
    """`Journal.replay_messages`: `replay p 2..4 limit 1`."""

    kind = "replay"
    persistence_id: str
    from_sequence_nr: int = 1
    to_sequence_nr: int = MAX_SEQUENCE_NR
    max_count: int = MAX_SEQUENCE_NR

    def __str__(self) -> str:
        window = shown_window(self.from_sequence_nr, self.to_sequence_nr, 1, MAX_SEQUENCE_NR)
        limit = "" if self.max_count == MAX_SEQUENCE_NR else f" limit {self.max_count}"
        return f"replay {quoted(self.persistence_id)}{window}{limit}"


class Highest(Operation, frozen=True):
    """`Journal.read_highest_sequence_nr`: `highest p hint 3`."""

    kind = "highest"
    persistence_id: str
    hint: int = 0

    def __str__(self) -> str:
        hint = f" hint {shown_number(self.hint)}" if self.hint else ""
        return f"highest {quoted(self.persistence_id)}{hint}"


class Delete(Operation, frozen=True):
    """`Journal.delete_messages_to`: `delete p ..3`, `delete p ..max`."""

    kind = "delete"
    persistence_id: str
    to_sequence_nr: int

    def __str__(self) -> str:
        return f"delete {quoted(self.persistence_id)} ..{shown_number(self.to_sequence_nr)}"


class SaveSnapshot(Operation, frozen=True):
    """`SnapshotStore.save`: `save snapshot p 11 at 1000 data="x"`."""

    kind = "save snapshot"
    persistence_id: str
    sequence_nr: int
    timestamp: int = 0
    content: Content | None = None
    serializer_id: int = DEFAULT_SERIALIZER_ID
    payload_manifest: str = ""

    def metadata(self) -> SnapshotMetadata:
        return SnapshotMetadata(self.persistence_id, self.sequence_nr, self.timestamp)

    def payload(self, step: int) -> Payload:
        data = self.content.data() if self.content else default_data(self.persistence_id, self.sequence_nr, step)
        return Payload(self.serializer_id, self.payload_manifest, data)

    def __str__(self) -> str:
        text = f"save snapshot {quoted(self.persistence_id)} {shown_number(self.sequence_nr)}"
        shown = [
            (" at ", str(self.timestamp) if self.timestamp else ""),
            (" data=", str(self.content) if self.content else ""),
            (" serializer=", "" if self.serializer_id == DEFAULT_SERIALIZER_ID else str(self.serializer_id)),
            (" payload_manifest=", quoted(self.payload_manifest) if self.payload_manifest else ""),
        ]
        return text + "".join(f"{name}{value}" for name, value in shown if value)


class Bounds(msgspec.Struct, frozen=True):
    """Selection criteria of a program, which may contradict themselves: `seq 2..5 time 10..20`."""

    max_sequence_nr: int = MAX_SEQUENCE_NR
    max_timestamp: int = MAX_TIMESTAMP
    min_sequence_nr: int = 0
    min_timestamp: int = 0

    def criteria(self) -> SnapshotSelectionCriteria:
        return SnapshotSelectionCriteria(
            self.max_sequence_nr, self.max_timestamp, self.min_sequence_nr, self.min_timestamp
        )

    def __str__(self) -> str:
        numbers = shown_window(self.min_sequence_nr, self.max_sequence_nr, 0, MAX_SEQUENCE_NR)
        times = shown_window(self.min_timestamp, self.max_timestamp, 0, MAX_TIMESTAMP)
        return (f" seq{numbers}" if numbers else "") + (f" time{times}" if times else "")


class LoadSnapshot(Operation, frozen=True):
    """`SnapshotStore.load`: `load snapshot p seq ..13 time 5..100`."""

    kind = "load snapshot"
    persistence_id: str
    bounds: Bounds = Bounds()

    def __str__(self) -> str:
        return f"load snapshot {quoted(self.persistence_id)}{self.bounds}"


class DeleteSnapshot(Operation, frozen=True):
    """`SnapshotStore.delete`: `delete snapshot p 13 at 1000`; without `at`, whatever its timestamp."""

    kind = "delete snapshot"
    persistence_id: str
    sequence_nr: int
    timestamp: int = 0

    def metadata(self) -> SnapshotMetadata:
        return SnapshotMetadata(self.persistence_id, self.sequence_nr, self.timestamp)

    def __str__(self) -> str:
        at = f" at {self.timestamp}" if self.timestamp else ""
        return f"delete snapshot {quoted(self.persistence_id)} {shown_number(self.sequence_nr)}{at}"


class DeleteSnapshots(Operation, frozen=True):
    """`SnapshotStore.delete_matching`: `delete snapshots p seq ..13`."""

    kind = "delete snapshots"
    persistence_id: str
    bounds: Bounds = Bounds()

    def __str__(self) -> str:
        return f"delete snapshots {quoted(self.persistence_id)}{self.bounds}"


class Reopen(Operation, frozen=True):
    """Close every handle of the program's location and open it again."""

    kind = "reopen"

    def __str__(self) -> str:
        return "reopen"


class Clock(Operation, frozen=True):
    """Set the location's clock, in nanoseconds since the Unix epoch. It stands still until it is set again."""

    kind = "clock"
    now: int

    def __str__(self) -> str:
        return f"clock {self.now}"


class Cancel(Operation, frozen=True):
    """Cancel what another client is doing at this moment, if it is doing anything: `cancel a`."""

    kind = "cancel"
    client: str

    def __str__(self) -> str:
        return f"cancel {self.client}"


AnyOperation = (
    Write
    | Replay
    | Highest
    | Delete
    | SaveSnapshot
    | LoadSnapshot
    | DeleteSnapshot
    | DeleteSnapshots
    | Query
    | Take
    | Close
    | Reopen
    | Clock
    | Cancel
    | StartActor
    | Tell
    | StopActor
    | Crash
    | Disturb
    | Release
    | Wait
)

JOURNAL_OPERATIONS = (Write, Replay, Highest, Delete)
SNAPSHOT_OPERATIONS = (SaveSnapshot, LoadSnapshot, DeleteSnapshot, DeleteSnapshots)
QUERY_OPERATIONS = (Query, Take, Close)
_WITHOUT_ID = (Take, Close, Reopen, Clock, Cancel, Wait)


def ids_of(operation: AnyOperation) -> tuple[str, ...]:
    """The persistence ids that an operation names, in order; those of a write once for each AtomicWrite."""
    if isinstance(operation, Write):
        return tuple(batch.persistence_id for batch in operation.batches)
    if isinstance(operation, Query):
        return (operation.persistence_id,) if operation.by_persistence_id else ()
    return () if isinstance(operation, Take | Close | Reopen | Clock | Cancel | Wait) else (operation.persistence_id,)


def renamed(operation: AnyOperation, rename: Callable[[str], str]) -> AnyOperation:
    """The same operation with other persistence ids."""
    if isinstance(operation, Write):
        named = [(batch, rename(batch.persistence_id)) for batch in operation.batches]
        return Write(tuple([msgspec.structs.replace(batch, persistence_id=name) for batch, name in named]))
    if isinstance(operation, _WITHOUT_ID) or (isinstance(operation, Query) and not operation.by_persistence_id):
        return operation
    return msgspec.structs.replace(operation, persistence_id=rename(operation.persistence_id))
