"""The wings: what stands between the actors of one id and the backend, and lets their calls through one at a time.

A call waits here until it is chosen, which is when the actor can do nothing more without it. So nothing depends on how
fast a backend answers, and what disturbs a call (it fails, its answer is lost, it is kept) does so at a known point.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    Journal,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    SnapshotStore,
    Storage,
    WriteRejected,
)
from perdure.errors import Unreadable, WriteFailed

from .actor_operations import TARGETS, Disturb, Target

_ORDER = {
    "write": 0,
    "save": 1,
    "delete snapshot": 2,
    "delete snapshots": 2,
    "delete": 3,
    "load": 4,
    "highest": 5,
    "replay": 6,
}
assert set(_ORDER) == set(TARGETS)


class Severed(ConnectionError):
    """The actor was taken away: nothing of it reaches the storage any more."""


class Call:
    """One call that waits, is under way, or has ended."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.admitted: asyncio.Future[Disturb | None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.parked = False


class Wings:
    """`storage` is what the actors of one id are given. `severed` storage answers nothing but that it is gone."""

    def __init__(self, below: Storage, troubles: list[Disturb]) -> None:
        """`troubles` are those that come, in their order; one that has struck is taken off."""
        self.storage = Storage(_Journal(below.journal, self), _Snapshots(below.snapshots, self))
        self.troubles = troubles
        self.writes_at_once = False
        """Whether a write began before the one before it had ended."""

        self._calls: list[Call] = []
        self._severed = False

    def next_call(self) -> Call | None:
        """The call whose turn it is; one that is to wait is passed over, and its trouble used up."""
        while True:
            waiting = [call for call in self._calls if not call.parked and not call.admitted.done()]
            if not waiting:
                return None
            chosen = min(waiting, key=lambda call: _ORDER[call.target])
            trouble = self._trouble(chosen.target)
            if trouble is None or trouble.trouble != "waits":
                return chosen
            self.troubles.remove(trouble)
            chosen.parked = True

    async def let_through(self, call: Call) -> None:
        """Return when the call has ended."""
        trouble = self._trouble(call.target)
        if trouble is not None:
            self.troubles.remove(trouble)
        call.admitted.set_result(trouble)
        await call.ended.wait()

    def release(self) -> None:
        for call in self._calls:
            call.parked = False

    def sever(self) -> None:
        """Nothing reaches the storage from now on."""
        self._severed = True
        for call in self._calls:
            if not call.admitted.done():
                call.admitted.set_exception(Severed("the actor was taken away"))

    def _trouble(self, target: Target) -> Disturb | None:
        return next((one for one in self.troubles if one.target == target), None)

    async def passing(self, target: Target, perform: Callable[[Disturb | None], Awaitable[Any]]) -> Any:
        """One call: wait for its turn, and do it as its trouble says."""
        if self._severed:
            raise Severed("the actor was taken away")
        if target == "write" and any(call.target == "write" for call in self._calls):
            self.writes_at_once = True
        call = Call(target)
        self._calls.append(call)
        try:
            trouble = await call.admitted
            word = trouble.trouble if trouble else ""
            if word == "fails":
                raise (WriteFailed if target == "write" else OSError)(f"the next {target} was made to fail")
            result = await perform(trouble)
            if word == "loses":
                raise ConnectionError(f"the answer to the next {target} was lost")
            return result
        finally:
            self._calls.remove(call)
            call.ended.set()


class _Journal:
    def __init__(self, below: Journal, wings: Wings) -> None:
        self._below, self._wings = below, wings

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        async def write(trouble: Disturb | None) -> Sequence[WriteRejected | None]:
            refused = [_refuses(trouble, one) for one in writes]
            accepted = [one for one, no in zip(writes, refused, strict=True) if not no]
            given = iter(await self._below.write_messages(accepted))
            return [WriteRejected("refused in the wings") if no else next(given) for no in refused]

        answers: Sequence[WriteRejected | None] = await self._wings.passing("write", write)
        return answers

    async def replay_messages(
        self,
        persistence_id: str,
        from_sequence_nr: int = 1,
        to_sequence_nr: int = MAX_SEQUENCE_NR,
        max_count: int = MAX_SEQUENCE_NR,
    ) -> AsyncIterator[PersistentRepr]:
        """Read whole while it is its turn, and then given event by event."""

        async def read(trouble: Disturb | None) -> tuple[Disturb | None, list[PersistentRepr]]:
            found: list[PersistentRepr] = []
            replay: Any = self._below.replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count)
            async with aclosing(replay) as events:
                async for event in events:
                    found.append(event)
            return trouble, found

        trouble, found = await self._wings.passing("replay", read)
        for event in found:
            if trouble is not None and event.sequence_nr > trouble.number:
                raise OSError(f"the replay was made to break behind {trouble.number}")
            yield event

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        highest: int = await self._wings.passing(
            "highest", lambda _: self._below.read_highest_sequence_nr(persistence_id, from_sequence_nr)
        )
        return highest

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await self._wings.passing("delete", lambda _: self._below.delete_messages_to(persistence_id, to_sequence_nr))


class _Snapshots:
    def __init__(self, below: SnapshotStore, wings: Wings) -> None:
        self._below, self._wings = below, wings

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        async def load(trouble: Disturb | None) -> SelectedSnapshot | None:
            found = await self._below.load(persistence_id, criteria)
            if found is not None and trouble is not None and trouble.trouble == "unreadable":
                raise Unreadable("snapshot", persistence_id, found.metadata.sequence_nr, "made unreadable")
            return found

        found: SelectedSnapshot | None = await self._wings.passing("load", load)
        return found

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await self._wings.passing("save", lambda _: self._below.save(metadata, snapshot))

    async def delete(self, metadata: SnapshotMetadata) -> None:
        await self._wings.passing("delete snapshot", lambda _: self._below.delete(metadata))

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        await self._wings.passing("delete snapshots", lambda _: self._below.delete_matching(persistence_id, criteria))


def _refuses(trouble: Disturb | None, write: AtomicWrite) -> bool:
    if trouble is None or trouble.trouble != "rejects":
        return False
    return not trouble.number or write.lowest_sequence_nr <= trouble.number <= write.highest_sequence_nr
