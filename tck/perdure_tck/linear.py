"""The checker of overlapping calls: is there an order of them in which the model allows all that was observed?

It goes through a history in the order of time and keeps every *world* that may be: the model's states, and which of the
calls under way have taken effect by now, with which outcome. When a call returns, the worlds in which it has ended in
what was observed remain; if there is none, no order explains the history, and that call is where it shows.

Some sentences of the contracts are finer than "each call is one step". An AtomicWrite is one step, a call of several is
several, in their order; so is each event that is taken from a query, and the order of its feed is that of the writes. A
call that was cancelled has happened whole or not at all, perhaps after it returned; a take that was cancelled may have
closed its query. And a highest number is answered
when the writes that began before it on the same handle are settled (J-47): from then on a cancelled one has either
happened or never will. Closing settles them too.

Pure: it knows neither a backend nor a clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from perdure import MAX_SEQUENCE_NR, Claims, EventEnvelope

from . import model, model_queries
from .model import START_OF_CLOCK, State
from .operations import (
    QUERY_OPERATIONS,
    AnyOperation,
    Cancel,
    Close,
    Highest,
    LoadSnapshot,
    Reopen,
    Replay,
    Take,
    Write,
    ids_of,
)
from .outcomes import Answers, AnyOutcome, Cancelled, Conflict, Invalid, Taken, TakenIds
from .program import Step

Event = tuple[str, str, int]
"""An event by its namespace, id and number."""

Same = Callable[[AnyOutcome, AnyOutcome], bool]
"""Whether an allowed outcome and an observed one are the same, as far as this is the checker's business."""


class Call(msgspec.Struct, frozen=True):
    """One call of a history: from when to when it was under way, on one scale of whole numbers, and what it ended in.

    `outcome` None: it never returned. `handle` is the handle that it was made on, `namespace` what it was made in.
    """

    number: int
    operation: AnyOperation
    began: int
    ended: int
    outcome: AnyOutcome | None
    handle: str = ""
    namespace: str = ""


class Stray(msgspec.Struct, frozen=True):
    """The call whose return no order explains, and the outcomes that some order would explain."""

    call: Call
    allowed: tuple[AnyOutcome, ...]


class _Progress(msgspec.Struct, frozen=True):
    """How far a call has come in a world: its AtomicWrites or items so far, and its outcome if it has taken effect."""

    rejected: tuple[bool, ...] = ()
    items: tuple[EventEnvelope, ...] = ()
    outcome: AnyOutcome | None = None


_NOT_YET = _Progress()
_NEVER = _Progress(outcome=Cancelled())
"""Of a call that was cancelled before it took effect, and never will."""


class World(msgspec.Struct, frozen=True):
    """One way in which a history may have come about up to now.

    `adrift` are calls that were cancelled without effect and may still have one.
    """

    states: Mapping[str, State] = {}
    now: int = START_OF_CLOCK
    under_way: Mapping[int, _Progress] = {}
    adrift: frozenset[int] = frozenset()

    def state(self, namespace: str) -> State:
        return msgspec.structs.replace(self.states.get(namespace, State()), now=self.now)

    def key(self) -> object:
        """Equal for worlds that are the same from here on."""
        states = frozenset([(namespace, _key_of(state)) for namespace, state in self.states.items()])
        return states, self.now, frozenset(self.under_way.items()), self.adrift


def _key_of(state: State) -> object:
    """All of a state as something that can be hashed. This is what a search spends its time on."""
    return (
        frozenset(state.logs.items()),
        frozenset([(owner, frozenset(kept.items())) for owner, kept in state.snapshots.items()]),
        state.now,
        state.feed,
        state.deleted,
        frozenset(state.queries.items()),
        state.page_size,
    )


def first_stray(calls: Sequence[Call], claims: Claims, same: Same) -> Stray | None:
    """The first call, in the order in which they returned, that no order explains; None if all are explained.

    A feed shows in which order events were written, and only orders like that can explain everything: they are tried
    first. If none does, all are, for the call to blame is the one that shows it.
    """
    order = _order_seen(calls)
    stray = _first_stray(calls, claims, same, order)
    return _first_stray(calls, claims, same, {}) if stray and order else stray


