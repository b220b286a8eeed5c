"""Damage to the files of a closed directory: everything is touched, nothing twice, and the words are true."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

from perdure_scenarios.damage import Extent, borders_of, damages
from perdure_scenarios.images import image_from
from perdure_scenarios.trace import Created, Linked, Renamed, Trace, Unlinked, Wrote

IMAGE = image_from({"small": b"0123456789", "d/large": Random(3).randbytes(30_000), "empty": b""})


def test_each_damage_changes_one_file_and_no_two_are_equal() -> None:
    found = list(damages(IMAGE))
    assert len({damage.image.digest for damage in found} | {IMAGE.digest}) == len(found) + 1
    for damage in found:
        others = {path: data for path, data in damage.image.plain().items() if path != damage.path}
        assert others == {path: data for path, data in IMAGE.plain().items() if path != damage.path}


def test_the_words_say_what_was_done() -> None:
    """Carried out again, from the words alone."""
    for damage in damages(IMAGE):
        plain = IMAGE.plain()
        before = plain.pop(damage.path)
        after = _again(damage.words.replace(damage.path, "FILE"), before)
        assert damage.image.plain() == (plain if after is None else {**plain, damage.path: after}), damage.words


def _again(words: str, before: bytes) -> bytes | None:
    numbers = [int(number) for number in re.findall(r"\d+", words)]
    flipped = bytearray(before)
    match words.split():
        case ["FILE", "missing"]:
            return None
        case ["FILE", "emptied"]:
            return b""
        case ["last", *_, "off"]:
            return before[: -(numbers[0] if numbers else 1)]
        case ["last", *_, "zeroed"]:
            length = numbers[0] if numbers else 1
            return before[:-length] + bytes(length)
        case ["bytes", *_, "zeroed"]:
            return before[: numbers[0]] + bytes(numbers[1] - numbers[0] + 1) + before[numbers[1] + 1 :]
        case ["bit", *_]:
            flipped[numbers[1]] ^= 1 << numbers[0]
        case ["byte", *_]:
            flipped[numbers[0]] ^= 255
    return bytes(flipped)


def test_every_byte_of_a_small_file_is_flipped_and_one_bit_of_each() -> None:
    words = [damage.words for damage in damages(IMAGE) if damage.path == "small"]
    assert all(f"byte {at} of small flipped" in words for at in range(10))
    assert all(f"bit {at % 8} of byte {at} of small flipped" in words for at in range(10))


def test_of_an_empty_file_nothing_but_the_name_can_be_lost() -> None:
    assert [damage.words for damage in damages(IMAGE) if damage.path == "empty"] == ["empty missing"]


def test_of_a_large_file_borders_ends_and_the_whole_length_are_struck() -> None:
    words = {damage.words for damage in damages(IMAGE, borders={"d/large": [10_000]})}
    struck = sorted(int(at) for at in re.findall(r"(?<!of )byte (\d+) of d/large", " ".join(sorted(words))))
    assert {0, 9_999, 10_000, 10_004, 4_095, 4_096, 29_999} <= set(struck)
    assert max(after - before for before, after in pairwise(struck)) < 600
    assert "last 20000 bytes of d/large cut off" in words
    assert "last 20001 bytes of d/large zeroed" in words


def test_the_bound_holds_and_leaves_out_the_finest_of_all_files() -> None:
    whole = [damage.words for damage in damages(IMAGE)]
    few = [damage.words for damage in damages(IMAGE, Extent(at_most=20))]
    assert few == whole[:20]
    assert {damage.path for damage in damages(IMAGE, Extent(at_most=20))} == {"small", "d/large", "empty"}
    assert len(list(damages(IMAGE, Extent(places=16)))) < 300


def test_zeros_are_not_zeroed_again() -> None:
    words = [damage.words for damage in damages(image_from({"a": bytes(2048)}))]
    assert not any("zeroed" in one for one in words)


def test_borders_are_where_writes_began_and_ended_under_the_last_name() -> None:
    calls = (
        Created(0, 0, "a.tmp"),
        Wrote(0, 0, "a.tmp", 0, b"123"),
        Wrote(0, 0, "a.tmp", 3, b"45"),
        Renamed(0, 0, "a.tmp", "a"),
        Linked(0, 0, "a", "b"),
        Wrote(0, 0, "a", 9, b"6"),
        Created(0, 0, "c"),
        Wrote(0, 0, "c", 0, b"6"),
        Unlinked(0, 0, "c"),
    )
    assert borders_of(Trace({}, calls)) == {"a": [0, 3, 5, 9, 10], "b": [0, 3, 5]}
