"""The file format against crashes and damage: torn at every byte, changed at every byte. Never a wrong payload, and a
shorter history only where the last frame of a log that was not closed is broken, as docs/file-format.md says."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from perdure import (
    AtomicWrite,
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)
from perdure.errors import OpenFailed, PerdureError, Unreadable
from perdure_files import Disk, Parts, files_backend
from perdure_files._entries import Deletion, Event, decoded, encoded
from perdure_files._frames import (
    FRAME_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    Damaged,
    check_body,
    entries_of,
    frame,
    later_frame,
    parse_frame_header,
    parse_segment_header,
    segment_header,
)
from perdure_files._seal import Seal, encoded_seal, parse_seal

EVENT = Event("p", 1, 7, 4, "m", b"payload", "am", "w", ("a", "b"), (5, "mm", b""))
SNAPSHOT = Payload(4, "m", b"the state")


class Quick(Disk):
    """Syncs are of no use here and take most of the time; everything else is as always."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, directory: Path) -> None:
        pass


quick = files_backend(segment_size=256, parts=Parts(disk=Quick))

Contents = tuple[list[PersistentRepr], int, SelectedSnapshot | None]


def event(sequence_nr: int) -> PersistentRepr:
    return PersistentRepr("p", sequence_nr, Payload(4, "m", b"payload %d" % sequence_nr), timestamp=7)


def events(last: int, first: int = 1) -> list[PersistentRepr]:
    return [event(number) for number in range(first, last + 1)]


async def contents(directory: Path) -> Contents:
    """Everything that is found there; the snapshot may be `Unreadable`, which is raised."""
    async with quick.open(Location(directory=directory)) as storage:
        replayed = [one async for one in storage.journal.replay_messages("p")]
        highest = await storage.journal.read_highest_sequence_nr("p")
        return replayed, highest, await storage.snapshots.load("p", SnapshotSelectionCriteria())


async def write(directory: Path, *writes: tuple[int, int]) -> None:
    async with quick.open(Location(directory=directory)) as storage:
        for first, last in writes:
            await storage.journal.write_messages([AtomicWrite(tuple(events(last, first)))])


def copies(source: Path, scratch: Path) -> Iterator[Path]:
    """A fresh copy of a location each time, always at the same place."""
    while True:
        if scratch.exists():
            shutil.rmtree(scratch)
        shutil.copytree(source, scratch)
        yield scratch


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :]


# --- the codec


def test_headers_frames_and_entries_come_back() -> None:
    header = segment_header(3, 5, b"s" * 16)
    segment = parse_segment_header(header)
    assert (segment.first, segment.last, len(header)) == (3, 5, SEGMENT_HEADER_SIZE)
    deletion = Deletion("p", 1, 2)
    body = encoded(EVENT) + encoded(deletion)
    written = frame(segment.identity, 1, 0, body)
    parsed = parse_frame_header(written, segment.identity)
    check_body(parsed, written[FRAME_HEADER_SIZE:], segment.identity)
    assert [decoded(body[at : at + length]) for at, length in entries_of(body)] == [EVENT, deletion]
    assert parse_seal(encoded_seal(Seal(3, 99, ("a", "b")))) == Seal(3, 99, ("a", "b"))


def test_a_change_of_any_byte_or_any_cut_is_noticed() -> None:
    header = segment_header(1, 1, b"s" * 16)
    identity = parse_segment_header(header).identity
    written = frame(identity, 1, 0, encoded(EVENT))

    def read_frame(content: bytes) -> None:
        check_body(parse_frame_header(content, identity), content[FRAME_HEADER_SIZE:], identity)

    readers: list[tuple[bytes, Callable[[bytes], object]]] = [
        (header, parse_segment_header),
        (written, read_frame),
        (encoded(EVENT), decoded),
        (encoded_seal(Seal(1, 2)), parse_seal),
    ]
    for content, read in readers:
        read(content)
        for at in range(len(content)):
            for wrong in (changed(content, at), content[:at]):
                with pytest.raises(Damaged):
                    read(wrong)


