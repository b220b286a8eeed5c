"""What actors use instead of `write_messages` and `replay_messages`, judged by the same rules and scenarios."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import perdure_memory
import perdure_sqlite
import pytest
from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    Backend,
    GroupJournal,
    Location,
    PagedJournal,
    PersistentRepr,
    Storage,
    WriteRejected,
)
from perdure_tck.engine import Request, conduct
from perdure_tck.packs import installed_programs
from perdure_tck.verdict import Word


class Detour:
    """A journal that writes by groups, and replays by pages where there are pages; counts how often."""

    def __init__(self, journal: GroupJournal, counts: dict[str, int]) -> None:
        self.read_highest_sequence_nr = journal.read_highest_sequence_nr
        self.delete_messages_to = journal.delete_messages_to
        self._journal = journal
        self._counts = counts

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        self._counts["groups"] += 1
        (answer,) = await self._journal.write_group([writes])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        window = (persistence_id, from_sequence_nr, to_sequence_nr, max_count)
        if not isinstance(self._journal, PagedJournal):
            async for event in self._journal.replay_messages(*window):
                yield event
            return
        async for page in self._journal.replay_pages(*window):
            self._counts["pages"] += 1
            for event in page:
                yield event


def detour(backend: Backend, counts: dict[str, int]) -> Backend:
    @asynccontextmanager
    async def opened(location: Location) -> AsyncIterator[Storage]:
        async with backend.open(location) as storage:
            assert isinstance(storage.journal, GroupJournal)
            yield Storage(Detour(storage.journal, counts), storage.snapshots, storage.queries)

    return msgspec.structs.replace(backend, open=opened)


@pytest.mark.parametrize(
    ("backend", "pages_min"),
    [(perdure_memory.backend, 0), (perdure_sqlite.backend, 25)],
    ids=["memory", "sqlite"],
)
def test_groups_and_pages_conform(backend: Backend, pages_min: int) -> None:
    counts = {"groups": 0, "pages": 0}
    journals = [
        one for one in installed_programs() if one.level == "core" and any(rule[0] == "J" for rule in one.rules)
    ]
    run = conduct(detour(backend, counts), Request(programs=journals[::2], today=datetime.date.min))
    assert not run.faults
    assert [result.id for result in run.rules if result.word is Word.VIOLATED] == []
    assert sum(bool(result.scenarios) for result in run.rules) > 40
    assert counts["groups"] > 100
    assert counts["pages"] >= pages_min
