"""At-least-once delivery: what was sent is sent again until it is confirmed, also after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from ..actors import ActorRef
from ..errors import TooManyUnconfirmed
from ._persistent_actor import PersistentActor


class UnconfirmedDelivery(msgspec.Struct, frozen=True):
    """A message that was sent and not confirmed. `destination` is the path of an actor."""

    delivery_id: int
    destination: str
    message: object


class UnconfirmedWarning(msgspec.Struct, frozen=True):
    """Told to the actor itself when deliveries were tried as often as it wants to be warned about."""

    deliveries: tuple[UnconfirmedDelivery, ...]


class DeliverySnapshot(msgspec.Struct, frozen=True):
    """What an actor keeps of its deliveries in a snapshot of its own."""

    current_delivery_id: int
    unconfirmed: tuple[UnconfirmedDelivery, ...]


class _Attempts(msgspec.Struct):
    delivery: UnconfirmedDelivery
    sent_at: float
    count: int


class AtLeastOnceDelivery(PersistentActor):
    """Call `deliver` in the handler of an event that says so, and `confirm_delivery` in that of the confirmation.

    Nothing is persisted by itself: the events of the actor must bring about the same calls in recovery, in the same
    order. Then the ids are the same again, and what is unconfirmed when recovery has completed is sent again at once,
    in the order of its ids and before anything new. A destination may get a message several times and, where some were
    lost, in another order.
    """

    redeliver_interval_s: float = 5.0
    redelivery_burst_limit: int = 10_000
    """How many are sent again at a time, so that a destination that comes back is not flooded."""

    warn_after_attempts: int = 5
    unconfirmed_max: int = 100_000

    _delivery_id = 0
    _timer: asyncio.TimerHandle | None = None

    def deliver(self, destination: ActorRef | str, message: Callable[[int], object]) -> None:
        """Send what `message(delivery_id)` returns, until that id is confirmed. During recovery, only remember it.

        Raises:
            TooManyUnconfirmed: `unconfirmed_max` deliveries wait already.
        """
        unconfirmed = self._unconfirmed
        if len(unconfirmed) >= self.unconfirmed_max:
            raise TooManyUnconfirmed(self.persistence_id, len(unconfirmed))
        self._delivery_id += 1
        path = destination if isinstance(destination, str) else destination.path
        delivery = UnconfirmedDelivery(self._delivery_id, path, message(self._delivery_id))
        attempts = unconfirmed[self._delivery_id] = _Attempts(delivery, self._overdue_at(), 0)
        if not self.is_recovering:
            self._send(attempts)
            self._arm(self.redeliver_interval_s / 2)

    def confirm_delivery(self, delivery_id: int) -> bool:
        """Never send it again. True the first time, false if it is not, or no longer, waited for."""
        found = self._unconfirmed.pop(delivery_id, None) is not None
        if not self._unconfirmed:
            self._disarm()
        return found

    @property
    def unconfirmed_count(self) -> int:
        return len(self._unconfirmed)

    def delivery_snapshot(self) -> DeliverySnapshot:
        """To be saved as part of the actor's own snapshot."""
        deliveries = tuple(attempts.delivery for attempts in self._unconfirmed.values())
        return DeliverySnapshot(self._delivery_id, deliveries)

    def restore_deliveries(self, snapshot: DeliverySnapshot) -> None:
        """Take up what a snapshot holds; all of it is due, and counts as never tried."""
        self._delivery_id = snapshot.current_delivery_id
        self._unconfirmed.clear()
        for delivery in snapshot.unconfirmed:
            self._unconfirmed[delivery.delivery_id] = _Attempts(delivery, self._overdue_at(), 0)

    @property
    def _unconfirmed(self) -> dict[int, _Attempts]:
        """In the order of the ids. Made when it is first used, so that actors need not call our `__init__`."""
        found: dict[int, _Attempts] = self.__dict__.setdefault("_deliveries", {})
        return found

    def _recovered(self) -> None:
        self._redeliver()

    def _redeliver(self) -> None:
        """Send again what is due, and say what was tried too often.

        What was sent longest ago comes first, then the lower id. By id alone, a burst limit below the number of those
        that wait would starve the higher ones.
        """
        due_at = self._overdue_at()
        due = [attempts for attempts in self._unconfirmed.values() if attempts.sent_at <= due_at]
        due.sort(key=lambda attempts: attempts.sent_at)
        warned = []
        for attempts in due[: self.redelivery_burst_limit]:
            self._send(attempts)
            if attempts.count == self.warn_after_attempts:
                warned.append(attempts.delivery)
        if warned:
            self.ref.tell(UnconfirmedWarning(tuple(warned)), self.ref)
        if self._unconfirmed:
            self._arm(self.redeliver_interval_s)

    def _send(self, attempts: _Attempts) -> None:
        attempts.count += 1
        attempts.sent_at = asyncio.get_running_loop().time()
        system, delivery = self.context.system, attempts.delivery
        (system.find(delivery.destination) or system.dead_letters).tell(delivery.message, self.ref)

    def _overdue_at(self) -> float:
        return asyncio.get_running_loop().time() - self.redeliver_interval_s

    def _arm(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._soon(self._redeliver)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _detach(self) -> None:
        super()._detach()
        self._disarm()
