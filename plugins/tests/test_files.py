"""The backend on files as a whole: settings, opening and refusing, what a disk that refuses leads to, compaction."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from perdure import (
    AtomicWrite,
    Backend,
    Location,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    load_backend,
)
from perdure.errors import OpenFailed, SequenceConflict, StorageClosed, Unreadable, WriteFailed
from perdure_files import Disk, Parts, backend, files_backend

ALL = SnapshotSelectionCriteria()
SNAPSHOT = Payload(4, "", b"state")
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
IO_ERROR = OSError(errno.EIO, "Input/output error")


def write(persistence_id: str, first: int, last: int | None = None, data: bytes = b"x") -> AtomicWrite:
    numbers = range(first, (last or first) + 1)
    return AtomicWrite(tuple(PersistentRepr(persistence_id, number, Payload(1, "m", data)) for number in numbers))


async def numbers(storage: Storage, persistence_id: str = "p") -> list[int]:
    return [event.sequence_nr async for event in storage.journal.replay_messages(persistence_id)]


async def highest(storage: Storage, persistence_id: str = "p") -> int:
    return await storage.journal.read_highest_sequence_nr(persistence_id)


def on(directory: Path, use: Callable[[Storage], Awaitable[object]], which: Backend = backend) -> None:
    async def main() -> None:
        async with which.open(Location(directory=directory)) as storage:
            await use(storage)

    asyncio.run(main())


def log_files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "perdure.files").glob("*.log"))


class Faulty(Disk):
    """A disk on which the calls that a test names raise, as often as it says."""

    trouble: dict[str, list[OSError]]

    def __init__(self, directory: Path, syncs: bool) -> None:
        super().__init__(directory, syncs)
        self.trouble = {}

    def _meet(self, call: str) -> None:
        if self.trouble.get(call):
            raise self.trouble[call].pop(0)

    def write_some(self, descriptor: int, content: memoryview) -> int:
        if self.trouble.get("write"):  # half of it reaches the file
            super().write_some(descriptor, content[: len(content) // 2])
        self._meet("write")
        return super().write_some(descriptor, content)

    def sync(self, descriptor: int) -> None:
        self._meet("sync")
        super().sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._meet("truncate")
        super().truncate(descriptor, size)

    def sync_directory(self, directory: Path) -> None:
        self._meet("sync_directory")
        super().sync_directory(directory)

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        self._meet("read")
        return super().read(descriptor, offset, length)


def faulty_backend(segment_size: int = 1 << 20) -> tuple[Backend, list[Faulty]]:
    """The backend, and the disks that it has made, newest last."""
    disks: list[Faulty] = []

    def make(directory: Path, syncs: bool) -> Disk:
        disks.append(Faulty(directory, syncs))
        return disks[-1]

    return files_backend(segment_size, parts=Parts(disk=make)), disks


# --- settings, opening, refusing


def test_the_default_is_durable_and_says_so() -> None:
    assert backend.settings == {"segment_size": "16777216", "fsync": "yes"}
    assert (backend.claims.kill_durable, backend.claims.power_durable) == (True, "yes")
    assert not backend.claims.shared


def test_without_fsync_nothing_is_claimed_of_power() -> None:
    configured = load_backend("files", {"fsync": "no", "segment_size": "512"})
    assert configured.settings == {"segment_size": "512", "fsync": "no"}
    assert (configured.claims.kill_durable, configured.claims.power_durable) == (True, "no")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "red"}, "files has no setting colour; it has: segment_size, fsync"),
        ({"segment_size": "12"}, "segment_size 12 is out of range; 256 or more is allowed"),
        ({"segment_size": "many"}, "segment_size 'many' is not a whole number of bytes"),
        ({"fsync": "perhaps"}, "fsync 'perhaps' is unknown; allowed: yes, no"),
    ],
)
def test_a_setting_is_refused_by_name_and_value(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        backend.configured(settings)


def test_a_location_without_a_directory_is_refused() -> None:
    async def main() -> None:
        async with backend.open(Location()):
            pass

    with pytest.raises(OpenFailed, match="no directory"):
        asyncio.run(main())


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OpenFailed, match="file"):
        on(tmp_path / "file", highest)


def test_a_second_storage_is_refused_while_the_first_is_open(tmp_path: Path) -> None:
    async def open_again(storage: Storage) -> None:
        with pytest.raises(OpenFailed, match="another storage has it open"):
            async with backend.open(Location(directory=tmp_path)):
                pass
        await storage.journal.write_messages([write("p", 1)])

    on(tmp_path, open_again)
    on(tmp_path, highest)


def test_another_process_is_refused_as_well(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from perdure import Location, load_backend\n"
        "from perdure.errors import OpenFailed\n"
        "async def main():\n"
        "    async with load_backend('perdure_files:backend').open(Location(directory=pathlib.Path(sys.argv[1]))):\n"
        "        print('opened')\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except OpenFailed as error:\n"
        "    print('refused', error)\n"
    )

    async def open_elsewhere(_: Storage) -> str:
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        assert run.stdout.startswith("refused"), run.stdout
        assert "lock" in run.stdout
        return run.stdout

    on(tmp_path, open_elsewhere)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda storage: storage.journal.write_messages([write("p", 1)]), WriteFailed),
        (lambda storage: highest(storage), StorageClosed),
        (lambda storage: storage.journal.delete_messages_to("p", 1), StorageClosed),
        (lambda storage: numbers(storage), StorageClosed),
        (lambda storage: storage.snapshots.save(SnapshotMetadata("p", 1), SNAPSHOT), WriteFailed),
        (lambda storage: storage.snapshots.load("p", ALL), StorageClosed),
        (lambda storage: storage.snapshots.delete(SnapshotMetadata("p", 1)), StorageClosed),
        (lambda storage: storage.snapshots.delete_matching("p", ALL), StorageClosed),
    ],
)
def test_a_closed_storage_refuses_everything(
    tmp_path: Path, call: Callable[[Storage], Awaitable[object]], error: type[Exception]
) -> None:
    async def main() -> None:
        async with backend.open(Location(directory=tmp_path)) as storage:
            pass
        with pytest.raises(error, match="closed"):
            await call(storage)

    asyncio.run(main())


# --- group commit


def test_calls_that_overlap_share_frames_and_each_has_its_own_answer(tmp_path: Path) -> None:
    """One of them is in conflict, and that is nobody else's matter."""

    async def at_once(storage: Storage) -> None:
        await storage.journal.write_messages([write("taken", 1)])
        before = (tmp_path / "perdure.files" / log_files(tmp_path)[0]).read_bytes().count(b"pFrm")
        calls = [storage.journal.write_messages([write(f"p{place}", 1)]) for place in range(200)]
        answers = await asyncio.gather(
            *calls, storage.journal.write_messages([write("taken", 1)]), return_exceptions=True
        )
        assert answers[:200] == [[None]] * 200
        assert isinstance(answers[200], SequenceConflict)
        frames = (tmp_path / "perdure.files" / log_files(tmp_path)[0]).read_bytes().count(b"pFrm") - before
        assert 1 <= frames <= 200
        assert [await highest(storage, f"p{place}") for place in range(200)] == [1] * 200

    on(tmp_path, at_once)


