"""Where the server of a backend under test is: at a URL that was given, or started for the occasion.

A backend that lives on a server takes its locations' `endpoint`. The kit starts no server itself: whoever can offers
one through the entry points of `perdure.servers`, under the name of the backend. A URL that was given in the
environment goes before, and is what processes that a run starts find there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import entry_points

import msgspec
from perdure import Backend

GROUP = "perdure.servers"


class NoServer(Exception):
    """No server for this backend can be had on this machine. The message says why, and what would help."""


class Served(msgspec.Struct, frozen=True):
    """A server that runs: where it is, what it is, and those of its settings that a verdict depends on."""

    endpoint: str
    version: str
    settings: Mapping[str, str] = {}


Serve = Callable[[Mapping[str, str]], AbstractContextManager[Served]]
"""What an entry point names: takes the settings of the backend, starts a server with those that are the server's, and
stops it at the end. Raises `NoServer`."""


def variable(backend_name: str) -> str:
    """The name in the environment under which the URL of a backend's server may be given."""
    return f"PERDURE_{backend_name.upper().replace('-', '_')}_URL"


def endpoint_of(backend: Backend) -> str | None:
    """Where the server of a backend is; None for one that needs none, or before it was started."""
    return os.environ.get(variable(backend.name)) or None


@contextmanager
def served(backend: Backend) -> Iterator[Served | None]:
    """A server for a backend that needs one, for as long as the context lasts; one that was given is left alone."""
    given, point = endpoint_of(backend), _offered(backend.name)
    if point is None or given:
        yield Served(given, f"given by {variable(backend.name)}") if given else None
        return
    with point(backend.settings) as server:
        os.environ[variable(backend.name)] = server.endpoint
        try:
            yield server
        finally:
            del os.environ[variable(backend.name)]


def _offered(name: str) -> Serve | None:
    found: list[Serve] = [point.load() for point in entry_points(group=GROUP, name=name)]
    return found[0] if found else None
