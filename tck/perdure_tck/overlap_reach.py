"""How far the queries of a program with overlapping steps will come: what a take beside writers has to wait for.

Nobody else could tell a live query that is slow, or was never woken, from one that rightly waits. So the program is
played once on the model: each client goes on until it would wait, and when all of them would, whoever waits first is
given what is there. Where the clients of a block write to ids of their own, as generated ones do, every order comes to
the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec
from perdure import Claims

from . import model, model_queries
from .judge import FULL_CLAIMS
from .model import State
from .operations import Take
from .program import Program, Step

Numbered = tuple[int, Step]


@lru_cache(maxsize=64)
def reach(steps: tuple[Step, ...], claims: Claims) -> Mapping[int, int]:
    """For each take, by its number: how many items, the end counted as one, its query will have to give by then in all.

    From its beginning, so that it does not matter whether the takes before it were cancelled.
    """
    played = _Played(claims)
    for _, numbered in Program("", "", (), steps).blocks:
        played.together([[one for one in numbered if one[1].client == client] for client in _clients(numbered)])
    return played.reach


def _clients(numbered: Sequence[Numbered]) -> Iterator[str]:
    yield from dict.fromkeys(step.client for _, step in numbered)


class _Played:
    """The model's states while a program is played, and what was found on the way."""

    def __init__(self, claims: Claims) -> None:
        """Limits are as claimed, since they decide what is rejected; every ability is taken for granted."""
        able = {name: True for name, value in msgspec.structs.asdict(FULL_CLAIMS).items() if value is True}
        self._claims = msgspec.structs.replace(claims, **able)
        self._states: dict[str, State] = {}
        self.reach: dict[int, int] = {}

    def together(self, columns: Sequence[list[Numbered]]) -> None:
        waiting = [column for column in columns if column]
        while waiting:
            for column in waiting:
                while column and not self._waits(column[0][1]):
                    self._step(*column.pop(0))
            waiting = [column for column in waiting if column]
            if waiting:
                self._step(*waiting[0].pop(0))

    def _state(self, step: Step) -> State:
        return self._states.get(step.namespace, State())

    def _waits(self, step: Step) -> bool:
        take = step.operation
        return isinstance(take, Take) and model_queries.due(self._state(step), take) < take.count

    def _step(self, number: int, step: Step) -> None:
        state = self._state(step)
        if isinstance(step.operation, Take):
            self.reach[number] = model_queries.given(state, step.operation.name) + model_queries.due(
                state, step.operation
            )
        self._states[step.namespace] = model.step(state, step.operation, number, self._claims)[0].state
