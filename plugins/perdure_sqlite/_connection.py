"""Where a database is, how a connection to it is made, and every reason why it is not. (`OpenFailed`)

A file that is refused is left as it was: what it holds is found out by reading before anything is written.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote
from weakref import WeakKeyDictionary, WeakValueDictionary, finalize

from perdure import Changes, Location
from perdure.errors import OpenFailed

from ._akka_net_layout import AKKA_NET, COLUMNS
from ._layout import Layout, NotThisLayout
from ._perdure_layout import APPLICATION_ID, PERDURE, SCHEMA_VERSION
from ._settings import Settings

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (PERDURE, AKKA_NET)}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

_memories: WeakKeyDictionary[Location, str] = WeakKeyDictionary()
_memory_numbers = count(1)
_changes_lock = threading.Lock()
_changes: WeakValueDictionary[str, Changes] = WeakValueDictionary()


class Place:
    """One database: a file, or memory that lives as long as its `Location` does."""

    def __init__(self, location: Location, settings: Settings) -> None:
        self.settings = settings
        self.layout = LAYOUTS[settings.layout]
        self._location = location
        self.path = _path(location)
        self.name = str(self.path or "memory")
        self._memory = _memory(location) if self.path is None else ""
        self.changes = _changes_of(os.path.realpath(self.path) if self.path is not None else self._memory)

    def open(self) -> sqlite3.Connection:
        """Make the database ready: directory, file, modes, tables. Raises `OpenFailed`."""
        with explained(self.name):
            if self.path is not None:
                _make_directory(self.path.parent)
            crashed = self.path is not None and Path(f"{self.path}-wal").exists()
            connection = self._connect()
            try:
                found = self._found(connection, crashed)  # first: a foreign file must not be turned to WAL
                self._set_up(connection)
                self._lay_out(connection, found)
            except BaseException:
                connection.close()
                raise
            return connection

    def reopen(self) -> sqlite3.Connection:
        """One more connection to a database that `open` has made ready."""
        connection = self._connect()
        try:
            self._set_synchronous(connection)  # `open` has compared what SQLite answers
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        timeout_s = self.settings.busy_timeout_s
        target = self.path if self.path is not None else self._memory
        # `isolation_level=None`: transactions begin and end where we say so. Connections are made, used and closed in
        # the thread of one worker each.
        return sqlite3.connect(target, timeout=timeout_s, isolation_level=None, uri=self.path is None)

    def _found(self, connection: sqlite3.Connection, crashed: bool) -> Layout | None:
        """The layout of what is there: ours, or none. Of a refused file, what a crash has left stays as it is."""
        try:
            found = layout_found(connection)
            if found is not None and found is not self.layout:
                raise NotThisLayout(f"it has the layout {found.name}; open it with layout={found.name}")
        except (NotThisLayout, sqlite3.Error):
            if crashed:
                self._close_untouched(connection)
            raise
        return found

    def _close_untouched(self, connection: sqlite3.Connection) -> None:
        """The last connection that closes brings a -wal into the file, so let that be one that cannot write."""
        assert self.path is not None, "memory has no -wal"
        with suppress(sqlite3.Error), closing(_connect_uri(self.path, "mode=ro")) as last:
            _tables(last)
            connection.close()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        if self.path is not None and self.settings.journal_mode != "KEEP":
            self._compare("journal_mode", self._set_journal_mode(connection).upper(), self.settings.journal_mode)
        self._synchronize(connection)

    def _set_journal_mode(self, connection: sqlite3.Connection) -> str:
        """SQLite does not wait for other processes here, as it does everywhere else, so it is asked again."""
        deadline = time.monotonic() + self.settings.busy_timeout_s
        while True:
            try:
                answer: str = connection.execute(f"PRAGMA journal_mode = {self.settings.journal_mode}").fetchone()[0]
                return answer
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(0.005)

    def _set_synchronous(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {self.settings.synchronous}")

    def _synchronize(self, connection: sqlite3.Connection) -> None:
        self._set_synchronous(connection)
        names = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
        self._compare(
            "synchronous",
            names[connection.execute("PRAGMA synchronous").fetchone()[0]],
            self.settings.synchronous,
        )
        busy_timeout_ms = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        self._compare("busy_timeout_s", str(busy_timeout_ms), str(int(self.settings.busy_timeout_s * 1000)))

    def _compare(self, name: str, answer: str, asked: str) -> None:
        if answer != asked:
            raise NotThisLayout(
                f"SQLite answers {name} {answer} where {asked} was asked; set {name}={answer} if that will do"
            )

    def _lay_out(self, connection: sqlite3.Connection, found: Layout | None) -> None:
        """Create the tables, unless another process was faster. It also finds out whether the file can be written."""
        connection.execute("BEGIN IMMEDIATE")
        if found is None and layout_found(connection) is None:
            for statement in self.layout.schema:
                connection.execute(statement)
        connection.execute("COMMIT")


def _path(location: Location) -> Path | None:
    """The file of a namespace. Capitals are escaped as well: on some systems two names differ by more than case."""
    if location.directory is None:
        return None
    name = "".join(
        character
        if character in _PLAIN
        else "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
        for character in location.namespace
    )
    return Path(location.directory) / f"{name}.db"


def _memory(location: Location) -> str:
    """The name of the memory of a location. An idle connection keeps the memory alive, and goes with the location."""
    name = _memories.get(location)
    if name is None:
        name = _memories[location] = f"file:/perdure-{next(_memory_numbers)}?vfs=memdb"
        finalize(location, sqlite3.connect(name, uri=True, check_same_thread=False).close)
    return name


def _changes_of(database: str) -> Changes:
    """What this process wrote to a database, through any handle; kept while there is one."""
    with _changes_lock:
        changes = _changes.get(database)
        if changes is None:
            changes = _changes[database] = Changes()
        return changes


def _make_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    directory.mkdir(exist_ok=True)
    if os.name == "posix":  # the new name must outlast a power cut as well; SQLite syncs only what is in the directory
        descriptor = os.open(directory.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. Raises `sqlite3.Error` if there is no file.

    Reading a file in WAL mode creates its -wal and -shm and leaves them there, unless the file is declared immutable.
    That is right where there is no -wal: nothing is hidden in it, and nobody has the file open.
    """
    with suppress(OSError), path.open("rb") as file:
        in_wal_mode = file.read(20)[18:] == b"\x02\x02"
        if in_wal_mode and not Path(f"{path}-wal").exists():
            return _connect_uri(path, "immutable=1")
    return _connect_uri(path, "mode=ro")


