"""The forgetful disk without FUSE: what is on the disk after which calls, in both models."""

from __future__ import annotations

import errno
import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure_scenarios.forgetful import Keep, Model
from perdure_scenarios.forgetful._disk import HIDDEN, Disk
from perdure_scenarios.forgetful._node import Node

MODELS: list[Model] = ["ext4", "strict"]
both = pytest.mark.parametrize("model", MODELS)


def make(disk: Disk, path: str, data: bytes = b"") -> Node:
    node = disk.make(path, stat.S_IFREG | 0o644, (0, 0))
    if data:
        disk.write(node, data, 0)
    return node


def make_directory(disk: Disk, path: str) -> Node:
    return disk.make(path, stat.S_IFDIR | 0o755, (0, 0))


def sync(disk: Disk, path: str) -> None:
    disk.sync(disk.node(path), data_only=False)


def files(disk: Disk) -> dict[str, bytes | None]:
    """Every path, with the contents of files."""
    found: dict[str, bytes | None] = {}

    def walk(node: Node, path: str) -> None:
        for name, entry in node.entries.items():
            found[f"{path}/{name}"] = None if entry.is_directory else bytes(entry.content)
            walk(entry, f"{path}/{name}")

    walk(disk.root, "")
    return found


def after_cut(disk: Disk, keep: Keep = "nothing", seed: int = 0) -> dict[str, bytes | None]:
    disk.power_cut(keep, seed)
    return files(disk)


@both
def test_what_was_never_synced_is_gone(model: Model) -> None:
    disk = Disk(model)
    make(disk, "/a", b"hello")
    assert files(disk) == {"/a": b"hello"}
    dropped = disk.power_cut("nothing", 0)
    assert files(disk) == {}
    assert (dropped.bytes, dropped.writes, dropped.names) == (5, 1, 1)


@both
def test_what_was_synced_with_its_directory_stays(model: Model) -> None:
    disk = Disk(model)
    make(disk, "/a", b"hello")
    sync(disk, "/a")
    sync(disk, "/")
    disk.write(disk.node("/a"), b"J", 0)
    assert after_cut(disk) == {"/a": b"hello"}


def test_the_name_of_a_new_file_comes_with_its_sync_on_ext4_only() -> None:
    found = {}
    for model in MODELS:
        disk = Disk(model)
        make(disk, "/a", b"hello")
        sync(disk, "/a")
        found[model] = after_cut(disk)
    assert found == {"ext4": {"/a": b"hello"}, "strict": {}}


def test_a_sync_of_ext4_carries_earlier_removals() -> None:
    disk = Disk("ext4")
    make(disk, "/journal", b"old")
    disk.sync_all()
    disk.remove("/journal")
    assert after_cut(disk) == {"/journal": b"old"}
    disk.remove("/journal")
    make(disk, "/other", b"x")
    sync(disk, "/other")
    assert after_cut(disk) == {"/other": b"x"}


def test_a_sync_of_ext4_with_nothing_in_the_journal_carries_nothing() -> None:
    """Bytes written over old ones change no size: fdatasync leaves the journal alone, and fsync commits the times."""
    for data_only, expected in ((True, {"/a", "/journal"}), (False, {"/a"})):
        disk = Disk("ext4")
        make(disk, "/a", b"hello")
        make(disk, "/journal")
        disk.sync_all()
        disk.remove("/journal")
        disk.write(disk.node("/a"), b"J", 0)
        disk.sync(disk.node("/a"), data_only=data_only)
        assert after_cut(disk).keys() == expected
        assert disk.node("/a").content == b"Jello"


def test_a_data_sync_of_a_file_that_has_grown_commits_the_journal() -> None:
    disk = Disk("ext4")
    make(disk, "/a", b"hello")
    make(disk, "/journal")
    disk.sync_all()
    disk.remove("/journal")
    disk.write(disk.node("/a"), b"!", 5)
    disk.sync(disk.node("/a"), data_only=True)
    assert after_cut(disk) == {"/a": b"hello!"}


