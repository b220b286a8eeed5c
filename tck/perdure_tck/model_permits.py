"""Whose turn it is to recover among the actors of one system, in which only so many may recover at a time."""

from __future__ import annotations

from collections.abc import Iterator

from .cast import Actor
from .state import State

RECOVERING = ("quiet", "load", "highest", "replay")


def housemates(state: State, actor: Actor) -> Iterator[Actor]:
    """The other actors of its system; without permits, each has a system of its own."""
    if not actor.housed or actor.start.permits is None:
        return
    for other in state.actors.values():
        same = other.housed and other.start.system == actor.start.system
        if same and other.persistence_id != actor.persistence_id:
            yield other


def next_turn(state: State) -> int:
    """Behind everybody who waits."""
    return 1 + max((one.turn for one in state.actors.values()), default=0)


def may_recover(state: State, actor: Actor) -> bool:
    """Whether a permit is left, and nobody has waited longer for one."""
    permits = actor.start.permits
    if permits is None:
        return True
    others = list(housemates(state, actor))
    first = all(one.turn > actor.turn for one in others if one.phase == "queued")
    return first and sum(one.phase in RECOVERING for one in others) < permits


def next_to_recover(state: State) -> str | None:
    """An actor that waits for a permit which has been given back meanwhile."""
    waiting = (one for one in state.actors.values() if one.phase == "queued")
    return next((one.persistence_id for one in waiting if may_recover(state, one)), None)