def test_a_frame_of_another_file_is_not_valid() -> None:
    ours, other = (parse_segment_header(segment_header(1, 1, salt * 16)).identity for salt in (b"a", b"b"))
    with pytest.raises(Damaged, match="checksum"):
        parse_frame_header(frame(other, 1, 0, b""), ours)


def test_a_copy_of_an_earlier_frame_in_a_torn_payload_is_not_taken_for_a_later_one() -> None:
    identity = parse_segment_header(segment_header(1, 1, b"s" * 16)).identity
    frames = [frame(identity, number, 0, b"body") for number in (1, 2, 3)]
    assert later_frame(b"payload" + frames[0] + frames[1], identity, 2) is None
    assert later_frame(b"payload" + frames[0] + frames[2], identity, 2) == 7 + len(frames[0])


# --- what a crash leaves


def test_a_log_that_is_torn_anywhere_in_its_last_frame_goes_on_after_the_frame_before(tmp_path: Path) -> None:
    """Also what is written then is there at the next opening, and no piece of the torn frame is."""

    async def main() -> None:
        source = tmp_path / "source"
        await write(source, (1, 1), (2, 3))
        directory = source / "perdure.files"
        (directory / "seal").unlink()
        (name,) = (path.name for path in directory.glob("*.log"))
        whole = (directory / name).read_bytes()
        start = whole.rindex(b"pFrm")
        for copy, size in zip(copies(source, tmp_path / "copy"), range(start, len(whole)), strict=False):
            file = copy / "perdure.files" / name
            file.write_bytes(whole[:size])
            assert await contents(copy) == (events(1), 1, None), size
            await write(copy, (2, 2))
            assert (await contents(copy))[0] == events(2), size
            file.write_bytes(whole[:size] + bytes(len(whole) - size))  # the length reached the disk, the bytes did not
            (copy / "perdure.files" / "seal").unlink()
            assert await contents(copy) == (events(1), 1, None), size

    asyncio.run(main())


def test_a_broken_frame_in_front_of_another_one_is_damage_also_in_a_log_that_was_not_closed(tmp_path: Path) -> None:
    async def main() -> None:
        source = tmp_path / "source"
        await write(source, (1, 1), (2, 2))
        directory = source / "perdure.files"
        (directory / "seal").unlink()
        (name,) = (path.name for path in directory.glob("*.log"))
        whole = (directory / name).read_bytes()
        for copy, at in zip(copies(source, tmp_path / "copy"), range(whole.rindex(b"pFrm")), strict=False):
            file = copy / "perdure.files" / name
            file.write_bytes(changed(whole, at))
            with pytest.raises(OpenFailed, match=rf"{name}: damaged at byte \d+") as raised:
                await contents(copy)
            assert str(file) in str(raised.value)
            assert file.read_bytes() == changed(whole, at), "nothing is changed in a damaged log"

    asyncio.run(main())


# --- damage to what was closed


async def closed_location(directory: Path) -> Contents:
    """Several segments and a snapshot, closed in peace."""
    await write(directory, (1, 2), (3, 4))
    async with quick.open(Location(directory=directory)) as storage:
        await storage.snapshots.save(SnapshotMetadata("p", 3, 9), SNAPSHOT)
        await storage.journal.delete_messages_to("p", 1)
        await storage.journal.write_messages([AtomicWrite(tuple(events(6, 5)))])
    assert len(list((directory / "perdure.files").glob("*.log"))) >= 2
    return await contents(directory)


async def survives(directory: Path, truth: Contents, what: str) -> bool:
    """Whether everything is found as it was. If not, an error must say so."""
    try:
        found = await contents(directory)
    except (OpenFailed, Unreadable) as error:
        said = str(error)
    else:
        assert found == truth, what
        return True
    assert str(directory / "perdure.files") in said, what
    return False


