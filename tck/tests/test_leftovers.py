"""What a backend leaves behind when a query or a storage is closed is told by name; what comes back late is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TextIO

import pytest
from perdure import Backend, EventEnvelope, Location
from perdure_memory import backend as memory
from perdure_sqlite import backend as sqlite
from perdure_tck.examiner import Examiner
from perdure_tck.leftovers import OPEN_FILES
from perdure_tck.packs import installed_programs
from perdure_tck.scenario_text import parse
from perdure_zoo._animal import Ward
from perdure_zoo._query_ward import WardQueries, caged_with_queries

TWICE = """\
rules Q-46
private

write p 1 -> ok
query f all events
take f 1 -> p 1
close f
query f all events
take f 1 -> p 1
close f
reopen
"""


class _Takes(WardQueries):
    """Each live query takes something, and gives it back when it is closed, or does not."""

    def __init__(self, ward: Ward, location: Location) -> None:
        super().__init__(ward, location)
        self.directory = location.directory

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        give_back = self.take(len(self.ward.marks))
        self.ward.marks[str(len(self.ward.marks))] = 1
        try:
            async for row in super().feed(subject, behind, tag, live):
                yield row
        finally:
            give_back()

    def take(self, number: int) -> Callable[[], object]:
        raise NotImplementedError


class KeepsThreads(_Takes):
    def take(self, number: int) -> Callable[[], object]:
        threading.Thread(target=OVER.wait, name=f"reader-{number}", daemon=True).start()
        return lambda: None


class KeepsFiles(_Takes):
    def take(self, number: int) -> Callable[[], object]:
        assert self.directory is not None
        KEPT.append((Path(self.directory) / "log").open("a"))  # kept open: that is the mistake
        return lambda: None


class GivesBackLate(_Takes):
    def take(self, number: int) -> Callable[[], object]:
        task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
        return lambda: asyncio.get_running_loop().call_later(0.05, task.cancel)


class SharesUntilTheEnd(_Takes):
    """One task for all of them, which ends with the storage."""

    shared: asyncio.Task[None] | None = None

    def take(self, number: int) -> Callable[[], object]:
        self.shared = self.shared or asyncio.get_running_loop().create_task(asyncio.sleep(60))
        return lambda: None

    def close(self) -> None:
        super().close()
        if self.shared is not None:
            self.shared.cancel()


OVER = threading.Event()
KEPT: list[TextIO] = []


@pytest.mark.parametrize(
    ("queries", "left"),
    [
        (KeepsThreads, "left behind: thread reader-N"),
        pytest.param(
            KeepsFiles,
            "left behind: open file log",
            marks=pytest.mark.skipif(not OPEN_FILES.is_dir(), reason=f"NOT RUN: no {OPEN_FILES} on this system"),
        ),
        (GivesBackLate, ""),
        (SharesUntilTheEnd, ""),
    ],
)
def test_what_is_left_is_named_and_what_is_given_back_is_not(queries: type[WardQueries], left: str) -> None:
    try:
        with Examiner(caged_with_queries("leaves", queries)) as examiner:
            trial = examiner.try_alone(parse(TWICE, "twice"))
    finally:
        OVER.set()
        for file in KEPT:
            file.close()
    assert [one.observed for one in trial.deviations] == ([left] if left else [])


@pytest.mark.parametrize("backend", [memory, sqlite], ids=lambda backend: backend.name)
def test_the_reference_backends_leave_nothing(backend: Backend) -> None:
    about = [one for one in installed_programs() if "Q-46" in one.rules]
    assert len(about) == 3
    with Examiner(backend) as examiner:
        assert not [witness for one in about for witness in examiner.examine(one).witnesses]