def test_a_deletion_behind_a_write_of_the_same_frame_deletes_it(tmp_path: Path) -> None:
    async def at_once(storage: Storage) -> None:
        await asyncio.gather(
            storage.journal.write_messages([write("p", 1, 3)]),
            storage.journal.delete_messages_to("p", 2),
            storage.journal.delete_messages_to("p", 1),
            storage.journal.write_messages([write("p", 4)]),
        )
        assert await numbers(storage) == [3, 4]

    on(tmp_path, at_once)

    async def read_again(storage: Storage) -> None:
        assert await numbers(storage) == [3, 4]

    on(tmp_path, read_again)


# --- a disk that refuses


@pytest.mark.parametrize("error", [NO_SPACE, IO_ERROR])
def test_a_write_that_fails_is_cut_back_and_the_next_one_is_stored(tmp_path: Path, error: OSError) -> None:
    faulty, disks = faulty_backend()

    async def fail_and_go_on(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1)])
        file = tmp_path / "perdure.files" / log_files(tmp_path)[0]
        size = file.stat().st_size
        disks[-1].trouble["write"] = [error]
        with pytest.raises(WriteFailed, match=error.strerror):
            await storage.journal.write_messages([write("p", 2)])
        assert file.stat().st_size == size
        assert await numbers(storage) == [1]
        await storage.journal.write_messages([write("p", 2, 3)])

    on(tmp_path, fail_and_go_on, faulty)

    async def read_again(storage: Storage) -> None:
        assert await numbers(storage) == [1, 2, 3]

    on(tmp_path, read_again, faulty)