@pytest.mark.parametrize("pattern", ["*.log", "seal", "*.snapshot"])
def test_a_change_of_any_byte_of_a_closed_location_is_an_error(tmp_path: Path, pattern: str) -> None:
    async def main() -> None:
        source = tmp_path / "source"
        truth = await closed_location(source)
        fresh = copies(source, tmp_path / "copy")
        for path in sorted((source / "perdure.files").glob(pattern)):
            whole = path.read_bytes()
            for at in range(len(whole)):
                copy = next(fresh)
                (copy / "perdure.files" / path.name).write_bytes(changed(whole, at))
                assert not await survives(copy, truth, f"{path.name} at {at}")

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["*.log", "seal", "*.snapshot"])
def test_a_closed_location_that_is_cut_anywhere_is_an_error(tmp_path: Path, pattern: str) -> None:
    async def main() -> None:
        source = tmp_path / "source"
        truth = await closed_location(source)
        fresh = copies(source, tmp_path / "copy")
        for path in sorted((source / "perdure.files").glob(pattern)):
            whole = path.read_bytes()
            for size in range(0, len(whole), 3):
                copy = next(fresh)
                (copy / "perdure.files" / path.name).write_bytes(whole[:size])
                assert not await survives(copy, truth, f"{path.name} cut to {size}")

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["*.log", "*.snapshot"])
def test_a_file_that_is_missing_is_an_error(tmp_path: Path, pattern: str) -> None:
    async def main() -> None:
        source = tmp_path / "source"
        truth = await closed_location(source)
        fresh = copies(source, tmp_path / "copy")
        for path in (source / "perdure.files").glob(pattern):
            copy = next(fresh)
            (copy / "perdure.files" / path.name).unlink()
            assert not await survives(copy, truth, path.name)

    asyncio.run(main())


def test_files_that_were_exchanged_are_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        source = tmp_path / "source"
        truth = await closed_location(source)
        first, second = sorted((source / "perdure.files").glob("*.log"))[:2]
        copy = next(copies(source, tmp_path / "copy"))
        (copy / "perdure.files" / first.name).write_bytes(second.read_bytes())
        assert not await survives(copy, truth, "one in the place of another")

    asyncio.run(main())


def test_a_lost_seal_loses_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        source = tmp_path / "source"
        truth = await closed_location(source)
        (source / "perdure.files" / "seal").unlink()
        assert await survives(source, truth, "no seal")

    asyncio.run(main())


def test_a_snapshot_that_was_deleted_is_not_missed_after_a_crash(tmp_path: Path) -> None:
    async def main() -> None:
        source, copy = tmp_path / "source", tmp_path / "copy"
        await closed_location(source)
        async with quick.open(Location(directory=source)) as storage:
            await storage.snapshots.delete(SnapshotMetadata("p", 3))
            shutil.copytree(source, copy)
        assert (await contents(copy))[2] is None

    asyncio.run(main())


def test_a_damaged_snapshot_can_be_deleted_or_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        await closed_location(tmp_path)
        (path,) = (tmp_path / "perdure.files").glob("*.snapshot")
        path.write_bytes(b"")
        async with quick.open(Location(directory=tmp_path)) as storage:
            old, everything = SnapshotMetadata("p", 3, 9), SnapshotSelectionCriteria()
            with pytest.raises(Unreadable, match="snapshot 3 of 'p'"):
                await storage.snapshots.load("p", everything)
            for deletion in (
                storage.snapshots.delete(old),
                storage.snapshots.delete_matching("p", SnapshotSelectionCriteria(max_timestamp=9)),
            ):
                with pytest.raises(PerdureError, match="cannot be read"):
                    await deletion
            assert await storage.snapshots.load("p", SnapshotSelectionCriteria(max_sequence_nr=2)) is None
            await storage.snapshots.save(old, SNAPSHOT)
            assert await storage.snapshots.load("p", everything) == SelectedSnapshot(old, SNAPSHOT)
            path.write_bytes(b"")
            with pytest.raises(Unreadable):
                await storage.snapshots.load("p", everything)
            await storage.snapshots.delete_matching("p", everything)
            assert await storage.snapshots.load("p", everything) is None

    asyncio.run(main())
