"""Event adapters: what stands between the events that an actor knows and those that a journal keeps. (F-45)

They let the two differ: an old event becomes what the actor knows today, one event becomes several or none, a domain
class becomes a stored one. They also give events their tags. Serialization comes after them on the way in, and before
them on the way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ._arguments import check_sequence_nr, check_tag
from ._events import AtomicWrite, Payload, PersistentRepr, WriteRejected
from .errors import PerdureError, Unreadable
from .serialization._bindings import TypeBindings

NO_TAGS: Final[frozenset[str]] = frozenset()


class Tagged(msgspec.Struct, frozen=True):
    """An event with tags. Made by a write adapter; a journal keeps the event and the tags, never this. (F-46, J-22)"""

    payload: Any
    tags: frozenset[str]

    def __post_init__(self) -> None:
        if isinstance(self.payload, Tagged):
            raise ValueError(f"an event is tagged once, and {self.payload!r} has tags already")
        if isinstance(self.tags, str):
            raise ValueError(f"tags are a set of strings, not the string {self.tags!r}")
        for tag in self.tags:
            check_tag(tag)


class WriteEventAdapter(Protocol):
    """Asked once for each event that is persisted. What it raises rejects the write: nothing of it is stored. (J-26)"""

    def manifest(self, event: Any) -> str:
        """Stored beside the event, and given back to `from_journal`. (J-21)"""
        ...

    def to_journal(self, event: Any) -> object:
        """What is stored instead; the event itself, if nothing changes. `Tagged` gives it tags."""
        ...


class ReadEventAdapter(Protocol):
    """Asked once for each event that is replayed."""

    def from_journal(self, event: Any, manifest: str) -> Iterable[object]:
        """None, one or several events for a stored one. What it raises fails the recovery."""
        ...


EventAdapter = WriteEventAdapter | ReadEventAdapter


class AdaptedEvent(NamedTuple):
    """What is to be stored of one event."""

    event: object
    manifest: str
    tags: frozenset[str]


class _Binding(NamedTuple):
    write: WriteEventAdapter | None
    read: tuple[ReadEventAdapter, ...]


class EventAdapters:
    """Which adapters are meant for which events: those bound to the most specific type of which it is one.

    `EventAdapters({Deposited: adapter, Transferred: [splitter, renamer]})`. An adapter that has `to_journal` writes,
    one that has `from_journal` reads, and one may do both. Of several bound to one type at most one writes, and what
    those that read give is put together in their order. An event whose type is not bound stays as it is.

    When writing the type is that of the actor's event; when reading, that of the stored one.
    """

    def __init__(self, bindings: Mapping[type, EventAdapter | Sequence[EventAdapter]]) -> None:
        self._bindings = TypeBindings((kind, _binding(kind, given)) for kind, given in bindings.items())

    def changes(self, kind: type) -> bool:
        """Whether events of a type may be stored as something else, or with a manifest or tags."""
        found = self._bindings.find(kind)
        return issubclass(kind, Tagged) or (found is not None and found.write is not None)

    def changes_back(self, kind: type) -> bool:
        """Whether stored events of a type may be replayed as something else."""
        found = self._bindings.find(kind)
        return found is not None and bool(found.read)

    def to_journal(self, event: object) -> AdaptedEvent:
        found = self._bindings.find(type(event))
        if found is None or found.write is None:
            return _untagged(event, "")
        return _untagged(found.write.to_journal(event), found.write.manifest(event))

    def from_journal(self, event: object, manifest: str) -> Sequence[object]:
        found = self._bindings.find(type(event))
        if found is None or not found.read:
            return (event,)
        return [one for adapter in found.read for one in adapter.from_journal(event, manifest)]


NO_ADAPTERS: Final = EventAdapters({})


def _binding(kind: type, given: EventAdapter | Sequence[EventAdapter]) -> _Binding:
    adapters = given if isinstance(given, Sequence) else (given,)
    writing: list[Any] = [one for one in adapters if hasattr(one, "to_journal")]
    reading: list[Any] = [one for one in adapters if hasattr(one, "from_journal")]
    neither = [one for one in adapters if not (hasattr(one, "to_journal") or hasattr(one, "from_journal"))]
    name = kind.__qualname__
    if neither or not adapters:
        raise ValueError(f"{neither or 'nothing'} bound to {name}: an event adapter has to_journal or from_journal")
    if len(writing) > 1:
        raise ValueError(f"{len(writing)} of the adapters bound to {name} write; one can, and any number can read")
    return _Binding(writing[0] if writing else None, tuple(reading))


def _untagged(event: object, manifest: str) -> AdaptedEvent:
    """Tags count wherever they come from: an actor may persist `Tagged` by itself."""
    if not isinstance(manifest, str):
        raise TypeError(f"the manifest of an event is text, not {manifest!r}")
    if isinstance(event, Tagged):
        return AdaptedEvent(event.payload, manifest, frozenset(event.tags))
    return AdaptedEvent(event, manifest, NO_TAGS)


# --- with serialization ----------------------------------------------------------------------------------------------


class _Serialization(Protocol):
    """What is needed of `perdure.serialization.Serialization`."""

    def to_payload(self, value: Any) -> Payload: ...
    def from_payload(self, payload: Payload) -> Any: ...


def prepare_write(
    events: Sequence[object],
    persistence_id: str,
    from_sequence_nr: int,
    serialization: _Serialization,
    adapters: EventAdapters = NO_ADAPTERS,
    writer_uuid: str = "",
) -> AtomicWrite | WriteRejected:
    """The events as a journal takes them, or the rejection of all of them, before a journal has seen any.

    Whatever an adapter or a serializer raises is a rejection: the storage is not in doubt (F-42, J-25, J-26). An id or
    a number that no journal takes is a mistake of the caller and raises `ValueError`, as it does everywhere.
    """
    prepared = []
    for sequence_nr, event in enumerate(events, from_sequence_nr):
        check_sequence_nr("sequence_nr", sequence_nr)
        try:
            adapted = adapters.to_journal(event)
            payload = serialization.to_payload(adapted.event)
        except Exception as error:
            return WriteRejected(f"event {sequence_nr}: {_said(error)}")
        prepared.append(
            PersistentRepr(persistence_id, sequence_nr, payload, adapted.manifest, writer_uuid, tags=adapted.tags)
        )
    return AtomicWrite(tuple(prepared))


def recover_event(
    event: PersistentRepr, serialization: _Serialization, adapters: EventAdapters = NO_ADAPTERS
) -> Sequence[object]:
    """The events that an actor is to see for a stored one. Raises `Unreadable`, which names the stored one. (J-60)"""
    try:
        return adapters.from_journal(serialization.from_payload(event.payload), event.manifest)
    except Exception as error:
        raise Unreadable("event", event.persistence_id, event.sequence_nr, _said(error)) from error


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, PerdureError) else f"{type(error).__name__}: {error}"