def test_a_deletion_that_fails_has_deleted_nothing(tmp_path: Path) -> None:
    faulty, disks = faulty_backend()

    async def fail_and_go_on(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1, 3)])
        disks[-1].trouble["write"] = [NO_SPACE]
        with pytest.raises(OSError, match="nothing was deleted"):
            await storage.journal.delete_messages_to("p", 2)
        assert await numbers(storage) == [1, 2, 3]
        await storage.journal.delete_messages_to("p", 2)
        assert await numbers(storage) == [3]

    on(tmp_path, fail_and_go_on, faulty)


@pytest.mark.parametrize(
    "trouble",
    [{"sync": [IO_ERROR]}, {"write": [IO_ERROR], "truncate": [IO_ERROR]}, {"write": [NO_SPACE], "sync": [IO_ERROR]}],
    ids=["sync", "truncate", "sync of the cut"],
)
def test_a_failed_sync_leaves_it_unknown_and_closes_the_storage(
    tmp_path: Path, trouble: dict[str, list[OSError]]
) -> None:
    """The second sync would succeed, and prove nothing: so nothing is taken and nothing is told."""
    faulty, disks = faulty_backend()

    async def fail(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1)])
        await storage.snapshots.save(SnapshotMetadata("p", 1), SNAPSHOT)
        disks[-1].trouble = {call: list(errors) for call, errors in trouble.items()}
        with pytest.raises(OSError, match="Input/output error"):
            await storage.journal.write_messages([write("p", 2)])
        with pytest.raises(WriteFailed, match="open the location again"):
            await storage.journal.write_messages([write("p", 2)])
        with pytest.raises(WriteFailed, match="open the location again"):
            await storage.snapshots.save(SnapshotMetadata("p", 2), SNAPSHOT)
        for reading in (numbers(storage), highest(storage), storage.snapshots.load("p", ALL)):
            with pytest.raises(StorageClosed):
                await reading

    on(tmp_path, fail, faulty)
    assert not (tmp_path / "perdure.files" / "seal").exists()

    async def open_again(storage: Storage) -> None:
        found = await numbers(storage)
        assert found in ([1], [1, 2])
        await storage.journal.write_messages([write("p", found[-1] + 1)])
        assert await storage.snapshots.load("p", ALL) is not None

    on(tmp_path, open_again, faulty)


def test_the_newest_frame_is_written_again_after_a_crash_and_not_after_a_closing(tmp_path: Path) -> None:
    """It may have been written and not synced; a sync of clean pages would prove nothing."""
    written: list[tuple[int, bytes]] = []

    class Recording(Disk):
        def write(self, descriptor: int, offset: int, content: bytes) -> None:
            written.append((offset, content))
            super().write(descriptor, offset, content)

    recording = files_backend(parts=Parts(disk=Recording))
    on(tmp_path, lambda storage: storage.journal.write_messages([write("p", 1)]), recording)
    newest = next(one for one in written if one[1].startswith(b"pFrm"))
    written.clear()
    on(tmp_path, highest, recording)
    assert written == []
    (tmp_path / "perdure.files" / "seal").unlink()
    on(tmp_path, highest, recording)
    assert newest in written


