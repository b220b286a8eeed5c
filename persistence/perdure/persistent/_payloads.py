"""From the events of actors to what a journal keeps of them, and back: event adapters, and then serialization."""

from __future__ import annotations

from collections.abc import Iterable

from .._event_adapters import NO_ADAPTERS, EventAdapters
from .._events import Payload, PersistentRepr
from ..serialization import Serialization


class Codec:
    """Serialization with event adapters before it. Both directions raise for what they do not know."""

    def __init__(self, serialization: Serialization, adapters: EventAdapters | None) -> None:
        self.serialization = serialization
        self.adapters = adapters or NO_ADAPTERS

    def encode(self, event: object) -> tuple[Payload, str, frozenset[str]]:
        adapted, manifest, tags = self.adapters.to_journal(event)
        return self.serialization.to_payload(adapted), manifest, tags

    def decode(self, event: PersistentRepr) -> Iterable[object]:
        return self.adapters.from_journal(self.serialization.from_payload(event.payload), event.manifest)
