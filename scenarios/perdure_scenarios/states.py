"""States: what the directory of a backend may hold when its process is killed, or the power is cut, at each moment.

A killed process loses nothing that a call did. What a power cut may lose is said by the models in `disk.py`. States
with equal contents at moments with the same obligations are given once. All of it is a function of the trace: the same
trace gives the same states in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from .candidates import Bounds, candidates
from .contents import PAGE
from .disk import SECTOR, Disk, Model, Moment
from .images import Image
from .survivals import Left, Survival, Survivals, lost_of
from .trace import Synced, SyncedAll, SyncedDirectory, Trace, Wrote
from .wording import inside_words, listed, lost_words, place_words

INSIDE_MAX = 8


class Duty(NamedTuple):
    """What a state is judged by: the step that was under way, and how many acknowledgements had been received."""

    step: int
    told: int


class State(msgspec.Struct, frozen=True):
    """What the directory may hold when `position` calls are done. `place` says where that is; `model` is empty for a
    kill; `lost` is what of the calls before is not there, in words."""

    position: int
    duty: Duty
    image: Image
    place: str
    model: Model | None = None
    lost: tuple[str, ...] = ()
    inside: bool = False

    @property
    def words(self) -> str:
        if self.model is None:
            return f"killed {self.place}"
        return f"power cut {self.place} ({self.model}); {listed(self.lost) or 'nothing lost'}"


def kill_states(trace: Trace, end: Duty | None = None) -> Iterator[State]:
    """Before the first call, after every call, and inside large writes; in the order of the trace.

    `end` is the duty after the last call, which the trace does not know; that of the last call if left out.
    """
    seen: set[tuple[bytes, Duty]] = set()
    disk = Disk(trace, "ext4")
    for position, _ in enumerate(disk.moments()):
        image = disk.seen()
        duty = duty_at(trace, position, end)
        states = [State(position, duty, image, place_words(trace, position))]
        if position < len(trace.calls):
            states += _inside(trace, position, image, duty)
        for state in states:
            if (state.image.digest, state.duty) not in seen:
                seen.add((state.image.digest, state.duty))
                yield state


def power_states(trace: Trace, model: Model, bounds: Bounds | None = None, end: Duty | None = None) -> Iterator[State]:
    """What the disk may hold when the power is cut, the most telling first: one state of each moment, then a second of
    each, and so on, so that a bound leaves out what says least. `end` as in `kill_states`."""
    bounds = bounds or Bounds()
    disk = Disk(trace, model)
    survivals = Survivals(disk)
    seen: set[tuple[bytes, Duty]] = set()
    moments = list(disk.moments())
    places = [place_words(trace, moment.position) for moment in moments]
    words = _Losses(trace)
    waiting = deque((moment, _survivals_at(moment, survivals, model, bounds)) for moment in moments)
    while waiting and len(seen) < bounds.at_most:
        moment, more = waiting.popleft()
        duty = duty_at(trace, moment.position, end)
        for survival in more:
            left = survivals.left(moment, survival)
            key = (left.image.digest, duty)
            if key not in seen:
                seen.add(key)
                yield State(moment.position, duty, left.image, places[moment.position], model, words(moment, left))
                waiting.append((moment, more))
                break


def image_of(trace: Trace, position: int) -> Image:
    """What the directory held when so many calls were done."""
    if not 0 <= position <= len(trace.calls):
        raise ValueError(f"position {position} is not within 0..{len(trace.calls)}, the calls of the trace")
    disk = Disk(trace, "ext4")
    for moment in disk.moments():
        if moment.position == position:
            break
    return disk.seen()


def lied(trace: Trace, number: int) -> Trace:
    """The trace as the disk saw it if the synchronisation that is call `number` did nothing and was believed."""
    if not 0 <= number < len(trace.calls):
        raise ValueError(f"call {number} is not within 0..{len(trace.calls) - 1}, the calls of the trace")
    if not isinstance(trace.calls[number], Synced | SyncedDirectory | SyncedAll):
        raise ValueError(f"call {number} is a {type(trace.calls[number]).__name__}; only a synchronisation can lie")
    return msgspec.structs.replace(trace, calls=trace.calls[:number] + trace.calls[number + 1 :])


def duty_at(trace: Trace, position: int, end: Duty | None = None) -> Duty:
    """The duty just before the next call: a moment earlier, less might have been told."""
    if position < len(trace.calls):
        return Duty(trace.calls[position].step, trace.calls[position].told)
    if end is not None or not trace.calls:
        return end or Duty(0, 0)
    return Duty(trace.calls[-1].step, trace.calls[-1].told)


def _survivals_at(moment: Moment, survivals: Survivals, model: Model, bounds: Bounds) -> Iterator[Survival]:
    everything = Survival(sum(change.bit for change in moment.pending))
    return candidates(moment.pending, model, bounds, seed=survivals.left(moment, everything).image.digest)


class _Losses:
    """What is lost, in words; each call's are made once."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._words: dict[tuple[int, int | None], str] = {}

    def __call__(self, moment: Moment, left: Left) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._of(change.call, there) for change, there in lost_of(moment, left)))

    def _of(self, call: int, there: int | None) -> str:
        if (call, there) not in self._words:
            self._words[call, there] = lost_words(self._trace.calls[call], there)
        return self._words[call, there]


def _inside(trace: Trace, position: int, image: Image, duty: Duty) -> Iterator[State]:
    call = trace.calls[position]
    if not isinstance(call, Wrote):
        return
    for there in cuts_inside(call.offset, len(call.data)):
        content = image.files[call.path].written(call.offset, call.data[:there])
        files = {**image.files, call.path: content}
        yield State(position, duty, Image(files, image.directories), inside_words(call, there), inside=True)


def cuts_inside(offset: int, length: int) -> list[int]:
    """How much of a write may be there when the process was killed in it. A system copies page by page, so a write
    within one page is not torn; of others the first and last borders of pages, and of those longer than a page a
    sector and the middle."""
    borders = range(PAGE - offset % PAGE, length, PAGE)
    if not borders:
        return []
    few = [*borders[: INSIDE_MAX // 2], *borders[-(INSIDE_MAX // 2 - 2) :]]
    return sorted({*few, *(cut for cut in (SECTOR, length // 2) if length > PAGE)})