def _order_seen(calls: Iterable[Call]) -> Mapping[Event, int]:
    """The place of each event in the take that gave most."""
    longest: list[Event] = []
    for call in calls:
        if isinstance(call.outcome, Taken) and len(call.outcome.envelopes) > len(longest):
            longest = [(call.namespace, *_name_of(one)) for one in call.outcome.envelopes]
    return {event: place for place, event in enumerate(longest)}


def _first_stray(calls: Sequence[Call], claims: Claims, same: Same, order: Mapping[Event, int]) -> Stray | None:
    worlds: list[World] = [World()]
    known = {call.number: call for call in calls}
    rules = _Rules(known, claims, same, order)
    for call, returns in _in_time(calls):
        if not returns:
            worlds = [_with(world, call.number, _NOT_YET) for world in worlds]
            continue
        reached = rules.closure(worlds, call.number)
        after = _distinct(left for world in reached for left in _returned(world, call, same))
        if not after:
            asked = _Rules({**known, call.number: msgspec.structs.replace(call, outcome=None)}, claims, same)
            return Stray(call, _outcomes(asked.closure(worlds, call.number), call.number))
        worlds = after
    return None


def _in_time(calls: Iterable[Call]) -> Iterator[tuple[Call, bool]]:
    """Each call as it begins (False) and as it returns (True). At one moment, beginnings come first."""
    ends = [(call.began, 0, call.number, call) for call in calls]
    ends += [(call.ended, 1, call.number, call) for call in calls if call.outcome is not None]
    return ((call, bool(returns)) for _, returns, _, call in sorted(ends, key=lambda end: end[:3]))


def _returned(world: World, call: Call, same: Same) -> Iterator[World]:
    """The world without the call, if it has ended there in what was observed."""
    assert call.outcome is not None
    progress = world.under_way[call.number]
    left = {number: one for number, one in world.under_way.items() if number != call.number}
    after = msgspec.structs.replace(world, under_way=left)
    if not isinstance(call.outcome, Cancelled):
        if progress.outcome is not None and progress is not _NEVER and same(progress.outcome, call.outcome):
            yield after
    elif progress == _NOT_YET:
        landed = isinstance(call.operation, QUERY_OPERATIONS)  # nobody but the caller is at work on it
        yield after if landed else msgspec.structs.replace(after, adrift=world.adrift | {call.number})
    elif progress.outcome is not None:
        yield after


def _with(world: World, number: int, progress: _Progress) -> World:
    return msgspec.structs.replace(world, under_way={**world.under_way, number: progress})


def _outcomes(worlds: Iterable[World], number: int) -> tuple[AnyOutcome, ...]:
    found = dict.fromkeys(world.under_way[number].outcome for world in worlds)
    return tuple(outcome for outcome in found if outcome is not None and not isinstance(outcome, Cancelled))


def _distinct(worlds: Iterable[World]) -> list[World]:
    found = list(worlds)
    return found if len(found) < 2 else list({world.key(): world for world in found}.values())


