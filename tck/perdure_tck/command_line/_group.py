"""The group of commands, and the errors that they share."""

from __future__ import annotations

from importlib.metadata import version

import click

from ._check import check
from ._events import events
from ._explore import explore
from ._freeze import freeze
from ._new import new
from ._replay import replay
from ._report import report
from ._rules import explain, rules
from ._run import run
from ._zoo import zoo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("perdure"), prog_name="perdure")
def perdure() -> None:
    """Prove that a persistence backend keeps what it acknowledged.

    Exit codes: 0 conforms, 1 violated, 2 usage, 3 fault of the kit or the adapter, 4 not proved.
    """


for command in (run, check, explore, freeze, rules, explain, replay, new, events, report, zoo):
    perdure.add_command(command)
