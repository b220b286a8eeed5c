"""`perdure run`: judge a backend."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..document import Run, write_run
from ..engine import GENERATED, Request, conduct
from ..history import Recorder
from ..own_scenarios import with_own
from ..rules import rule
from ..verdict import EXIT_KIT_FAULT
from ..witness_files import with_files, without_files
from ._alone import alone
from ._usage import (
    Usage,
    backend_settings,
    chosen_backend,
    chosen_conformance,
    programs,
    server_of,
    usage_errors,
    writable,
)


@click.command()
@click.argument("backend")
@click.argument("rules", nargs=-1, metavar="[RULE]...")
@click.option("--level", type=click.Choice(["core", "full"]), help="How much to run; core takes seconds.")
@click.option("--conformance", type=click.Path(path_type=Path), help="Claims and waivers [conformance.toml].")
@click.option(
    "--limit", type=click.FloatRange(min=0.01), default=5.0, show_default=True, help="Seconds an operation may take."
)
@click.option(
    "--scenarios", type=click.Path(path_type=Path), multiple=True, help="A folder of scenarios to run too; repeatable."
)
@click.option("--partial", is_flag=True, help="Let NOT RUN pass.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the run document goes [.perdure/BACKEND.jsonl].")
@click.option("--history", type=click.Path(path_type=Path), help="Write every operation into this file as it happens.")
@click.option("--allure", type=click.Path(path_type=Path), help="Also write Allure results into this folder.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit XML into this file.")
@click.option("-v", "--verbose", is_flag=True, help="Say more of each rule.")
@backend_settings
def run(
    backend: str,
    rules: tuple[str, ...],
    level: str | None,
    conformance: Path | None,
    limit: float,
    scenarios: tuple[Path, ...],
    partial: bool,
    out: Path | None,
    history: Path | None,
    allure: Path | None,
    junit: Path | None,
    verbose: bool,
    settings: tuple[str, ...],
) -> None:
    """Judge BACKEND by all rules, or by those named."""
    chosen = chosen_backend(backend, settings)
    stated = chosen_conformance(conformance)
    with usage_errors():
        corpus = with_own(programs(), (*map(Path, stated.scenarios), *scenarios))
    document = writable(out or Path(".perdure") / f"{file_name(backend)}.jsonl")
    witnesses = document.with_name(f"{document.stem}-witnesses")
    request = Request(
        programs=corpus,
        rules=_judged_rules(rules),
        level=level or stated.level,
        generated=GENERATED[level or stated.level],
        conformance=stated,
        operation_limit_s=limit,
        partial=partial,
        today=datetime.date.today(),
        keep=witnesses,
        command=" ".join(["perdure", *sys.argv[1:]]),
        chosen_by=" ".join([backend, *(f"--setting {shlex.quote(setting)}" for setting in settings)]),
    )
    for report in (allure, junit):
        if report is not None:
            writable(report)
    unwritten = None
    with alone(document):
        with usage_errors():
            without_files(witnesses)
        with server_of(chosen), _progress() as progress, _recording(history) as recorder:
            found = conduct(chosen, request, progress, recorder)
        try:
            found = with_files(found, witnesses)
            write_run(found, document)
        except OSError as error:  # what was found in minutes is shown, whatever becomes of the files
            unwritten = error
    _report(found, verbose, allure, junit)
    if unwritten is not None:
        raise Unwritten(f"{document} is not written: {unwritten.strerror}; the report above is all there is of the run")
    sys.exit(found.footer.exit_code)


class Unwritten(Usage):
    """The run document cannot be written: a fault of the environment, and no verdict for scripts to read."""

    exit_code = EXIT_KIT_FAULT


def _recording(path: Path | None) -> AbstractContextManager[Recorder | None]:
    if path is None:
        return nullcontext()
    with usage_errors():
        return Recorder(path)


def _judged_rules(names: tuple[str, ...]) -> tuple[str, ...]:
    with usage_errors():
        chosen = [rule(name) for name in names]
    for one in chosen:
        if not one.judged:
            reason = f"it is untestable: {one.untestable}" if one.untestable else f"it awaits {one.needs}"
            raise Usage(f"rule {one.id} is not judged: {reason}; 'perdure rules' lists those that are")
    return tuple(one.id for one in chosen)


def file_name(backend: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", backend)


class _progress:
    """Progress while it runs: a bar on a terminal, nothing when piped (the report follows as plain lines)."""

    def __enter__(self) -> Callable[[int, int, str], None]:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=None)
        return self._advance

    def _advance(self, number: int, total: int, name: str) -> None:
        self._bar.update(self._task, completed=number, total=total, description=name)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def renderer(name: str) -> Callable[..., Any]:
    """A report, found through the entry points of `perdure.reports`."""
    found = {point.name: point for point in entry_points(group="perdure.reports")}
    if name not in found:
        raise Usage(f"no report named {name!r}; installed: {', '.join(sorted(found)) or 'none'}")
    loaded: Callable[..., Any] = found[name].load()
    return loaded


def _report(found: Run, verbose: bool, allure: Path | None, junit: Path | None) -> None:
    renderer("terminal")(found, Console(), verbose)
    with usage_errors():
        if allure:
            renderer("allure")(found, allure, os.environ)
        if junit:
            renderer("junit")(found, junit)
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(renderer("summary")(found))
