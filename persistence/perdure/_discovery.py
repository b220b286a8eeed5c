"""Finding installed backends by name, through the entry points of the group `perdure.backends`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from ._backend import Backend
from .errors import PerdureError

GROUP = "perdure.backends"


class UnknownBackend(PerdureError, ValueError):
    """No installed distribution offers a backend of this name. The message lists those that are installed."""

    def __init__(self, name: str, installed: list[str]) -> None:
        super().__init__(f"no backend named {name!r}; installed: {', '.join(installed) or 'none'}")
        self.name = name
        self.installed = installed


class BrokenBackend(PerdureError):
    """An entry point was found, but what it names cannot be imported or is no `Backend`."""


def installed_backends() -> Mapping[str, EntryPoint]:
    """The installed backends by name. Nothing is imported."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load_backend(name: str, settings: Mapping[str, str] | None = None) -> Backend:
    """Import one backend, with other settings than its own if any are given.

    `name` is that of an installed backend, or `module:attribute` of one that is not installed (yet).
    Raises `UnknownBackend`, `BrokenBackend`, or the `ValueError` of a backend that does not know a setting.
    """
    found = installed_backends()
    if name not in found and ":" not in name:
        raise UnknownBackend(name, list(found))
    point = found.get(name) or EntryPoint(name, name, GROUP)
    try:
        backend = point.load()
    except Exception as error:
        raise BrokenBackend(f"backend {name!r} ({point.value}) cannot be imported: {error!r}") from error
    if not isinstance(backend, Backend):
        raise BrokenBackend(f"backend {name!r} ({point.value}) is a {type(backend).__name__}, not a perdure.Backend")
    return backend.configured(settings) if settings else backend
