"""What actors of programs store: an event is a name, a snapshot the names of all events so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from perdure import Payload

from .model_actors import event_of, is_unfit, name_of, names_of, snapshot_of, times_read


class Names:
    """Their serialization."""

    def to_payload(self, value: object) -> Payload:
        return event_of(value) if isinstance(value, str) else snapshot_of(cast("list[str]", value))

    def from_payload(self, payload: Payload) -> object:
        return names_of(payload) if payload.manifest == "names" else name_of(payload)


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