@pytest.mark.parametrize("error", [NO_SPACE, IO_ERROR])
@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_save_that_fails_leaves_the_old_snapshot_and_no_file(tmp_path: Path, call: str, error: OSError) -> None:
    faulty, disks = faulty_backend()

    async def fail(storage: Storage) -> None:
        await storage.snapshots.save(SnapshotMetadata("p", 1), SNAPSHOT)
        before = sorted(os.listdir(tmp_path / "perdure.files"))
        disks[-1].trouble[call] = [error]
        with pytest.raises(WriteFailed, match="was not stored"):
            await storage.snapshots.save(SnapshotMetadata("p", 1), Payload(4, "", b"other"))
        assert sorted(os.listdir(tmp_path / "perdure.files")) == before
        found = await storage.snapshots.load("p", ALL)
        assert found is not None
        assert found.snapshot == SNAPSHOT

    on(tmp_path, fail, faulty)


def test_a_new_segment_that_cannot_be_made_fails_the_write_and_no_more(tmp_path: Path) -> None:
    faulty, disks = faulty_backend(segment_size=256)

    async def fail(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1, data=b"x" * 300)])
        disks[-1].trouble["write"] = [NO_SPACE]
        with pytest.raises(WriteFailed):
            await storage.journal.write_messages([write("p", 2)])
        await storage.journal.write_messages([write("p", 2)])
        assert await numbers(storage) == [1, 2]
        assert len(log_files(tmp_path)) == 2

    on(tmp_path, fail, faulty)


def test_an_event_that_cannot_be_read_ends_the_replay_with_its_number(tmp_path: Path) -> None:
    faulty, disks = faulty_backend()

    async def fail(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1)])
        disks[-1].trouble["read"] = [IO_ERROR]
        with pytest.raises(Unreadable, match="event 1 of 'p'") as raised:
            await numbers(storage)
        assert isinstance(raised.value.__cause__, OSError)
        assert await numbers(storage) == [1]

    on(tmp_path, fail, faulty)


def test_an_error_of_the_disk_while_opening_is_not_taken_for_the_end_of_the_log(tmp_path: Path) -> None:
    on(tmp_path, lambda storage: storage.journal.write_messages([write("p", 1)]))
    (tmp_path / "perdure.files" / "seal").unlink()
    faulty, disks = faulty_backend()
    for reads_before in range(3):

        class Later(Faulty):
            skip = reads_before

            def read(self, descriptor: int, offset: int, length: int) -> bytes:
                self.skip -= 1
                if self.skip < 0:
                    raise IO_ERROR
                return super().read(descriptor, offset, length)

        with pytest.raises(OpenFailed, match="Input/output error"):
            on(tmp_path, highest, files_backend(parts=Parts(disk=Later)))

    async def read_again(storage: Storage) -> None:
        assert await numbers(storage) == [1]

    on(tmp_path, read_again, faulty)
    assert disks


def test_writes_that_store_a_byte_at_a_time_go_on_with_the_rest(tmp_path: Path) -> None:
    class Slow(Disk):
        def write_some(self, descriptor: int, content: memoryview) -> int:
            return super().write_some(descriptor, content[:1])

    which = files_backend(parts=Parts(disk=Slow))
    on(tmp_path, lambda storage: storage.journal.write_messages([write("p", 1, 3)]), which)

    async def read_again(storage: Storage) -> None:
        assert await numbers(storage) == [1, 2, 3]

    on(tmp_path, read_again)


# --- segments and compaction


def test_a_full_segment_is_followed_by_another_and_compaction_joins_those_that_are_mostly_dead(tmp_path: Path) -> None:
    small = files_backend(segment_size=512)

    async def write_and_delete(storage: Storage) -> None:
        await storage.journal.write_messages([write("kept", 1, 2, b"k")])
        for number in range(1, 31):
            await storage.journal.write_messages([write("p", number, data=b"x" * 100)])
        assert len(log_files(tmp_path)) > 5
        await storage.journal.delete_messages_to("p", 30)
        await storage.journal.delete_messages_to("p", 30)
        for number in range(1, 6):
            await storage.journal.write_messages([write("q", number, data=b"x" * 100)])
        assert len(log_files(tmp_path)) <= 4

    on(tmp_path, write_and_delete, small)
    assert log_files(tmp_path)[0].startswith("0000000001-")

    async def read_again(storage: Storage) -> None:
        assert (await numbers(storage), await highest(storage)) == ([], 30)
        assert (await numbers(storage, "kept"), await numbers(storage, "q")) == ([1, 2], [1, 2, 3, 4, 5])

    on(tmp_path, read_again, small)


