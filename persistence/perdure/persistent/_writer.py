"""What one incarnation of an actor has persisted and not yet had an answer to.

At most one write is under way; what is persisted meanwhile gathers, and is the next one. Whoever detaches leaves what
has gathered to be written after that, in order, as long as nothing fails. (F-7, F-12)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .._events import AtomicWrite, WriteRejected
from ._port import Answers, JournalPort


class Invocation(msgspec.Struct):
    """One event, or something deferred, and what to do when its turn comes.

    `sequence_nr` is 0 for what is deferred. `place` is that of its AtomicWrite in the batch, or -1. `outcome` is None
    for stored.
    """

    event: Any
    sequence_nr: int
    handler: Callable[[Any], object] | None
    sender: Any
    stashing: bool
    place: int = -1
    outcome: WriteRejected | BaseException | None = None


class Writer:
    """See `_port.Lane`."""

    __slots__ = (
        "_attached",
        "_overdue",
        "_port",
        "_post",
        "_unanswered",
        "_under_way",
        "_writes",
        "gathered",
        "persistence_id",
        "uuid",
    )

    def __init__(
        self, port: JournalPort, persistence_id: str, uuid: str, post: Callable[[list[Invocation]], None]
    ) -> None:
        self.persistence_id = persistence_id
        self.uuid = uuid
        self._port = port
        self._post = post
        self._attached = True
        self.gathered: list[Invocation] = []
        """What waits for the next `flush`."""
        self._writes: list[AtomicWrite] = []
        self._under_way: list[Invocation] = []
        self._unanswered = False
        self._overdue = False
        port.join(self)

    @property
    def busy(self) -> bool:
        return self._unanswered or self._overdue or bool(self._writes)

    @property
    def idle(self) -> bool:
        """Nothing has gathered and nothing is under way."""
        return not self._unanswered and not self.gathered

    def write(self, write: AtomicWrite, invocations: list[Invocation]) -> None:
        """Take one AtomicWrite to be written with the next batch."""
        place = len(self._writes)
        self._writes.append(write)
        for invocation in invocations:
            invocation.place = place
        self.gathered += invocations

    def add(self, invocation: Invocation) -> None:
        """Take something that is only to keep its place in the order: deferred, or rejected already."""
        self.gathered.append(invocation)

    def flush(self) -> None:
        """Send what has gathered, unless a write is under way."""
        if self._unanswered or not self.gathered:
            return
        self._under_way, self.gathered = self.gathered, []
        writes = self._writes
        if writes:
            self._writes = []
            self._unanswered = True
            self._port.write(self, writes)
        else:
            self._hand_over(self._under_way)

    def answered(self, answer: Answers | BaseException, overdue: bool = False) -> None:
        self._unanswered = False
        self._overdue = overdue
        batch, self._under_way = self._under_way, []
        if isinstance(answer, BaseException):
            self.gathered, self._writes = [], []  # nothing is written after a failure: the actor must recover first
            self._hand_over(_until_failure(batch, answer))
        else:
            for invocation in batch:
                if invocation.place >= 0:
                    invocation.outcome = answer[invocation.place]
            self._hand_over(batch)
            if self.gathered:
                self.flush()
        if self._port.waiting or not self._attached:
            self._settle()

    def over(self) -> None:
        self._overdue = False
        self._settle()

    def detach(self) -> None:
        """Nobody wants answers any more. What has gathered is still written, as it was promised in this order."""
        self._attached = False
        self._settle()

    def _hand_over(self, batch: list[Invocation]) -> None:
        if self._attached:
            self._post(batch)

    def _settle(self) -> None:
        if not self.busy:
            self._port.settled(self, self._attached)


def _until_failure(batch: list[Invocation], error: BaseException) -> list[Invocation]:
    """Up to the first event of the batch, which gets the error; what comes after it is lost with it."""
    failed = next(at for at, invocation in enumerate(batch) if invocation.place >= 0)
    batch[failed].outcome = error
    return batch[: failed + 1]
