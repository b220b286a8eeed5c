"""What actors of programs store: an event is a name, a snapshot the names of all events so far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

from perdure import Payload
from perdure.serialization import Confirmed, MessageSent, PersistentFSMSnapshot, StateChangeEvent

from .operation import quoted

SERIALIZER_ID = 4
"""Events and snapshots of actors are payloads of the same serializer as those of other programs."""

NAMES = "names"
"""The manifest of a snapshot: the names of all events that the actor has handled."""


STATE, MACHINE, QUEUE = "state", "machine", "queue"
"""The manifests of a change of state, of the snapshot of a machine, and of what a producer queue stores."""


def is_unfit(name: str) -> bool:
    """Whether the event adapter raises for an event of this name."""
    return name.startswith("unfit")


def times_read(name: str) -> int:
    """How many events the adapter makes of a stored one: of most one, of some none or two."""
    return {"never": 0, "twice": 2}.get(name[:5], 1)


def snapshot_of(names: Sequence[str]) -> Payload:
    return Payload(SERIALIZER_ID, NAMES, json.dumps(list(names)).encode())


def names_of(snapshot: Payload) -> list[str]:
    """The names in a snapshot of an actor; one that a program saved by itself is a single name."""
    if snapshot.manifest != NAMES:
        return [name_of(snapshot)]
    found: list[str] = json.loads(snapshot.data)
    return found


def name_of(event: Payload) -> str:
    return event.data.decode(errors="replace")


def event_of(name: str) -> Payload:
    return Payload(SERIALIZER_ID, "", name.encode())


def shown_snapshot(number: int, names: Sequence[str]) -> str:
    return f"snapshot {number} [{' '.join(map(quoted, names))}]"


def state_payload(state: str, timeout_ms: int | None) -> Payload:
    return Payload(SERIALIZER_ID, STATE, json.dumps([state, timeout_ms, []]).encode())


def machine_of(state: str, timeout_ms: int | None, names: Sequence[str]) -> Payload:
    return Payload(SERIALIZER_ID, MACHINE, json.dumps([state, timeout_ms, list(names)]).encode())


def state_of(payload: Payload) -> tuple[str, int | None, list[str]]:
    """State, timeout and data in a change of state, which says nothing of data, or a snapshot of a machine."""
    state, timeout_ms, names = json.loads(payload.data)
    return state, timeout_ms, names


def queue_payload(number: int, message: str, qualifier: str) -> Payload:
    """A message that was sent, or without one a confirmation."""
    return Payload(SERIALIZER_ID, QUEUE, json.dumps([number, message, qualifier]).encode())


def read_queue_payload(payload: Payload) -> tuple[int, str, str]:
    number, message, qualifier = json.loads(payload.data)
    return number, message, qualifier


class Names:
    """Their serialization."""

    def to_payload(self, value: object) -> Payload:
        match value:
            case str():
                return event_of(value)
            case StateChangeEvent(state, timeout_ms):
                return state_payload(state, timeout_ms)
            case MessageSent(number, message, _, qualifier):
                return queue_payload(number, name_of(cast("Payload", message)), qualifier)
            case Confirmed(number, qualifier):
                return queue_payload(number, "", qualifier)
            case PersistentFSMSnapshot(state, data, timeout_ms):
                return machine_of(state, timeout_ms, names_of(data))
            case _:
                return snapshot_of(cast("list[str]", value))

    def from_payload(self, payload: Payload) -> object:
        if payload.manifest == STATE:
            return StateChangeEvent(*state_of(payload)[:2])
        if payload.manifest == QUEUE:
            number, message, qualifier = read_queue_payload(payload)
            sent = MessageSent(number, event_of(message), qualifier=qualifier)
            return sent if message else Confirmed(number, qualifier)
        if payload.manifest == MACHINE:
            state, timeout_ms, names = state_of(payload)
            return PersistentFSMSnapshot(state, snapshot_of(names), timeout_ms)
        return names_of(payload) if payload.manifest == NAMES else name_of(payload)


class Adapter:
    """An event adapter that raises for some events, and makes none or two of others."""

    def manifest(self, event: object) -> str:
        return ""

    def to_journal(self, event: object) -> object:
        if is_unfit(str(event)):
            raise ValueError(f"{event} was made unfit")
        return event

    def from_journal(self, event: object, manifest: str) -> Iterable[object]:
        return [event] * times_read(str(event))
