"""Killing a worker at a moment of the history, where its system calls cannot be watched: what was told is what counts.

The moment is "so long after the k-th acknowledgement was received", or a failpoint that the backend passes. The
directory stays as the kill left it.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Mapping

import msgspec
from perdure_tck.stage import KitFault

from .crew import Worker, worker_command
from .tasks import AnyReport, Completed, Finished, NotReady, Opened, Run, Words

FAILPOINT = "PERDURE_FAILPOINT"


class Killed(msgspec.Struct, frozen=True):
    """A worker that was killed, or that came to its end before (`struck` is False then, and nothing was shown)."""

    reports: tuple[AnyReport, ...]
    struck: bool
    exit: int
    silent: bool
    """Whether it was killed because it took too long."""

    said: str


def kill_at(words: Words, run: Run, after_told: int, delay_s: float = 0.0, limit_s: float = 120.0) -> Killed:
    """Kill a worker `delay_s` after its acknowledgement number `after_told` was received; 0 is the opened location.

    What it tells in between, and what is still in the pipe when it is dead, was received and counts.
    """
    return _watched(words, run, limit_s, {}, after_told, delay_s)


def kill_at_failpoint(words: Words, run: Run, name: str, passing: int = 1, limit_s: float = 120.0) -> Killed:
    """Let a worker kill itself when its backend passes a failpoint for the n-th time."""
    return _watched(words, run, limit_s, {FAILPOINT: f"{name}@{passing}"}, None, 0.0)


def with_failpoints_counted(words: Words, run: Run, limit_s: float = 120.0) -> Killed:
    """Let a worker come to its end and count: the report `Finished` names each failpoint that can be killed at."""
    return _watched(words, run, limit_s, {FAILPOINT: ""}, None, 0.0)


def _watched(
    words: Words, run: Run, limit_s: float, environment: Mapping[str, str], after_told: int | None, delay_s: float
) -> Killed:
    worker = Worker(lambda pipes: worker_command(words, pipes), environment)
    try:
        worker.send(run)
        reports, silent, struck = _listen(worker, time.monotonic() + limit_s, after_told, delay_s)
    finally:
        exit_code = worker.end()
    for report in reports:
        if isinstance(report, NotReady):
            raise KitFault(report.message)
    struck = struck if after_told is not None else exit_code < 0 and not silent
    return Killed(tuple(reports), struck, exit_code, silent, worker.said())


def _listen(
    worker: Worker, deadline: float, after_told: int | None, delay_s: float
) -> tuple[list[AnyReport], bool, bool]:
    """Until the pipe is closed, by the end of the worker or by the kill: the reports, and which kind of kill it was."""
    reports: list[AnyReport] = []
    kill_time: float | None = None
    silent = struck = False
    with selectors.DefaultSelector() as selector:
        selector.register(worker.reports, selectors.EVENT_READ)
        while True:
            until = deadline if kill_time is None or struck else min(deadline, kill_time)
            selector.select(max(0.0, until - time.monotonic()))
            heard = worker.heard()
            if heard is None:
                return reports, silent, struck
            reports += heard
            if kill_time is None and after_told is not None and _reached(reports, after_told):
                kill_time = time.monotonic() + delay_s
            if kill_time is not None and not struck and time.monotonic() >= kill_time:
                struck = not any(isinstance(report, Finished) for report in reports)
                worker.kill()
            elif time.monotonic() >= deadline:
                silent = True
                worker.kill()


def _reached(reports: list[AnyReport], after_told: int) -> bool:
    told = sum(isinstance(report, Completed) for report in reports)
    return told >= after_told and any(isinstance(report, Opened) for report in reports)
