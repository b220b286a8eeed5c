"""`perdure rules` and `perdure explain`: the specification, read from its table."""

from __future__ import annotations

import textwrap

import click

from ..packs import installed_programs
from ..rules import Rule, all_rules, rule
from ._usage import usage_errors


@click.command()
@click.option("--judged", is_flag=True, help="Only rules that are judged today.")
def rules(judged: bool) -> None:
    """List every rule of this edition."""
    for one in all_rules().values():
        if one.judged or not judged:
            click.echo(f"{one.id:<6}{one.level:<7}{_state(one):<18}{one.sentence}")


def _state(one: Rule) -> str:
    if one.judged:
        return "judged"
    return "untestable" if one.untestable else f"with {one.needs}"


@click.command()
@click.argument("rule_id", metavar="RULE")
def explain(rule_id: str) -> None:
    """Say what RULE means, why it exists, what to check when it fails, and which scenarios are about it."""
    with usage_errors():
        one = rule(rule_id)
        about = [program.name for program in installed_programs() if one.id in program.rules]
    click.echo(f"{one.id}  {one.level}  edition {one.edition}\n")
    _paragraph(one.sentence)
    _paragraph(f"Why: {one.why}")
    for hint in one.check:
        click.echo(textwrap.fill(hint, 100, initial_indent="  check  ", subsequent_indent="         "))
    if one.claim:
        _paragraph(f"\nOnly for backends that claim {one.claim}.")
    if one.judged:
        floor = ", ".join(f"{name} {least}" for name, least in one.floor.items())
        _paragraph(f"\nBelieved when at least this was seen: {floor}.")
    else:
        _paragraph(f"\nNot judged: {one.untestable or f'it awaits the chapter on {one.needs}'}.")
    click.echo(f"Source: {one.source}")
    for name in about:
        click.echo(f"  scenario  {name}")


def _paragraph(text: str) -> None:
    click.echo(textwrap.fill(text, 100, replace_whitespace=False) + "\n")
