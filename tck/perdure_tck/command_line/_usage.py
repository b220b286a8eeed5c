"""What commands have in common: loading what they were asked for, or one line that says what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from perdure import Backend, load_backend
from perdure.errors import OpenFailed, PerdureError

from ..conformance import Conformance, read_conformance
from ..endpoints import NoServer, served
from ..packs import installed_programs
from ..program import Program
from ..verdict import EXIT_UNPROVEN, EXIT_USAGE

CONFORMANCE_FILE = Path("conformance.toml")


class Usage(click.ClickException):
    """A usage error: `perdure: ...` in one line, exit code 2."""

    exit_code = EXIT_USAGE

    def show(self, file: object = None) -> None:
        click.echo(f"perdure: {' '.join(self.message.split())}", err=True)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what bad input raises into a usage error. What the kit itself gets wrong still shows its traceback."""
    try:
        yield
    except (ValueError, OpenFailed, PerdureError) as error:
        raise Usage(str(error)) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise Usage(f"{place}{error.strerror or error}") from error


def chosen_backend(name: str, settings: Sequence[str]) -> Backend:
    """The backend of a name, set up as asked by `name=value` words."""
    if ":" in name and "" not in sys.path:
        sys.path.insert(0, "")  # a backend that is not installed lies where the author works
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise Usage(f"--setting {setting!r} is not name=value")
        pairs[key] = value
    with usage_errors():
        return load_backend(name, pairs)


@contextmanager
def server_of(backend: Backend) -> Iterator[None]:
    """The server that a backend needs, while the context lasts; without one nothing is run, and that is no green."""
    try:
        with served(backend) as server:
            if server is not None:
                stated = [f"{name} {value}" for name, value in server.settings.items()]
                click.echo(f"server: {' · '.join([server.version, *stated])}", err=True)  # a URL may hold a password
            yield
    except NoServer as error:
        click.echo(f"NOT RUN  no server for {backend.name}: {error}", err=True)
        sys.exit(EXIT_UNPROVEN)


def chosen_conformance(path: Path | None) -> Conformance:
    """The statements of the file that was named, of `conformance.toml` here, or the defaults."""
    if path is None and not CONFORMANCE_FILE.exists():
        return Conformance()
    with usage_errors():
        return read_conformance(path or CONFORMANCE_FILE)


def programs() -> Sequence[Program]:
    """Every installed scenario; none at all is an installation that went wrong."""
    with usage_errors():
        found = installed_programs()
    if not found:
        raise Usage("no scenario files are installed; reinstall perdure")
    return found


def writable(path: Path) -> Path:
    """A path that can be written, its folder made: found out before anything takes minutes."""
    with usage_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(path.name + ".probe")
        probe.touch()
        probe.unlink()
    return path


backend_settings = click.option(
    "-s", "--setting", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the backend; repeatable."
)
