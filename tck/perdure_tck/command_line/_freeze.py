"""`perdure freeze`: make a scenario of a find, so that the gate looks for it from now on."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..finds import frozen
from ..own_scenarios import taken
from ..packs import SUFFIX
from ..scenario_text import read_scenario, show
from ._usage import Usage, programs, usage_errors


@click.command()
@click.argument("find", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, metavar="NAME", help="Its name: a sentence in snake_case.")
@click.option("--into", type=click.Path(path_type=Path), default=Path("scenarios"), show_default=True, help="Folder.")
@click.option("--because", help="Two sentences: what must hold, and why or who got it wrong; asked for if left out.")
def freeze(find: Path, name: str, into: Path, because: str | None) -> None:
    """Write the scenario file FIND as a scenario of your own, with the model's outcomes behind its arrows."""
    with usage_errors():
        program = read_scenario(find)
    _refuse_taken(name, into)
    prose = because or _asked()
    with usage_errors():
        scenario = frozen(program, name, prose)
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{name}{SUFFIX}"
        with path.open("x", encoding="utf-8") as file:
            file.write(show(scenario))
    click.echo(f"{path} written; next: perdure run BACKEND --scenarios {into}")
    click.echo(f'for every run: scenarios = ["{into.as_posix()}"] in conformance.toml')


def _refuse_taken(name: str, into: Path) -> None:
    path = into / f"{name}{SUFFIX}"
    if path.exists():
        raise Usage(f"{path} is there already; choose another name with --as")
    if any(program.name == name for program in programs()):
        raise Usage(f"{path}: its name is taken by {taken(name, {})}; choose another name with --as")


def _asked() -> str:
    if not sys.stdin.isatty():
        raise Usage("--because is missing: two sentences, what must hold, and why or who got it wrong")
    asked: str = click.prompt("In two sentences, what must hold, and why or who got it wrong", err=True)
    return asked
