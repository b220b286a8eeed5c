"""A supervisor that starts its child again after a pause that doubles each time."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from ._actor import Actor
from ._messages import Terminated
from ._ref import ActorRef
from ._supervision import stopping_strategy


class _StartChild(msgspec.Struct, frozen=True):
    pass


class _ChildHolds(msgspec.Struct, frozen=True):
    """The child has lived long enough for its earlier failures to be forgotten."""


class BackoffSupervisor(Actor):
    """Keeps one child alive, for a persistent actor stops when its journal fails. Messages are passed on to the child.

    The n-th start follows after `backoff_min_s * 2**n`, at most `backoff_max_s`, and up to the fraction `jitter` longer
    by chance, so that not all actors ask a journal at the moment it comes back. A child that lived for `reset_after_s`
    counts from the beginning. After `restarts_max` starts the supervisor stops. While there is no child, messages go to
    dead letters. The child is also started again when it stops by itself.
    """

    supervisor_strategy = stopping_strategy()

    def __init__(
        self,
        child: Callable[[], Actor],
        *,
        name: str = "child",
        backoff_min_s: float = 0.2,
        backoff_max_s: float = 10.0,
        jitter: float = 0.2,
        reset_after_s: float | None = None,
        restarts_max: int | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 0 < backoff_min_s <= backoff_max_s:
            raise ValueError(f"backoff of {backoff_min_s} to {backoff_max_s} s: 0 < backoff_min_s <= backoff_max_s")
        self._factory = child
        self._name = name
        self._backoff_s = (backoff_min_s, backoff_max_s)
        self._jitter = jitter
        self._reset_after_s = backoff_min_s if reset_after_s is None else reset_after_s
        self._restarts_max = restarts_max
        self._chance = chance
        self._restarts = 0
        self._child: ActorRef | None = None

    def pre_start(self) -> None:
        self._start_child()

    def receive(self, message: object) -> None:
        match message:
            case Terminated(ref) if ref is self._child:
                self._child_stopped()
            case _StartChild():
                self._start_child()
            case _ChildHolds():
                self._restarts = 0
            case _ if self._child is not None:
                self._child.tell(message, self._cell.sender)
            case _:
                self.context.system.dead_letters.tell(message, self._cell.sender)

    def _start_child(self) -> None:
        self._child = self.context.watch(self.context.spawn(self._factory, self._name))
        self.timers.start_single("holds", _ChildHolds(), self._reset_after_s)

    def _child_stopped(self) -> None:
        self._child = None
        self.timers.cancel("holds")
        if self._restarts_max is not None and self._restarts >= self._restarts_max:
            self.context.stop(self.ref)
            return
        self.timers.start_single("start", _StartChild(), self._pause_s())
        self._restarts += 1

    def _pause_s(self) -> float:
        least, most = self._backoff_s
        pause: float = min(least * 2 ** min(self._restarts, 60), most)
        return pause * (1 + self._chance() * self._jitter)
