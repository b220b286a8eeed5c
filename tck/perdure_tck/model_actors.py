"""The model of all actors of a program: what each must note in each step, whatever keeps its events."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from perdure import (
    Claims,
)

from .actor_operations import (
    AnyActorOperation,
    Crash,
    StartActor,
    Wait,
)
from .cast import Actor
from .model_fsm import MachinePlay
from .model_part import Play, Stores, crash
from .model_permits import housemates, next_to_recover
from .model_queue import QueuePlay
from .operation import quoted
from .outcomes import Notes
from .state import State, Transition


def acted(state: State, operation: AnyActorOperation, number: int, claims: Claims, stores: Stores) -> Transition:
    """What an operation on an actor makes it note, and the state afterwards."""
    if isinstance(operation, Wait):
        return _all_waited(state, number, claims, stores)
    owner = operation.persistence_id
    if isinstance(operation, Crash) and owner in state.actors:
        state = _crashed(state, (one.persistence_id for one in housemates(state, state.actors[owner])))
    state, notes = _played(state, owner, operation, number, claims, stores)
    if state.actors[owner].start.permits is not None:
        state, of_others = _admitted(state, claims, stores)
        notes += [f"{quoted(name)}: {note}" for name in state.actors for note in of_others.get(name, ())]
    return Transition(Notes(tuple(notes)), state)


def _played(
    state: State, name: str, operation: AnyActorOperation | None, number: int, claims: Claims, stores: Stores
) -> tuple[State, list[str]]:
    """What one actor does until it rests: of an operation, or because there is a permit for it."""
    known = state.actors.get(name)
    actor = known.copied() if known else Actor(name, StartActor(name))
    start = operation if isinstance(operation, StartActor) and actor.phase == "absent" else actor.start
    kind = MachinePlay if start.machine else QueuePlay if start.queue else Play
    play = kind(actor, state, claims, stores)
    if operation is not None:
        play.begin(operation, number)
    play.settle()
    return msgspec.structs.replace(play.state, actors={**state.actors, name: play.actor}), play.notes


def _admitted(state: State, claims: Claims, stores: Stores) -> tuple[State, dict[str, list[str]]]:
    """Let those recover who have waited for a permit that was given back; what each of them notes."""
    notes: dict[str, list[str]] = {}
    while (name := next_to_recover(state)) is not None:
        state, noted = _played(state, name, None, 0, claims, stores)
        notes.setdefault(name, []).extend(noted)
    return state, notes


def _all_waited(state: State, number: int, claims: Claims, stores: Stores) -> Transition:
    """Whoever gets a permit while the others wait has its own limits, and these are over as well."""
    notes: dict[str, list[str]] = {name: [] for name in state.actors}
    waiting = [name for name, actor in state.actors.items() if actor.phase != "queued"]
    while waiting:
        for name in waiting:
            state, noted = _played(state, name, Wait(), number, claims, stores)
            notes[name] += noted
        state, of_others = _admitted(state, claims, stores)
        for name, noted in of_others.items():
            notes[name] += noted
        waiting = [name for name in of_others if state.actors[name].is_parked]
    return Transition(Notes(tuple(note for noted in notes.values() for note in noted)), state)


def all_crashed(state: State) -> State:
    """Every actor is gone, since the storage was closed below them."""
    return _crashed(state, state.actors) if state.actors else state


def _crashed(state: State, names: Iterable[str]) -> State:
    actors = dict(state.actors)
    for name in names:
        actors[name] = actors[name].copied()
        crash(actors[name])
    return msgspec.structs.replace(state, actors=actors)
