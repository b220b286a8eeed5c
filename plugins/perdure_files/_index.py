"""What the log says, in memory: for each id where its events lie, and its highest number.

It is made anew at each opening by reading every entry once, and kept up to date by the same method, `apply`. So there
is no second file that could say something else than the log.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from ._entries import Deletion, Event
from ._frames import Damaged


class Segment:
    """One file of the log: the segments `first` to `last` of it, joined. `end` is where the next frame would begin."""

    def __init__(self, name: str, first: int, last: int, identity: int, end: int) -> None:
        self.name = name
        self.first = first
        self.last = last
        self.identity = identity
        self.end = end
        self.frames = 0
        self.last_frame = end
        """Where the newest frame begins."""
        self.full = False
        """Whether it ends in a frame that says so: nothing may follow, and nothing may be missing."""
        self.dead = 0
        """How many bytes of entries the log would not miss."""


class Place:
    """Where one entry lies."""

    __slots__ = ("length", "offset", "segment")

    def __init__(self, segment: Segment, offset: int, length: int) -> None:
        self.segment = segment
        self.offset = offset
        self.length = length

    def is_dead(self) -> None:
        self.segment.dead += self.length


class Log:
    """One persistence id: its events that are not deleted, in ascending order, and what was ever said of it."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.places: list[Place] = []
        self.highest_sequence_nr = 0
        self.deleted_to = 0
        self.deletion: Place | None = None
        """The newest entry of a deletion. It must be kept for as long as the id: the highest number may be nowhere
        else."""


class Index:
    """The logs of all ids."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}

    def apply(self, said: Event | Deletion, place: Place) -> None:
        """Raises `Damaged` for an event that cannot have been written: its number was taken."""
        log = self.logs.get(said.persistence_id)
        if log is None:
            log = self.logs[said.persistence_id] = Log()
        if isinstance(said, Event):
            self._append(log, said, place)
        else:
            self._delete(log, said, place)

    def _append(self, log: Log, event: Event, place: Place) -> None:
        if event.sequence_nr <= log.highest_sequence_nr:
            raise Damaged(f"event {event.sequence_nr} of {event.persistence_id!r} stands behind a higher one")
        log.numbers.append(event.sequence_nr)
        log.places.append(place)
        log.highest_sequence_nr = event.sequence_nr

    def _delete(self, log: Log, deletion: Deletion, place: Place) -> None:
        count = bisect_right(log.numbers, deletion.to_sequence_nr)
        for gone in log.places[:count]:
            gone.is_dead()
        del log.numbers[:count], log.places[:count]
        if log.deletion is not None:
            log.deletion.is_dead()
        log.deletion = place
        log.deleted_to = max(log.deleted_to, deletion.to_sequence_nr)
        log.highest_sequence_nr = max(log.highest_sequence_nr, deletion.highest_sequence_nr)

    def highest(self, persistence_id: str) -> int:
        log = self.logs.get(persistence_id)
        return log.highest_sequence_nr if log else 0

    def window(self, persistence_id: str, first: int, last: int, count: int) -> list[tuple[int, Place]]:
        """The numbers and places of events between two numbers. A copy: what is deleted later stays in it."""
        log = self.logs.get(persistence_id)
        if log is None:
            return []
        begin, end = bisect_left(log.numbers, first), bisect_right(log.numbers, last)
        end = min(end, begin + count)
        return list(zip(log.numbers[begin:end], log.places[begin:end], strict=True))

    def needed(self) -> Iterator[Place]:
        """The place of every entry that the log would miss."""
        for log in self.logs.values():
            yield from log.places
            if log.deletion is not None:
                yield log.deletion
