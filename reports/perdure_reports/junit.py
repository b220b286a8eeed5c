"""The report as JUnit XML: a suite for each chapter, a case for each rule. Nothing that was not proved looks green.

    CONFORMS, WAIVED        passed
    VIOLATED, UNPROVEN      failure
    UNSUPPORTED             skipped, with the reason
    NOT RUN                 error; skipped where the run allowed it and ended in success (`--partial`)
    KIT FAULT               error

What a case rests on, its word and its rule are properties of the case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from perdure_tck.document import Fault, RuleResult, Run
from perdure_tck.failure_text import block
from perdure_tck.verdict import EXIT_OK, Word

from ._story import Cause, alike, causes, chapters, head, struck, why
from ._visible import visible


def write(run: Run, path: Path) -> None:
    """Write the report, making the folders above it. Beside its place first, so that no reader meets half of it."""
    document = ElementTree.tostring(_document(visible(run)), encoding="utf-8", xml_declaration=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(document + b"\n")
    unfinished.replace(path)


def _document(run: Run) -> Element:
    suites = Element("testsuites", name=head(run), time=f"{run.footer.duration_s:.3f}")
    caused = {rule_id: cause for cause in causes(run) for rule_id in (cause.first.id, *cause.also)}
    for chapter, results in chapters(run).items():
        suite = _suite(suites, run, chapter)
        for result in results:
            _case(suite, run, result, caused.get(result.id))
    if run.faults:
        _faults(_suite(suites, run, "kit"), run)
    for suite in suites:
        _count(suite, [suite])
    _count(suites, suites)
    ElementTree.indent(suites)
    return suites


def _suite(suites: Element, run: Run, name: str) -> Element:
    suite = SubElement(suites, "testsuite", name=f"{run.header.backend.name} {name}", timestamp=run.header.started)
    _properties(suite, _circumstances(run))
    return suite


def _circumstances(run: Run) -> Mapping[str, str]:
    header = run.header
    known = {name: getattr(header, name) for name in ("edition", "level", "kit", "corpus", "python", "platform")}
    stated = {f"setting.{name}": value for name, value in header.backend.settings.items()}
    faults = {"struck": struck(run)} if run.footer.struck else {}
    return {"backend": header.backend.name, "version": header.backend.version, **known, **stated, **faults}


def _case(suite: Element, run: Run, result: RuleResult, cause: Cause | None) -> None:
    where = f"perdure.{run.header.backend.name}.{result.chapter}"
    case = SubElement(suite, "testcase", classname=where, name=f"{result.id} {result.sentence}", time="0")
    _properties(case, _facts(result))
    match result.word:
        case Word.VIOLATED:
            told = _outcome(case, "failure", result.word, _message(result, cause))
            told.text = block(result, run.header.backend.words, _also(result, cause), alike(run, [result.id]))
        case Word.UNPROVEN:
            _outcome(case, "failure", result.word, why(result))
        case Word.UNSUPPORTED:
            _outcome(case, "skipped", result.word, why(result))
        case Word.NOT_RUN:
            _outcome(case, "skipped" if run.footer.exit_code == EXIT_OK else "error", result.word, why(result))
        case Word.KIT_FAULT:
            _outcome(case, "error", result.word, why(result))


def _also(result: RuleResult, cause: Cause | None) -> tuple[str, ...]:
    return cause.also if cause and cause.first.id == result.id else ()


def _message(result: RuleResult, cause: Cause | None) -> str:
    """Why a rule is violated, in a line; one that fell with another names it, so that the cause is mended once."""
    if cause and cause.first.id != result.id:
        return f"falls with {cause.first.id}: {why(result)}"
    return why(result)


def _outcome(case: Element, tag: str, word: str, message: str) -> Element:
    return SubElement(case, tag, type=word, message=f"{word}: {message}")


def _facts(result: RuleResult) -> Mapping[str, str]:
    coverage = {f"coverage.{name}": str(count) for name, count in result.coverage.items()}
    floor = {f"floor.{name}": str(count) for name, count in result.floor.items()}
    reason = {"reason": result.reason} if result.reason else {}
    return {"rule": result.id, "word": result.word, "level": result.level, **reason, **coverage, **floor}


def _faults(suite: Element, run: Run) -> None:
    for number, fault in enumerate(run.faults, 1):
        _fault(suite, run, fault, number)


def _fault(suite: Element, run: Run, fault: Fault, number: int) -> None:
    case = SubElement(
        suite, "testcase", classname=f"perdure.{run.header.backend.name}.kit", name=f"fault {number}", time="0"
    )
    _outcome(case, "error", Word.KIT_FAULT, fault.message).text = fault.detail


def _properties(parent: Element, facts: Mapping[str, str]) -> None:
    listed = SubElement(parent, "properties")
    for name, value in facts.items():
        SubElement(listed, "property", name=name, value=value)


def _count(element: Element, suites: Iterable[Element]) -> None:
    """Set the counts of a suite, or of all of them, from the cases within."""
    cases = [case for suite in suites for case in suite.iter("testcase")]
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
