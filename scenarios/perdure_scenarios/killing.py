"""Killing a worker at a moment of the history, where its system calls cannot be watched: what was told is what counts.

The moment is "so long after the k-th acknowledgement was received", or after a step has begun, or a failpoint that the
backend passes. The directory stays as the kill left it. A worker can also be
attended at such instants, and go on.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from perdure_tck.stage import KitFault

from .crew import Worker, worker_command
from .tasks import AnyReport, Completed, Instant, NotReady, Opened, Run, Words, begun

FAILPOINT = "PERDURE_FAILPOINT"


class Killed(msgspec.Struct, frozen=True):
    """A worker that was killed, or that came to its end before (`struck` is False then, and nothing was shown)."""

    reports: tuple[AnyReport, ...]
    struck: bool
    exit: int
    silent: bool
    """Whether it was killed because it took too long."""

    said: str
    heard_s: tuple[float, ...]
    """When each report was heard, by a clock of this process."""


def kill_at(words: Words, run: Run, after_told: int, delay_s: float = 0.0, limit_s: float = 120.0) -> Killed:
    """Kill a worker `delay_s` after its acknowledgement number `after_told` was received; 0 is the opened location.

    What it tells in between, and what is still in the pipe when it is dead, was received and counts.
    """
    return _watched(words, run, limit_s, {}, lambda reports: _told(reports, after_told), delay_s)


def kill_during(words: Words, run: Run, instant: Instant, limit_s: float = 120.0) -> Killed:
    """Let a worker end itself, as by a kill, at an instant counted from the beginning of a step."""
    killed = _watched(words, msgspec.structs.replace(run, die_at=instant), limit_s, {}, None, 0.0)
    return msgspec.structs.replace(killed, struck=killed.exit == -signal.SIGALRM)


def kill_at_failpoint(words: Words, run: Run, name: str, passing: int = 1, limit_s: float = 120.0) -> Killed:
    """Let a worker kill itself when its backend passes a failpoint for the n-th time."""
    return _watched(words, run, limit_s, {FAILPOINT: f"{name}@{passing}"}, None, 0.0)


def with_failpoints_counted(words: Words, run: Run, limit_s: float = 120.0) -> Killed:
    """Let a worker come to its end and count: the report `Finished` names each failpoint that can be killed at."""
    return _watched(words, run, limit_s, {FAILPOINT: ""}, None, 0.0)


Reached = Callable[[Sequence[AnyReport]], bool]


def _watched(
    words: Words, run: Run, limit_s: float, environment: Mapping[str, str], reached: Reached | None, delay_s: float
) -> Killed:
    worker = Worker(lambda pipes: worker_command(words, pipes), environment)
    try:
        worker.send(run)
        reports, heard_s, end = _listen(worker, time.monotonic() + limit_s, reached, delay_s)
        reports += worker.last_heard()
    finally:
        exit_code = worker.end()
    for report in reports:
        if isinstance(report, NotReady):
            raise KitFault(report.message)
    struck = exit_code == -signal.SIGKILL and end == ("itself" if reached is None else "kill")
    return Killed(tuple(reports), struck, exit_code, end == "silent", worker.said(), tuple(heard_s))


def _listen(
    worker: Worker, deadline: float, reached: Reached | None, delay_s: float
) -> tuple[list[AnyReport], list[float], Literal["itself", "kill", "silent"]]:
    """What is told until the moment of the kill, or until the worker has closed the pipe or its time is up."""
    reports: list[AnyReport] = []
    heard_s: list[float] = []
    kill_time: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(worker.reports, selectors.EVENT_READ)
        while True:
            until = deadline if kill_time is None else min(deadline, kill_time)
            selector.select(max(0.0, until - time.monotonic()))
            heard = worker.heard()
            if heard is None:
                return reports, heard_s, "itself"
            reports += heard
            heard_s += [time.monotonic()] * len(heard)
            if kill_time is None and reached is not None and reached(reports):
                kill_time = time.monotonic() + delay_s
            if kill_time is not None and time.monotonic() >= kill_time:
                return reports, heard_s, "kill"
            if time.monotonic() >= deadline:
                return reports, heard_s, "silent"


def _told(reports: Sequence[AnyReport], after_told: int) -> bool:
    told = sum(isinstance(report, Completed) for report in reports)
    return told >= after_told and any(isinstance(report, Opened) for report in reports)


# ------------------------------------------------------------------------------------------------------- not killed


class Attended:
    """A worker that carries out a program while somebody comes to instants of it. A context manager that ends it."""

    def __init__(self, words: Words, run: Run, limit_s: float = 120.0) -> None:
        self._words, self._run = words, run
        self._deadline = time.monotonic() + limit_s
        self._reports: list[AnyReport] = []
        self._came: tuple[int, float] = (-1, 0.0)
        self._ended = False

    def __enter__(self) -> Attended:
        self._worker = Worker(lambda pipes: worker_command(self._words, pipes))
        try:
            self._worker.send(self._run)
        except BaseException:
            self._worker.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.end()

    def told(self) -> tuple[AnyReport, ...]:
        """All that the worker has told by now."""
        if not self._ended:
            heard = self._worker.heard()
            self._ended = heard is None
            self._reports += heard or ()
        return tuple(self._reports)

    def come_to(self, instant: Instant) -> bool:
        """Wait for an instant, or for a later one; False if the worker has ended before, or its time is up."""
        while begun(self.told(), self._run.program) < instant.begun:
            if not self._listen(self._deadline):
                return False
        if self._came[0] != instant.begun:
            self._came = instant.begun, time.monotonic()
        due_s = min(self._came[1] + instant.delay_s, self._deadline)
        while self._listen(due_s):
            self.told()
        return not self._ended

    def _listen(self, until_s: float) -> bool:
        """Whether there may be something to hear before then."""
        left_s = until_s - time.monotonic()
        if self._ended or left_s <= 0:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._worker.reports, selectors.EVENT_READ)
            selector.select(left_s)
        return True
