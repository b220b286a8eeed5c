"""The forgetful disk as a real file system. NOT RUN where FUSE cannot be used."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from perdure_scenarios.forgetful import REFUSE, DiskFailed, ForgetfulDisk, Rule, refusal
from perdure_scenarios.forgetful._mount import _missing
from perdure_scenarios.forgetful._mounts import mounted

PARENT = Path(__file__).with_name("forgetful_parent.py")
PATIENCE_S = 60.0


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where to mount. Nothing may be left mounted there afterwards."""
    reason = refusal()
    if reason:
        pytest.skip(f"NOT RUN: {reason}")
    place = tmp_path / "mount"
    place.mkdir()
    yield place
    assert not mounted(place)


def eventually(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def test_what_was_not_synced_is_forgotten(directory: Path) -> None:
    with ForgetfulDisk(directory) as disk:
        write_synced(directory / "synced", b"stays")
        (directory / "not synced").write_bytes(b"goes")
        assert sorted(os.listdir(directory)) == ["not synced", "synced"]
        counters = disk.power_cut()
        assert (counters.power_cuts, counters.bytes_lost, counters.writes_lost, counters.names_lost) == (1, 4, 1, 1)
        assert (counters.syncs, counters.operations["create"]) == (1, 2)
        disk.remount()
        assert os.listdir(directory) == ["synced"]
        assert (directory / "synced").read_bytes() == b"stays"
    assert os.listdir(directory) == []


def test_everything_fails_between_a_power_cut_and_the_remount(directory: Path) -> None:
    with ForgetfulDisk(directory) as disk, (directory / "file").open("wb", buffering=0) as file:
        disk.sync_all()
        disk.power_cut()
        for attempt in (
            lambda: file.write(b"late"),
            lambda: os.fsync(file.fileno()),
            lambda: (directory / "new").write_bytes(b""),
            lambda: os.listdir(directory),
        ):
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                attempt()
        disk.remount()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            file.write(b"a file that is still open belongs to the time before")
        assert (directory / "file").read_bytes() == b""


def test_it_is_a_file_system_like_any_other(directory: Path, tmp_path: Path) -> None:
    """The same calls on it and on an ordinary directory, with the same answers."""
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    chance = random.Random(5)
    with ForgetfulDisk(directory):
        for _ in range(300):
            what, names, amount = chance.choice(CALLS), [chance.choice(NAMES) for _ in range(2)], chance.randrange(9000)
            answers = [_answer(what, root, names, amount) for root in (directory, ordinary)]
            assert answers[0] == answers[1], (what, names, amount)
            assert _tree(directory) == _tree(ordinary), (what, names, amount)


NAMES = ["a", "b", "dir", "dir/a", "dir/b", "dir/sub", "ä ö", "dir/.hidden"]
CALLS = [
    "write",
    "append",
    "patch",
    "cut",
    "grow",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "link",
    "symlink",
    "gone",
    "map",
]


def _answer(what: str, root: Path, names: list[str], amount: int) -> object:
    path, other = (root / name for name in names)
    data = bytes([amount % 251]) * amount
    try:
        match what:
            case "write":
                return path.write_bytes(data)
            case "append":
                with path.open("ab") as file:
                    return file.write(data) + file.write(b"end")
            case "patch":
                with path.open("r+b") as file:
                    file.seek(amount // 2)
                    return file.write(data[:100])
            case "cut" | "grow":
                return os.truncate(path, amount if what == "grow" else amount // 10)
            case "rename":
                return str(path.rename(other).relative_to(root))
            case "unlink":
                return path.unlink()
            case "mkdir":
                return path.mkdir()
            case "rmdir":
                return path.rmdir()
            case "link":
                return other.hardlink_to(path)
            case "symlink":
                return path.symlink_to("a")
            case "gone":
                return _used_after_removal(path)
            case _:
                return _mapped(path)
    except OSError as error:
        return error.errno


def _used_after_removal(path: Path) -> tuple[bytes, int]:
    with path.open("r+b") as file:
        path.unlink()
        file.seek(0)
        file.write(b"still here")
        file.seek(0)
        return file.read(), os.fstat(file.fileno()).st_size


def _mapped(path: Path) -> bytes:
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return b""
        with mmap.mmap(file.fileno(), size) as memory:
            memory[size // 2] = 7
            memory.flush()
            return bytes(memory[: size // 2 + 1])


def _tree(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        is_link = path.is_symlink()
        found[str(path.relative_to(root))] = (
            os.readlink(path) if is_link else None if path.is_dir() else path.read_bytes()
        )
    return found


def test_a_memory_map_reaches_the_disk_when_it_was_synced(directory: Path) -> None:
    path = directory / "file"
    with ForgetfulDisk(directory) as disk:
        write_synced(path, bytes(8192))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as memory:
            memory[0] = 1
            memory.flush()
            os.fsync(file.fileno())
            memory[4096] = 1
            disk.power_cut()
        disk.remount()
        content = path.read_bytes()
        assert (content[0], content[4096], len(content)) == (1, 0, 8192)


@pytest.mark.parametrize("flag", ["O_SYNC", "O_DSYNC"])
def test_a_file_that_is_opened_for_synced_writing_is_synced(directory: Path, flag: str) -> None:
    """The kernel asks for a sync after each write."""
    with ForgetfulDisk(directory) as disk:
        file = os.open(directory / "file", os.O_CREAT | os.O_WRONLY | getattr(os, flag))
        os.write(file, b"stays")
        os.close(file)
        disk.power_cut()
        disk.remount()
        assert (directory / "file").read_bytes() == b"stays"


def test_two_processes_share_a_database_in_wal_mode(directory: Path) -> None:
    """Its shared memory is a mapped file, and its locks are those of POSIX."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
        "for _ in range(40): c.execute('UPDATE t SET x = x + 1')"
    )
    with ForgetfulDisk(directory):
        database = directory / "shared.db"
        connection = sqlite3.connect(database, timeout=60, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t AS SELECT 0 AS x")
        others = [subprocess.Popen([sys.executable, "-c", script, str(database)], cwd="/") for _ in range(2)]
        assert [other.wait(PATIENCE_S) for other in others] == [0, 0]
        assert connection.execute("SELECT x FROM t").fetchone() == (80,)
        connection.close()


def test_a_sync_that_fails_and_is_tried_again_proves_nothing(directory: Path) -> None:
    path = directory / "file"
    with ForgetfulDisk(directory) as disk, path.open("wb", buffering=0) as file:
        disk.sync_all()
        disk.set_rules(Rule(operation="fsync", errno="EIO", times=1))
        file.write(b"acknowledged")
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.fsync(file.fileno())
        os.fsync(file.fileno())
        assert path.read_bytes() == b"acknowledged"
        counters = disk.power_cut()
        assert (counters.struck, counters.bytes_abandoned) == ((1,), len(b"acknowledged"))
        disk.remount()
        assert path.read_bytes() == b""


def test_a_sync_that_lies_syncs_nothing(directory: Path) -> None:
    with ForgetfulDisk(directory, rules=(Rule(operation="fsync", path="liar", lying=True),)) as disk:
        write_synced(directory / "liar", b"gone")
        write_synced(directory / "honest", b"here")
        counters = disk.power_cut()
        assert (counters.lies, counters.syncs, counters.struck) == (1, 1, (1,))
        disk.remount()
        found = {name: (directory / name).read_bytes() for name in os.listdir(directory)}
        assert found == {"honest": b"here", "liar": b""}  # ext4: the honest sync carried both names


def test_a_full_disk_is_full_until_it_is_healed(directory: Path) -> None:
    with ForgetfulDisk(directory) as disk:
        connection = sqlite3.connect(directory / "full.db", isolation_level=None)
        connection.execute("CREATE TABLE t(x)")
        disk.set_rules(Rule(operation="any", capacity=60_000))
        with pytest.raises(sqlite3.OperationalError, match="full"):
            _insert_for_ever(connection)
        assert disk.counters().struck[0] > 0
        held = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        assert 0 < held < 30
        disk.set_rules()
        connection.execute("INSERT INTO t VALUES (1)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (held + 1,)
        connection.close()


def _insert_for_ever(connection: sqlite3.Connection) -> None:
    for _ in range(1000):
        connection.execute("INSERT INTO t VALUES (zeroblob(2000))")
    raise AssertionError("2 MB found room in 60 kB")


def test_a_slow_operation_is_slow(directory: Path) -> None:
    with ForgetfulDisk(directory, rules=(Rule(operation="fsync", delay_s=0.2),)) as disk:
        began = time.monotonic()
        write_synced(directory / "file", b"x")
        assert time.monotonic() - began >= 0.2
        assert disk.counters().struck == (1,)


def test_it_is_unmounted_after_an_exception(directory: Path) -> None:
    for error in (RuntimeError("a test failed"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            _fail_with_an_open_file(directory, error)
        assert not mounted(directory)


def _fail_with_an_open_file(directory: Path, error: BaseException) -> None:
    with ForgetfulDisk(directory), (directory / "open").open("wb", buffering=0) as file:
        file.write(b"not synced")
        assert mounted(directory)
        raise error


def test_it_is_unmounted_while_it_is_in_use(directory: Path) -> None:
    disk = ForgetfulDisk(directory)
    with disk:
        file = (directory / "open").open("wb", buffering=0)
    assert not mounted(directory)
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        file.write(b"late")
    with contextlib.suppress(OSError):  # closing tells the file system too
        file.close()
    disk.close()


def test_it_is_unmounted_when_its_process_has_died(directory: Path) -> None:
    with ForgetfulDisk(directory) as disk:
        os.kill(disk.process_id, signal.SIGKILL)
        with pytest.raises(DiskFailed, match=r"has died"):
            disk.counters()
        assert mounted(directory)
    assert not mounted(directory)


def test_it_is_unmounted_when_its_parent_has_died(directory: Path) -> None:
    parent = subprocess.Popen([sys.executable, str(PARENT), str(directory)], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"mounted\n"
        assert mounted(directory)
        parent.kill()
    assert eventually(lambda: not mounted(directory))


def test_a_directory_that_is_in_use_is_refused(directory: Path, tmp_path: Path) -> None:
    with ForgetfulDisk(directory), pytest.raises(DiskFailed, match="already has a file system mounted"):
        ForgetfulDisk(directory).__enter__()
    with pytest.raises(DiskFailed, match="is not empty"):
        ForgetfulDisk(tmp_path).__enter__()
    with pytest.raises(DiskFailed, match="there is no directory"):
        ForgetfulDisk(tmp_path / "nowhere").__enter__()
    with pytest.raises(ValueError, match="model 'ext5' is unknown; allowed: ext4, strict"):
        ForgetfulDisk(directory, "ext5")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(DiskFailed, match="use it as a context manager"):
        ForgetfulDisk(directory).power_cut()


def test_a_mount_that_fails_says_why(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSE_LIBRARY_PATH", "/nowhere/libfuse.so")
    with pytest.raises(DiskFailed, match=r"mounting failed: OSError.*/nowhere/libfuse\.so"):
        ForgetfulDisk(directory).__enter__()


@pytest.mark.usefixtures("directory")
def test_an_ordinary_user_mounts_it_in_a_namespace() -> None:
    """`unshare -Urm`: no right outside of it is needed. Here whoever runs the test is the user."""
    if not shutil.which("unshare"):
        pytest.skip("NOT RUN: unshare is not installed")
    inside = ["unshare", "-Urm"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT RUN: this machine gives no user namespaces")
    script = "from perdure_scenarios.forgetful import refusal; print(refusal() or 'usable')"
    answer = subprocess.run(
        [*inside, sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert answer.stdout == "usable\n"


def test_a_refusal_can_be_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("fuse", "ptrace,fuse", "ptrace, fuse"):
        monkeypatch.setenv(REFUSE, value)
        assert refusal() == "FUSE is refused by PERDURE_REFUSE"
    monkeypatch.setenv(REFUSE, "ptrace,fuselage")
    assert "PERDURE_REFUSE" not in refusal()


def test_a_refusal_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        assert "Linux only" in _missing()
        return
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    assert _missing() == "mfusepy is not installed; pip install perdure[fuse]"
    monkeypatch.setitem(sys.modules, "mfusepy", sys)
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    assert _missing().startswith("there is no /dev/fuse")
    monkeypatch.setattr(os.path, "exists", lambda _: True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "unshare -Urm" in _missing()
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "setuid" in _missing()
