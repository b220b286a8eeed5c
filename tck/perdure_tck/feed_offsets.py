"""Offsets as a program sees them: one for each event, whichever query gave it, and in the order of the feed."""

from __future__ import annotations

from collections.abc import Mapping

from perdure import EventEnvelope, Offset

from .outcomes import AnyOutcome, Taken


class FeedOffsets:
    """The offsets seen so far, by namespace and by place in the feed."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[int, Offset]] = {}

    def wrong(self, namespace: str, allowed: AnyOutcome, observed: AnyOutcome) -> Mapping[str, tuple[str, str]]:
        """The first offset that does not fit those seen before, in words; nothing if all do."""
        if not (isinstance(allowed, Taken) and isinstance(observed, Taken)):
            return {}
        seen = self._seen.setdefault(namespace, {})
        for right, found in zip(allowed.envelopes, observed.envelopes, strict=True):
            place = right.offset.position
            complaint = _complaint(seen, place, found)
            if complaint:
                return {"offset": complaint}
            seen[place] = found.offset
        return {}


def _complaint(seen: Mapping[int, Offset], place: int, found: EventEnvelope) -> tuple[str, str] | None:
    offset, about = found.offset, f"{found.sequence_nr} at"
    known = seen.get(place)
    if known is not None and known != offset:
        return f"{about} offset {offset}", f"{about} offset {known}, as before"
    for other, its in seen.items():
        if its.origin != offset.origin:
            return f"{about} an offset of {offset.origin}", f"{about} an offset of {its.origin}"
        if (its < offset) != (other < place) and other != place:
            return f"{about} offset {offset}", f"{about} an offset {'above' if other < place else 'below'} {its}"
    return None
