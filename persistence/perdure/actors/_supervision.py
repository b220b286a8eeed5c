"""What a parent does about a child that raised: resume it, restart it, stop it, or fail itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ..errors import InitializationFailed


class Directive(Enum):
    """RESUME keeps the instance and passes over the message; RESTART takes a new instance and keeps the mailbox;
    STOP ends the actor; ESCALATE makes the parent fail with the same error."""

    RESUME = "resume"
    RESTART = "restart"
    STOP = "stop"
    ESCALATE = "escalate"


class SupervisorStrategy:
    """Directives by type of exception, the most specific type first, for each child by itself.

    An actor that could not be started is stopped, everything else is restarted, unless `directives` says otherwise.
    A child that was restarted `restarts_max` times within `within_s` seconds is stopped at its next failure; with
    `within_s` None, restarts are counted for ever.
    """

    def __init__(
        self,
        directives: Mapping[type[Exception], Directive] | None = None,
        *,
        restarts_max: int | None = None,
        within_s: float | None = None,
    ) -> None:
        self._directives: dict[type, Directive] = {Exception: Directive.RESTART, InitializationFailed: Directive.STOP}
        self._directives.update(directives or {})
        self._restarts_max = restarts_max
        self._within_s = within_s

    def decide(self, error: Exception) -> Directive:
        return next(self._directives[kind] for kind in type(error).__mro__ if kind in self._directives)

    def may_restart(self, earlier: list[float], now: float) -> bool:
        """Whether one more restart is within the limit; `earlier`, the times of those before, is kept up to date."""
        if self._within_s is not None:
            earlier[:] = [at for at in earlier if now - at < self._within_s]
        if self._restarts_max is not None and len(earlier) >= self._restarts_max:
            return False
        if self._restarts_max is not None:
            earlier.append(now)
        return True


def stopping_strategy() -> SupervisorStrategy:
    """Every failure stops the child."""
    return SupervisorStrategy({Exception: Directive.STOP})
