"""What a backend leaves behind: tasks, threads and open files that outlive the query or the storage they were made for.

A query may share something with others that stays while the storage is open, as a poller. So a closed query is compared
with the one that was closed first, the control: what grows with each of them is not given back. A storage that was
closed and opened again is compared with itself when it was opened first. Names are compared without numbers.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .operations import Close, Reopen
from .outcomes import AnyOutcome, Done, LeftBehind
from .program import Step

LEFTOVERS = "Q-46"
"""The rule that this is about. Only programs that name it are looked at, so that no other rule is blamed."""

GRACE_S = 1.0
"""How long what was closed has to end. Waited for only where something is left."""

LOOK_S = 0.005
OPEN_FILES = Path("/proc/self/fd")
"""Where a system tells the open files; elsewhere only tasks and threads are looked at."""

HERE = str(Path(__file__).parent)
OWN_THREADS = ("perdure-stage", "perdure-simulation", "MainThread")
POOL_OF_THE_LOOP = "asyncio_"
"""Threads of the loop's own pool stay until the loop ends, whoever used them."""


class Leftovers:
    """For one program that has its location to itself. Made when the storage is open and no query is."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory.resolve())
        self._of_storage = self._there()
        self._of_query: Counter[str] | None = None

    async def after(self, step: Step, outcome: AnyOutcome, queries_are_open: bool) -> AnyOutcome:
        """What a step ended in, or what it has left behind."""
        if outcome != Done():
            return outcome
        if isinstance(step.operation, Reopen):
            self._of_query = None
            return await self._compared(self._of_storage)
        if isinstance(step.operation, Close) and not queries_are_open:
            if self._of_query is not None:
                return await self._compared(self._of_query)
            self._of_query = self._there()
        return outcome

    async def _compared(self, before: Counter[str]) -> AnyOutcome:
        end = time.monotonic() + GRACE_S
        while more := self._there() - before:
            if time.monotonic() > end:
                return LeftBehind(tuple(sorted(more)))
            await asyncio.sleep(LOOK_S)
        return Done()

    def _there(self) -> Counter[str]:
        return Counter([*_tasks(), *_threads(), *self._files()])

    def _files(self) -> Iterator[str]:
        if not OPEN_FILES.is_dir():
            return
        for one in os.listdir(OPEN_FILES):
            try:
                target = os.readlink(OPEN_FILES / one)
            except OSError:  # closed since it was listed
                continue
            if target.startswith(self._directory):
                yield f"open file {target[len(self._directory) + 1 :]}"


def _tasks() -> Iterator[str]:
    for task in asyncio.all_tasks():
        work = task.get_coro()
        code = getattr(work, "cr_code", None)
        if code is None or not code.co_filename.startswith(HERE):
            yield f"task {getattr(work, '__qualname__', type(work).__name__)}"


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if not thread.name.startswith((*OWN_THREADS, POOL_OF_THE_LOOP)):
            yield f"thread {re.sub(r'[0-9]+', 'N', thread.name)}"
