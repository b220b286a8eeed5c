"""`perdure new`: write a small plugin project that CONFORMS before its author has changed a line."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

import click

from ._usage import Usage, usage_errors

TEMPLATE = "perdure_tck"


@click.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), help="The folder to write [./NAME].")
def new(name: str, into: Path | None) -> None:
    """Write a complete plugin project for a backend called NAME, with a stub in memory that conforms."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise Usage(f"{name!r} cannot be the name of a package; use small letters, digits and _, as in 'mydb'")
    target = into or Path(name)
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise Usage(f"{target} is there already and not empty; choose another folder with --into")
    with usage_errors():
        for relative, text in _project(name).items():
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    click.echo(f"{target}: a plugin project; next: cd {target} && tox")


def _project(name: str) -> dict[str, str]:
    """Every file of the project by its place, the name filled in."""
    root = files(TEMPLATE) / "template"
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
        place: (root / source).read_text(encoding="utf-8").replace("@NAME@", name) for place, source in places.items()
    }
