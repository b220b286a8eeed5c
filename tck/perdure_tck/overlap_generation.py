"""Generated programs with overlapping steps: some events, then two or three clients at once, then a look at all of it.

Made of bytes as sequential programs are: code 0 is no operation, and the schedule is drawn from the same bytes, mostly
in the order of the queue. The universe is small on purpose, two ids and few numbers, so that the clients meet. A client
numbers its events as if it were alone: whoever comes second gets a conflict. Where the last client reads feeds, each of
the others writes to an id of its own, so that what will be there for him is known.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from perdure import MAX_SEQUENCE_NR, Claims

from . import generation
from .model import START_OF_CLOCK
from .offers import Offers
from .operations import (
    SNAPSHOT_OPERATIONS,
    AnyOperation,
    Batch,
    Cancel,
    Clock,
    Close,
    Delete,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Replay,
    Resume,
    SaveSnapshot,
    Take,
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
STRETCH_MAX = 8
PAGE_SIZES = (None, 1, 2)

Make = Callable[["_Client", int], AnyOperation | None]


QUERIES = ("f", "g", "h", "k")
RESUMED = ("events by tag", "all events")
LOOK = "look"
HOUR_NS = 3600 * 10**9
MANY = 9
"""More events than there are: to the end of a current query."""


class _Client:
    """What a client believes: the numbers that it will use next, and the queries that it has opened."""

    def __init__(self, name: str, others: Sequence[str], highest: dict[str, int], opened: Sequence[Query]) -> None:
        self.name = name
        self.others = others
        self._highest = dict(highest)
        self.open = list(opened)
        self._names = iter(QUERIES[len(opened) :])

    def opened(self, query: Query) -> Query:
        named = msgspec.structs.replace(query, name=next(self._names))
        self.open.append(named)
        return named

    @property
    def own_id(self) -> str:
        return "p" if self.name == CLIENTS[0] else "q"

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


def _feed(client: _Client, code: int) -> AnyOperation:
    batch = client.batch(client.own_id, (1, 1, 1, 2)[code % 4])
    return Write((_tagged(batch, code),))


def _feed_each(client: _Client, code: int) -> AnyOperation:
    return Write(tuple(_tagged(client.batch(client.own_id, 1), code + 4 * one) for one in range(2)))


def _tagged(batch: Batch, code: int) -> Batch:
    return msgspec.structs.replace(batch, tags=("a",) if code // 4 % 3 else ())


def _delete_own(client: _Client, code: int) -> AnyOperation:
    return Delete(client.own_id, (max(client.highest(client.own_id) - code // 2 % 2, 1), MAX_SEQUENCE_NR)[code % 2])


def _cancel_last(client: _Client, _code: int) -> AnyOperation:
    return Cancel(client.others[-1])


def _follow(client: _Client, code: int) -> AnyOperation:
    return _opened(client, code, current=code // 8 % 4 == 0)


def _look_through(client: _Client, code: int) -> AnyOperation:
    return _opened(client, code, current=True)


def _opened(client: _Client, code: int, current: bool) -> AnyOperation:
    query = _query("", code, current)
    if current and client.open and query.subject in RESUMED and code // 32 % 2:
        query = msgspec.structs.replace(query, after=Resume(client.open[-1].name))
    return client.opened(query)


def _query(name: str, code: int, current: bool) -> Query:
    match code % 8:
        case 0 | 1:
            return Query(name, "events by tag", current, tag="a")
        case 2:
            return Query(name, "events by persistence id", current, ("p", "q")[code // 8 % 2])
        case 3:
            return Query(name, "persistence ids", current)
        case _:
            return Query(name, "all events", current)


def _take(client: _Client, code: int) -> AnyOperation:
    if not client.open:
        return _follow(client, code)
    query = client.open[-1 - code // 8 % len(client.open)]
    return Take(query.name, MANY if query.current and code % 2 else (1, 1, 1, 2, 2, 3, 4, 5)[code % 8])


def _close(client: _Client, code: int) -> AnyOperation:
    return Close(client.open.pop().name) if client.open else _follow(client, code)


_JOURNAL: Sequence[Make | None] = (None, _write, _write, _replay, _replay, _highest, _delete, _write_each, _write_both)
_CANCELLING: Sequence[Make | None] = (None, _write, _write_each, _cancel, _cancel, _replay, _highest, _delete, _save)
_SNAPSHOTS: Sequence[Make | None] = (None, _save, _save, _load, _load, _delete_snapshots, _save)
_FEEDING: Sequence[Make | None] = (None, _feed, _feed, _feed, _feed_each)
_FEEDING_TO_ONE_WHO_IS_CANCELLED: Sequence[Make | None] = (None, _feed, _feed, _feed_each, _cancel_last)
_FEEDING_AND_DELETING: Sequence[Make | None] = (None, _feed, _feed, _feed_each, _delete_own, _delete_own)
_FOLLOWING: Sequence[Make | None] = (None, _take, _take, _take, _take, _take, _follow, _follow, _close)
_LOOKING_THROUGH: Sequence[Make | None] = (None, _take, _take, _take, _look_through, _look_through, _look_through)


class Mood(NamedTuple):
    """What the clients do; the last one may do something of his own."""

    operations: Sequence[Make | None]
    of_the_last: Sequence[Make | None] = ()


MOODS: Sequence[Mood] = (
    *(Mood(_JOURNAL),) * 10,
    *(Mood(_CANCELLING),) * 3,
    *(Mood(_SNAPSHOTS),) * 3,
    *(Mood(_FEEDING, _FOLLOWING),) * 4,
    Mood(_FEEDING_TO_ONE_WHO_IS_CANCELLED, _FOLLOWING),
    Mood(_FEEDING_AND_DELETING, _LOOKING_THROUGH),
)
"""Live queries are not drawn beside deletions: what they owe then would hang on who comes first."""


def decode(codes: bytes, name: str) -> Program:
    """The program of exactly `SIZE` bytes."""
    mood = MOODS[codes[0] % len(MOODS)]
    first, highest = _first(codes[1])
    schedule = (_stretches if mood.of_the_last else _choices)(codes[-SCHEDULE_SIZE:])
    opened = _opened_before(codes[3] // 3, mood)
    quiet = _quiet_before(codes[3] // 3, opened)
    steps = (*first, *map(Step, opened), *map(Step, quiet), *_block(codes, mood, highest, opened))
    return Program(
        name,
        "",
        (),
        (*steps, *_look(steps)),
        page_size=PAGE_SIZES[codes[2] % len(PAGE_SIZES)],
        one_handle=codes[3] % 3 > 0,
        schedule=_trimmed(schedule),
    )


def _choices(codes: bytes) -> tuple[int, ...]:
    return tuple(CHOICES[code % len(CHOICES)] for code in codes)


def _stretches(codes: bytes) -> tuple[int, ...]:
    """Whoever is passed over again and again is slow, as a transaction that is long in committing."""
    stretches = [(CHOICES[code % len(CHOICES)],) * (1 + code // len(CHOICES) % STRETCH_MAX) for code in codes]
    return tuple(itertools.chain(*stretches))


def _trimmed(schedule: tuple[int, ...]) -> tuple[int, ...]:
    end = next((place for place in range(len(schedule), 0, -1) if schedule[place - 1]), 0)
    return schedule[:end]


def _first(code: int) -> tuple[Sequence[Step], dict[str, int]]:
    """What is there when the clients begin."""
    highest = {"p": code % 4, "q": code // 4 % 2}
    writes = [Step(Write((Batch(one, 1, last),))) for one, last in highest.items() if last]
    return (*writes, *((Step(SaveSnapshot("p", 1)),) if code // 8 % 4 == 1 else ())), highest


def _opened_before(code: int, mood: Mood) -> Sequence[Query]:
    """The query that the last client, if he reads feeds, mostly has open by then."""
    if not mood.of_the_last or code % 4 == 0:
        return ()
    return (_query(QUERIES[0], code // 4, current=mood.of_the_last is _LOOKING_THROUGH),)


def _quiet_before(code: int, opened: Sequence[Query]) -> Sequence[AnyOperation]:
    """An hour in which nothing happens, behind all that was there: now and then."""
    return (*(Take(one.name) for one in opened), Clock(START_OF_CLOCK + HOUR_NS)) if opened and code >= 64 else ()


def _block(codes: bytes, mood: Mood, highest: dict[str, int], opened: Sequence[Query]) -> Iterator[Step]:
    count = codes[0] // len(MOODS)
    names = CLIENTS[: 2 + (count % 4 > 0 if mood.of_the_last else count % 2)]
    place = HEAD_SIZE
    for name in names:
        client = _Client(name, [other for other in names if other != name], highest, opened)
        makes = mood.of_the_last if mood.of_the_last and name == names[-1] else mood.operations
        for _ in range(OPERATIONS):
            make, code = makes[codes[place] % len(makes)], codes[place + 1]
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
    queries = [one for one in operations if isinstance(one, Query)]
    closed = {one.name for one in operations if isinstance(one, Close)}
    yield from (Step(Take(one.name)) for one in queries if one.name not in closed)
    if queries:
        yield from (Step(Query(LOOK, "all events", current=True)), Step(Take(LOOK)))


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
