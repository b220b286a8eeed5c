"""Failing calls: a program is run once for each call that is to fail, and what it answered and left is judged.

Which calls there are is known from a recording without faults. Every run has a process and a directory of its own; two
run at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from perdure_tck.hazards import Hazard

from .bench import EMPTY_IMAGE
from .crew import Start, spawned
from .images import Image
from .recording._calls import Read
from .recording._record import Recording, record
from .recording.faults import CHANGES, Capacity, Fail, Injection, Kind, Short
from .rooms import Rooms
from .scratch import materialise
from .strikes import places
from .tasks import Run, Words
from .trace import (
    AnyCall,
    Created,
    Linked,
    MadeDirectory,
    RemovedDirectory,
    Renamed,
    Synced,
    SyncedAll,
    SyncedDirectory,
    Trace,
    Truncated,
    Unlinked,
    Wrote,
)
from .wording import call_words

LANES = 2

KINDS: dict[type[AnyCall], Kind] = {
    Wrote: "write",
    Synced: "sync",
    SyncedDirectory: "sync",
    SyncedAll: "sync",
    Created: "create",
    Truncated: "truncate",
    Renamed: "rename",
    Linked: "link",
    Unlinked: "remove",
    RemovedDirectory: "remove",
    MadeDirectory: "make directory",
}

ABLE: dict[str, frozenset[Kind]] = {
    "EIO": CHANGES,
    "ENOSPC": frozenset({"write", "create", "truncate", "rename", "link", "make directory", "sync"}),
    "EDQUOT": frozenset({"write", "create", "truncate", "rename", "link", "make directory", "sync"}),
    "EINTR": frozenset({"write", "create", "truncate"}),
    "EACCES": frozenset({"create", "rename", "link", "remove", "make directory"}),
}
"""Which calls can fail with which error."""


class Trial(msgspec.Struct, frozen=True):
    """One run with a fault: how, in words, the faults themselves, and at which call (from 1; 0: none in particular)."""

    words: str
    injections: tuple[Injection, ...] = ()
    capacity: Capacity | None = None
    at: int = 0


class Tried(msgspec.Struct, frozen=True):
    """A trial that was made, and the directory that it left."""

    trial: Trial
    recording: Recording
    room: Path


def trials(
    hazard: Hazard, trace: Trace, steps: frozenset[int], runs_max: int, reads: Sequence[Read] = ()
) -> Sequence[Trial]:
    """The runs that a hazard asks for; of more than `runs_max` as many, spread over all of them."""
    match hazard.kind:
        case "disk full":
            found = [*_full(trace), *_full_within(trace)]
        case "disk read-only":
            found = [
                Trial(f"disk read-only from the {call_words(call)} on", (_read_only(number),), at=number)
                for number, call in enumerate(trace.calls, 1)
            ]
        case _ if hazard.trouble == "failed read":
            found = list(_failing_reads(reads, steps))
        case _:
            found = list(_failing(hazard.trouble, trace, steps))
    if hazard.kind == "fail":
        return _of_each_kind(found, trace, runs_max)
    many = 2 * runs_max if hazard.kind == "disk full" else runs_max  # there are two ways to be full
    return [found[place] for place in places(len(found), many)]


def _of_each_kind(found: Sequence[Trial], trace: Trace, many: int) -> Sequence[Trial]:
    """As many of each kind of call, since writes are many and a removal may be the only one; in their order."""
    groups: dict[type[AnyCall] | None, list[int]] = {}
    for place, trial in enumerate(found):
        groups.setdefault(type(trace.calls[trial.at - 1]) if trial.at else None, []).append(place)
    chosen: list[int] = []
    for number, group in enumerate(sorted(groups.values(), key=len)):
        share = (many - len(chosen)) // (len(groups) - number)
        chosen += [group[place] for place in places(len(group), share)] if share else []
    return [found[place] for place in sorted(chosen)]


def _read_only(number: int) -> Injection:
    return Injection(number, Fail("EROFS"), CHANGES | {"open"}, times=None)


def _failing(trouble: str, trace: Trace, steps: frozenset[int]) -> Iterator[Trial]:
    for number, call in enumerate(trace.calls, 1):
        kind = KINDS[type(call)]
        if call.step not in steps:
            continue
        if trouble == "short write":
            if isinstance(call, Wrote) and len(call.data) > 1:
                half = len(call.data) // 2
                yield Trial(f"{call_words(call)} stores {half}", (Injection(number, Short(half)),), at=number)
        elif trouble == "failed sync":
            if isinstance(call, Synced):  # of a file: what becomes of a directory whose sync failed nobody knows
                yield Trial(f"{call_words(call)} fails with EIO", (Injection(number, Fail("EIO")),), at=number)
        elif kind in ABLE[trouble]:
            yield Trial(f"{call_words(call)} fails with {trouble}", (Injection(number, Fail(trouble)),), at=number)


def _failing_reads(reads: Sequence[Read], steps: frozenset[int]) -> Iterator[Trial]:
    for number, read in enumerate(reads, 1):
        if read.step in steps:
            words = f"read {number}, of {read.size} bytes of {read.path}, fails with EIO"
            yield Trial(words, (Injection(number, Fail("EIO"), frozenset({"read"})),))


def _full(trace: Trace) -> Iterator[Trial]:
    """Capacities for each call that makes the files longer: nothing of it fits, half, and all but a byte."""
    for low, high in dict.fromkeys(_growths(trace)):
        for size in dict.fromkeys((low, (low + high) // 2, high - 1)):
            yield Trial(f"disk full at {size} bytes", capacity=Capacity(size))


def _full_within(trace: Trace) -> Iterator[Trial]:
    """A write of which half fits, and room again for whatever comes after its failure: in the same process."""
    for number, call in enumerate(trace.calls, 1):
        if isinstance(call, Wrote) and len(call.data) > 1:
            rest = Injection(number + 1, Fail("ENOSPC"), frozenset({"write"}))
            half = Injection(number, Short(len(call.data) // 2))
            yield Trial(f"disk full within the {call_words(call)}, and room again", (half, rest), at=number)


def _growths(trace: Trace) -> Iterator[tuple[int, int]]:
    """How many bytes all files together had before each call that made them longer, and after."""
    sizes = {path: len(content) for path, content in trace.before.items()}
    for call in trace.calls:
        used = sum(sizes.values())
        _resize(sizes, call)
        if sum(sizes.values()) > used:
            yield used, sum(sizes.values())


def _resize(sizes: dict[str, int], call: AnyCall) -> None:
    match call:
        case Created(path=path):
            sizes[path] = 0
        case Wrote(path=path, offset=offset, data=data):
            sizes[path] = max(sizes.get(path, 0), offset + len(data))
        case Truncated(path=path, size=size):
            sizes[path] = size
        case Renamed(path=path, to=to):
            sizes[to] = sizes.pop(path, 0)
        case Unlinked(path=path):
            sizes.pop(path, None)


def tried(
    chosen: Iterable[Trial],
    words: Words,
    run: Run,
    rooms: Rooms,
    limit_s: float,
    start: Image = EMPTY_IMAGE,
    lanes: int = LANES,
    process: Start = spawned,
) -> Iterator[Tried]:
    """Make the trials, each from the same start, and give each as it is done, in their order."""

    def one(trial: Trial) -> Tried:
        room = rooms.new("trial")
        with rooms.want():
            materialise(start, room)
        mine = msgspec.structs.replace(run, directory=str(room))
        return Tried(trial, record(words, mine, trial.injections, trial.capacity, limit_s, process=process), room)

    pool = ThreadPoolExecutor(lanes)
    try:
        yield from pool.map(one, chosen)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
