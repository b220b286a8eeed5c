"""Finds, in the events of one recovery, those of a writer that went on after another had taken over."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence

from .._events import PersistentRepr
from ..errors import OverlappingWriters
from ._settings import ReplayFilterMode

log = logging.getLogger("perdure.persistent")


class ReplayFilter:
    """Holds back the last `window` events, so that those which turn out to be of an old writer can be left out. (J-64)

    An event is out of place if its writer was followed by another, if it is numbered below an earlier event of its own
    writer, or if it was written by the old writer under a number that the new one uses as well. Modes: leave it out
    (`repair-by-discard-old`), raise (`fail`), keep it and say so (`warn`).
    """

    def __init__(self, mode: ReplayFilterMode, window: int, old_writers_max: int) -> None:
        self._mode = mode
        self._window = window
        self._held: deque[PersistentRepr] = deque()
        self._writer = ""
        self._sequence_nr = -1
        self._old_writers: deque[str] = deque(maxlen=old_writers_max)

    def push(self, event: PersistentRepr) -> PersistentRepr | None:
        """Take one more event, and give the one that is now old enough to be replayed."""
        ready = self._held.popleft() if len(self._held) >= self._window else None
        if event.writer_uuid == self._writer:
            if event.sequence_nr >= self._sequence_nr or self._kept(event, "an earlier number of the same writer"):
                self._hold(event)
        elif event.writer_uuid in self._old_writers:
            if self._kept(event, "a writer that was followed by another"):
                self._held.append(event)
        else:
            self._change_writer(event)
        return ready

    def push_page(self, page: Sequence[PersistentRepr]) -> Iterable[PersistentRepr]:
        """The same for several events."""
        if not self._goes_on(page):
            return (ready for event in page if (ready := self.push(event)) is not None)
        self._sequence_nr = page[-1].sequence_nr
        held = self._held
        held.extend(page)
        return [held.popleft() for _ in range(len(held) - self._window)]

    def _goes_on(self, page: Sequence[PersistentRepr]) -> bool:
        """Whether nothing in it is out of place, as in nearly every page."""
        writer, sequence_nr = self._writer, self._sequence_nr
        for event in page:
            if event.writer_uuid != writer or event.sequence_nr < sequence_nr:
                return False
            sequence_nr = event.sequence_nr
        return bool(page)

    def rest(self) -> list[PersistentRepr]:
        """What is still held when the replay has ended."""
        rest = list(self._held)
        self._held.clear()
        return rest

    def _hold(self, event: PersistentRepr) -> None:
        self._sequence_nr = event.sequence_nr
        self._held.append(event)

    def _change_writer(self, event: PersistentRepr) -> None:
        if self._writer:
            self._old_writers.append(self._writer)
        self._writer = event.writer_uuid
        reason = f"a number at or above {event.sequence_nr}, where a new writer began"
        self._held = deque(
            held for held in self._held if held.sequence_nr < event.sequence_nr or self._kept(held, reason)
        )
        self._hold(event)

    def _kept(self, event: PersistentRepr, reason: str) -> bool:
        error = OverlappingWriters(event.persistence_id, event.sequence_nr, event.writer_uuid, reason)
        if self._mode == "fail":
            self._held.clear()
            raise error
        log.warning("%s; %s", error, "kept" if self._mode == "warn" else "left out")
        return self._mode == "warn"
