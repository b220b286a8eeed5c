"""Shrinking: from a program that breaks a rule to a small one that still does, by leaving things out.

Passes from coarse to fine, again and again until none of them helps: fewer steps, fewer writes, plainer steps, plainer
ids, smaller numbers. Deterministic: the same program and the same answers give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

import msgspec
from perdure import MAX_SEQUENCE_NR

from .operations import (
    ACTOR_OPERATIONS,
    AnyOperation,
    Batch,
    Bounds,
    Content,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Replay,
    SaveSnapshot,
    Take,
    Write,
    ids_of,
    renamed,
)
from .program import Program, Step, without_loose_ends
from .shrink_actors import smaller_operations

TRIES_MAX = 300
PLAIN_IDS = ("p", "q", "r", "s")
SIZES = (10_000, 65_537)
GAPS = (1, 2, 10, 200)
INSIDE_MAX = 1000
CUT_MAX = 10
Said = TypeVar("Said", bound=msgspec.Struct)
Sized = TypeVar("Sized", Batch, SaveSnapshot)


def shrink(program: Program, breaks: Callable[[Program], bool], tries_max: int = TRIES_MAX) -> tuple[Program, int]:
    """The smallest program found, and how many were tried. The last step, where the rule breaks, always stays."""
    search = _Search(program, breaks, tries_max)
    while search.changed and search.tries < tries_max:
        search.changed = False
        search.fewer_steps()
        for simplify in (_smaller_writes, _out_of_blocks, _plainer, _seen_sooner, _plainer_ids, _smaller_numbers):
            search.take_all(simplify)
    return search.best, search.tries


class _Search:
    """The best program so far, and what it cost to find it."""

    def __init__(self, program: Program, breaks: Callable[[Program], bool], tries_max: int) -> None:
        self.best = program
        self._tries_max = tries_max
        self.tries = 1
        self.changed = True
        self._breaks = breaks

    def try_this(self, candidate: Program) -> bool:
        """Take a candidate if it still breaks the rule; False if it does not, or if the tries are used up."""
        if self.tries >= self._tries_max or candidate == self.best:
            return False
        self.tries += 1
        if not self._breaks(candidate):
            return False
        self.best = candidate
        self.changed = True
        return True

    def fewer_steps(self) -> None:
        """Leave out runs of steps, long ones first, each once from the end to the beginning."""
        size = len(self.best.steps) // 2
        while size:
            at = len(self.best.steps) - 1 - size
            while at > -size:
                steps = self.best.steps
                fewer = without_loose_ends((*steps[: max(at, 0)], *steps[at + size :]))
                self.try_this(_with(self.best, fewer))
                at -= size
            size //= 2

    def take_all(self, simplify: Callable[[Program], Iterator[Program]]) -> None:
        """Take what a pass offers for as long as something of it helps."""
        while any(self.try_this(candidate) for candidate in simplify(self.best)):
            pass


def _with(program: Program, steps: tuple[Step, ...]) -> Program:
    return msgspec.structs.replace(program, steps=steps)


def _with_step(program: Program, at: int, operation: AnyOperation) -> Program:
    """The program with another operation in one step, of which nobody has said what it should end in."""
    changed = msgspec.structs.replace(program.steps[at], operation=operation, expected=())
    return _with(program, (*program.steps[:at], changed, *program.steps[at + 1 :]))


def _smaller_writes(program: Program) -> Iterator[Program]:
    """Without one of the writes of a call, or with a write of several events cut to its last one, or into one of each.

    Where it need not be one write, it is not its being one that breaks the rule.
    """
    for at, step in enumerate(program.steps):
        if isinstance(step.operation, Write):
            batches = step.operation.batches
            for place, batch in enumerate(batches):
                if len(batches) > 1:
                    yield _with_step(program, at, Write((*batches[:place], *batches[place + 1 :])))
                if batch.first < batch.last:
                    last = msgspec.structs.replace(batch, first=batch.last)
                    yield _with_step(program, at, Write((*batches[:place], last, *batches[place + 1 :])))
                    if batch.last - batch.first < CUT_MAX:
                        yield _with_step(program, at, Write((*batches[:place], *_cut(batch), *batches[place + 1 :])))


def _out_of_blocks(program: Program) -> Iterator[Program]:
    """With one step less in a block, before it or behind it: where it need not overlap, that is not the cause."""
    steps = program.steps
    for at, step in enumerate(steps):
        begins = at == 0 or steps[at - 1].block != step.block
        ends = at + 1 == len(steps) or steps[at + 1].block != step.block
        if step.block and (begins or ends):
            alone = msgspec.structs.replace(step, block=0)
            yield _with(program, (*steps[:at], alone, *steps[at + 1 :]))


def _cut(batch: Batch) -> Iterator[Batch]:
    for number in range(batch.first, batch.last + 1):
        yield msgspec.structs.replace(batch, first=number, last=number)


def _plainer(program: Program) -> Iterator[Program]:
    """With one thing less said: a client, an attribute of an event, a bound, a limit, the size of the pages."""
    if program.page_size is not None:
        yield msgspec.structs.replace(program, page_size=None)
    if any(step.client for step in program.steps):
        yield _with(program, tuple(msgspec.structs.replace(step, client="") for step in program.steps))
    for at, step in enumerate(program.steps):
        for operation in _plainer_operations(step.operation):
            if not (step.block and _takes_all(operation)):  # in a block one takes a number of items
                yield _with_step(program, at, operation)


def _plainer_operations(operation: AnyOperation) -> Iterator[AnyOperation]:
    if isinstance(operation, ACTOR_OPERATIONS):
        yield from smaller_operations(operation)
        return
    match operation:
        case Write(batches=batches):
            for place, batch in enumerate(batches):
                plain = Batch(batch.persistence_id, batch.first, batch.last)
                for plainer in (*_less_said(batch, plain), *_shorter(batch)):
                    yield Write((*batches[:place], plainer, *batches[place + 1 :]))
        case Replay(persistence_id=persistence_id):
            yield from _less_said(operation, Replay(persistence_id))
        case SaveSnapshot():
            yield from _less_said(operation, SaveSnapshot(operation.persistence_id, operation.sequence_nr))
            yield from _shorter(operation)
        case Query(name=name, subject=subject, persistence_id=persistence_id, tag=tag):
            yield from _less_said(operation, Query(name, subject, True, persistence_id, tag=tag))
        case Take(name=name):
            yield from _less_said(operation, Take(name))
            if 1 < operation.count < MAX_SEQUENCE_NR:
                yield Take(name, operation.count - 1)
        case Highest(persistence_id=persistence_id):
            yield from _less_said(operation, Highest(persistence_id))
        case LoadSnapshot(bounds=bounds) | DeleteSnapshots(bounds=bounds):
            for fewer in _less_said(bounds, Bounds()):
                yield msgspec.structs.replace(operation, bounds=fewer)
        case _:
            pass


def _takes_all(operation: AnyOperation) -> bool:
    return isinstance(operation, Take) and operation.count == MAX_SEQUENCE_NR


def _less_said(value: Said, plain: Said) -> Iterator[Said]:
    """The value with one field as it is in the plain one."""
    for field in value.__struct_fields__:
        if getattr(value, field) != getattr(plain, field):
            yield msgspec.structs.replace(value, **{field: getattr(plain, field)})


def _shorter(said: Sized) -> Iterator[Sized]:
    """With a payload of a size that tells what it is about: more than small columns, or blocks, take."""
    for size in SIZES:
        if said.content is not None and said.content.size > size:
            yield msgspec.structs.replace(said, content=Content(size=size))


def _seen_sooner(program: Program) -> Iterator[Program]:
    """With a read at the end instead of a write, where what is stored by then is wrong already.

    Not where the program says which rules it is about: the read may break another.
    """
    operation = program.steps[-1].operation
    if isinstance(operation, Write | Highest) and not program.rules:
        for persistence_id in dict.fromkeys(ids_of(operation)):
            yield _with_step(program, len(program.steps) - 1, Replay(persistence_id))
            if isinstance(operation, Write):
                yield _with_step(program, len(program.steps) - 1, Highest(persistence_id))


def _plainer_ids(program: Program) -> Iterator[Program]:
    """With ids that mean nothing, in the order in which they appear."""
    names: dict[str, str] = {}
    for step in program.steps:
        for persistence_id in ids_of(step.operation):
            if persistence_id and persistence_id not in names and len(names) < len(PLAIN_IDS):
                names[persistence_id] = PLAIN_IDS[len(names)]

    def rename(persistence_id: str) -> str:
        return names.get(persistence_id, persistence_id)

    steps = tuple(msgspec.structs.replace(step, operation=renamed(step.operation, rename)) for step in program.steps)
    yield _with(program, steps)


def _smaller_numbers(program: Program) -> Iterator[Program]:
    """With numbers as small as their order allows, 5 and 9 as 1 and 2; else with gaps as narrow as may be.

    Besides being easier to read, two programs that break a rule in the same way then look the same.
    """
    numbers = {number for step in program.steps for number in _numbers(step.operation)}
    inside = {number for step in program.steps for number in _inside(step.operation)}
    if any(number < 0 for number in numbers):
        return
    for some in (numbers - {MAX_SEQUENCE_NR}, (numbers | inside) - {MAX_SEQUENCE_NR}, numbers | inside):
        for gap in GAPS:
            closer = _closer(some - {0}, gap)
            smaller = _with(program, tuple(_renumbered(step, closer) for step in program.steps))
            if _total(smaller) < _total(program):
                yield smaller
    if any(isinstance(step.operation, SaveSnapshot) and step.operation.sequence_nr == 0 for step in program.steps):
        yield _with(program, tuple(_from_one(step) for step in program.steps))


def _total(program: Program) -> int:
    return sum(number for step in program.steps for number in _numbers(step.operation))


def _closer(numbers: AbstractSet[int], gap: int) -> Mapping[int, int]:
    """Each number with the one that it becomes if none is further than that above the one before."""
    closer: dict[int, int] = {0: 0}
    before = after = 0
    for number in sorted(numbers):
        after += min(number - before, gap)
        before = number
        closer[number] = after
    return closer


def _from_one(step: Step) -> Step:
    """The step with every number of a snapshot one higher, so that none is 0."""
    operation: AnyOperation = step.operation
    match operation:
        case SaveSnapshot() | DeleteSnapshot():
            operation = msgspec.structs.replace(operation, sequence_nr=min(operation.sequence_nr + 1, MAX_SEQUENCE_NR))
        case LoadSnapshot(bounds=bounds) | DeleteSnapshots(bounds=bounds):
            higher = msgspec.structs.replace(
                bounds,
                max_sequence_nr=min(bounds.max_sequence_nr + 1, MAX_SEQUENCE_NR),
                min_sequence_nr=bounds.min_sequence_nr and min(bounds.min_sequence_nr + 1, MAX_SEQUENCE_NR),
            )
            operation = msgspec.structs.replace(operation, bounds=higher)
        case _:
            return step
    return msgspec.structs.replace(step, operation=operation, expected=())


_NUMBER_FIELDS = ("sequence_nr",)
_NO_BOUND = {"from_sequence_nr": 1, "to_sequence_nr": MAX_SEQUENCE_NR, "hint": MAX_SEQUENCE_NR}
"""Bounds, and the number of each that stands for no bound and stays."""


def _numbers(operation: AnyOperation) -> Iterator[int]:
    if isinstance(operation, Write):
        for batch in operation.batches:
            yield from (batch.first, batch.last)
    for field in (*_NUMBER_FIELDS, *_NO_BOUND):
        number = getattr(operation, field, None)
        if number is not None and number != _NO_BOUND.get(field):
            yield number


def _inside(operation: AnyOperation) -> Iterator[int]:
    """The numbers of the events of a write, unless they are many."""
    if isinstance(operation, Write):
        for batch in operation.batches:
            yield from range(batch.first, min(batch.last, batch.first + INSIDE_MAX) + 1)


def _renumbered(step: Step, smaller: Mapping[int, int]) -> Step:
    """The step with other numbers."""

    def of(number: int, field: str) -> int:
        return number if _NO_BOUND.get(field) == number else smaller.get(number, number)

    operation = step.operation
    if isinstance(operation, Write):
        batches = tuple(
            msgspec.structs.replace(one, first=of(one.first, "first"), last=of(one.last, "last"))
            for one in operation.batches
        )
        return msgspec.structs.replace(step, operation=Write(batches), expected=())
    changed = {
        field: of(getattr(operation, field), field)
        for field in (*_NUMBER_FIELDS, *_NO_BOUND)
        if hasattr(operation, field)
    }
    return msgspec.structs.replace(step, operation=msgspec.structs.replace(operation, **changed), expected=())
