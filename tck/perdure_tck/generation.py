"""Generated programs: a fixed number of fixed-size codes, decoded into operations over small universes chosen to hurt.

Code 0 is no operation, so that what shrinks bytes shrinks programs; every reference is relative (the k-th id, the
highest number plus one, a place in the window), so that a program stays meaningful while it shrinks. Plain
`random.Random` and Hypothesis drive the same decoder. The measurements behind this form: lists of drawn operations are
short and shrink badly; bytes of exact length check twenty times as many operations and find every seeded bug.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

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
    Content,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Reopen,
    Replay,
    SaveSnapshot,
    Write,
)
from .program import Program, Step

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
    Content(size=65537),
)

TEXTS: Sequence[str] = ("", "", "", "a", "A", "a b", "\u00e9", "\U0001f600", "a\u0000b", "'", "0", "\ud800")
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
MILLISECOND = 1_000_000
TIMES: Sequence[int] = (0, 0, 0, 3 * MILLISECOND, 2 * MILLISECOND, MILLISECOND, 4 * MILLISECOND)
"""Timestamps in whole milliseconds, which every claimed resolution up to that keeps; 0 leaves it to the clock."""

JUMPS: Sequence[int] = (*(0,) * 24, 1, 1, 2, 5, 100, 2**31, 2**53)
"""How far above the highest number plus one a write begins: mostly nowhere."""


class _Known:
    """What the decoder remembers of one id, so that references mean something. It need not be exact."""

    def __init__(self) -> None:
        self.highest = 0
        self.marks: list[int] = [1]
        self.snapshots: list[int] = [0]

    def mark(self, *numbers: int) -> None:
        self.marks.extend(number for number in numbers if 0 <= number < MAX_SEQUENCE_NR)

    def place(self, code: int) -> int:
        """A number near one that matters: the ends of writes and deletions, and one beside them."""
        near = self.marks[-1 - (code >> 2) % len(self.marks)]
        return max(near + (0, 1, -1, 0)[code & 3], 0)


class _Decoder:
    def __init__(self, codes: bytes) -> None:
        self._codes = codes
        self._family = ID_FAMILIES[codes[0] % len(ID_FAMILIES)]
        self._known = {persistence_id: _Known() for persistence_id in self._family}

    def operations(self) -> Iterator[AnyOperation]:
        for start in range(HEAD_SIZE, len(self._codes) - CODE_SIZE + 1, CODE_SIZE):
            kind, *rest = self._codes[start : start + CODE_SIZE]
            make = KINDS[kind % len(KINDS)]
            if make is not None:
                yield make(self, *rest)

    def _id(self, code: int) -> tuple[str, _Known]:
        persistence_id = self._family[(0, 0, 0, 1, 1, 2)[code % 6]]
        return persistence_id, self._known[persistence_id]

    def write(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        return Write((self._next_batch(a, b, c, d, e),))

    def write_call(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """Several writes in one call, of one id or of several; sometimes none."""
        count = b % 4
        return Write(tuple(self._next_batch(a + turn * (1 + d % 3), c >> turn, 0, e, 0) for turn in range(count)))

    def _next_batch(self, a: int, b: int, c: int, d: int, e: int) -> Batch:
        persistence_id, known = self._id(a)
        first = known.highest + 1 + JUMPS[c % len(JUMPS)]
        last = first + (0, 0, 0, 1, 2, 6)[b % 6]
        batch = self._batch(persistence_id, first, last, d, e)
        if not _refused(batch):
            known.highest = last
            known.mark(first, last)
        return batch

    @staticmethod
    def _batch(persistence_id: str, first: int, last: int, d: int, e: int) -> Batch:
        return Batch(
            persistence_id,
            first,
            last,
            content=CONTENTS[d % len(CONTENTS)],
            serializer_id=(4, 4, 4, 0, 17, 2**31 - 1)[e % 6],
            payload_manifest=TEXTS[e % len(TEXTS)] if e % 5 == 1 else "",
            manifest=TEXTS[d % len(TEXTS)] if e % 5 == 2 else "",
            writer_uuid=TEXTS[d % len(TEXTS)] if e % 5 == 3 else "",
            timestamp=TIMES[d % len(TIMES)] if e % 7 == 4 else 0,
            tags=TAGS[e % len(TAGS)],
            metadata=CONTENTS[d % len(CONTENTS)] if e % 9 == 5 else None,
        )

    def write_again(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """A write that begins at or below the highest number, if there is one: a conflict."""
        persistence_id, known = self._id(a)
        first = min(max(known.place(b), 1), max(known.highest, 1))
        last = first + (0, 0, 1, 2, 5)[c % 5]
        if first > known.highest:
            known.highest = last
            known.mark(first, last)
        return Write((self._batch(persistence_id, first, last, d, e),))

    def replay(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        return Replay(self._id(a)[0])

    def replay_window(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        first = 1 if d & 1 else known.place(b)
        last = MAX_SEQUENCE_NR if d & 2 else known.place(c)
        limit = (MAX_SEQUENCE_NR, MAX_SEQUENCE_NR, 1, 2, 3, 0)[e % 6]
        return Replay(persistence_id, first, last, limit)

    def highest(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        return Highest(persistence_id, known.place(b) if c % 3 == 1 else 0)

    def delete(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        to = (known.place(c), known.highest, MAX_SEQUENCE_NR, known.highest + 3)[b % 4]
        known.mark(min(to, known.highest))
        return Delete(persistence_id, to)

    def save(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        number = (known.highest, known.snapshots[-1 - c % len(known.snapshots)], known.highest + 1, 2, 10, 9, 0)[b % 7]
        known.snapshots.append(number)
        return SaveSnapshot(persistence_id, number, TIMES[d % len(TIMES)], CONTENTS[e % len(CONTENTS)])

    def load(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        return LoadSnapshot(self._id(a)[0], self._bounds(a, b, c, d, e))

    def delete_snapshots(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        return DeleteSnapshots(self._id(a)[0], self._bounds(a, b, c, d, e))

    def _bounds(self, a: int, b: int, c: int, d: int, e: int) -> Bounds:
        known = self._id(a)[1]
        numbers = known.snapshots[-1 - c % len(known.snapshots)] + (0, 0, -1, 1)[b >> 4 & 3]
        other = known.snapshots[-1 - d % len(known.snapshots)]
        times = (1 + e % 4) * MILLISECOND
        highest = max(numbers, 0) if b & 1 else MAX_SEQUENCE_NR
        latest = times if b & 2 else MAX_TIMESTAMP
        lowest = min(other, highest) if b & 4 else 0
        earliest = min((1 + d % 4) * MILLISECOND, latest) if b & 8 else 0
        return Bounds(highest, latest, lowest, earliest)

    def delete_snapshot(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        persistence_id, known = self._id(a)
        number = known.snapshots[-1 - b % len(known.snapshots)]
        return DeleteSnapshot(persistence_id, number, TIMES[d % len(TIMES)])

    def reopen(self, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        """Rarely: opening a store costs as much as a hundred operations."""
        return Reopen() if e % 8 == 0 else self.highest(a, b, c, d, e)

    def clock(self, a: int, *_: int) -> AnyOperation:
        """The clock goes on, stands still, or goes back."""
        return Clock(START_OF_CLOCK + (0, 1, -1, 1000)[a % 4] * MILLISECOND)


def _refused(batch: Batch) -> bool:
    texts = (batch.payload_manifest, batch.manifest, batch.writer_uuid, *batch.tags)
    return any("\ud800" <= character <= "\udfff" for text in texts for character in text)


_Make = Callable[..., AnyOperation]
KINDS: Sequence[_Make | None] = (
    None,
    *(_Decoder.write,) * 5,
    *(_Decoder.write_call,) * 2,
    *(_Decoder.write_again,) * 2,
    *(_Decoder.replay,) * 4,
    *(_Decoder.replay_window,) * 6,
    *(_Decoder.highest,) * 4,
    *(_Decoder.delete,) * 2,
    *(_Decoder.save,) * 2,
    *(_Decoder.load,) * 4,
    _Decoder.delete_snapshot,
    _Decoder.delete_snapshots,
    _Decoder.reopen,
    _Decoder.clock,
)
"""The kinds of operations, each as often as it is wanted; the first is none."""


def decode(codes: bytes, name: str) -> Program:
    """The program of exactly `SIZE` bytes. The same bytes give the same program, on every machine and version."""
    steps = tuple(Step(operation) for operation in _Decoder(codes).operations())
    return Program(name, "", (), steps, page_size=PAGE_SIZES[codes[1] % len(PAGE_SIZES)])


def programs(seed: int, count: int) -> Iterator[Program]:
    """A stretch of generated programs; the same seed gives the same ones."""
    source = random.Random(seed)
    for number in range(count):
        yield decode(source.randbytes(SIZE), f"generated_{seed}_{number}")


def within(program: Program, claims: Claims, journal: bool, snapshots: bool) -> Program:
    """The program without the steps that a backend cannot be asked, for what it offers and claims."""
    left_out = (() if journal else JOURNAL_OPERATIONS) + (() if snapshots else SNAPSHOT_OPERATIONS)
    left_out += () if claims.survives_close else (Reopen,)
    steps = tuple(step for step in program.steps if not isinstance(step.operation, left_out))
    return msgspec.structs.replace(program, steps=steps)
