"""`perdure replay`: run one program again, step by step, and say where it deviates."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import click

from ..examiner import Examiner, Trial
from ..judge import disagreement, unmet_claim
from ..own_scenarios import with_own
from ..packs import SUFFIX
from ..program import Program
from ..scenario_text import read_scenario
from ..stage import KitFault
from ..sweep import installed_sweeping
from ..verdict import EXIT_KIT_FAULT, EXIT_OK, EXIT_VIOLATED
from ..witness_files import STRUCK
from ._usage import Usage, backend_settings, chosen_backend, chosen_conformance, programs, usage_errors


@click.command()
@click.argument("scenario", metavar="SCENARIO|WITNESS")
@click.option("--backend", help="The backend to run it on; a state that was struck knows its own.")
@click.option("--conformance", type=click.Path(path_type=Path), help="Claims and waivers [conformance.toml].")
@click.option(
    "--limit", type=click.FloatRange(min=0.01), default=5.0, show_default=True, help="Seconds an operation may take."
)
@click.option(
    "--scenarios", type=click.Path(path_type=Path), multiple=True, help="A folder of scenarios of your own; repeatable."
)
@backend_settings
def replay(
    scenario: str,
    backend: str | None,
    conformance: Path | None,
    limit: float,
    scenarios: tuple[Path, ...],
    settings: tuple[str, ...],
) -> None:
    """Run a SCENARIO by its name, installed or your own, or a WITNESS or other scenario file by its path.

    A WITNESS that is a directory is a state that was struck: its files are opened and judged again.
    """
    if scenario.rstrip("/").endswith(STRUCK):
        _judge_again(Path(scenario))
    if backend is None:
        raise Usage("a scenario needs --backend: the backend to run it on")
    stated = chosen_conformance(conformance)
    program = _program(scenario, (*map(Path, stated.scenarios), *scenarios))
    chosen = chosen_backend(backend, settings)
    claims = stated.claims_of(chosen.claims)
    unmet = unmet_claim(program, claims)
    if unmet:
        raise Usage(f"{program.name} asks for {unmet}, which {backend} does not claim")
    try:
        with Examiner(chosen, claims, limit) as examiner:
            trial = examiner.try_alone(program)
    except KitFault as fault:
        click.echo(f"KIT FAULT  {fault}")
        sys.exit(EXIT_KIT_FAULT)
    _show(program, trial)
    sys.exit(EXIT_VIOLATED if trial.deviations else EXIT_OK)


def _judge_again(directory: Path) -> NoReturn:
    """Open a kept state once more, and exit as it is judged."""
    sweeping = installed_sweeping()
    if sweeping is None:
        raise Usage("nothing is installed that can judge a state that was struck; install perdure with its scenarios")
    if not directory.is_dir():
        raise Usage(f"{directory}: there is no such directory; 'perdure run BACKEND --level full' keeps what it finds")
    with usage_errors():
        found = sweeping.again(directory)
    click.echo("\n".join(found.lines))
    click.echo(f"VIOLATED  {' '.join(found.rules)}" if found.rules else "nothing is wrong with this state")
    sys.exit(EXIT_VIOLATED if found.rules else EXIT_OK)


def _program(name: str, folders: Iterable[Path]) -> Program:
    path = Path(name)
    if path.suffix == SUFFIX or path.is_file():
        with usage_errors():
            program = read_scenario(path)
        wrong = disagreement(program)
        if wrong:
            raise Usage(f"{path}: {wrong}")
        return program
    with usage_errors():
        corpus = with_own(programs(), folders)
    for program in corpus:
        if program.name == name:
            return program
    raise Usage(f"no scenario {name!r}: neither a file nor installed; 'perdure explain RULE' names those of a rule")


def _told_of_runs(trial: Trial) -> str:
    """How the calls that overlap were ordered in the run that is shown."""
    runs = f"run {trial.runs}" if trial.runs > 1 else "one run"
    if trial.program.schedule is None:
        return f"{runs} on a real event loop; the order of overlapping calls (┃) is not chosen"
    return f"{runs} on a simulated event loop; schedule {' '.join(map(str, trial.program.schedule)) or '0'}"


def _show(program: Program, trial: Trial) -> None:
    wrong = {deviation.number: deviation for deviation in trial.deviations}
    width = max(len(str(step.operation)) for step in program.steps)
    if program.overlaps:
        click.echo(_told_of_runs(trial))
    for number, (step, seen) in enumerate(zip(program.steps, trial.execution.observations, strict=False), 1):
        client = f"{step.client}: " if step.client else ""
        deviation = wrong.get(number)
        observed = trial.told(deviation.observed if deviation else str(seen.outcome))
        client = f"┃ {client}" if step.block else client
        line = f"{number:>3}  {client}{step.operation!s:<{min(width, 60)}}  {observed}"
        click.echo(f"{line}   ✗ allowed: {trial.told(deviation.allowed)}" if deviation else line)
    rules = sorted({rule for deviation in trial.deviations for rule in deviation.rules})
    click.echo(f"VIOLATED  {' '.join(rules)}" if rules else f"nothing deviates in {len(program.steps)} steps")
