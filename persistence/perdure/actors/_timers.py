"""Messages to oneself, later. Times come from the event loop, so that a virtual clock moves them."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from typing import TYPE_CHECKING

from ._messages import TimerFired

if TYPE_CHECKING:
    from ._cell import Cell


class Timers:
    """The timers of one actor, by key. A key that is started again replaces the timer that it had.

    After `cancel`, and after a restart or stop, the message of a timer is not received, even if it was already in the
    mailbox. Timer messages survive stashing.
    """

    def __init__(self, cell: Cell, loop: AbstractEventLoop) -> None:
        self._cell = cell
        self._loop = loop
        self._running: dict[object, tuple[TimerHandle, int, float | None]] = {}
        self._generation = 0

    def start_single(self, key: object, message: object, delay_s: float) -> None:
        """Receive the message once, after a delay."""
        self._start(key, message, delay_s, None)

    def start_periodic(self, key: object, message: object, interval_s: float, initial_delay_s: float = -1.0) -> None:
        """Receive the message again and again; first after `initial_delay_s`, if given, else after one interval."""
        if interval_s <= 0:
            raise ValueError(f"interval_s {interval_s} is out of range; above 0 is allowed")
        self._start(key, message, interval_s if initial_delay_s < 0 else initial_delay_s, interval_s)

    def is_active(self, key: object) -> bool:
        return key in self._running

    def cancel(self, key: object) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            running[0].cancel()

    def cancel_all(self) -> None:
        for key in list(self._running):
            self.cancel(key)

    def accept(self, fired: TimerFired) -> bool:
        """Whether a message that arrived is still wanted. For the runtime."""
        running = self._running.get(fired.key)
        if running is None or running[1] != fired.generation:
            return False
        if running[2] is None:
            del self._running[fired.key]
        return True

    def _start(self, key: object, message: object, delay_s: float, interval_s: float | None) -> None:
        self.cancel(key)
        self._generation += 1
        fired = TimerFired(key, self._generation, message)
        handle = self._loop.call_later(delay_s, self._fire, fired)
        self._running[key] = (handle, self._generation, interval_s)

    def _fire(self, fired: TimerFired) -> None:
        _, generation, interval_s = self._running[fired.key]
        if interval_s is not None:
            handle = self._loop.call_later(interval_s, self._fire, fired)
            self._running[fired.key] = (handle, generation, interval_s)
        self._cell.enqueue(fired, self._cell.ref)
