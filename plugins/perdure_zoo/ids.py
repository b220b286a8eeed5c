"""Animals that mistake one id for another: collations, blanks, file names, prefixes, normal forms."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Sequence

from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotSelectionCriteria,
    WriteRejected,
)

from ._animal import Family, WardJournal, WardSnapshots

family = Family()


class FoldedIds(WardJournal):
    """Not an animal yet: a journal whose key column compares ids folded. The rows keep the ids as they were written."""

    def folded(self, persistence_id: str) -> str:
        return persistence_id

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        for write in writes:
            self._join(write.persistence_id)
        return await super().write_messages(writes)

    def _join(self, persistence_id: str) -> None:
        """Let an id share the log of the one that it is mistaken for."""
        for known, log in list(self._shelf.logs.items()):
            if self.folded(known) == self.folded(persistence_id):
                self._shelf.logs[persistence_id] = log
                return

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        self._join(persistence_id)
        async for event in super().replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count):
            yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        self._join(persistence_id)
        return await super().read_highest_sequence_nr(persistence_id, from_sequence_nr)

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        self._join(persistence_id)
        events = self.log(persistence_id).events
        for number in [number for number in events if number <= to_sequence_nr]:
            del events[number]


@family.animal(
    bug="BUG-114",
    system="actor-ts on MariaDB and SQL Server",
    source="https://github.com/pathosDev/actor-ts/issues/707",
    cause="a key column whose collation ignores case",
    killed_by="J-28",
)
class IdsIgnoreCase(FoldedIds):
    """The default of two databases: Order-1 and order-1 share one history."""

    def folded(self, persistence_id: str) -> str:
        return persistence_id.casefold()


@family.animal(
    bug="BUG-114b",
    system="actor-ts on MariaDB and SQL Server",
    source="https://github.com/pathosDev/actor-ts/issues/707",
    cause="a key column whose comparison ignores trailing blanks",
    killed_by="J-28",
)
class IdsIgnoreTrailingBlanks(FoldedIds):
    """SQL pads what it compares; RTRIM in SQLite does the same."""

    def folded(self, persistence_id: str) -> str:
        return persistence_id.rstrip(" ")


@family.animal(
    bug="BUG-114c",
    system="actor-ts on MariaDB and SQL Server (accents); file systems that normalise names",
    source="https://github.com/pathosDev/actor-ts/issues/707",
    cause="ids are compared in one normal form",
    killed_by="J-28",
)
class IdsAreNormalised(FoldedIds):
    """Two ways to write one accent are one id."""

    def folded(self, persistence_id: str) -> str:
        return unicodedata.normalize("NFC", persistence_id)


@family.animal(
    bug="BUG-115",
    system="Akka.Persistence.Azure",
    source="https://github.com/petabridge/Akka.Persistence.Azure/issues/98",
    cause="the id is part of a path or key in which / has a meaning",
    killed_by="J-28",
)
class SlashIsRefused(WardJournal):
    """Ids of sharded entities hold a slash by default."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if any("/" in write.persistence_id for write in writes):
            raise OSError("the key holds a character that is not allowed")
        return await super().write_messages(writes)


@family.animal(
    bug="BUG-116",
    system="the LocalSnapshotStore of Akka and of Akka.NET",
    source="https://github.com/akkadotnet/akka.net/issues/7009",
    cause="files are found by the pattern snapshot-{id}-*",
    killed_by="S-33",
)
class SnapshotOfALongerId(WardSnapshots):
    """The snapshot of bug-a is loaded for bug, and nothing ever shows it."""

    def matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> list[SelectedSnapshot]:
        found = [
            one for (owner, _), one in self._shelf.snapshots.items() if f"{owner}-".startswith(f"{persistence_id}-")
        ]
        return [one for one in found if criteria.matches(one.metadata)]


@family.animal(
    bug="SEEN-23",
    system="Polecat, MapDB",
    source="https://github.com/JasperFx/polecat/issues/436",
    cause="DELETE ... WHERE persistence_id LIKE id || '%'",
    killed_by="S-22",
)
class SnapshotDeletionByPrefix(WardSnapshots):
    """Retention of one entity removes the snapshots of each whose id begins with its own."""

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        await super().delete_matching(persistence_id, criteria)
        for owner in {owner for owner, _ in self._shelf.snapshots if owner.startswith(persistence_id)}:
            await super().delete_matching(owner, criteria)
