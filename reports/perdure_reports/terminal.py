"""The report in a terminal: a green run fits on one screen, a red one shows each root cause once.

A fault of the kit looks like nothing else, since it says nothing of the backend. Nothing is wrapped or cut to a width,
and a console that is not a terminal gets plain text, so that a log of a CI job can be searched and copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perdure_tck.document import Fault, RuleResult, Run
from perdure_tck.failure_text import block
from perdure_tck.verdict import Word
from rich.console import Console
from rich.text import Text

from ._story import (
    MEND_FIRST,
    Cause,
    alike_by_cause,
    causes,
    chapters,
    counts,
    head,
    ids,
    judged,
    remarks,
    settings,
    struck,
    verdict,
    verdict_word,
)
from ._visible import visible

STYLES = {
    Word.CONFORMS: "green",
    Word.VIOLATED: "bold red",
    Word.WAIVED: "yellow",
    Word.UNSUPPORTED: "cyan",
    Word.UNPROVEN: "bold yellow",
    Word.NOT_RUN: "bold yellow",
    Word.KIT_FAULT: "bold magenta",
}

BAR_WIDTH = 20


def show(run: Run, console: Console, verbose: bool = False) -> None:
    """Print the report of a run. `verbose` adds what every conforming rule rests on, and the detail of a fault.

    Guaranteed for a console that is no terminal: no control codes, one line of the report in one line of the output,
    and only characters that its encoding has.
    """
    for line in _lines(visible(run), verbose):
        console.print(_encodable(line, console.encoding), soft_wrap=True)


def _lines(run: Run, verbose: bool) -> Iterator[Text]:
    yield Text(head(run), style="bold")
    yield Text(f"settings: {settings(run)}")
    if verbose:
        yield from _circumstances(run)
    yield Text()
    yield from _chapters(run)
    yield Text()
    for part in _parts(run, verbose):
        yield from part
        yield Text()
    yield from _struck(run)
    yield _counts(run)
    yield Text(verdict(run), style=_style(verdict_word(run)))


def _parts(run: Run, verbose: bool) -> Iterator[Sequence[Text]]:
    """What stands between the chapters and the verdict, without the parts that are empty."""
    yield from (list(_fault(run, fault, verbose)) for fault in run.faults)
    shapes = alike_by_cause(run)
    yield from (list(_block(run, cause, shapes[cause.first.id])) for cause in causes(run))
    listed = list(_remarks(run))
    if listed:
        yield listed
    if verbose:
        yield [*_evidence(run), *_awaiting(run)]


def _style(word: Word | None) -> str:
    return STYLES[word] if word in (Word.CONFORMS, Word.KIT_FAULT) else STYLES[Word.VIOLATED]


# -------------------------------------------------------------------------------------------------- chapter by chapter


def _chapters(run: Run) -> Iterator[Text]:
    found = chapters(run)
    width = max(map(len, found), default=0)
    for chapter, results in found.items():
        row = Text(f"  {chapter:<{width}}  {results[0].id[:1]}  ")
        row.append_text(_bar(results))
        row.append(f"  {judged(results):>3}/{len(results)}")
        for word in Word:
            _append_word(row, word, [result.id for result in results if result.word is word])
        yield row


def _append_word(row: Text, word: Word, found: Sequence[str]) -> None:
    if found and word is not Word.CONFORMS:
        row.append(f"   {len(found)} {word}", style=STYLES[word])
        row.append(f"  {' '.join(found)}")


def _bar(results: Sequence[RuleResult]) -> Text:
    """Conforming, violated, and the rest, rounded against the backend: a full bar means that every rule conforms."""
    total = len(results)
    wrong = sum(result.word is Word.VIOLATED for result in results)
    rest = sum(result.word not in (Word.CONFORMS, Word.VIOLATED) for result in results)
    wrong_cells = _cells(wrong, total)
    rest_cells = min(_cells(rest, total), BAR_WIDTH - wrong_cells)
    bar = Text("█" * (BAR_WIDTH - wrong_cells - rest_cells), style=STYLES[Word.CONFORMS])
    bar.append("▒" * wrong_cells, style=STYLES[Word.VIOLATED])
    return bar.append("·" * rest_cells, style="dim")


def _cells(count: int, total: int) -> int:
    return -(-count * BAR_WIDTH // total)  # rounded up: a single rule must not vanish among many


# ----------------------------------------------------------------------------------------------------- what went wrong


def _block(run: Run, cause: Cause, alike: Sequence[str]) -> Iterator[Text]:
    result, also = cause
    for number, line in enumerate(block(result, run.header.backend.words, also, alike).split("\n")):
        text = Text(line, style="red" if "✗" in line else "")
        if number == 0:
            text.stylize(STYLES[result.word], 0, len(result.word))
        yield text
    if result.witnesses and result.reason:
        yield Text(f"  note     {result.reason}")


def _fault(run: Run, fault: Fault, verbose: bool) -> Iterator[Text]:
    """A fault of the kit: a margin of its own, so that nobody takes it for something that the backend did."""
    untold = ids(run, Word.KIT_FAULT)
    said = [f"KIT FAULT  {fault.message}", f"The run ended there. {MEND_FIRST}"]
    if untold:
        said.append(f"without a verdict: {' '.join(untold)}")
    if verbose:
        said += fault.detail.splitlines()
    for line in said:
        yield Text(f"!!  {line}", style=STYLES[Word.KIT_FAULT])


def _remarks(run: Run) -> Iterator[Text]:
    others = [Word.WAIVED, Word.UNSUPPORTED, Word.UNPROVEN, Word.NOT_RUN]
    told = {fault.message for fault in run.faults}
    for word, found, why in remarks(run, *others, Word.KIT_FAULT):
        if why not in told:  # a fault that has its block is not told twice
            line = Text(f"{word:<11}", style=STYLES[word])
            yield line.append(f"  {' '.join(found)}  {why}", style="not bold default")


# ------------------------------------------------------------------------------------------------------------- the end


def _struck(run: Run) -> Iterator[Text]:
    """What was struck, and what has to be known about it."""
    found = run.footer.struck
    if found is not None:
        yield Text(f"struck: {struck(run)}")
        yield from (Text(f"        {remark}") for remark in found.remarks)
        yield Text()


def _counts(run: Run) -> Text:
    line = Text()
    for word, count in counts(run).items():
        line.append(" · " if line else "")
        line.append(f"{count} {word}", style=STYLES[word] if count else "dim")
    return line


def _circumstances(run: Run) -> Iterator[Text]:
    header = run.header
    claims = " · ".join(f"{name} {value}" for name, value in header.backend.claims.items())
    yield Text(f"claims: {claims or 'none stated'}")
    yield Text(f"python {header.python} · {header.platform} · started {header.started}")
    yield Text(f"command: {header.command}")


def _evidence(run: Run) -> Iterator[Text]:
    for result in run.rules:
        if result.word is Word.CONFORMS:
            seen = ", ".join(f"{name} {count}" for name, count in result.coverage.items())
            line = Text(f"{result.word:<11}", style=STYLES[result.word])
            yield line.append(
                f"  {result.id}  {': '.join(filter(None, [result.reason, seen]))}", style="not bold default"
            )


def _awaiting(run: Run) -> Iterable[Text]:
    return (Text(f"AWAITING     {rule.id}  {rule.reason}", style="dim") for rule in run.awaiting)


# ----------------------------------------------------------------------------------------------------------- encodings

_PLAINER = str.maketrans({"█": "#", "▒": "x", "·": "-", "✗": "x", "…": "..."})


def _encodable(line: Text, encoding: str) -> Text:
    """The line as it is, or, where the encoding lacks some of it, in characters that it has: a report must not fail."""
    try:
        line.plain.encode(encoding)
    except UnicodeEncodeError:
        plainer = line.plain.translate(_PLAINER)
        return Text(plainer.encode(encoding, "backslashreplace").decode(encoding), style=line.style)
    return line
