"""What an author hands over: a name, a way to open a location, and claims. Nothing to inherit.

A whole backend, as the kit and applications see it:

    @asynccontextmanager
    async def open_mydb(location: Location) -> AsyncIterator[Storage]:
        async with connect(location.endpoint) as connection:
            yield Storage(MyJournal(connection, location), MySnapshots(connection, location))

    backend = Backend("mydb", open_mydb, Claims(survives_close=True))

and in `pyproject.toml`: `[project.entry-points."perdure.backends"]  mydb = "perdure_mydb:backend"`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from ._arguments import check_number
from ._inspection import Inspection
from ._journal import Journal, NoJournal
from ._queries import NoQueries, Queries
from ._snapshots import NoSnapshotStore, SnapshotStore

if TYPE_CHECKING:
    from .persistent import ActorRuntime


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend promises beyond the obligatory rules, and the limits within which it keeps them.

    A claim made must hold. An ability not claimed excuses the rules that need it; the kit then tries them all the same
    and says so if they hold ("you may claim this"). The defaults promise no ability that a plain dictionary lacks, and
    know no limit.
    """

    survives_close: bool = False
    """What was acknowledged is there after all handles were closed and the location was opened again. (J-45, S-34)"""

    shared: bool = False
    """Several handles on one location, also in several processes, see each other's acknowledged writes. (J-85)"""

    kill_durable: bool = False
    """What was acknowledged is there after the process was killed at any moment. (D-01 to D-09)"""

    power_durable: Literal["yes", "prefix", "no"] = "no"
    """... after the power went: everything, or all but a suffix of what was acknowledged, or no promise. (D-10)"""

    detects_damage: bool = False
    """Damage to a file that was closed properly is detected: an error, or what was written. (D-16)"""

    writer_uuid: bool = True
    """`writer_uuid` is kept. Without this claim it comes back as "". (J-19)"""

    event_manifest: bool = True
    """The event adapter's `manifest` is kept. Without this claim it comes back as "". (J-21)"""

    tags: bool = True
    """Tags are kept. Without this claim they come back empty. (J-22)"""

    metadata: bool = True
    """Event metadata is kept. Without this claim it comes back as None. (J-35)"""

    atomic_batch: int | None = None
    """The largest number of events in one AtomicWrite; None: no limit. Larger ones are rejected. (J-03)"""

    live_queries: bool = False
    """Live queries are offered: they go on with what is written after they began. (Q-01)"""

    deleted_events_in_feeds: Literal["kept", "dropped"] = "dropped"
    """What becomes of deleted events in the feeds by tag and of all events. (Q-30, Q-31)"""

    tags_without: str = ""
    """Characters that no tag may hold. An event with such a tag, or then with an empty one, is rejected. (J-25)"""

    timestamp_resolution_ns: int = 1
    """Timestamps come back rounded down to a multiple of this many nanoseconds (1 to 1_000_000_000)."""

    persistence_id_length_max: int | None = None
    """The longest persistence id in code points; None: no limit. Longer ones raise `ValueError`."""

    payload_size_max: int | None = None
    """The largest payload in bytes; None: no limit worth naming. Larger ones are rejected. (J-27)"""

    def __post_init__(self) -> None:
        check_number("timestamp_resolution_ns", self.timestamp_resolution_ns, 1, 1_000_000_000)


class Location(msgspec.Struct, eq=False, weakref=True, kw_only=True):
    """Where a backend keeps its things, and what it must take from outside so that a run can be repeated.

    `directory` is for backends that live in files, `endpoint` for servers. Two namespaces at one place share nothing.
    `page_size` is how many events a replay fetches at a time: an application leaves it, a test makes it tiny.
    `refresh_interval_s` is how soon a live query notices what another process wrote, in seconds.
    `clock` gives nanoseconds since the Unix epoch; all timestamps that a backend fills in come from it.
    Two Location objects are never equal: a backend in memory keeps its things for as long as the object lives.
    """

    directory: Path | None = None
    endpoint: str | None = None
    namespace: str = "perdure"
    page_size: int = 500
    refresh_interval_s: float = 0.1
    clock: Callable[[], int] = time.time_ns

    def __post_init__(self) -> None:
        if self.page_size < 1:
            raise ValueError(f"page_size {self.page_size} is out of range; 1 or more is allowed")
        if not self.refresh_interval_s > 0:
            raise ValueError(f"refresh_interval_s {self.refresh_interval_s} is out of range; above 0 is allowed")


class Storage(msgspec.Struct, frozen=True, eq=False):
    """What `open` yields: the contracts that this backend implements at one location, until the context ends."""

    journal: Journal = msgspec.field(default_factory=NoJournal)
    snapshots: SnapshotStore = msgspec.field(default_factory=NoSnapshotStore)
    queries: Queries = msgspec.field(default_factory=NoQueries)


def _not_configurable(settings: Mapping[str, str]) -> Backend:
    raise ValueError(f"this backend has no settings, so {', '.join(settings)} cannot be set")


class Backend(msgspec.Struct, frozen=True, eq=False):
    """One backend under one name.

    `open(location)` is an async context manager: entering it makes the storage ready and raises `OpenFailed` where that
    cannot be; leaving it ends what is under way and releases everything. It may be entered several times for one
    location, one after the other or, if the backend claims `shared`, at once.

    `settings` is what a report should say about how this backend is set up. `configured` gives the backend with other
    settings and the claims that follow from them; it raises `ValueError` for a name or a value that it does not know.
    `inspect` looks into a file without opening it as a location (`perdure events`), or raises `OpenFailed`.
    `actor_runtime` is for forks of the actors: whose are judged over this backend; None: those of this library.
    """

    name: str
    open: Callable[[Location], AbstractAsyncContextManager[Storage]]
    claims: Claims = Claims()
    version: str = ""
    settings: Mapping[str, str] = {}
    configured: Callable[[Mapping[str, str]], Backend] = _not_configurable
    inspect: Callable[[Path], AbstractAsyncContextManager[Inspection]] | None = None
    actor_runtime: ActorRuntime | None = None