def _connect_uri(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{mode}", uri=True, isolation_level=None)


def layout_found(connection: sqlite3.Connection) -> Layout | None:
    """The layout of what is there; None if nothing is. Raises `NotThisLayout` for everything else."""
    tables = _tables(connection)  # first: another process may be creating them, and the rest of it, at this moment
    if not tables:
        return None
    if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        _refuse_newer(connection.execute("PRAGMA user_version").fetchone()[0])
        return PERDURE
    if "event_journal" in tables:
        _refuse_incomplete(connection)
        return AKKA_NET
    names = ", ".join(sorted(tables)[:3])
    raise NotThisLayout(f"it holds other tables ({names}) and no journal; give another directory or namespace")


def _tables(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    )
    return {name for (name,) in rows}


def _refuse_newer(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise NotThisLayout(
            f"its schema has version {version} and this edition knows {SCHEMA_VERSION}; open it with a newer perdure"
        )


def _refuse_incomplete(connection: sqlite3.Connection) -> None:
    """An Akka.NET file is not ours to alter, so what it lacks is named and left to its owner."""
    for table, columns in COLUMNS.items():
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in columns if column not in present]
        if missing:
            lacking = f"column {', '.join(missing)} in table {table}" if present else f"table {table}"
            raise NotThisLayout(f"it is a journal of Akka.NET that lacks {lacking}; let Akka.NET add it")


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn whatever keeps a database from being opened into an `OpenFailed` that names it."""
    try:
        yield
    except (NotThisLayout, sqlite3.Error, OSError) as error:
        raise OpenFailed(f"{name}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """What went wrong and the way out, in one line."""
    if isinstance(error, NotThisLayout):
        return str(error)
    if isinstance(error, OSError):
        return f"its directory cannot be made: {error.strerror}; create it, or give another directory"
    ways_out = {
        sqlite3.SQLITE_CANTOPEN: "check that its directory may be written",
        sqlite3.SQLITE_READONLY: "check that the file and its directory may be written",
        sqlite3.SQLITE_BUSY: "another process holds it; close that one, or raise busy_timeout_s",
        sqlite3.SQLITE_NOTADB: "give another directory or namespace",
        sqlite3.SQLITE_CORRUPT: "restore it from a backup; PRAGMA integrity_check tells more",
        sqlite3.SQLITE_FULL: "make room on the disk",
    }
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lowest byte: the kind without its details
    return f"{error}; {ways_out.get(code, 'PRAGMA integrity_check tells more')}"
