"""`perdure new`: write a small plugin project that conforms before its author has changed a line."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click
from perdure import installed_backends

from ._usage import Usage, usage_errors


@click.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), help="The folder to write [./NAME].")
def new(name: str, into: Path | None) -> None:
    """Write a complete plugin project for a backend called NAME, with a stub in memory that conforms."""
    _refuse_bad_name(name)
    target = into or Path(name)
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise Usage(f"{target} is there already and not empty; choose another folder with --into")
    with usage_errors():
        for relative, text in _project(name).items():
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    click.echo(f"{target}: a plugin project; next: cd {shlex.quote(str(target))} && tox")


def _refuse_bad_name(name: str) -> None:
    """The name becomes part of a package's and a distribution's, so both must allow it and neither may be taken."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise Usage(f"{name!r} cannot be the name of a package; use small letters, digits and single _, as in 'mydb'")
    if name in installed_backends() or find_spec(f"perdure_{name}") is not None:
        raise Usage(f"there is a backend {name!r} or a package perdure_{name} already; choose another name")


def _project(name: str) -> dict[str, str]:
    """Every file of the project by its place, the name filled in."""
    template = files("perdure_tck") / "template"
    places = {
        "pyproject.toml": "pyproject.toml.txt",
        "tox.ini": "tox.ini.txt",
        "conformance.toml": "conformance.toml.txt",
        "README.md": "README.md.txt",
        ".gitignore": "gitignore.txt",
        f"src/perdure_{name}/__init__.py": "backend.py.txt",
        f"src/perdure_{name}/py.typed": "py.typed.txt",
        f"tests/test_{name}.py": "test_backend.py.txt",
    }
    return {
        place: (template / source).read_text(encoding="utf-8").replace("@NAME@", name)
        for place, source in places.items()
    }
