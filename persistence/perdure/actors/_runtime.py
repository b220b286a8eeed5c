"""The runtime: where actors are spawned, and what waits for all of them when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ._actor import Actor
from ._cell import Cell, child_name
from ._dispatcher import Dispatcher
from ._messages import DeadLetter
from ._ref import ActorRef, DeadLetters, LocalRef, Promise
from ._supervision import Directive, SupervisorStrategy

log = logging.getLogger("perdure.actors")


class Runtime:
    """Actors without persistence; `ActorSystem` adds storage. An async context manager.

    Leaving it stops all actors and returns when every one has stopped. A handler that takes longer than
    `stop_timeout_s` is cancelled. No task or timer of any actor is left. A failure that was escalated beyond the last
    parent stops everything, and leaving the context raises it.
    """

    def __init__(
        self,
        name: str = "perdure",
        *,
        supervisor_strategy: SupervisorStrategy | None = None,
        stop_timeout_s: float = 10.0,
    ) -> None:
        self.name = name
        self.dead_letters = DeadLetters(self)
        self.failure: Exception | None = None
        self._strategy = supervisor_strategy or SupervisorStrategy()
        self._stop_timeout_s = stop_timeout_s
        self._cells: dict[str, Cell] = {}
        self._names = 0
        self._listeners: list[Callable[[DeadLetter], object]] = []
        self._all_ended: asyncio.Event | None = None
        self._dispatcher: Dispatcher | None = None
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        self._all_ended = asyncio.Event()
        self._dispatcher = Dispatcher(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop_all()
        if self.failure is not None and error is None:
            raise self.failure

    @property
    def dispatcher(self) -> Dispatcher:
        """For the cells."""
        if self._dispatcher is None:
            raise RuntimeError(f"actor system {self.name!r} is not open; use 'async with'")
        return self._dispatcher

    def spawn(self, factory: Callable[[], Actor], name: str | None = None) -> ActorRef:
        """Start an actor. `factory` makes its first instance, and another one at each restart."""
        if not self._open:
            raise RuntimeError(f"actor system {self.name!r} is not open; spawn within 'async with'")
        self._names += 1
        key = child_name(name, self._names, self._cells, self.name)
        cell = Cell(self, self, None, factory, f"{self.name}/{key}")
        self._cells[key] = cell
        return cell.ref

    def find(self, path: str) -> ActorRef | None:
        """The living actor with this path, as its reference gives it."""
        _, _, rest = path.partition("/")
        cells, found = self._cells, None
        for name in rest.split("/"):
            found = cells.get(name)
            if found is None:
                return None
            cells = found.children
        return found.ref if found is not None and found.ref.path == path else None

    async def stop(self, ref: ActorRef) -> None:
        """Stop an actor after its current message, and return when it has stopped."""
        assert isinstance(ref, LocalRef)
        ref.cell.stop()
        await ref.cell.wait_ended()

    async def stopped(self, ref: ActorRef) -> None:
        """Return when an actor has stopped, for whatever reason; at once if it has."""
        assert isinstance(ref, LocalRef)
        await ref.cell.wait_ended()

    def on_dead_letter(self, listener: Callable[[DeadLetter], object]) -> None:
        """Call a function for each message that nobody will receive."""
        self._listeners.append(listener)

    def dead_letter(self, letter: DeadLetter) -> None:
        if isinstance(letter.sender, Promise):
            letter.sender.undeliverable(letter)
        log.debug("dead letter: %r for %s", letter.message, letter.recipient)
        for listener in self._listeners:
            listener(letter)

    def directive(self, child: Cell, error: Exception) -> Directive:
        decision = self._strategy.decide(error)
        if decision is Directive.RESTART and not self._strategy.may_restart(child.restarts, child._loop.time()):
            return Directive.STOP
        return decision

    def child_failed(self, error: Exception) -> None:
        """Nobody is above to decide, so everything stops."""
        log.error("%s: an escalated failure stops the system: %r", self.name, error, exc_info=error)
        self.failure = self.failure or error
        for cell in list(self._cells.values()):
            cell.stop()

    def child_ended(self, child: Cell) -> None:
        self._cells.pop(child.ref.path.rpartition("/")[2], None)
        if not self._cells and self._all_ended is not None:
            self._all_ended.set()

    async def _stop_all(self) -> None:
        self._open = False
        for cell in list(self._cells.values()):
            cell.stop()
        interrupted: asyncio.CancelledError | None = None
        patience: float | None = self._stop_timeout_s
        while self._cells:
            assert self._all_ended is not None
            self._all_ended.clear()
            try:
                await asyncio.wait_for(self._all_ended.wait(), patience)
            except TimeoutError:
                patience = None
                self._abort_all()
            except asyncio.CancelledError as cancelled:  # whoever cancels us does not want to wait, but for the end
                interrupted, patience = cancelled, None
                self._abort_all()
        if interrupted is not None:
            raise interrupted

    def _abort_all(self) -> None:
        """Cancel what is being awaited, down to the youngest child."""
        waiting = list(self._cells.values())
        while waiting:
            cell = waiting.pop()
            waiting.extend(cell.children.values())
            if not cell.children:
                cell.abort()
