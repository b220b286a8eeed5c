"""`perdure zoo`: let the rules loose on the animals, and print the kill matrix."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..kill_matrix import OPERATION_LIMIT_S, Kill, awaiting, examine_animal
from ..verdict import EXIT_OK, EXIT_VIOLATED
from ..zoo import Animal, KnownBug, installed_animals, installed_bugs
from ..zoo_page import matrix, page, questions, signatures, steps
from ._run import _progress
from ._usage import Usage, programs, usage_errors

PAGE = Path("docs") / "zoo.md"
SIGNATURES = Path("plugins") / "perdure_zoo" / "signatures.toml"


@click.command()
@click.argument("names", nargs=-1, metavar="[ANIMAL]...")
@click.option("--markdown", is_flag=True, help="Print the matrix as the table of the docs, without times.")
@click.option("--write", is_flag=True, help=f"In a checkout: renew {PAGE} and {SIGNATURES}.")
@click.option(
    "--limit",
    type=click.FloatRange(min=0.01),
    default=OPERATION_LIMIT_S,
    show_default=True,
    help="Seconds an operation may take.",
)
def zoo(names: tuple[str, ...], markdown: bool, write: bool, limit: float) -> None:
    """Judge the broken backends of the zoo, all or those named: each must fall to a rule that names its cause.

    Prints a line for each: the size of the smallest history against it, the time until the first violation, the number
    of the program that showed it, and the rules that fell, with * those that name the cause.
    """
    with usage_errors():
        animals, bugs = _chosen(names), installed_bugs()
    if write:
        _refuse_write(names)
    kills = _examined_behind_a_bar(animals, limit) if markdown else _examined_line_by_line(animals, limit)
    if markdown:
        click.echo(matrix(animals, kills), nl=False)
    elif names:
        click.echo(f"\n{questions(animals, kills, bugs)[0]}")
    else:
        click.echo("\n" + "\n".join([*questions(animals, kills, bugs), *_awaited(bugs)]))
    if write:
        _write(animals, kills, bugs)
    sys.exit(EXIT_OK if all(kill.killed for kill in kills) else EXIT_VIOLATED)


def _chosen(names: Sequence[str]) -> Sequence[Animal]:
    known = {animal.name: animal for animal in installed_animals()}
    if not known:
        raise Usage("no zoo is installed; reinstall perdure")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Usage(f"no animal named {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")
    return [known[name] for name in names or known]


def _examined_line_by_line(animals: Sequence[Animal], limit_s: float) -> Sequence[Kill]:
    """What became of each animal, told as soon as it is known: that is progress enough."""
    corpus, kills = programs(), []
    for animal in animals:
        kills.append(examine_animal(animal, corpus, limit_s))
        click.echo(_line(kills[-1]))
    return kills


def _examined_behind_a_bar(animals: Sequence[Animal], limit_s: float) -> Sequence[Kill]:
    corpus, kills = programs(), []
    with _progress() as progress:
        for number, animal in enumerate(animals, 1):
            progress(number, len(animals), animal.name)
            kills.append(examine_animal(animal, corpus, limit_s))
    return kills


def _line(kill: Kill) -> str:
    rules = " ".join(f"{rule_id}*" if rule_id in kill.naming else rule_id for rule_id in kill.fell)
    said = f"KIT FAULT {kill.fault}" if kill.fault else rules or "no rule fell"
    effort = f"{steps(kill.steps):>8}  {kill.seconds:5.2f} s  program {kill.programs:<4}"
    line = f"{'✓' if kill.killed else '✗'} {kill.animal:<38} {kill.bug:<9}{effort}  {said}"
    return f"{line}\n    {kill.struck}" if kill.struck else line


def _awaited(bugs: Sequence[KnownBug]) -> Iterator[str]:
    for chapter, found in awaiting(bugs).items():
        yield f"bugs that await {chapter}: {len(found)} ({' '.join(bug.id for bug in found)})"


def _refuse_write(names: Sequence[str]) -> None:
    if names:
        raise Usage("--write is about the whole zoo; leave the names out")
    for path in (PAGE, SIGNATURES):
        if not path.is_file():
            raise Usage(f"{path}: there is no such file; --write works in the folder of a checkout")


def _write(animals: Sequence[Animal], kills: Sequence[Kill], bugs: Sequence[KnownBug]) -> None:
    if any(kill.fault for kill in kills):
        click.echo("nothing was written: not every animal was judged", err=True)
        return
    with usage_errors():
        text = page(PAGE.read_text(encoding="utf-8"), animals, kills, bugs)
        PAGE.write_text(text, encoding="utf-8")
        SIGNATURES.write_text(signatures(kills), encoding="utf-8")