def test_strict_keeps_the_names_of_the_synced_directory_only() -> None:
    disk = Disk("strict")
    make_directory(disk, "/one")
    make_directory(disk, "/two")
    sync(disk, "/")
    for path in ("/one/a", "/two/a"):
        make(disk, path, b"x")
        sync(disk, path)
    sync(disk, "/two")
    assert after_cut(disk) == {"/one": None, "/two": None, "/two/a": b"x"}


@both
def test_a_rename_within_a_directory_is_whole_or_not_at_all(model: Model) -> None:
    for seed in range(20):
        disk = Disk(model)
        make(disk, "/a", b"old")
        disk.sync_all()
        make(disk, "/a.new", b"new")
        sync(disk, "/a.new")
        disk.rename("/a.new", "/a")
        assert files(disk) == {"/a": b"new"}
        found = after_cut(disk, "half", seed)
        assert found.get("/a") in (b"old", b"new")
        assert ("/a.new" in found) <= (found["/a"] == b"old")


def test_a_rename_into_another_directory_may_be_torn_in_strict_only() -> None:
    found = {}
    for model in MODELS:
        disk = Disk(model)
        make_directory(disk, "/one")
        make_directory(disk, "/two")
        make(disk, "/one/a", b"x")
        disk.sync_all()
        disk.rename("/one/a", "/two/a")
        sync(disk, "/one")
        found[model] = after_cut(disk).keys() - {"/one", "/two"}
    assert found == {"ext4": {"/two/a"}, "strict": set()}


@both
def test_hiding_an_open_file_before_it_is_replaced_is_no_step_of_its_own(model: Model) -> None:
    """libfuse renames a file that is open out of the way first."""
    for seed in range(20):
        disk = Disk(model)
        make(disk, "/a", b"old")
        disk.sync_all()
        make(disk, "/a.new", b"new")
        disk.sync_all()
        opened = disk.node("/a")
        disk.rename("/a", f"/{HIDDEN}1")
        disk.rename("/a.new", "/a")
        assert files(disk) == {"/a": b"new"}
        assert disk.node(f"/{HIDDEN}1") is opened
        disk.remove(f"/{HIDDEN}1")
        assert after_cut(disk, "half", seed).get("/a") in (b"old", b"new")


@both
def test_a_failed_sync_drops_its_bytes_for_good(model: Model) -> None:
    disk = Disk(model)
    make(disk, "/a", b"hello")
    disk.sync_all()
    node = disk.node("/a")
    disk.write(node, b"J", 0)
    assert disk.abandon(node) == 1
    assert node.content == b"Jello"
    disk.sync_all()
    assert after_cut(disk) == {"/a": b"hello"}


@both
def test_half_tears_writes_at_sectors_and_reorders_them(model: Model) -> None:
    """Every sector is old or new; over some seeds there are torn, lost, whole and reordered ones."""
    seen = set()
    for seed in range(60):
        disk = Disk(model)
        make(disk, "/a", b"-" * 4096)
        disk.sync_all()
        node = disk.node("/a")
        disk.write(node, b"1" * 2048, 0)
        disk.write(node, b"2" * 2048, 2048)
        left = after_cut(disk, "half", seed)["/a"]
        assert left is not None
        sectors = [left[place : place + 512] for place in range(0, 4096, 512)]
        assert all(len(set(sector)) == 1 for sector in sectors)
        seen.add(b"".join(sector[:1] for sector in sectors))
    assert {b"--------", b"11112222", b"1111----", b"----2222"} <= seen
    assert any(0 < word.count(b"1") < 4 for word in seen)


@both
def test_half_is_the_same_for_the_same_seed(model: Model) -> None:
    def run(seed: int) -> dict[str, bytes | None]:
        disk = Disk(model)
        for number in range(20):
            make(disk, f"/{number}", bytes([number]) * 3000)
        return after_cut(disk, "half", seed)

    assert run(1) == run(1)
    assert run(1) != run(2)


