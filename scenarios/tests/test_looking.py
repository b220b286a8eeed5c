"""Which images are looked at, and when: each once, and none before somebody is free for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from perdure_scenarios.images import Image, image_from
from perdure_scenarios.looking import Looker
from perdure_scenarios.rooms import Rooms
from perdure_scenarios.tasks import Look, Seen
from perdure_tck.look import Sights

SIGHTS = Sights((), {})


class TwoAtOnce:
    """A crew of two that sees nothing: it has two looks in hand as long as there are so many."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def look_at(self, looks: Iterable[Look]) -> Iterator[tuple[Look, Seen]]:
        pending, hand = iter(looks), deque[Look]()
        while True:
            while len(hand) < 2 and (look := next(pending, None)) is not None:
                hand.append(look)
            if not hand:
                return
            look = hand.popleft()
            self.seen.append((Path(look.directory) / "file").read_bytes())
            yield look, Seen()


@pytest.fixture
def crew() -> TwoAtOnce:
    return TwoAtOnce()


@pytest.fixture
def looker(crew: Any, tmp_path: Path) -> Iterator[Looker]:
    with Rooms(tmp_path) as rooms:
        yield Looker(crew, rooms, SIGHTS, None)


def image(content: bytes) -> Image:
    return image_from({"file": content})


def test_equal_images_are_looked_at_once(looker: Looker, crew: TwoAtOnce) -> None:
    given = [image(one) for one in (b"a", b"a", b"b", b"c", b"a", b"c", b"b")]
    assert {one.digest for one, _ in looker.look_at(given)} == {one.digest for one in given}
    assert crew.seen == [b"a", b"b", b"c"]
    assert looker.looks == 3


def test_what_is_known_comes_again_each_time(looker: Looker, crew: TwoAtOnce) -> None:
    list(looker.look_at([image(b"a")]))
    found = [one.digest for one, _ in looker.look_at([image(b"a"), image(b"b"), image(b"a")])]
    assert sorted(found) == sorted([image(b"a").digest] * 2 + [image(b"b").digest])
    assert crew.seen == [b"a", b"b"]


def test_only_known_images_ask_nobody(looker: Looker, crew: TwoAtOnce) -> None:
    list(looker.look_at([image(b"a")]))
    assert len(list(looker.look_at([image(b"a")] * 3))) == 3
    assert crew.seen == [b"a"]


def test_an_image_is_made_when_somebody_is_free_for_it(looker: Looker) -> None:
    made: list[int] = []

    def images() -> Iterator[Image]:
        for number in range(10):
            made.append(number)
            yield image(b"%d" % number)

    next(looker.look_at(images()))
    assert made == [0, 1]
