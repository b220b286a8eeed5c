"""From the events of actors to what a journal keeps of them, and back: event adapters, and then serialization."""

from __future__ import annotations

from collections.abc import Iterable

from .._event_adapters import NO_ADAPTERS, NO_TAGS, EventAdapters
from .._events import Payload, PersistentRepr
from ..serialization import Serialization


class Codec:
    """Serialization with event adapters before it. Both directions raise for what they do not know."""

    def __init__(self, serialization: Serialization, adapters: EventAdapters | None) -> None:
        self.serialization = serialization
        self.adapters = adapters or NO_ADAPTERS
        # Types that no adapter was found to be meant for: the way past the adapters is the way of most events.
        self._written_plain: set[type] = set()
        self._read_plain: set[type] = set()

    def encode(self, event: object) -> tuple[Payload, str, frozenset[str]]:
        if event.__class__ in self._written_plain:
            return self.serialization.to_payload(event), "", NO_TAGS
        if not self.adapters.changes(type(event)):
            self._written_plain.add(type(event))
        adapted, manifest, tags = self.adapters.to_journal(event)
        return self.serialization.to_payload(adapted), manifest, tags

    def decode(self, event: PersistentRepr) -> Iterable[object]:
        value = self.serialization.from_payload(event.payload)
        if value.__class__ in self._read_plain:
            return (value,)
        if not self.adapters.changes_back(type(value)):
            self._read_plain.add(type(value))
        return self.adapters.from_journal(value, event.manifest)
