"""Generated programs with overlapping steps: some events, then two or three clients at once, then a look at all of it.

Made of bytes as sequential programs are: code 0 is no operation, and the schedule is drawn from the same bytes, mostly
in the order of the queue. The universe is small on purpose, two ids and few numbers, so that the clients meet. A client
numbers its events as if it were alone: whoever comes second gets a conflict.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import msgspec
from perdure import MAX_SEQUENCE_NR, Claims

from . import generation
from .offers import Offers
from .operations import (
    SNAPSHOT_OPERATIONS,
    AnyOperation,
    Batch,
    Cancel,
    Delete,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Replay,
    SaveSnapshot,
    Write,
)
from .program import Program, Step

CLIENTS = ("a", "b", "c")
OPERATIONS = 3
"""How many operations a client has at most."""

HEAD_SIZE = 4
CODE_SIZE = 2
SCHEDULE_SIZE = 24
SIZE = HEAD_SIZE + CODE_SIZE * OPERATIONS * len(CLIENTS) + SCHEDULE_SIZE
CHOICES = (0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 5)
PAGE_SIZES = (None, 1, 2)

Make = Callable[["_Client", int], AnyOperation | None]


class _Client:
    """What a client believes: the numbers that it will use next."""

    def __init__(self, name: str, others: Sequence[str], highest: dict[str, int]) -> None:
        self.name = name
        self.others = others
        self._highest = dict(highest)

    def id(self, code: int) -> str:
        return ("p", "p", "p", "q")[code % 4]

    def highest(self, persistence_id: str) -> int:
        return self._highest.get(persistence_id, 0)

    def batch(self, persistence_id: str, length: int) -> Batch:
        first = self.highest(persistence_id) + 1
        self._highest[persistence_id] = first + length - 1
        return Batch(persistence_id, first, first + length - 1)


def _write(client: _Client, code: int) -> AnyOperation:
    return Write((client.batch(client.id(code), (1, 1, 2, 3)[code // 4 % 4]),))


def _write_each(client: _Client, code: int) -> AnyOperation:
    persistence_id = client.id(code)
    return Write(tuple(client.batch(persistence_id, 1) for _ in range(2 + code // 4 % 2)))


def _write_both(client: _Client, code: int) -> AnyOperation:
    return Write((client.batch("p", 1 + code % 2), client.batch("q", 1)))


def _replay(client: _Client, code: int) -> AnyOperation:
    return Replay(client.id(code), 1 + code // 4 % 2)


def _highest(client: _Client, code: int) -> AnyOperation:
    return Highest(client.id(code))


def _delete(client: _Client, code: int) -> AnyOperation:
    persistence_id = client.id(code)
    return Delete(
        persistence_id, (max(client.highest(persistence_id) - code // 4 % 2, 1), MAX_SEQUENCE_NR)[code // 8 % 2]
    )


def _save(client: _Client, code: int) -> AnyOperation:
    return SaveSnapshot(client.id(code), 1 + code // 4 % 2)


def _load(client: _Client, code: int) -> AnyOperation:
    return LoadSnapshot(client.id(code))


def _delete_snapshots(client: _Client, code: int) -> AnyOperation:
    return DeleteSnapshots(client.id(code))


def _cancel(client: _Client, code: int) -> AnyOperation:
    return Cancel(client.others[code % len(client.others)])


_JOURNAL: Sequence[Make | None] = (None, _write, _write, _replay, _replay, _highest, _delete, _write_each, _write_both)
_CANCELLING: Sequence[Make | None] = (None, _write, _write_each, _cancel, _cancel, _replay, _highest, _delete, _save)
_SNAPSHOTS: Sequence[Make | None] = (None, _save, _save, _load, _load, _delete_snapshots, _save)
MOODS = (_JOURNAL,) * 10 + (_CANCELLING,) * 3 + (_SNAPSHOTS,) * 3


def decode(codes: bytes, name: str) -> Program:
    """The program of exactly `SIZE` bytes."""
    mood = MOODS[codes[0] % len(MOODS)]
    first, highest = _first(codes[1])
    schedule = tuple(CHOICES[code % len(CHOICES)] for code in codes[-SCHEDULE_SIZE:])
    steps = (*first, *_block(codes, mood, highest))
    return Program(
        name,
        "",
        (),
        (*steps, *_look(steps)),
        page_size=PAGE_SIZES[codes[2] % len(PAGE_SIZES)],
        one_handle=codes[3] % 3 > 0,
        schedule=_trimmed(schedule),
    )


def _trimmed(schedule: tuple[int, ...]) -> tuple[int, ...]:
    end = next((place for place in range(len(schedule), 0, -1) if schedule[place - 1]), 0)
    return schedule[:end]


def _first(code: int) -> tuple[Sequence[Step], dict[str, int]]:
    """What is there when the clients begin."""
    highest = {"p": code % 4, "q": code // 4 % 2}
    writes = [Step(Write((Batch(one, 1, last),))) for one, last in highest.items() if last]
    return (*writes, *((Step(SaveSnapshot("p", 1)),) if code // 8 % 4 == 1 else ())), highest


def _block(codes: bytes, mood: Sequence[Make | None], highest: dict[str, int]) -> Iterator[Step]:
    names = CLIENTS[: 2 + codes[0] // len(MOODS) % 2]
    place = HEAD_SIZE
    for name in names:
        client = _Client(name, [other for other in names if other != name], highest)
        for _ in range(OPERATIONS):
            make, code = mood[codes[place] % len(mood)], codes[place + 1]
            place += CODE_SIZE
            operation = make(client, code) if make else None
            if operation is not None:
                yield Step(operation, name, block=1)


def _look(steps: Sequence[Step]) -> Iterator[Step]:
    """A look at everything, when all clients have ended."""
    operations = [step.operation for step in steps]
    for persistence_id in ("p", "q"):
        yield Step(Replay(persistence_id))
        yield Step(Highest(persistence_id))
    if any(isinstance(one, SNAPSHOT_OPERATIONS) for one in operations):
        yield from (Step(LoadSnapshot(persistence_id)) for persistence_id in ("p", "q"))


def programs(seed: int, count: int) -> Iterator[Program]:
    """A stretch of generated programs; the same seed gives the same ones."""
    source = random.Random(f"overlapping {seed}")
    codes = (source.randbytes(SIZE) for _ in itertools.count())
    return (decode(code, f"overlapping_{seed}_{number}") for number, code in zip(range(count), codes, strict=False))


def within(program: Program, claims: Claims, offers: Offers) -> Program:
    """The program without what a backend cannot be asked; one that shares no location has one handle."""
    one_handle = program.one_handle or not claims.shared
    program = msgspec.structs.replace(program, one_handle=one_handle)
    return generation.within(program, claims, *offers)
