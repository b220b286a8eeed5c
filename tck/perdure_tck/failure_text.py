"""What a person reads about a violated rule: the sentence, the smallest history, what is allowed, how to repeat it.

One text for the terminal, for pytest and for reports: nothing that is not needed to mend it, time flowing down, one
column for each client. At most fifteen lines.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from .document import Diagnosis, RuleResult, ShownStep, Struck, Witness

LINES_MAX = 15
WIDTH = 110
ALIKE_MAX = 2


def block(result: RuleResult, backend: str, also: Sequence[str] = (), alike: Sequence[str] = ()) -> str:
    """The block of one violated rule.

    `also` are rules that fell with it and get no block of their own, `alike` known bugs of which it has the shape.
    """
    if not result.witnesses:
        return f"{result.word}  {result.id}  {result.sentence}\n  {result.reason}"
    witness = result.witnesses[0]
    history = list(_history(witness))
    rest = list(_advice(result, witness, backend, also, alike))
    room = LINES_MAX - 4 - len(rest)
    if len(history) > room:
        history = [*history[: room - 3], "       …", *history[-2:]]
    return "\n".join(
        [
            f"{result.word}  {result.id}  {textwrap.shorten(result.sentence, 140, placeholder='…')}",
            "",
            f"  smallest history that breaks it ({_effort(witness)})",
            *history,
            "",
            *rest,
        ]
    )


def _effort(witness: Witness) -> str:
    if witness.struck is not None:
        return f"the first of its kind; scenario {witness.scenario}"
    often = f"; INTERMITTENT: seen in {witness.seen} of {witness.repeated} tries" if witness.intermittent else ""
    return f"{witness.tries} tried; scenario {witness.scenario}{often}"


def _history(witness: Witness) -> Iterator[str]:
    clients = sorted({step.client for step in witness.steps})
    widths = {client: max(len(step.operation) for step in witness.steps if step.client == client) for client in clients}
    widths = {client: min(width, 60) for client, width in widths.items()}
    if len(clients) > 1:
        yield (
            "        "
            + ("  " if any(step.block for step in witness.steps) else "")
            + "  ".join(f"{client or 'a':<{widths[client]}}" for client in clients)
        )
    together = len({step.block for step in witness.steps if step.block}) > 0
    for number, step in enumerate(witness.steps, 1):
        cells = "  ".join(f"{step.operation if step.client == client else '':<{widths[client]}}" for client in clients)
        mark = ("┃ " if step.block else "  ") if together else ""  # what is marked overlaps
        yield _cut(f"    {number:>2}  {mark}{cells}  {_outcome(step)}".rstrip())


def _cut(line: str) -> str:
    return line if len(line) <= 2 * WIDTH else f"{line[: 2 * WIDTH - 1]}…"


def _outcome(step: ShownStep) -> str:
    return f"{step.observed}   ✗ allowed: {step.allowed}" if step.allowed else step.observed


def told(diagnosis: Diagnosis) -> str:
    """A known bug that falls on the same rules, in a line."""
    rules = f"{len(diagnosis.rules)} of {diagnosis.of} rule{'' if diagnosis.of == 1 else 's'}"
    return f"{diagnosis.animal}: {diagnosis.cause} ({rules})"


def _struck(struck: Struck) -> Iterator[str]:
    """How a state came about: what struck, between which calls, what the disk must have lost, and the settings."""
    yield _cut(f"  struck   {struck.hazard} {struck.moment}; {struck.acknowledged} were acknowledged")
    if struck.model:
        yield _cut(f"  disk     {struck.model}")
    if struck.settings:
        yield _cut(f"  settings {struck.settings}")


def _advice(
    result: RuleResult, witness: Witness, backend: str, also: Sequence[str], alike: Sequence[str]
) -> Iterator[str]:
    if witness.struck is not None:
        yield from _struck(witness.struck)
    if result.check:
        yield "  check    " + textwrap.shorten(" · ".join(result.check), WIDTH, placeholder="…")
    if also:
        yield f"  falls with it  {' '.join(also)}"
    yield from (f"  same shape as  {one}" for one in alike[:ALIKE_MAX])
    if witness.struck is not None:
        yield f"  replay   perdure replay {witness.file}" if witness.file else "  replay   (not kept)"
    elif witness.file:
        yield f"  replay   perdure replay {witness.file} --backend {backend}"
    else:
        yield f"  replay   perdure replay {witness.scenario} --backend {backend}"
    yield f"  explain  perdure explain {result.id}"
