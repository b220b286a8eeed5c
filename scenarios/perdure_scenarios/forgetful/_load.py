"""Power cuts while a backend is written to: real processes, a real file system, and a verdict on each cut.

Unlike a sweep over a recorded trace this needs to know nothing about how a backend writes, so it also judges those that
write by memory maps or io_uring. It sees a few moments only, and so can show a loss, but not that there is none.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from ._child import complaint, start
from ._disk import Keep, Model
from ._lost import SEVERITIES, Batch, Lost, Severity, judged, unopenable
from ._mount import ForgetfulDisk
from ._rules import Counters, Rule
from ._writer import Acknowledged, Broke, Finished, Found, Invoked, Line, Task

WRITERS = 3
LOOK_WITHIN_S = 60.0
DIE_WITHIN_S = 60.0


class LoadFailed(Exception):
    """The load itself could not be carried out: the backend does not open on an empty disk, or acknowledges nothing."""


class _Broken(LoadFailed):
    """The backend raised while the power was there. After a power cut that is what the cut has done."""


class Powered(Protocol):
    """A directory whose power can be cut: a forgetful disk, or a real one."""

    @property
    def directory(self) -> Path: ...
    def remount(self) -> None: ...


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on each power cut, and what the disk counted. Fewer cuts than asked for: time was over, or it could
    not be opened any more."""

    cuts: tuple[Lost, ...]
    counters: Counters

    @property
    def severity(self) -> Severity:
        return worst(self.cuts)

    def __str__(self) -> str:
        acknowledged, lost = totals(self.cuts)
        return f"{self.severity}: {len(self.cuts)} power cuts, {acknowledged} events acknowledged, {lost} lost"


def worst(cuts: tuple[Lost, ...]) -> Severity:
    return max((cut.severity for cut in cuts), key=SEVERITIES.index, default="kept")


def totals(cuts: tuple[Lost, ...]) -> tuple[int, int]:
    """How many events were acknowledged and lost over all cuts. What survives a cut is judged again at the next one,
    and counts once here."""
    lost = sum(cut.lost for cut in cuts)
    return (cuts[-1].acknowledged + lost - cuts[-1].lost, lost) if cuts else (0, 0)


def power_cuts_under_load(
    words: str,
    directory: Path,
    *,
    cuts: int = 5,
    seconds_max: float = 120.0,
    model: Model = "ext4",
    keep: Keep = "nothing",
    rules: tuple[Rule, ...] = (),
    seed: int = 0,
    acknowledged_max: int = 60,
) -> Load:
    """Mount a forgetful disk at an empty directory, load the backend that the words choose, and cut the power.

    After each cut the writing process is killed, the disk goes back to what was on it, the backend is opened by another
    process, and what is there is compared with what had been acknowledged when the power went. It goes on with the same
    files. Each cut comes after at most `acknowledged_max` acknowledgements, drawn with `seed`. After `seconds_max` no
    further cut is begun. What breaks after the first cut counts as broken by a cut, so give rules that fail something
    a number of `times`.
    """
    with ForgetfulDisk(directory, model, rules) as disk:
        verdicts = cut_under_load(
            disk,
            words,
            lambda number: disk.power_cut(keep, seed + number),
            cuts=cuts,
            seconds_max=seconds_max,
            seed=seed,
            acknowledged_max=acknowledged_max,
        )
        return Load(cuts=verdicts, counters=disk.counters())


def cut_under_load(
    disk: Powered,
    words: str,
    power_cut: Callable[[int], object],
    *,
    cuts: int,
    seconds_max: float,
    seed: int,
    acknowledged_max: int = 60,
) -> tuple[Lost, ...]:
    """The same for any disk whose power can be cut. `power_cut` is called with the number of the cut, from 0."""
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds_max
    ledger = _Ledger()
    verdicts: list[Lost] = []
    for number in range(cuts):
        if number and time.monotonic() > deadline:
            break
        enough = chance.randint(1, acknowledged_max)
        try:
            _write_until_cut(disk, words, ledger, number, enough, partial(power_cut, number))
        except _Broken as broken:
            if not verdicts:
                raise
            verdicts[-1] = msgspec.structs.replace(verdicts[-1], unopenable=f"it could be read only: {broken}")
            break
        disk.remount()
        verdicts.append(_verdict(disk, words, ledger))
        if verdicts[-1].unopenable:
            break
    return tuple(verdicts)


