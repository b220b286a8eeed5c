"""`perdure check`: the pre-flight of an adapter."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..preflight import preflight
from ..verdict import EXIT_KIT_FAULT
from ._usage import backend_settings, chosen_backend, chosen_conformance, server_of


@click.command()
@click.argument("backend")
@click.option("--conformance", type=click.Path(path_type=Path), help="Claims and waivers [conformance.toml].")
@click.option(
    "--limit", type=click.FloatRange(min=0.01), default=10.0, show_default=True, help="Seconds a step may take."
)
@backend_settings
def check(backend: str, conformance: Path | None, limit: float, settings: tuple[str, ...]) -> None:
    """Look whether the adapter of BACKEND works at all: seconds, before rules are judged."""
    chosen = chosen_backend(backend, settings)
    claims = chosen_conformance(conformance).claims_of(chosen.claims)
    failed = False
    with server_of(chosen):
        for found in preflight(chosen, claims, limit):
            click.echo(f"{'✓' if found.passed else '✗'} {found.name:<34} {found.seen}")
            failed = failed or not found.passed
    if failed:
        click.echo("KIT FAULT  the adapter is not ready to be judged; mend the line marked ✗ first")
        sys.exit(EXIT_KIT_FAULT)
    click.echo(f"ready: perdure run {backend}")
