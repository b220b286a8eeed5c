"""Contents and images as values, and images on a disk that is full of surprises."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure_scenarios.contents import EMPTY, PAGE, Known, content_of
from perdure_scenarios.images import image_from
from perdure_scenarios.scratch import materialise, read_image

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: links and modes of files as POSIX has them")

offsets = st.sampled_from([0, 1, 511, 512, 4095, 4096, 4097, 8192, 12_000])
pieces = st.sampled_from([b"", b"x", b"y" * 600, b"\0" * 5000, b"z" * 9000])
changes = st.lists(st.one_of(st.tuples(offsets, pieces), offsets), max_size=6)
images = st.dictionaries(
    st.sampled_from(["a", "b", "d/", "e/", "d/a", "d/e/", "d/e/f", "b/c"]), pieces, max_size=6
).filter(lambda plain: not ("b" in plain and "b/c" in plain))


# Contents


@given(changes)
def test_a_content_is_what_the_same_calls_make_of_bytes(calls: list[tuple[int, bytes] | int]) -> None:
    content, plain, known = EMPTY, b"", Known()
    for call in calls:
        if isinstance(call, int):
            content, plain = content.resized(call), plain[:call].ljust(call, b"\0")
            continue
        offset, data = call
        content = content.written(offset, data, known)
        if data:
            plain = plain.ljust(offset, b"\0")
            plain = plain[:offset] + data + plain[offset + len(data) :]
        assert content.written(offset, data).digest == content.digest
    assert bytes(content) == plain
    assert content.size == len(plain)
    assert content.digest == content_of(plain).digest


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_contents_have_one_digest_if_and_only_if_they_are_equal(one: bytes, other: bytes) -> None:
    assert (content_of(one).digest == content_of(other).digest) == (one == other)


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1])
def test_zeros_are_told_apart_by_their_number(size: int) -> None:
    assert content_of(bytes(size)).digest == EMPTY.resized(size).digest != EMPTY.resized(size + 1).digest


def test_equal_pages_at_other_places_are_other_contents() -> None:
    one, other = b"1" * PAGE, b"2" * PAGE
    assert content_of(one + other).digest != content_of(other + one).digest


# Images


@given(images, images)
def test_images_have_one_digest_if_and_only_if_they_are_equal(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    equal = image_from(one).plain() == image_from(other).plain()
    assert (image_from(one).digest == image_from(other).digest) == equal
    assert (image_from(one) == image_from(other)) == equal


@given(images)
def test_an_image_comes_back_from_its_plain_form(plain: dict[str, bytes]) -> None:
    image = image_from(plain)
    assert image_from(image.plain()).digest == image.digest
    assert {path: data for path, data in image.plain().items() if not path.endswith("/")} == {
        path: data for path, data in plain.items() if not path.endswith("/")
    }


def test_swapped_contents_swapped_names_and_a_directory_for_a_file_are_other_images() -> None:
    plain: list[dict[str, bytes]] = [
        {"a": b"1", "b": b"2"},
        {"a": b"2", "b": b"1"},
        {"a": b""},
        {"a/": b""},
        {"b": b""},
        {},
    ]
    assert len({image_from(one).digest for one in plain}) == len(plain)


# On a disk


@given(st.lists(images, min_size=1, max_size=5))
def test_a_directory_is_made_equal_to_one_image_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, plain: list[dict[str, bytes]]
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    for one in plain:
        materialise(image_from(one), scratch)
        assert read_image(scratch).plain() == image_from(one).plain()


IMAGE = image_from({"db": b"d" * 9000, "log": b"l" * 100, "d/": b"", "d/s": b"s"})


def grown(scratch: Path) -> None:
    (scratch / "db").write_bytes(b"d" * 20_000)


def changed_in_place(scratch: Path) -> None:
    """With size and times as before: nobody would see it who does not read."""
    path = scratch / "log"
    times = path.stat()
    path.write_bytes(b"l" * 99 + b"X")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def strays(scratch: Path) -> None:
    (scratch / "db-wal").write_bytes(b"w")
    (scratch / "d" / "e" / "f").mkdir(parents=True)
    (scratch / "d" / "e" / "f" / "g").write_bytes(b"")


def other_kinds(scratch: Path) -> None:
    (scratch / "log").unlink()
    (scratch / "log").mkdir()
    (scratch / "log" / "x").write_bytes(b"")
    (scratch / "d" / "s").unlink()
    (scratch / "d").rmdir()
    (scratch / "d").write_bytes(b"a file")


def symbolic_links(scratch: Path) -> None:
    outside = scratch.parent / "outside"
    outside.write_bytes(b"must stay")
    (scratch / "log").unlink()
    (scratch / "log").symlink_to(outside)
    (scratch / "dangling").symlink_to("nowhere")
    (scratch / "up").symlink_to(scratch.parent, target_is_directory=True)


def hard_link(scratch: Path) -> None:
    os.link(scratch / "log", scratch.parent / "second")


def modes(scratch: Path) -> None:
    (scratch / "log").chmod(0)
    (scratch / "db").chmod(0o400)
    (scratch / "d").chmod(0)


def everything_gone(scratch: Path) -> None:
    for path in ("db", "log", "d/s"):
        (scratch / path).unlink()
    (scratch / "d").rmdir()


def fifo(scratch: Path) -> None:
    (scratch / "log").unlink()
    os.mkfifo(scratch / "log")


@needs_links
@pytest.mark.parametrize(
    "mischief",
    [grown, changed_in_place, strays, other_kinds, symbolic_links, hard_link, modes, everything_gone, fifo],
    ids=lambda mischief: mischief.__name__,
)
def test_whatever_was_done_to_a_directory_it_becomes_the_image(tmp_path: Path, mischief) -> None:  # type: ignore[no-untyped-def]  # a function above
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    materialise(IMAGE, scratch)
    mischief(scratch)
    materialise(IMAGE, scratch)
    assert read_image(scratch) == IMAGE
    assert (scratch / "log").stat().st_mode & 0o777 == 0o644
    assert (scratch / "d").stat().st_mode & 0o777 == 0o755
    outside, second = tmp_path / "outside", tmp_path / "second"
    assert not outside.exists() or outside.read_bytes() == b"must stay"
    if second.exists():
        second.write_bytes(b"changed")
        assert read_image(scratch) == IMAGE


def test_what_is_equal_is_not_written_again(tmp_path: Path) -> None:
    materialise(IMAGE, tmp_path)
    os.utime(tmp_path / "db", ns=(1, 1))
    materialise(image_from({**IMAGE.plain(), "log": b"other"}), tmp_path)
    assert (tmp_path / "db").stat().st_mtime_ns == 1
    assert (tmp_path / "log").read_bytes() == b"other"


@needs_links
def test_a_directory_that_no_image_can_hold_is_not_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "pipe").symlink_to("nowhere")
    with pytest.raises(ValueError, match="pipe is neither a file nor a directory"):
        read_image(tmp_path)
