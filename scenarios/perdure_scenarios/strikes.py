"""Strikes: the moments at which a recorded program is struck, with the state that each may leave.

A recording has every kill and every power cut in it, so nothing is run again for them. Which limits a hazard sets to
the steps that it strikes is decided here; what may be lost, in the models of disks (`states.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from perdure_tck.durability import Context, Moment
from perdure_tck.hazards import Hazard
from perdure_tck.program import Program

from .candidates import Bounds
from .images import Image
from .states import Duty, State, kill_states, power_states
from .trace import Synced, Trace, Wrote
from .wording import listed

MODELS = ("ext4", "strict")


Key = tuple[bytes, Context, int, int]


class Strike(msgspec.Struct, frozen=True):
    """One state, when it may be there, and how it comes about in words."""

    moment: Moment
    image: Image
    words: str
    model: str = ""

    @property
    def key(self) -> Key:
        """Strikes of one key are judged once."""
        return self.image.digest, self.moment.context, self.moment.told, self.moment.under_way


def steps_of(hazard: Hazard, program: Program) -> frozenset[int]:
    """The steps that a hazard strikes; opening (0) and closing (the last plus one) belong to a whole program."""
    if hazard.during is None:
        return frozenset(range(len(program.steps) + 2))
    return frozenset(number for number, step in enumerate(program.steps, 1) if step.operation == hazard.during)


def kills(trace: Trace, end: Duty, steps: frozenset[int]) -> Iterator[Strike]:
    """Every state that a kill may leave."""
    for state in kill_states(trace, end):
        if state.duty.step in steps:
            yield strike_of("kill", state, end)


def power_cuts(trace: Trace, end: Duty, steps: frozenset[int], at_most: int) -> Iterator[Strike]:
    """States that a power cut may leave, by either model, those of the first one first."""
    for model in MODELS:
        for state in power_states(trace, model, Bounds(at_most=at_most), end):  # type: ignore[arg-type]  # of Model
            if state.duty.step in steps:
                yield strike_of("power cut", state, end)


def strike_of(context: Context, state: State, end: Duty) -> Strike:
    """A state as something to be judged. `end` is the duty when everything was answered."""
    step, told = state.duty
    under_way = step if told < step < end.step else 0
    model = f"{state.model}; {listed(state.lost) or 'nothing lost'}" if state.model else ""
    return Strike(Moment(context, told, under_way), state.image, state.place, model)


def recoveries(trace: Trace, of: Strike) -> Iterator[Strike]:
    """Every state that one more kill may leave while a location recovers. The duties are those of the first kill."""
    moment = msgspec.structs.replace(of.moment, context="recovery")
    for state in kill_states(trace, Duty(0, 0)):
        yield Strike(moment, state.image, f"{state.place}, in the recovery from a kill {of.words}")


def spread(strikes: Sequence[Strike], number: int) -> Sequence[Strike]:
    """So many of them, from the first to the last."""
    return [strikes[place] for place in places(len(strikes), number)]


def places(length: int, number: int) -> list[int]:
    """So many places of a sequence, evenly from its first to its last."""
    if length <= number:
        return list(range(length))
    return (
        sorted({round(place * (length - 1) / (number - 1)) for place in range(number)}) if number > 1 else [length - 1]
    )


def distinct(strikes: Iterable[Strike], known: set[Key]) -> list[Strike]:
    """Those of keys that are not known yet, which are known from then on."""
    return list(each_once(strikes, known))


def each_once(strikes: Iterable[Strike], known: set[Key]) -> Iterator[Strike]:
    """The same, one after the other: some can be looked at while others are not made yet."""
    for strike in strikes:
        if strike.key not in known:
            known.add(strike.key)
            yield strike


def dropped(trace: Trace, position: int, path: str) -> Trace:
    """The trace as the disk saw it after a sync of `path` had failed there: the kernel has dropped what was written to
    the file since its last sync. Sizes stay, and what is written later is there."""
    last = max((place for place in range(position) if _syncs(trace, place, path)), default=-1)
    calls = tuple(
        call
        for place, call in enumerate(trace.calls)
        if not (last < place < position and isinstance(call, Wrote) and call.path == path)
    )
    return msgspec.structs.replace(trace, calls=calls)


def _syncs(trace: Trace, place: int, path: str) -> bool:
    call = trace.calls[place]
    return isinstance(call, Synced) and call.path == path