class _Rules:
    """What may happen next in a world."""

    def __init__(
        self,
        calls: Mapping[int, Call],
        claims: Claims,
        same: Same | None = None,
        order: Mapping[Event, int] | None = None,
    ) -> None:
        self._calls = calls
        self._claims = claims
        self._same = same
        self._order = order or {}

    def closure(self, worlds: Iterable[World], awaited: int | None) -> list[World]:
        """Every world that these may become while calls are under way, until the awaited one has taken effect.

        A world in which it has is complete: what else happens can as well happen later. The worlds are distinct.
        """
        waiting = list(worlds)
        if len(waiting) == 1 and len(waiting[0].under_way) == 1 and not waiting[0].adrift:
            return [waiting[0], *self._to_the_end(waiting[0], next(iter(waiting[0].under_way)))]
        found: dict[object, World] = {world.key(): world for world in waiting}
        while waiting:
            world = waiting.pop()
            if awaited is not None and world.under_way[awaited].outcome is not None:
                continue
            for after in self.moves(world):
                if (key := after.key()) not in found:
                    found[key] = after
                    waiting.append(after)
        return list(found.values())

    def _to_the_end(self, world: World, number: int) -> Iterator[World]:
        """A call that is alone needs no search."""
        if world.under_way[number].outcome is not None:
            return
        for after in self.moved(world, number):
            yield after
            yield from self._to_the_end(after, number)

    def moves(self, world: World) -> Iterator[World]:
        """What may happen next. A take that can have what it is known to have got has it now: it changes nothing for
        anybody else, and what a query may give it may also give sooner."""
        going_on = [number for number, progress in world.under_way.items() if progress.outcome is None]
        for number in going_on:
            if isinstance(self._calls[number].outcome, Taken | TakenIds) and (taken := [*self.moved(world, number)]):
                yield from taken
                return
        for number in going_on:
            yield from self.moved(world, number)
        for number in world.adrift:
            yield from self._drifted(world, number)

    def moved(self, world: World, number: int) -> Iterator[World]:
        """The next thing that a call may do: all of it, or one of its AtomicWrites."""
        call, progress = self._calls[number], world.under_way[number]
        if isinstance(call.operation, Highest | Reopen):
            settled = self._settled(world, call)
            if settled is None:
                return
            world = settled
        if isinstance(call.operation, Take):
            taking = self._cut_short if isinstance(call.outcome, Cancelled) else self._next_item
            yield from taking(world, call, call.operation, progress)
            return
        writes = call.operation.batches if isinstance(call.operation, Write) else ()
        if len(writes) < 2:
            yield from self._done(world, call)
        elif progress == _NOT_YET:
            yield from (one for one in self._done(world, call) if _is_refusal(one.under_way[number].outcome))
            yield from self._next_write(world, call, progress)
        else:
            yield from self._next_write(world, call, progress)

    def cancelled(self, world: World, number: int) -> Iterator[World]:
        """What is left of a take that was cancelled after it began."""
        call = self._calls[number]
        if isinstance(call.operation, Take):
            yield from self._cut_short(world, call, call.operation, _NOT_YET)

    def _done(self, world: World, call: Call) -> Iterator[World]:
        for outcome, after in self._steps(world, call, call.operation):
            if self._is_known(call, outcome):
                yield _with(after, call.number, _Progress(outcome=outcome))

    def _is_known(self, call: Call, outcome: AnyOutcome) -> bool:
        """Whether a read may have ended like this. One that has not leads nowhere, and nobody waits for it."""
        if (
            call.outcome is None
            or self._same is None
            or not isinstance(call.operation, Highest | LoadSnapshot | Replay)
        ):
            return True
        return self._same(outcome, call.outcome)

    def _next_write(self, world: World, call: Call, progress: _Progress) -> Iterator[World]:
        assert isinstance(call.operation, Write)
        place = len(progress.rejected)
        last = place + 1 == len(call.operation.batches)
        for outcome, after in self._steps(world, call, Write(call.operation.batches[place : place + 1])):
            if isinstance(outcome, Answers):
                rejected = (*progress.rejected, *outcome.rejected)
                yield _with(after, call.number, _Progress(rejected, outcome=Answers(rejected) if last else None))

    def _next_item(self, world: World, call: Call, take: Take, progress: _Progress) -> Iterator[World]:
        """An event for whoever takes, or the end. A live query that has none now waits, if it is known to have waited.

        Ids come in no order, so that all that came are taken as one step.
        """
        if isinstance(call.outcome, TakenIds):
            for outcome, after in self._steps(world, call, take, call.outcome):
                if outcome.same_as(call.outcome):
                    yield _with(after, call.number, _Progress(outcome=outcome))
            return
        waits = take.count != MAX_SEQUENCE_NR and not _gave_up(call)
        for outcome, after in self._items(world, call, Take(take.name, 1), len(progress.items)):
            if not isinstance(outcome, Taken):
                yield _with(after, call.number, _Progress(outcome=outcome))
                return
            items = (*progress.items, *outcome.envelopes)
            ended = "" if outcome.ended == "pending" and waits else outcome.ended
            whole = len(items) == take.count or ended
            if whole or outcome.envelopes:
                yield _with(after, call.number, _Progress((), items, Taken(items, ended) if whole else None))

    def _items(self, world: World, call: Call, one: Take, place: int) -> Iterator[tuple[AnyOutcome, World]]:
        """What a query may give next: what it gave, where that is known; else everything."""
        if isinstance(call.outcome, Taken):
            seen = call.outcome.envelopes[place : place + 1]
            observed = Taken(seen, "" if seen else call.outcome.ended)
            for outcome, after in self._steps(world, call, one, observed):
                if isinstance(outcome, Taken) and _is_alike(outcome, observed):
                    yield outcome, after
            return
        yield from self._steps(world, call, one)
        more = model_queries.optional(world.state(call.namespace), one.name)
        if more:
            yield from self._steps(world, call, one, more)

    def _cut_short(self, world: World, call: Call, take: Take, _: _Progress) -> Iterator[World]:
        """A take was cancelled, and its query closed by that: what it had taken by then is lost to everybody."""
        for _outcome, after in self._steps(world, call, Close(take.name)):
            yield _with(after, call.number, _Progress(outcome=Cancelled()))

    def _drifted(self, world: World, number: int) -> Iterator[World]:
        """A cancelled call takes effect after all, whole."""
        call = self._calls[number]
        landed = msgspec.structs.replace(world, adrift=world.adrift - {number})
        for outcome, after in self._steps(landed, call, call.operation):
            if not _is_refusal(outcome):
                yield after

    def _steps(
        self, world: World, call: Call, operation: AnyOperation, observed: AnyOutcome | None = None
    ) -> Iterator[tuple[AnyOutcome, World]]:
        state = world.state(call.namespace)
        for transition in model.step(state, operation, call.number, self._claims, observed):
            after = world
            if transition.state is not state:
                states = {**world.states, call.namespace: transition.state}
                after = msgspec.structs.replace(world, states=states, now=transition.state.now)
                if len(transition.state.feed) > len(state.feed) and not self._in_order(call, transition.state):
                    continue
            yield transition.outcome, after

    def _in_order(self, call: Call, state: State) -> bool:
        names = ((call.namespace, event.persistence_id, event.sequence_nr) for event in state.feed)
        places = [self._order[name] for name in names if name in self._order]
        return places == sorted(places)

    def _settled(self, world: World, reader: Call) -> World | None:
        """The world with everything settled that this call waits for; None if something is that cannot be."""
        waited_for = [number for number in (*world.under_way, *world.adrift) if self._waits(reader, number)]
        progress = {}
        for number in waited_for:
            one = world.under_way.get(number, _NOT_YET)
            if one.outcome is None and one != _NOT_YET:
                return None
            if number in world.under_way and one.outcome is None:
                if not isinstance(self._calls[number].outcome, Cancelled | None):
                    return None
                progress[number] = _NEVER
        return msgspec.structs.replace(
            world, under_way={**world.under_way, **progress}, adrift=world.adrift.difference(waited_for)
        )

    def _waits(self, reader: Call, number: int) -> bool:
        earlier = self._calls[number]
        if number == reader.number or earlier.began >= reader.began or earlier.namespace != reader.namespace:
            return False
        if isinstance(reader.operation, Reopen):
            return True
        ids = ids_of(reader.operation)
        return (
            isinstance(earlier.operation, Write)
            and earlier.handle == reader.handle
            and any(one in ids for one in ids_of(earlier.operation))
        )


