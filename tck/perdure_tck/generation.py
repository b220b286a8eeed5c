"""Generated programs: a fixed number of fixed-size codes, decoded into operations over small universes chosen to hurt.

Code 0 is no operation, so that what shrinks bytes shrinks programs; every reference is relative (the k-th id, the
highest number plus one, a place in the window), so that a program stays meaningful while it shrinks. Plain
`random.Random` and Hypothesis drive the same decoder. The measurements behind this form: lists of drawn operations are
short and shrink badly; bytes of exact length check twenty times as many operations and find every seeded bug.

A program has a mood: it is mostly about one thing. One that is about everything seldom gets to the bottom of anything,
and what is costly (a megabyte, a hundred events, another namespace) is asked by few programs, and there often. How soon
each broken backend of the zoo is found stands in `docs/power.md`; measure again after a change.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import msgspec
from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP, Claims

from .model import START_OF_CLOCK
from .operations import (
    JOURNAL_OPERATIONS,
    SNAPSHOT_OPERATIONS,
    AnyOperation,
    Batch,
    Bounds,
    Clock,
    Close,
    Content,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Reopen,
    Replay,
    Resume,
    SaveSnapshot,
    Take,
    Write,
)
from .program import Program, Step, without_loose_ends
from .query_operations import FOREIGN

Said = TypeVar("Said", bound=msgspec.Struct)
Value = TypeVar("Value")

HEAD_SIZE = 2
CODE_SIZE = 6
OPERATIONS = 40
SIZE = HEAD_SIZE + CODE_SIZE * OPERATIONS
"""How many bytes make a program."""

ID_FAMILIES: Sequence[tuple[str, str, str]] = (
    ("p", "q", "r"),
    ("p", "P", "p "),
    ("p", "p-1", "p-11"),
    ("p%", "p_", "px"),
    ("1", "01", "1.0"),
    ("\u00e9", "e\u0301", "e"),
    ("\U0001f600", "\U0001f601", "\u2764"),
    ("a/b", "a\\b", "../a"),
    ("a\u0000b", "a\u0000", "a"),
    ("'; --", '"', ";"),
    ("x" * 255, "x" * 256, "x" * 300),
    ("snapshot", "max", "null"),
)
"""Ids that are prefixes of each other, differ in case or form, or mean something to a language or a file system."""

NO_IDS: Sequence[str] = ("", "\ud800")
"""Persistence ids that are to be refused."""

PAGE_SIZES: Sequence[int | None] = (None, 1, 2, 3)

CONTENTS: Sequence[Content | None] = (
    *(None,) * 12,
    Content(),
    Content(hex="00"),
    Content(hex="ff00fe"),
    Content(text="\u00e9\U0001f600"),
    Content(text="null"),
    Content(size=255),
    Content(size=256),
    Content(size=4096),
    Content(size=10_000),
)
LARGE_CONTENTS: Sequence[Content | None] = (
    *(None,) * 4,
    Content(size=65_535),
    Content(size=65_536),
    Content(size=65_537),
)
LARGE_SNAPSHOTS = (*LARGE_CONTENTS, Content(size=1_048_577))
METADATA: Sequence[Content] = (Content(), Content(text="m"), Content(hex="00"))

TEXTS: Sequence[str] = ("", "a", "A", "a b", "\u00e9", "\U0001f600", "a\u0000b", "'", "0")
UNSTORABLE = "\ud800"
TAGS: Sequence[tuple[str, ...]] = (
    *((),) * 8,
    ("a",),
    ("a", "b"),
    ("A", "a"),
    ("a b", "%"),
    ("\U0001f600",),
    ("a;b",),
    ("",),
    ("\udfff",),
)
QUERIED_TAGS: Sequence[tuple[str, ...]] = (
    (),
    ("a",),
    ("a",),
    ("b",),
    ("a", "b"),
    ("A",),
    ("ab",),
    ("a", "ab"),
    ("a%",),
    ("a;b",),
    ("",),
    ("\udfff",),
)
"""Tags where feeds are asked for: few and alike, so that each has several events and is mistaken for others."""

QUERY_NAMES = ("f", "g", "h", "i", "j", "k")
MILLISECOND = 1_000_000
TIMES: Sequence[int] = (0, 0, 0, 3 * MILLISECOND, 2 * MILLISECOND, MILLISECOND, 4 * MILLISECOND, 2 * MILLISECOND + 1)
"""Timestamps; 0 leaves it to the clock."""

LENGTHS = (1, 1, 1, 2, 3, 7)
JUMPS = (*(0,) * 20, 1, 1, 2, 5)
"""How far above the highest number plus one a write begins: mostly nowhere."""

GAP_MAX = 200
"""The widest gap that is written into from end to end."""

SNAPSHOT_NUMBERS = (1, 2, 9, 10, 0)


class Mood(msgspec.Struct, frozen=True):
    """What a program is mostly about. `clients` are drawn for each operation."""

    kinds: Sequence[_Make | None]
    clients: Sequence[str] = ("",)
    contents: Sequence[Content | None] = CONTENTS
    snapshots: Sequence[Content | None] = CONTENTS
    lengths: Sequence[int] = LENGTHS
    jumps: Sequence[int] = JUMPS
    snapshot_numbers: Sequence[int] = SNAPSHOT_NUMBERS
    page_sizes: Sequence[int | None] = PAGE_SIZES
    tags: Sequence[tuple[str, ...]] = TAGS


class _Known:
    """What the decoder remembers of one id, so that references mean something. It need not be exact."""

    def __init__(self) -> None:
        self.highest = 0
        self.marks = [0, 1]
        self.gap = range(0)
        self.last: Batch | None = None
        self.snapshots = [0]
        self.times = [MILLISECOND]

    def mark(self, *numbers: int) -> None:
        self.marks.extend(number for number in numbers if 0 <= number < MAX_SEQUENCE_NR)

    def place(self, code: int) -> int:
        """A number near one that mattered lately: the ends of writes and deletions, and one beside them."""
        return max(_recent(self.marks, code >> 2) + (0, 1, -1, 0)[code & 3], 0)


def _recent(values: Sequence[Value], code: int) -> Value:
    """One of the last few values."""
    return values[-1 - code % min(len(values), 5)]


class _Decoder:
    def __init__(self, codes: bytes, mood: Mood) -> None:
        self._codes = codes
        family = ID_FAMILIES[codes[0] % len(ID_FAMILIES)]
        turn = codes[0] // len(ID_FAMILIES) % 3
        self._family = family[turn:] + family[:turn]
        self._known = {persistence_id: _Known() for persistence_id in family}
        self._mood = mood
        self._now = START_OF_CLOCK
        self._open: list[str] = []

    def steps(self) -> Iterator[Step]:
        kinds, clients = self._mood.kinds, self._mood.clients
        for start in range(HEAD_SIZE, len(self._codes) - CODE_SIZE + 1, CODE_SIZE):
            kind, *rest = self._codes[start : start + CODE_SIZE]
            make = kinds[kind % len(kinds)]
            if make is not None:
                yield Step(make(self, *rest), clients[rest[0] // 6 % len(clients)])

    def _id(self, code: int) -> tuple[str, _Known]:
        """One of three ids: the first two often, so that a pair that a store may mistake for one is really used."""
        persistence_id = self._family[(0, 0, 0, 1, 1, 2)[code % 6]]
        return persistence_id, self._known[persistence_id]

    # --------------------------------------------------------------------------------------------------- the journal

    def write(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        return Write((self._next_batch(a, b, c, d, e),))

    def write_call(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """Several writes in one call, of one id or of several, fit to be kept or not; sometimes none."""
        count = (0, 2, 2, 3)[b & 3]
        turns = range(count)
        return Write(tuple(self._next_batch(a + turn * (d & 1), b >> 2, c >> turn, d, e + 5 * turn) for turn in turns))

    def _next_batch(self, a: int, b: int, c: int, d: int, e: int) -> Batch:
        persistence_id, known = self._id(a)
        first = known.highest + 1 + self._mood.jumps[c % len(self._mood.jumps)]
        return self._batch(persistence_id, known, first, self._length(b), d, e)

    def write_again(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """A write that begins at or below the highest number, if there is one: a conflict.

        At its first number, or further on: in a gap it may begin with numbers that nobody has.
        """
        persistence_id, known = self._id(a)
        first = min(max(known.place(b), 1), max(known.highest, 1))
        length = self._length(c)
        if d & 4 and known.gap:
            first, length = known.gap[0], len(known.gap) + 1
        again = Write((self._batch(persistence_id, known, first, length, d, e),))
        return again if d & 3 else Write((*again.batches, self._next_batch(a + 3, 0, 0, 0, 0)))

    def write_alike(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """What was written last, with the same numbers, as a retry has them, or with the next ones."""
        persistence_id, known = self._id(a)
        last = known.last
        if last is None or last.content is None:
            return Write((self._batch(persistence_id, known, known.highest + 1, 1, d, e, CONTENTS[12 + b % 5]),))
        following = msgspec.structs.replace(last, first=last.last + 1, last=2 * last.last + 1 - last.first)
        again = c & 1 or following.last > MAX_SEQUENCE_NR
        return Write((last if again else self._noted(known, following),))

    def _length(self, code: int) -> int:
        return self._mood.lengths[code % len(self._mood.lengths)]

    def _batch(
        self,
        persistence_id: str,
        known: _Known,
        first: int,
        length: int,
        d: int,
        e: int,
        content: Content | None = None,
    ) -> Batch:
        """What is said of an event hangs on `e`: mostly nothing, and seldom two things."""
        first = min(first, MAX_SEQUENCE_NR)
        text = TEXTS[d % len(TEXTS)] if e % 29 else UNSTORABLE
        batch = Batch(
            persistence_id,
            first,
            min(first + length - 1, MAX_SEQUENCE_NR),
            content=content or self._mood.contents[d % len(self._mood.contents)],
            serializer_id=(4, 4, 4, 0, 17, 2**31 - 1)[e % 6],
            payload_manifest=text if e % 5 == 1 else "",
            manifest=text if e % 5 == 2 else "",
            writer_uuid=text if e % 5 == 3 else "",
            timestamp=TIMES[d % len(TIMES)] if e % 7 == 4 else 0,
            tags=self._mood.tags[e % len(self._mood.tags)],
            metadata=METADATA[d % len(METADATA)] if e % 9 == 5 else None,
        )
        return self._noted(known, batch)

    def _noted(self, known: _Known, batch: Batch) -> Batch:
        if batch.first > known.highest and not _refused(batch):
            if 0 < batch.first - known.highest - 1 < GAP_MAX:
                known.gap = range(known.highest + 1, batch.first)
            known.highest = batch.last
            known.mark(batch.first, batch.last)
            known.last = batch
        return batch

    def replay(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        return Replay(self._id(a)[0])

    def replay_window(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        first = 1 if d % 3 == 1 else known.place(b)
        last = MAX_SEQUENCE_NR if d & 2 else known.place(c)
        limit = (MAX_SEQUENCE_NR, MAX_SEQUENCE_NR, 1, 2, 3, 0)[e % 6]
        return Replay(persistence_id, first, last, limit)

    def highest(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        return Highest(persistence_id, known.place(b) if c % 4 == 1 else 0)

    def delete(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        to = (known.place(c), known.highest, known.place(c), MAX_SEQUENCE_NR, known.highest + 3)[b % 5]
        border = min(to, known.highest)
        known.mark(border, border + 1)
        return Delete(persistence_id, min(to, MAX_SEQUENCE_NR))

    # --------------------------------------------------------------------------------------------------- snapshots

    def save(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        earlier, some = _recent(known.snapshots, c), self._mood.snapshot_numbers
        number = min((some[c % len(some)], earlier, earlier + 1, known.highest)[b & 3], MAX_SEQUENCE_NR)
        timestamp = TIMES[d % len(TIMES)]
        known.snapshots.append(number)
        known.times.append(timestamp or self._now)
        serializer_id = (4, 4, 4, 17)[b >> 2 & 3]
        manifest = TEXTS[b % len(TEXTS)] if b & 64 else ""
        content = self._mood.snapshots[e % len(self._mood.snapshots)]
        return SaveSnapshot(persistence_id, number, timestamp, content, serializer_id, manifest)

    def load(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        return LoadSnapshot(persistence_id, _bounds(known, b, c, d, e))

    def delete_snapshots(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        return DeleteSnapshots(persistence_id, _bounds(known, b, c, d, e))

    def delete_snapshot(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        back = b % min(len(known.snapshots), 5)
        time = known.times[-1 - back]
        timestamp = (0, 0, time, max(time - MILLISECOND, 1), time + MILLISECOND, time + 1)[d % 6]
        return DeleteSnapshot(persistence_id, known.snapshots[-1 - back], timestamp)

    # --------------------------------------------------------------------------------------------------- queries

    def query(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """Open a query of any kind, as often behind another one as from the start; six at most are open at once."""
        name = QUERY_NAMES[b % len(QUERY_NAMES)]
        current = bool(d & 1)
        after = Resume(_recent(self._open, c), (0, 0, 1, 2)[c >> 3 & 3]) if self._open and e & 4 else None
        if e % 32 == 31:
            after = FOREIGN
        if name in self._open:
            self._open.remove(name)
        self._open.append(name)
        match e % 8 if e < 224 else 4 + e % 4:
            case 0:
                return Query(name, "persistence ids", current)
            case 1 | 2:
                persistence_id, known = self._id(a)
                first = known.place(c) if d & 2 else 1
                last = known.place(c >> 2) if d & 4 else MAX_SEQUENCE_NR
                return Query(name, "events by persistence id", current, persistence_id, first, last)
            case 3 | 4 | 5:
                tags = [tag for some in self._mood.tags for tag in some if tag != "\udfff"]
                return Query(name, "events by tag", current, tag=tags[a % len(tags)], after=after)
            case _:
                return Query(name, "all events", current, after=after)

    def take(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        if not self._open:
            return self.query(a, b, c, d, e)
        return Take(_recent(self._open, b), (1, 1, 2, 3, MAX_SEQUENCE_NR, MAX_SEQUENCE_NR)[c % 6])

    def close(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        if not self._open:
            return self.query(a, b, c, d, e)
        name = _recent(self._open, b)
        self._open.remove(name)
        return Close(name)

    # --------------------------------------------------------------------------------------------------- both

    def refused(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """An argument outside its limits, which must not touch anything."""
        persistence_id, nobody = self._id(a)[0], NO_IDS[d % len(NO_IDS)]
        outside = (-1, -2, -100, -MAX_SEQUENCE_NR)[c & 3]
        match b % 10:
            case 0:
                return Replay(persistence_id, outside)
            case 1:
                return Replay(persistence_id, 1, outside)
            case 2:
                return Replay(persistence_id, 1, MAX_SEQUENCE_NR, outside)
            case 3:
                return Highest(persistence_id, outside)
            case 4:
                return Delete(persistence_id, outside)
            case 5:
                return Replay(nobody)
            case 6:
                return Highest(nobody)
            case 7:
                return Delete(nobody, MAX_SEQUENCE_NR)
            case 8:
                return LoadSnapshot(nobody)
            case _:
                return DeleteSnapshots(nobody)

    def reopen(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """Rarely: opening a store costs as much as a hundred operations."""
        return Reopen() if e % 8 == 0 else self.highest(a, b, c, d, e)

    def clock(self, a: int, *_: int) -> AnyOperation:
        """The clock goes on, stands still, or goes back."""
        self._now = START_OF_CLOCK + (0, MILLISECOND, -MILLISECOND, 1000 * MILLISECOND, 1)[a % 5]
        return Clock(self._now)


def _refused(batch: Batch) -> bool:
    return UNSTORABLE in (batch.payload_manifest, batch.manifest, batch.writer_uuid) or batch.tags == ("\udfff",)


_BOUNDED = (0, 0, 0, 0, 1, 1, 2, 2, 4, 4, 8, 8, 3, 5, 12, 15)
"""Which bounds a selection has, as bits: the largest number, the latest time, the least number, the earliest time."""


def _bounds(known: _Known, b: int, c: int, d: int, e: int) -> Bounds:
    """Bounds at numbers and times that were saved lately, and beside them; now and then the ones that match nothing."""
    if b == 255:
        return Bounds(0, 0)
    bounded = _BOUNDED[b & 15]
    beside = (0, 0, -1, 1)[b >> 4 & 3]
    number = min(max(_recent(known.snapshots, c) + beside, 0), MAX_SEQUENCE_NR)
    time = _recent(known.times, e) + beside * (1 if b & 64 else MILLISECOND)
    highest = number if bounded & 1 else MAX_SEQUENCE_NR
    latest = time if bounded & 2 else MAX_TIMESTAMP
    lowest = min(_recent(known.snapshots, d) if bounded & 1 else number, highest) if bounded & 4 else 0
    earliest = min(_recent(known.times, d) if bounded & 2 else time, latest) if bounded & 8 else 0
    return Bounds(highest, latest, lowest, earliest)


_Make = Callable[..., AnyOperation]

_EVERYTHING: Sequence[_Make | None] = (
    None,
    *(_Decoder.write,) * 5,
    *(_Decoder.write_call,) * 2,
    *(_Decoder.write_again,) * 2,
    _Decoder.write_alike,
    *(_Decoder.replay,) * 4,
    *(_Decoder.replay_window,) * 6,
    *(_Decoder.highest,) * 3,
    *(_Decoder.delete,) * 3,
    *(_Decoder.save,) * 3,
    *(_Decoder.load,) * 4,
    _Decoder.delete_snapshot,
    _Decoder.delete_snapshots,
    _Decoder.refused,
    _Decoder.reopen,
    _Decoder.clock,
)
"""The kinds of operations, each as often as it is wanted; the first is none."""

_EVENTS: Sequence[_Make | None] = (
    None,
    *(_Decoder.write,) * 6,
    *(_Decoder.write_call,) * 3,
    *(_Decoder.write_again,) * 2,
    *(_Decoder.write_alike,) * 2,
    *(_Decoder.replay,) * 5,
    *(_Decoder.replay_window,) * 7,
    *(_Decoder.highest,) * 4,
    *(_Decoder.delete,) * 5,
    _Decoder.refused,
    _Decoder.reopen,
    _Decoder.clock,
)

_SNAPSHOTS: Sequence[_Make | None] = (
    None,
    *(_Decoder.save,) * 9,
    *(_Decoder.load,) * 11,
    *(_Decoder.delete_snapshot,) * 3,
    *(_Decoder.delete_snapshots,) * 3,
    *(_Decoder.write,) * 1,
    _Decoder.refused,
    _Decoder.reopen,
    *(_Decoder.clock,) * 2,
)

_LENGTHS: Sequence[_Make | None] = (
    None,
    *(_Decoder.write,) * 5,
    *(_Decoder.write_again,) * 8,
    *(_Decoder.replay,) * 4,
    *(_Decoder.replay_window,) * 5,
    *(_Decoder.highest,) * 6,
    *(_Decoder.delete,) * 3,
)

_SIZES: Sequence[_Make | None] = (
    None,
    *(_Decoder.write,) * 3,
    *(_Decoder.save,) * 5,
    *(_Decoder.load,) * 8,
    *(_Decoder.replay,) * 4,
    *(_Decoder.highest,) * 4,
    _Decoder.delete,
    _Decoder.delete_snapshot,
)

_QUERIES: Sequence[_Make | None] = (
    None,
    *(_Decoder.write,) * 8,
    *(_Decoder.write_call,) * 3,
    _Decoder.write_again,
    *(_Decoder.query,) * 7,
    *(_Decoder.take,) * 14,
    *(_Decoder.close,) * 2,
    *(_Decoder.delete,) * 3,
    _Decoder.replay,
    _Decoder.save,
    _Decoder.reopen,
    _Decoder.clock,
)

_HANDLES = ("", "b")
_NO_CONTENTS = (None,)
_FAR = (*(0,) * 8, 2**31 - 2, 2**31, 2**53, 2**62, MAX_SEQUENCE_NR)
_FAR_SNAPSHOTS = (2**31, 2**53 + 1, MAX_SEQUENCE_NR, 1)
_LONG = (1, 1, 1, 2, 100, 101, 150)

MOODS: Sequence[Mood] = (
    *(Mood(_EVERYTHING),) * 14,
    *(Mood(_EVENTS),) * 14,
    *(Mood(_SNAPSHOTS),) * 13,
    *(Mood(_EVERYTHING, clients=_HANDLES),) * 4,
    *(Mood(_SNAPSHOTS, clients=_HANDLES),) * 3,
    *(Mood(_EVERYTHING, jumps=_FAR, snapshot_numbers=_FAR_SNAPSHOTS),) * 4,
    Mood(_SNAPSHOTS, snapshot_numbers=_FAR_SNAPSHOTS),
    *(Mood(_LENGTHS, lengths=_LONG, jumps=(0, 0, 99, 100, 149), page_sizes=(None, 100)),) * 2,
    *(Mood(_SIZES, contents=LARGE_CONTENTS, snapshots=LARGE_SNAPSHOTS, page_sizes=(None,)),) * 2,
    Mood(_EVERYTHING, clients=("", "b@other"), page_sizes=(None,)),
    *(Mood(_QUERIES, contents=_NO_CONTENTS, tags=QUERIED_TAGS),) * 5,
    Mood(_QUERIES, clients=_HANDLES, contents=_NO_CONTENTS, tags=QUERIED_TAGS),
)
"""Each as often as it is wanted: 64 in all."""


def decode(codes: bytes, name: str) -> Program:
    """The program of exactly `SIZE` bytes. The same bytes give the same program, on every machine and version."""
    mood = MOODS[codes[1] % len(MOODS)]
    page_size = mood.page_sizes[codes[1] // len(MOODS) % len(mood.page_sizes)]
    return Program(name, "", (), tuple(_Decoder(codes, mood).steps()), page_size=page_size)


def programs(seed: int, count: int, first: int = 0, every: int = 1) -> Iterator[Program]:
    """A stretch of generated programs, or every so many of it; the same seed gives the same ones."""
    source = random.Random(seed)
    for number in range(count):
        code = source.randbytes(SIZE)
        if number % every == first:
            yield decode(code, f"generated_{seed}_{number}")


def within(program: Program, claims: Claims, journal: bool, snapshots: bool, queries: Collection[str] = ()) -> Program:
    """The program without what a backend cannot be asked, for what it offers and claims.

    Steps that need what it lacks are left out, a second handle becomes the first, a live query a current one, and times
    are made as coarse as it keeps them: whether a bound is compared before or after rounding is not laid down.
    """
    left_out = (() if journal else JOURNAL_OPERATIONS) + (() if snapshots else SNAPSHOT_OPERATIONS)
    left_out += () if claims.survives_close else (Reopen,)
    steps = tuple(step for step in program.steps if not isinstance(step.operation, left_out))
    if program.uses_queries:
        steps = _answered(steps, claims, queries)
    if not claims.shared and not program.one_handle:
        steps = tuple(msgspec.structs.replace(step, client=_only_handle(step)) for step in steps)
    if claims.timestamp_resolution_ns > 1:
        unit = claims.timestamp_resolution_ns
        steps = tuple(msgspec.structs.replace(step, operation=_coarser(step.operation, unit)) for step in steps)
    if claims.payload_size_max is not None:
        steps = tuple(step for step in steps if not _too_large(step.operation, claims.payload_size_max))
    return msgspec.structs.replace(program, steps=steps)


def _answered(steps: Sequence[Step], claims: Claims, queries: Collection[str]) -> tuple[Step, ...]:
    """The steps with those queries only that the backend answers, live ones become current where it has none."""
    if not claims.live_queries:
        steps = [msgspec.structs.replace(step, operation=_current(step.operation)) for step in steps]
    kept = [
        step
        for step in steps
        if not isinstance(step.operation, Query)
        or (step.operation.method in queries and (claims.tags or step.operation.subject != "events by tag"))
    ]
    return without_loose_ends(tuple(kept))


def _current(operation: AnyOperation) -> AnyOperation:
    return msgspec.structs.replace(operation, current=True) if isinstance(operation, Query) else operation


def _only_handle(step: Step) -> str:
    """The client, if it is the only one of its namespace."""
    return step.client if step.namespace else ""


def _too_large(operation: AnyOperation, size_max: int) -> bool:
    """Whether a snapshot is above the limit: what is answered then is not laid down, as it is for events."""
    return isinstance(operation, SaveSnapshot) and operation.content is not None and operation.content.size > size_max


def _coarser(operation: AnyOperation, unit: int) -> AnyOperation:
    match operation:
        case Write(batches=batches):
            return Write(tuple(_rounded(batch, unit, "timestamp") for batch in batches))
        case SaveSnapshot() | DeleteSnapshot():
            return _rounded(operation, unit, "timestamp")
        case LoadSnapshot() | DeleteSnapshots():
            bounds = _rounded(operation.bounds, unit, "min_timestamp", "max_timestamp")
            return msgspec.structs.replace(operation, bounds=bounds)
        case Clock():
            return _rounded(operation, unit, "now")
        case _:
            return operation


def _rounded(value: Said, unit: int, *fields: str) -> Said:
    """The value with some times rounded down; the largest time, which stands for no bound, stays."""
    times = {field: getattr(value, field) for field in fields}
    return msgspec.structs.replace(
        value, **{field: time - time % unit for field, time in times.items() if time != MAX_TIMESTAMP}
    )
