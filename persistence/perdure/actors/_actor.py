"""The actor, as its author sees it: one message at a time, and a context that belongs to it alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ..errors import InitializationFailed
from ._supervision import SupervisorStrategy
from ._timers import Timers

if TYPE_CHECKING:
    from ._cell import Cell
    from ._context import Context
    from ._ref import ActorRef

log = logging.getLogger("perdure.actors")


class Unhandled:
    """The type of `UNHANDLED`."""

    def __repr__(self) -> str:
        return "UNHANDLED"


UNHANDLED: Final = Unhandled()
"""Returned by a handler that has no use for a message."""


class Actor:
    """State that only its own messages touch. Derive from it and write `receive`.

    `receive` and every hook may be `async`; the next message waits until they are done. What they raise goes to the
    parent, whose `supervisor_strategy` decides. `context`, `ref` and `sender` are there from `pre_start` on, not yet in
    `__init__`.
    """

    supervisor_strategy: SupervisorStrategy = SupervisorStrategy()
    """What this actor does about children that raise."""

    _cell: Cell

    def receive(self, message: object) -> object:
        """Called for each message. A coroutine is awaited; any other result is ignored."""
        return self.unhandled(message)

    def pre_start(self) -> object:
        """Called before the first message."""

    def post_stop(self) -> object:
        """Called after the last message, when all children have stopped. An exception is logged."""

    def pre_restart(self, error: BaseException, message: object) -> object:
        """Called on the instance that failed, before its children are stopped. Unless overridden: `post_stop`."""
        return self.post_stop()

    def post_restart(self, error: BaseException) -> object:
        """Called on the new instance, before its first message. Unless overridden: `pre_start`."""
        return self.pre_start()

    def unhandled(self, message: object) -> Unhandled:
        """For the last branch of a handler: `return self.unhandled(message)`."""
        log.debug("%s does not handle %r", self._cell.ref.path, message)
        return UNHANDLED

    @property
    def context(self) -> Context:
        return self._cell.context

    @property
    def ref(self) -> ActorRef:
        return self._cell.ref

    @property
    def sender(self) -> ActorRef:
        """Of the message being handled; dead letters if it has none."""
        return self._cell.sender or self._cell.runtime.dead_letters

    @property
    def timers(self) -> Timers:
        return self._cell.timers

    def reply(self, message: object) -> None:
        cell = self._cell
        (cell.sender or cell.runtime.dead_letters).tell(message, cell.ref)

    def stash(self) -> None:
        """Put the message being handled aside until `unstash_all`."""
        self._cell.stash_current()

    def unstash_all(self) -> None:
        """Put all stashed messages before the rest of the mailbox, in the order in which they were stashed."""
        self._cell.unstash(len(self._cell.stashed))

    def unstash(self) -> None:
        """The same with the oldest stashed message alone."""
        self._cell.unstash(1)

    # What follows is for the runtime; PersistentActor overrides it.

    def _attach(self, cell: Cell) -> None:
        """Before anything else is called."""
        self._cell = cell

    async def _start(self, error: BaseException | None) -> None:
        """Run the hooks and make ready for messages; `error` is what made a restart necessary."""
        try:
            await resolve(self.pre_start() if error is None else self.post_restart(error))
        except Exception as cause:
            raise InitializationFailed(f"{self.ref.path} could not start: {cause!r}") from cause

    def _detach(self) -> None:
        """This instance will receive nothing more."""


async def resolve(result: object) -> object:
    """The value of what may be awaitable."""
    if hasattr(result, "__await__"):
        return await result
    return result
