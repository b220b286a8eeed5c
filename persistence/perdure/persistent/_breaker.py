"""A circuit breaker: a backend that keeps failing is left alone for a while instead of being asked again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..errors import CircuitOpen
from ._settings import BreakerSettings

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed: calls go through. Open: none does, until the reset time is over. Then one is tried, and decides."""

    def __init__(self, name: str, settings: BreakerSettings, now: Callable[[], float]) -> None:
        self.call_timeout_s = settings.call_timeout_s
        self._name = name
        self._settings = settings
        self._now = now
        self._failures = 0
        self._opened_at = 0.0
        self._trying = False
        self.last: BaseException | None = None

    @property
    def state(self) -> State:
        if self._failures < self._settings.failures_max:
            return "closed"
        waited = self._now() - self._opened_at >= self._settings.reset_timeout_s
        return "half-open" if waited else "open"

    def enter(self) -> CircuitOpen | None:
        """To be called before a call; gives the error with which it fails at once, or None."""
        if self._failures < self._settings.failures_max:
            return None
        if self.state == "open" or self._trying:
            return CircuitOpen(f"{self._name} failed {self._failures} times in a row; last: {self.last!r}")
        self._trying = True
        return None

    def succeeded(self) -> None:
        self._failures = 0
        self._trying = False
        self.last = None

    def failed(self, error: BaseException) -> None:
        self._failures += 1
        self._trying = False
        self._opened_at = self._now()
        self.last = error

    def abandoned(self) -> None:
        """The caller lost interest: this says nothing."""
        self._trying = False