@both
def test_the_disk_knows_how_much_is_used(model: Model) -> None:
    disk = Disk(model)
    make(disk, "/a", bytes(100))
    make(disk, "/b", bytes(50))
    disk.sync_all()
    disk.link("/a", "/c")
    disk.remove("/a")
    disk.resize(disk.node("/b"), 10)
    assert disk.used == 110
    disk.rename("/c", f"/{HIDDEN}1")
    disk.remove(f"/{HIDDEN}1")
    assert disk.used == 10
    disk.power_cut("nothing", 0)
    assert disk.used == 150


def test_what_a_file_system_refuses() -> None:
    disk = Disk("ext4")
    make_directory(disk, "/full")
    make(disk, "/full/a")
    make(disk, "/file")
    refused: list[tuple[Any, int]] = [
        (lambda: disk.node("/nothing"), errno.ENOENT),
        (lambda: disk.node("/file/below"), errno.ENOTDIR),
        (lambda: make(disk, "/file"), errno.EEXIST),
        (lambda: disk.link("/file", "/full/a"), errno.EEXIST),
        (lambda: disk.remove("/full"), errno.EISDIR),
        (lambda: disk.remove_directory("/full"), errno.ENOTEMPTY),
        (lambda: disk.remove_directory("/file"), errno.ENOTDIR),
        (lambda: disk.rename("/file", "/full"), errno.EISDIR),
        (lambda: disk.rename("/full", "/file"), errno.ENOTDIR),
    ]
    for call, number in refused:
        with pytest.raises(OSError, match="/") as caught:
            call()
        assert caught.value.errno == number


Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["make", "write", "resize", "rename", "remove", "link", "sync"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 1200),
    ),
    max_size=25,
)


def carry_out(disk: Disk, plain: dict[str, bytearray], step: Step, *, syncs: bool) -> None:
    """One step on the disk and on a dictionary in which hard links are the same `bytearray`."""
    what, one, two, amount = step
    path, other = f"/{one}", f"/{two}"
    if what == "make" and path not in plain:
        make(disk, path)
        plain[path] = bytearray()
    elif path not in plain:
        return
    elif what == "write":
        content, data = plain[path], bytes([amount % 256]) * (amount + 1)
        offset = amount // 2
        disk.write(disk.node(path), data, offset)
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
    elif what == "resize":
        disk.resize(disk.node(path), amount)
        del plain[path][amount:]
        plain[path].extend(bytes(amount - len(plain[path])))
    elif what == "rename":
        disk.rename(path, other)
        if plain.get(other) is not plain[path]:
            plain[other] = plain.pop(path)
    elif what == "remove":
        disk.remove(path)
        del plain[path]
    elif what == "link" and other not in plain:
        disk.link(path, other)
        plain[other] = plain[path]
    elif what == "sync" and syncs:
        sync(disk, path)


@given(st.sampled_from(MODELS), steps, steps, st.integers(0, 9))
def test_every_view_is_as_an_ordinary_file_system_has_it(
    model: Model, before: list[Step], after: list[Step], seed: int
) -> None:
    disk, plain = Disk(model), dict[str, bytearray]()
    for step in before:
        carry_out(disk, plain, step, syncs=True)
    assert files(disk) == plain
    disk.sync_all()
    at_rest = {path: bytes(content) for path, content in plain.items()}
    for step in after:
        carry_out(disk, plain, step, syncs=False)
    assert files(disk) == plain
    assert disk.used == sum(len(content) for content in {id(content): content for content in plain.values()}.values())

    survived = after_cut(disk, "nothing", seed)
    assert survived == at_rest
    assert after_cut(disk, "everything", seed) == at_rest  # nothing was left over to come back


@given(st.sampled_from(MODELS), steps, st.integers(0, 9))
def test_a_cut_that_keeps_everything_changes_nothing(model: Model, done: list[Step], seed: int) -> None:
    disk, plain = Disk(model), dict[str, bytearray]()
    for step in done:
        carry_out(disk, plain, step, syncs=True)
    assert after_cut(disk, "everything", seed) == plain
    assert after_cut(disk, "nothing", seed) == plain
