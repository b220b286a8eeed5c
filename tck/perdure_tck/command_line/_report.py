"""`perdure report`: render a run document again."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.console import Console

from ..document import read_run
from ._run import renderer
from ._usage import usage_errors, writable


@click.command()
@click.argument("document", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--allure", type=click.Path(path_type=Path), help="Write Allure results into this folder.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML into this file.")
@click.option("-v", "--verbose", is_flag=True, help="Say more of each rule.")
def report(document: Path, allure: Path | None, junit: Path | None, verbose: bool) -> None:
    """Show the run document RUN, or write reports of it. A document that was cut off is refused."""
    with usage_errors():
        found = read_run(document)
        if allure:
            renderer("allure")(found, writable(allure), os.environ)
        if junit:
            renderer("junit")(found, writable(junit))
    if not allure and not junit:
        renderer("terminal")(found, Console(), verbose)
