"""What is smaller than an operation on an actor: fewer commands, fewer or plainer acts, less said at its start."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .actor_operations import Act, AnyActorOperation, Disturb, StartActor, Tell


def smaller_operations(operation: AnyActorOperation) -> Iterator[AnyActorOperation]:
    match operation:
        case Tell(commands=commands):
            for at in range(len(commands)):
                if len(commands) > 1:
                    yield msgspec.structs.replace(operation, commands=(*commands[:at], *commands[at + 1 :]))
                for acts in _smaller_acts(commands[at]):
                    fewer = (*commands[:at], acts, *commands[at + 1 :])
                    yield msgspec.structs.replace(operation, commands=fewer)
        case StartActor():
            yield from (smaller for smaller in _less_said(operation) if not smaller.is_endless)
        case Disturb(number=number) if number:
            yield msgspec.structs.replace(operation, number=0)
        case _:
            return


def _less_said(operation: StartActor) -> Iterator[StartActor]:
    plain = StartActor(operation.persistence_id)
    for field in StartActor.__struct_fields__:
        if getattr(operation, field) != getattr(plain, field):
            yield msgspec.structs.replace(operation, **{field: getattr(plain, field)})


def _smaller_acts(acts: tuple[Act, ...]) -> Iterator[tuple[Act, ...]]:
    """One act less, if another is left; or one of them smaller."""
    for at, act in enumerate(acts):
        if len(acts) > 1:
            yield (*acts[:at], *acts[at + 1 :])
        for smaller in _smaller(act):
            yield (*acts[:at], smaller, *acts[at + 1 :])


def _smaller(act: Act) -> Iterator[Act]:
    if act.handler:
        yield msgspec.structs.replace(act, handler=())
        for handler in _smaller_acts(act.handler):
            yield msgspec.structs.replace(act, handler=handler)
    if act.then:
        yield msgspec.structs.replace(act, then="")
    if act.deed in ("persist_all", "persist_all_async", "persist_broken") and act.names:
        for at in range(len(act.names)):
            yield msgspec.structs.replace(act, names=(*act.names[:at], *act.names[at + 1 :]))
    if act.deed == "persist_all" and len(act.names) == 1 and not act.then:
        yield msgspec.structs.replace(act, deed="persist")
