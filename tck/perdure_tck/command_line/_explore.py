"""`perdure explore`: search for violations at random, for as long as one lets it, and write down what is found."""

from __future__ import annotations

import datetime
import os
import random
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from ..failure_text import block
from ..finds import Find, violated, written
from ..rules import all_rules
from ..verdict import EXIT_KIT_FAULT, EXIT_OK, EXIT_VIOLATED
from ._run import file_name
from ._usage import Usage, backend_settings, chosen_backend, chosen_conformance, usage_errors, writable

if TYPE_CHECKING:
    from ..exploration import Expedition, Quest
    from ..tally import Tally

UNITS = {"s": 1, "m": 60, "h": 3600}
LIVE_EVERY_S, PLAIN_EVERY_S = 0.1, 30.0


@click.command()
@click.argument("backend")
@click.option("--for", "duration", default="10m", show_default=True, metavar="TIME", help="How long: 30s, 10m, 1h.")
@click.option("--seed", type=click.IntRange(min=0), help="Where chance begins [another one each time].")
@click.option("--finds", type=click.IntRange(min=1), help="End after so many finds.")
@click.option("--into", type=click.Path(path_type=Path), help="The folder that finds go into [.perdure/finds].")
@click.option("--conformance", type=click.Path(path_type=Path), help="Claims and waivers [conformance.toml].")
@click.option(
    "--limit", type=click.FloatRange(min=0.01), default=5.0, show_default=True, help="Seconds an operation may take."
)
@backend_settings
def explore(
    backend: str,
    duration: str,
    seed: int | None,
    finds: int | None,
    into: Path | None,
    conformance: Path | None,
    limit: float,
    settings: tuple[str, ...],
) -> None:
    """Search at random for programs on which BACKEND breaks a rule. Ctrl-C ends it and loses nothing.

    Exit codes: 0 nothing found, 1 something found, 2 usage, 3 fault of the kit or the adapter.
    """
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(".perdure") / "hypothesis"))
    from ..exploration import Quest, explore  # only here, since Hypothesis takes its time to load

    chosen = chosen_backend(backend, settings)
    stated = chosen_conformance(conformance)
    today = datetime.date.today()
    quest = Quest(
        claims=stated.claims_of(chosen.claims),
        seed=random.SystemRandom().randrange(2**32) if seed is None else seed,
        duration_s=_seconds(duration),
        finds_max=finds,
        waived=frozenset(waiver.rule for waiver in stated.waiver if waiver.in_force(today)),
        operation_limit_s=limit,
        examples=writable(Path(".perdure") / "examples" / file_name(backend) / "x").parent,
    )
    folder = writable((into or Path(".perdure") / "finds") / "x").parent
    words = " ".join([backend, *(f"--setting {shlex.quote(setting)}" for setting in settings)])
    click.echo(f"{backend} · exploring for {duration} · seed {quest.seed} · Ctrl-C ends it and keeps what was found")
    with _Telling(quest, folder, words) as telling:
        ended = explore(chosen, quest, telling)
    _tell_the_end(ended, quest, words)
    sys.exit(EXIT_KIT_FAULT if ended.fault else EXIT_VIOLATED if ended.finds else EXIT_OK)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or not float(found[1]):
        raise Usage(f"--for {text!r} is no time; write a number with a unit, as in 30s, 10m or 1h")
    return float(found[1]) * UNITS[found[2]]


class _Telling:
    """Tells how a search goes: in one live line on a terminal, in a line now and then when piped; finds at once."""

    def __init__(self, quest: Quest, folder: Path, words: str) -> None:
        self._quest, self._folder, self._words = quest, folder, words
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True, disable=not self._live
        )
        self._task = self._bar.add_task("")
        self._every_s = LIVE_EVERY_S if self._live else PLAIN_EVERY_S
        self._next_s = self._every_s

    def __enter__(self) -> _Telling:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progress(self, tally: Tally) -> None:
        if tally.elapsed_s < self._next_s:
            return
        self._next_s = tally.elapsed_s + self._every_s
        line = _line(tally, self._quest.duration_s)
        if self._live:
            self._bar.update(self._task, description=line)
        else:
            click.echo(line, err=True)

    def found(self, find: Find) -> None:
        with usage_errors():
            find = written(find, self._folder)
        self._bar.stop()
        click.echo(f"\n{block(violated(find.rule, find.witness), self._words)}\n  freeze   {_freezing(find)}\n")
        self._bar.start()


def _line(tally: Tally, duration_s: float) -> str:
    """`0:12 of 10:00 · 1 find · 9 041 programs · ...`: what matters first, since a narrow terminal cuts it off."""
    judged = sum(rule.judged for rule in all_rules().values())
    return " · ".join(
        [
            f"{_minutes(tally.elapsed_s)} of {_minutes(duration_s)}",
            f"{tally.finds} find{'' if tally.finds == 1 else 's'}",
            f"{_thousands(tally.programs.total())} programs",
            f"{_thousands(tally.operations)} operations",
            f"{_thousands(len(tally.states))} states reached",
            f"{tally.exercised} of {judged} rules exercised",
        ]
    )


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _freezing(find: Find) -> str:
    return f"perdure freeze {shlex.quote(find.witness.file)} --as {find.name.lower().replace('-', '_')}"


def _tell_the_end(ended: Expedition, quest: Quest, words: str) -> None:
    click.echo(_line(ended.tally, quest.duration_s))
    if ended.tally.waived:
        click.echo(f"{ended.tally.waived} deviations led to rules that are waived and are not shown")
    if ended.interrupted:
        click.echo("ended by Ctrl-C; what was found until then is kept")
    if ended.fault:
        click.echo(f"KIT FAULT  {ended.fault}")
    elif ended.finds:
        click.echo(
            "A find is gone when the backend is mended. To have the gate look for it from now on, freeze it with"
        )
        click.echo(f"the command below it, then: perdure run {words} --scenarios scenarios")
    else:
        click.echo("nothing found, which proves nothing; the gate is: perdure run " + words)
