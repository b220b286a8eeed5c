"""Killing a worker at a moment of the history, where its system calls cannot be watched: what was told is what counts.

The moment is "so long after the k-th acknowledgement was received", or a failpoint that the backend passes. The
directory stays as the kill left it.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Mapping
from typing import Literal

import msgspec
from perdure_tck.stage import KitFault

from .crew import Worker, worker_command
from .tasks import AnyReport, Completed, NotReady, Opened, Run, Words

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
        reports, end = _listen(worker, time.monotonic() + limit_s, after_told, delay_s)
        reports += worker.last_heard()
    finally:
        exit_code = worker.end()
    for report in reports:
        if isinstance(report, NotReady):
            raise KitFault(report.message)
    struck = exit_code == -signal.SIGKILL and end == ("itself" if after_told is None else "kill")
    return Killed(tuple(reports), struck, exit_code, end == "silent", worker.said())


def _listen(
    worker: Worker, deadline: float, after_told: int | None, delay_s: float
) -> tuple[list[AnyReport], Literal["itself", "kill", "silent"]]:
    """What is told until the moment of the kill, or until the worker has closed the pipe or its time is up."""
    reports: list[AnyReport] = []
    kill_time: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(worker.reports, selectors.EVENT_READ)
        while True:
            until = deadline if kill_time is None else min(deadline, kill_time)
            selector.select(max(0.0, until - time.monotonic()))
            heard = worker.heard()
            if heard is None:
                return reports, "itself"
            reports += heard
            if kill_time is None and after_told is not None and _reached(reports, after_told):
                kill_time = time.monotonic() + delay_s
            if kill_time is not None and time.monotonic() >= kill_time:
                return reports, "kill"
            if time.monotonic() >= deadline:
                return reports, "silent"


def _reached(reports: list[AnyReport], after_told: int) -> bool:
    told = sum(isinstance(report, Completed) for report in reports)
    return told >= after_told and any(isinstance(report, Opened) for report in reports)