class _Ledger:
    """All that was asked for and acknowledged, over all cuts, and not already found to be lost."""

    def __init__(self) -> None:
        self.batches: dict[tuple[str, int], Batch] = {}
        self.acknowledgements = 0
        self._moment = 0

    def note(self, line: Line, *, powered: bool = True) -> None:
        """What is acknowledged without power counts as asked for: in truth nobody would have been there to hear it.

        A file system that is shut down, unlike one whose machine is off, may answer the calls that it still holds with
        success.
        """
        self._moment += 1
        if isinstance(line, Invoked):
            batch = Batch(line.persistence_id, line.first, line.last, self._moment)
            self.batches[batch.persistence_id, batch.first] = batch
        elif isinstance(line, Acknowledged) and powered:
            place = line.persistence_id, line.first
            self.batches[place] = msgspec.structs.replace(self.batches[place], acknowledged=self._moment)
            self.acknowledgements += 1

    @property
    def persistence_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(persistence_id for persistence_id, _ in self.batches))

    def forget_all_but(self, found: dict[str, set[int]]) -> None:
        """What is not there any more has been counted; what is there must stay."""
        self.batches = {
            place: batch
            for place, batch in self.batches.items()
            if found.get(batch.persistence_id, set()).issuperset(batch.numbers)
        }


def _write_until_cut(
    disk: Powered, words: str, ledger: _Ledger, number: int, enough: int, power_cut: Callable[[], object]
) -> None:
    ids = tuple(f"cut-{number}-writer-{writer}" for writer in range(WRITERS))
    task = Task(work="write", words=words, directory=str(disk.directory), persistence_ids=ids)
    target = ledger.acknowledgements + enough
    with _Worker(task) as worker:
        for line in worker.lines(LOOK_WITHIN_S):
            ledger.note(line)
            if isinstance(line, Broke):
                raise _Broken(f"{words} failed before the power was cut: {line.reason}")
            if ledger.acknowledgements >= target:
                break
        else:
            raise LoadFailed(f"{words} acknowledged too little within {LOOK_WITHIN_S:g} s. {worker.complaint()}")
        power_cut()
        worker.kill()
        for line in worker.lines(DIE_WITHIN_S):
            ledger.note(line, powered=False)


def _verdict(disk: Powered, words: str, ledger: _Ledger) -> Lost:
    task = Task(work="look", words=words, directory=str(disk.directory), persistence_ids=ledger.persistence_ids)
    found: dict[str, set[int]] = {}
    damaged = 0
    with _Worker(task) as worker:
        for line in worker.lines(LOOK_WITHIN_S):
            if isinstance(line, Found):
                found.setdefault(line.persistence_id, set()).update(line.numbers)
                damaged += line.damaged
            elif isinstance(line, Broke):
                return unopenable(ledger.batches.values(), line.reason)
            elif isinstance(line, Finished):
                verdict = judged(ledger.batches.values(), found, damaged)
                ledger.forget_all_but(found)
                return verdict
        return unopenable(ledger.batches.values(), f"no answer within {LOOK_WITHIN_S:g} s. {worker.complaint()}")


class _Worker:
    """One process of `_writer`, for as long as the context lasts."""

    def __init__(self, task: Task) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this context
        self._process = start("_writer", msgspec.json.encode(task).decode(), complaints=self._complaints)
        self._held = b""

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.wait(DIE_WITHIN_S)
        if self._process.stdout:
            self._process.stdout.close()
        self._complaints.close()

    def kill(self) -> None:
        """It, and whatever it started in its session."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def complaint(self) -> str:
        return complaint(self._complaints)

    def lines(self, seconds: float) -> Iterator[Line]:
        """What it says, until its output ends, or for so many seconds. May be left and begun again."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" in self._held:
                line, _, self._held = self._held.partition(b"\n")
                yield msgspec.json.decode(line, type=Line)
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return
            more = os.read(pipe, 1 << 16)
            if not more:
                return
            self._held += more
