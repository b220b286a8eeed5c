"""What an actor may do besides handling messages: have children, watch others, change its behaviour."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ._ref import ActorRef, LocalRef

if TYPE_CHECKING:
    from ._actor import Actor
    from ._cell import Cell
    from ._runtime import Runtime


class Context:
    """Belongs to one actor and is used by it alone."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def system(self) -> Runtime:
        return self._cell.runtime

    @property
    def parent(self) -> ActorRef | None:
        """None for an actor that the system itself spawned."""
        return self._cell.parent_ref

    @property
    def children(self) -> tuple[ActorRef, ...]:
        return tuple(child.ref for child in self._cell.children.values())

    def child(self, name: str) -> ActorRef | None:
        found = self._cell.children.get(name)
        return found.ref if found else None

    def spawn(self, factory: Callable[[], Actor], name: str | None = None) -> ActorRef:
        """Start a child. `factory` makes its first instance, and another one at each restart."""
        return self._cell.spawn(factory, name)

    def stop(self, ref: ActorRef) -> None:
        """Stop an actor once it has handled its current message; what is in its mailbox goes to dead letters."""
        assert isinstance(ref, LocalRef)
        ref.cell.stop()

    def watch(self, ref: ActorRef) -> ActorRef:
        """Receive `Terminated(ref)` when that actor has stopped; at once if it has already."""
        assert isinstance(ref, LocalRef)
        self._cell.watching.add(ref)
        ref.cell.add_watcher(self._cell)
        return ref

    def unwatch(self, ref: ActorRef) -> None:
        """No `Terminated` of this actor is received from now on, even if it is in the mailbox."""
        assert isinstance(ref, LocalRef)
        self._cell.watching.discard(ref)
        ref.cell.watchers.discard(self._cell)

    def become(self, receive: Callable[[object], object], *, discard_old: bool = True) -> None:
        """Handle the next messages by another function; a restart goes back to `receive`."""
        self._cell.become(receive, discard_old)

    def unbecome(self) -> None:
        """Go back to the behaviour before the last `become(..., discard_old=False)`."""
        self._cell.unbecome()

    def set_receive_timeout(self, timeout_s: float | None) -> None:
        """Receive `ReceiveTimeout()` whenever nothing else was received for so long; None turns it off."""
        self._cell.set_receive_timeout(timeout_s)