def _is_alike(one: Taken, other: Taken) -> bool:
    """Whether two takes gave the same events, whatever became of their fields."""
    return one.ended == other.ended and [*map(_name_of, one.envelopes)] == [*map(_name_of, other.envelopes)]


def _name_of(envelope: EventEnvelope) -> tuple[str, int]:
    return envelope.persistence_id, envelope.sequence_nr


def _gave_up(call: Call) -> bool:
    """Whether a take ended where a live query had nothing more for now."""
    return isinstance(call.outcome, Taken) and call.outcome.ended == "pending"


def _is_refusal(outcome: AnyOutcome | None) -> bool:
    return isinstance(outcome, Conflict | Invalid)


class Explorer:
    """Every outcome that each step of a program may have, whatever the order in which overlapping ones come."""

    def __init__(self, steps: Sequence[Step], claims: Claims) -> None:
        self._steps = dict(enumerate(steps, 1))
        calls = {number: _asked(number, step) for number, step in self._steps.items()}
        self._rules = _Rules(calls, claims)
        self._found: dict[int, set[AnyOutcome]] = {number: set() for number in self._steps}

    def outcomes(self) -> Mapping[int, set[AnyOutcome]]:
        worlds = [World()]
        numbered = self._steps.items()
        for _, group in itertools.groupby(numbered, lambda one: (one[1].block, one[1].block or one[0])):
            worlds = self._through(worlds, dict(group))
        return self._found

    def _through(self, worlds: Sequence[World], block: Mapping[int, Step]) -> list[World]:
        """The worlds behind a block, or behind a step that is alone."""
        columns = [
            tuple(number for number, step in block.items() if step.client == client)
            for client in dict.fromkeys(step.client for step in block.values())
        ]
        cancelled = {step.operation.client for step in block.values() if isinstance(step.operation, Cancel)}
        seen: dict[object, tuple[World, tuple[tuple[int, ...], ...]]] = {}
        waiting = [(_begun(world, columns), tuple(columns)) for world in worlds]
        while waiting:
            world, left = waiting.pop()
            for after in self._next(world, left, cancelled):
                key = after[0].key(), after[1]
                if key not in seen:
                    seen[key] = after
                    waiting.append(after)
        return _distinct(world for world, left in seen.values() if not any(left))

    def _next(
        self, world: World, left: tuple[tuple[int, ...], ...], cancelled: set[str]
    ) -> Iterator[tuple[World, tuple[tuple[int, ...], ...]]]:
        for place, column in enumerate(left):
            if column:
                number, *rest = column
                behind = (*left[:place], tuple(rest), *left[place + 1 :])
                for after in self._ends(world, number, self._steps[number].client in cancelled):
                    yield (after, left) if number in after.under_way else (_begun(after, behind), behind)

    def _ends(self, world: World, number: int, may_be_cancelled: bool) -> Iterator[World]:
        """What comes of a call: it ends, is cancelled before it has an effect, or has come one write further."""
        if may_be_cancelled and world.under_way[number] == _NOT_YET:
            self._found[number].add(Cancelled())
            yield _without(world, number)
            yield from (_without(after, number) for after in self._rules.cancelled(world, number))
        for after in self._rules.moved(world, number):
            outcome = after.under_way[number].outcome
            if outcome is None:
                yield after
            else:
                self._found[number].add(outcome)
                yield _without(after, number)


def _asked(number: int, step: Step) -> Call:
    """Without times: nothing waits for anything here, which allows all that waiting would."""
    return Call(number, step.operation, began=0, ended=0, outcome=None, namespace=step.namespace)


def _begun(world: World, columns: Iterable[tuple[int, ...]]) -> World:
    """With the first call of each column under way, which is all that overlaps."""
    first = [column[0] for column in columns if column]
    return msgspec.structs.replace(world, under_way={number: world.under_way.get(number, _NOT_YET) for number in first})


def _without(world: World, number: int) -> World:
    left = {other: progress for other, progress in world.under_way.items() if other != number}
    return msgspec.structs.replace(world, under_way=left)
