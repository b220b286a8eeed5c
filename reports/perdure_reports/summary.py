"""The report as Markdown, for the summary page of a CI job (`$GITHUB_STEP_SUMMARY`): the verdict first, then why."""

from __future__ import annotations

from collections.abc import Iterator

from perdure_tck.document import Fault, Run
from perdure_tck.failure_text import block
from perdure_tck.verdict import Word

from ._markdown import fenced, plain, table
from ._story import MEND_FIRST, alike_by_cause, causes, counts, head, settings, struck, verdict, why
from ._visible import visible


def text(run: Run) -> str:
    """The whole report. Whatever a backend supplied is shown as it is and cannot act as Markdown or HTML."""
    return "\n\n".join(_parts(visible(run))) + "\n"


def _parts(run: Run) -> Iterator[str]:
    yield f"## {plain(head(run))}"
    yield f"**{plain(verdict(run))}**"
    yield f"settings: {plain(settings(run))}"
    if run.footer.struck:
        yield f"struck: {plain(struck(run))}"
    yield from (_fault(fault) for fault in run.faults)
    yield _counts(run)
    yield from _others(run)
    shapes = alike_by_cause(run)
    for first, also in causes(run):
        yield fenced(block(first, run.header.backend.words, also, shapes[first.id]))


def _counts(run: Run) -> str:
    found = counts(run)
    return table([*found], [[str(count) for count in found.values()]])


def _others(run: Run) -> Iterator[str]:
    """The rules that ended in anything but CONFORMS."""
    rows = [[one.id, one.word, why(one), one.sentence] for one in run.rules if one.word is not Word.CONFORMS]
    if rows:
        yield table(["rule", "word", "why", "what it says"], rows)


def _fault(fault: Fault) -> str:
    return f"> **KIT FAULT** {plain(fault.message)}\n>\n> The run ended there. {MEND_FIRST}\n\n{fenced(fault.detail)}"
