"""References: the only thing that anybody outside an actor holds of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import AskTimedOut, NotDelivered
from ._messages import DeadLetter, Failure

if TYPE_CHECKING:
    from ._cell import Cell
    from ._runtime import Runtime


class ActorRef:
    """Names an actor for good: it stays valid over restarts, and leads to dead letters once the actor has stopped."""

    __slots__ = ("__weakref__", "path")

    def __init__(self, path: str) -> None:
        self.path = path

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        """Put a message in the mailbox. Returns at once; messages of one sender are received in the order told."""
        raise NotImplementedError

    async def ask(self, message: object, timeout_s: float = 5.0) -> Any:
        """Tell with a sender made for this one answer, and return what that sender is told first.

        Raises:
            AskTimedOut: no answer within the time. The message may have been, or may yet be, received.
            NotDelivered: the actor has stopped and never received the message.
            Exception: what the actor answered by `Failure(error)`.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        timer = loop.call_later(timeout_s, _expire, answer, message, self.path, timeout_s)
        try:
            self.tell(message, Promise(answer, self.path))
            return await answer
        finally:
            timer.cancel()

    def __repr__(self) -> str:
        return f"<{self.path}>"


def _expire(answer: asyncio.Future[Any], message: object, path: str, timeout_s: float) -> None:
    if not answer.done():
        answer.set_exception(AskTimedOut(f"{path} did not answer {message!r} within {timeout_s} s"))


class Promise(ActorRef):
    """Takes one message, for whoever asked."""

    __slots__ = ("_answer",)

    def __init__(self, answer: asyncio.Future[Any], path: str) -> None:
        super().__init__(f"{path}/ask")
        self._answer = answer

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        if self._answer.done():
            return
        if isinstance(message, Failure):
            self._answer.set_exception(message.error)
        else:
            self._answer.set_result(message)

    def undeliverable(self, letter: DeadLetter) -> None:
        if not self._answer.done():
            self._answer.set_exception(NotDelivered(f"{letter.recipient} has stopped; {letter.message!r} was not read"))


class LocalRef(ActorRef):
    """Leads to an actor of this process."""

    __slots__ = ("cell",)

    def __init__(self, path: str, cell: Cell) -> None:
        super().__init__(path)
        self.cell = cell

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        self.cell.enqueue(message, sender)


class DeadLetters(ActorRef):
    """The sender of messages that have none: answers to it go where undeliverable messages go."""

    __slots__ = ("_runtime",)

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(f"{runtime.name}/dead-letters")
        self._runtime = runtime

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        self._runtime.dead_letter(DeadLetter(message, sender, self))
