"""Looking at states: images are put into rooms, a crew of workers opens them, and what it saw comes back as a look.

What a look shows depends on the image alone, so equal images are looked at once, whatever led to them.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from perdure import Payload, PersistentRepr, SelectedSnapshot
from perdure_tck.look import Added, Look, SeenId, Sights, Stage, Trouble
from perdure_tck.outcomes import Answers, AnyOutcome, Damaged, Events, Loaded, Number, Raised

from . import tasks
from .crew import Crew, Gone
from .images import Image
from .rooms import Rooms
from .scratch import materialise
from .tasks import Failure, More, Seen, Sight, Words

STAGES: dict[tasks.Moment, Stage] = {
    "load": "opening",
    "open": "opening",
    "look": "reading",
    "write": "writing",
    "close": "closing",
    "reopen": "opening again",
    "look again": "reading again",
    "close again": "closing again",
}


def words_of(text: str) -> Words:
    """The words of a command line, `sqlite --setting journal_mode=DELETE`, as workers take them."""
    name, *rest = shlex.split(text)
    settings = dict(setting.split("=", 1) for option, setting in zip(rest[::2], rest[1::2], strict=True) if option)
    return Words(name, settings)


class Looker:
    """Looks at images with a crew. `sights` is what there is to see, `page_size` how the location is opened."""

    def __init__(self, crew: Crew, rooms: Rooms, sights: Sights, page_size: int | None) -> None:
        self._crew, self._rooms, self._sights, self._page_size = crew, rooms, sights, page_size
        self._free: list[Path] = []
        self._known: dict[tuple[bytes, bool], Look] = {}
        self.looks = 0

    def look_at(self, images: Iterable[Image], write_more: bool = True) -> Iterator[tuple[Image, Look]]:
        """The images with their looks, in the order in which they come; one that comes again before it was looked at
        is given once. An image is taken from `images` when a worker is free."""
        known: deque[tuple[Image, Look]] = deque()
        inside: dict[str, tuple[Image, Path]] = {}
        for look, answer in self._crew.look_at(self._asked(images, write_more, known, inside)):
            image, room = inside.pop(look.directory)
            self._free.append(room)
            self.looks += 1
            found = self._known[image.digest, write_more] = look_of(answer, self._sights, look.directory)
            yield image, found
            yield from _taken(known)
        yield from _taken(known)

    def _asked(
        self,
        images: Iterable[Image],
        write_more: bool,
        known: deque[tuple[Image, Look]],
        inside: dict[str, tuple[Image, Path]],
    ) -> Iterator[tasks.Look]:
        """A look for each image that is new. Those that are not go to `known`, those that are looked at to `inside`."""
        for image in images:
            if (image.digest, write_more) in self._known:
                known.append((image, self._known[image.digest, write_more]))
            elif all(image.digest != other.digest for other, _ in inside.values()):
                room = self._free.pop() if self._free else self._rooms.new("state")
                with self._rooms.want():
                    materialise(image, room)
                inside[str(room)] = image, room
                yield tasks.Look(
                    directory=str(room),
                    persistence_ids=self._sights.ids,
                    write_more=write_more,
                    page_size=self._page_size,
                )


def _taken(known: deque[tuple[Image, Look]]) -> Iterator[tuple[Image, Look]]:
    while known:
        yield known.popleft()


def look_of(answer: Seen | Gone, sights: Sights, room: str) -> Look:
    """What a worker told, as the judge takes it; with the name of the room left out, which means nothing to anybody."""
    if isinstance(answer, Gone):
        how = {"silent": "gave no answer", "died": f"died ({answer.exit})", "nonsense": "said nonsense"}[answer.how]
        return Look(trouble=Trouble(STAGES[answer.during], how, _line(answer.said.rpartition("\n")[2], room)))
    trouble = None
    if answer.failure is not None:
        failure = answer.failure
        stage = STAGES[failure.during]  # type: ignore[index]  # `during` of a whole look is one of its moments
        trouble = Trouble(stage, failure.error, _line(failure.message, room), failure.known)
    return Look(
        tuple(_seen(sight, sights, room) for sight in answer.sights),
        tuple(_added(more, room) for more in answer.more if more.sequence_nr),
        tuple(_seen(sight, sights, room) for sight in answer.sights_again),
        trouble,
    )


def _seen(sight: Sight, sights: Sights, room: str) -> SeenId:
    failed = {failure.during: _outcome(failure, room) for failure in sight.failures}
    highest: AnyOutcome = Number(sight.highest_sequence_nr or 0)
    return SeenId(
        sight.persistence_id,
        failed.get("replay") or Events(sight.events),
        failed.get("highest") or highest,
        _snapshots(sight, sights.snapshots[sight.persistence_id], failed.get("snapshots")),
    )


def _snapshots(sight: Sight, numbers: Iterable[int], failed: AnyOutcome | None) -> dict[int, AnyOutcome]:
    """The snapshot of each number; those that could not be reached behind one that failed have its outcome."""
    found: dict[int, SelectedSnapshot] = {one.metadata.sequence_nr: one for one in sight.snapshots}
    lowest = min(found, default=None)
    outcomes: dict[int, AnyOutcome] = {}
    for number in sorted({*numbers, *found}):
        reached = lowest is not None and number >= lowest
        outcomes[number] = failed if failed is not None and not reached else Loaded(found.get(number))
    return outcomes


def _outcome(failure: Failure, room: str) -> AnyOutcome:
    message = _line(failure.message, room)
    return Damaged(message) if failure.error == "Unreadable" else Raised(failure.error, message)


def _line(message: str, room: str) -> str:
    line = message.partition("\n")[0].replace(f"{room}/", "")
    return line if line.isprintable() else repr(line)[1:-1]


def _added(more: More, room: str) -> Added:
    event = added_event(more.persistence_id, more.sequence_nr)
    return Added(event, _outcome(more.failure, room) if more.failure else Answers((more.rejected,)))


def added_event(persistence_id: str, number: int) -> PersistentRepr:
    """The event that a worker writes when it is asked for one more."""
    text = f"{number} of {persistence_id} after the fault"
    return PersistentRepr(persistence_id, number, Payload(4, "", text.encode(errors="replace")))