def test_a_segment_that_is_compacted_by_itself_stays(tmp_path: Path) -> None:
    """The new file has the name of the old one, which must not be removed after it."""

    async def write_and_delete(storage: Storage) -> None:
        await storage.journal.write_messages([write("p", 1, data=b"x" * 300), write("kept", 1)])
        await storage.journal.delete_messages_to("p", 1)
        await storage.journal.write_messages([write("p", 2, data=b"x" * 300)])
        assert await numbers(storage, "kept") == [1]

    on(tmp_path, write_and_delete, files_backend(segment_size=256))
    assert (tmp_path / "perdure.files" / log_files(tmp_path)[0]).stat().st_size < 300

    async def read_again(storage: Storage) -> None:
        assert (await numbers(storage, "kept"), await highest(storage)) == ([1], 2)

    on(tmp_path, read_again)


def test_a_crash_between_the_joined_file_and_the_removal_of_the_old_ones_repeats_nothing(tmp_path: Path) -> None:
    """The old files lie within the range of the new one, so they are removed and not read."""
    removed: list[bytes] = []

    class Keeping(Disk):
        def remove(self, name: str) -> None:
            if name.endswith(".log"):
                removed.append(name.encode())
            else:
                super().remove(name)

    async def write_and_delete(storage: Storage) -> None:
        for number in range(1, 13):
            await storage.journal.write_messages([write("p", number, data=b"x" * 100)])
            await storage.journal.delete_messages_to("p", number - 1)

    on(tmp_path, write_and_delete, files_backend(512, parts=Parts(disk=Keeping)))
    assert removed
    before = log_files(tmp_path)

    async def read_again(storage: Storage) -> None:
        assert (await numbers(storage), await highest(storage)) == ([12], 12)

    on(tmp_path, read_again)
    assert set(log_files(tmp_path)) < set(before)


def test_a_replay_that_has_begun_sees_what_is_deleted_and_compacted_behind_it(tmp_path: Path) -> None:
    async def main() -> None:
        location = Location(directory=tmp_path, page_size=1)
        async with files_backend(segment_size=256).open(location) as storage:
            for number in range(1, 9):
                await storage.journal.write_messages([write("p", number, data=b"x" * 100)])
            replay = aiter(storage.journal.replay_messages("p"))
            seen = [(await anext(replay)).sequence_nr]
            await storage.journal.delete_messages_to("p", 8)
            for number in range(9, 13):
                await storage.journal.write_messages([write("p", number, data=b"x" * 100)])
            seen += [event.sequence_nr async for event in replay]
            assert seen == [1, 2, 3, 4, 5, 6, 7, 8]
            files = len(log_files(tmp_path))
            await storage.journal.delete_messages_to("p", 12)
            for number in range(13, 17):
                await storage.journal.write_messages([write("p", number, data=b"x" * 100)])
            assert len(log_files(tmp_path)) < files

    asyncio.run(main())


def test_a_file_that_was_not_put_in_its_place_is_removed(tmp_path: Path) -> None:
    on(tmp_path, lambda storage: storage.snapshots.save(SnapshotMetadata("p", 1), SNAPSHOT))
    directory = tmp_path / "perdure.files"
    (snapshot,) = directory.glob("*.snapshot")
    snapshot.with_name(snapshot.name.replace("01.snapshot", "02.snapshot.tmp")).write_bytes(b"half")
    (directory / "0000000002-0000000002.log.tmp").write_bytes(b"")

    async def load(storage: Storage) -> None:
        found = await storage.snapshots.load("p", ALL)
        assert found is not None
        assert found.metadata.sequence_nr == 1

    on(tmp_path, load)
    assert not list(directory.glob("*.tmp"))
