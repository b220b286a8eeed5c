"""The actor system: a runtime, and the storages that its persistent actors use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

from .._backend import Storage
from .._event_adapters import EventAdapters
from .._events import SnapshotSelectionCriteria
from ..actors import Runtime, SupervisorStrategy
from ..errors import InitializationFailed
from ..serialization import Serialization
from ._health import Health, from_breaker
from ._payloads import Codec
from ._port import JournalPort, SnapshotPort, Tasks
from ._settings import PersistenceSettings

Port = TypeVar("Port")

_HEALTH_ID = "perdure-health-check"


class Persistence:
    """The storages of one system, by name. "" is the default one."""

    def __init__(
        self,
        storages: Mapping[str, Storage],
        codec: Codec,
        settings: PersistenceSettings,
        new_writer_uuid: Callable[[], str],
    ) -> None:
        self.codec = codec
        self.settings = settings
        self.new_writer_uuid = new_writer_uuid
        self._tasks = Tasks(asyncio.get_running_loop())
        self._journals = {
            name: JournalPort(name, storage.journal, settings, self._tasks) for name, storage in storages.items()
        }
        self._snapshots = {
            name: SnapshotPort(name, storage.snapshots, settings, self._tasks) for name, storage in storages.items()
        }

    def journal(self, name: str) -> JournalPort:
        return _named(self._journals, name)

    def snapshots(self, name: str) -> SnapshotPort:
        return _named(self._snapshots, name)

    async def check_health(self) -> dict[str, Health]:
        """Ask every journal and snapshot store a small question, one after the other."""
        found = {f"journal {name!r}": await _journal_health(port) for name, port in self._journals.items()}
        found |= {f"snapshot store {name!r}": await _snapshot_health(port) for name, port in self._snapshots.items()}
        return found

    async def close(self, timeout_s: float) -> None:
        await self._tasks.close(timeout_s)


class ActorSystem(Runtime):
    """Where persistent actors live. An async context manager; open the storage around it:

        async with backend.open(location) as storage, ActorSystem(storage) as system:
            account = system.spawn(Account, "account")

    Leaving it stops all actors, waits for what they have written, and leaves no task behind. `storages` are further
    ones, by the names that actors give as `journal_backend`. `serialization` turns events and snapshots into bytes;
    without one, plain values are kept as JSON, and types must be registered with `Serialization`.
    """

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        name: str = "perdure",
        storages: Mapping[str, Storage] | None = None,
        serialization: Serialization | None = None,
        event_adapters: EventAdapters | None = None,
        settings: PersistenceSettings | None = None,
        supervisor_strategy: SupervisorStrategy | None = None,
        stop_timeout_s: float = 10.0,
        new_writer_uuid: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        super().__init__(name, supervisor_strategy=supervisor_strategy, stop_timeout_s=stop_timeout_s)
        self._storages = ({"": storage} if storage else {}) | dict(storages or {})
        self._codec = Codec(serialization or Serialization(), event_adapters)
        self._settings = settings or PersistenceSettings()
        self._new_writer_uuid = new_writer_uuid
        self._persistence: Persistence | None = None

    @property
    def persistence(self) -> Persistence:
        if self._persistence is None:
            raise RuntimeError(f"actor system {self.name!r} is not open; use 'async with'")
        return self._persistence

    async def check_health(self) -> dict[str, Health]:
        """How every journal and snapshot store does, by its name."""
        return await self.persistence.check_health()

    async def __aenter__(self) -> Self:
        self._persistence = Persistence(self._storages, self._codec, self._settings, self._new_writer_uuid)
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            await self.persistence.close(self._stop_timeout_s)


def _named(ports: Mapping[str, Port], name: str) -> Port:
    port = ports.get(name)
    if port is None:
        known = ", ".join(map(repr, ports)) or "none"
        raise InitializationFailed(f"no storage named {name!r} in this system; there are: {known}")
    return port


async def _journal_health(port: JournalPort) -> Health:
    known = from_breaker(port.breaker)
    if known is not None:
        return known
    try:
        await port.highest(_HEALTH_ID, 0)
    except NotImplementedError as error:
        return Health("healthy", f"not there: {error}")
    except Exception as error:
        return Health("unhealthy", f"it did not answer: {error!r}", error)
    return Health("healthy", "it answered")


async def _snapshot_health(port: SnapshotPort) -> Health:
    known = from_breaker(port.breaker)
    if known is not None:
        return known
    try:
        await port.call(lambda store: store.load(_HEALTH_ID, SnapshotSelectionCriteria()))
    except NotImplementedError as error:
        return Health("healthy", f"not there: {error}")
    except Exception as error:
        return Health("unhealthy", f"it did not answer: {error!r}", error)
    return Health("healthy", "it answered")
