"""The report as Allure results: one test a rule, known over runs by rule, backend and level, so that it has a history.

    VIOLATED                failed; the steps are those of the smallest history, the last one failed
    KIT FAULT, UNPROVEN     broken
    UNSUPPORTED, NOT RUN    skipped, with the reason
    WAIVED                  passed, labelled `waived`, with the steps of what is waived
    CONFORMS                passed, with what it rests on in the description

Severity follows the level and nothing else: MUST critical, SHOULD normal, MAY minor. Which broken MUST loses data
is not in the run document, and guessing it from the sentence would be worse than not saying it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perdure_tck.document import Fault, RuleResult, Run, ShownStep
from perdure_tck.failure_text import block
from perdure_tck.verdict import Word

from ._allure_run import STATUS, categories, described, executors, properties
from ._markdown import plain
from ._story import Cause, alike, causes, claim, why
from ._visible import visible

try:
    from allure_commons import model2
    from allure_commons.types import LabelType, LinkType, Severity
    from attr import asdict
except ImportError as missing:
    raise ImportError(
        'an Allure report needs allure-python-commons: pip install "perdure[tck]"', name=missing.name
    ) from missing

NOTHING: Mapping[str, str] = MappingProxyType({})

FRAMEWORK = "perdure"
"""The label by which our results are told from those of others in the same directory."""

SEVERITY = {"MUST": Severity.CRITICAL, "SHOULD": Severity.NORMAL, "MAY": Severity.MINOR}

EPICS = {"durability": "Durability", "journal": "Journal", "snapshots": "Snapshot store"}

SECTIONS = (
    ("J-80", "Several writers, arguments"),
    ("J-70", "Deletion"),
    ("J-50", "Replay"),
    ("J-40", "Highest sequence number"),
    ("J-01", "Writes"),
)
"""The first rule of each section of a long chapter, last section first. Rules keep their numbers for good."""

WAY_OUT = "give an empty or a new directory, or one that holds Allure results only"

_ALLURE_FILE = re.compile(
    r".+-(result|container|globals)\.json|.+-attachment(\..+)?"
    r"|environment\.properties|categories\.json|executor\.json|history"
)


def write(run: Run, directory: Path, environment: Mapping[str, str] = NOTHING) -> None:
    """Write the results of a run, in place of those of an earlier one; results of other test frameworks stay.

    `environment` is where to look for the variables of a CI service (`os.environ`); without any there is no executor.
    The same run gives the same files, byte for byte. Raises `ValueError`, with nothing touched, for a directory that
    holds anything but Allure results.
    """
    files = dict(_files(visible(run), environment))
    _refuse_foreign(directory)
    for old in _ours(directory):
        old.unlink(missing_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


# ------------------------------------------------------------------------------------------------------- the directory


def _refuse_foreign(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file; {WAY_OUT}")
    foreign = sorted(path.name for path in _content(directory) if not _ALLURE_FILE.fullmatch(path.name))
    if foreign:
        raise ValueError(f"{directory} holds {foreign[0]!r}, which is no Allure result; {WAY_OUT}")


def _content(directory: Path) -> Iterable[Path]:
    return directory.iterdir() if directory.is_dir() else ()


def _ours(directory: Path) -> Iterator[Path]:
    """The files of an earlier report of ours: its results, what is attached to them, and what describes the run."""
    for path in sorted(_content(directory)):
        if path.name in ("environment.properties", "categories.json", "executor.json"):
            yield path
        elif path.name.endswith("-result.json") and (earlier := _read_ours(path)) is not None:
            yield path
            yield from (directory / Path(one["source"]).name for one in earlier.get("attachments", ()))


def _read_ours(path: Path) -> dict[str, Any] | None:
    """A result that we wrote, or None for one of somebody else, whole or not."""
    try:
        found = json.loads(path.read_bytes())
        labels = [(label["name"], label["value"]) for label in found["labels"]]
    except (ValueError, LookupError, TypeError):
        return None
    return found if (LabelType.FRAMEWORK, FRAMEWORK) in labels else None


def _files(run: Run, environment: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Every file of the report by its name."""
    caused = {rule_id: cause for cause in causes(run) for rule_id in (cause.first.id, *cause.also)}
    for place, result in enumerate(run.rules):
        yield from _rule_files(run, result, caused.get(result.id), place)
    for place, fault in enumerate(run.faults, len(run.rules)):
        yield _result_file(_of_fault(run, fault, place))
    yield "environment.properties", properties(described(run))
    yield "categories.json", _json(list(categories()))
    for executor in executors(environment):
        yield "executor.json", _json(executor)


def _result_file(result: model2.TestResult) -> tuple[str, bytes]:
    name = result.file_pattern.format(prefix=result.uuid)
    return name, _json(asdict(result, filter=lambda _, value: value not in (None, [], "")))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


# -------------------------------------------------------------------------------------------------- one rule, one test


def _rule_files(run: Run, result: RuleResult, cause: Cause | None, place: int) -> Iterator[tuple[str, bytes]]:
    test = _of_rule(run, result, cause, place)
    for name, content in _attached(run, result, cause):
        source = model2.ATTACHMENT_PATTERN.format(prefix=_uuid(run, result.id, name), ext="txt")
        test.attachments.append(model2.Attachment(name=name, source=source, type="text/plain"))
        yield source, content.encode() + b"\n"
    yield _result_file(test)


def _of_rule(run: Run, result: RuleResult, cause: Cause | None, place: int) -> model2.TestResult:
    test = _test(run, result.id, f"{result.id} {result.sentence}", place)
    test.titlePath = [run.header.backend.name, *_where(result)]
    test.status = STATUS[result.word]
    test.statusDetails = model2.StatusDetails(message=_message(result, cause), trace=_trace(run, result, cause))
    test.description = _description(run, result)
    test.labels += list(_labels(run, result))
    test.links = list(_links(result))
    test.steps = list(_steps(result, test.start))
    return test


def _test(run: Run, key: str, name: str, place: int) -> model2.TestResult:
    """What every test has. Both ids are the same from run to run: neither time, corpus nor kit enters them."""
    header = run.header
    stable = hashlib.md5("\0".join((key, header.backend.words, header.level)).encode(), usedforsecurity=False)
    moment = _started_ms(run) + place  # Allure sorts by time: a millisecond each keeps the order of the rules
    return model2.TestResult(
        uuid=_uuid(run, key),
        testCaseId=stable.hexdigest(),
        historyId=stable.hexdigest(),
        fullName=f"perdure.{header.backend.name}.{key}",
        name=name,
        stage="finished",
        start=moment,
        stop=moment,
        labels=[model2.Label(LabelType.FRAMEWORK, FRAMEWORK), model2.Label(LabelType.LANGUAGE, "python")],
        parameters=list(_parameters(run)),
    )


def _uuid(run: Run, *parts: str) -> str:
    header = run.header
    told = "\0".join((header.backend.name, header.level, header.started, header.corpus, *parts))
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"perdure:{told}"))


def _started_ms(run: Run) -> int:
    """When the run began, in Allure's unit; a time without a zone is UTC, one that cannot be read is 1970."""
    try:
        started = datetime.datetime.fromisoformat(run.header.started)
    except ValueError:
        return 0
    aware = started if started.tzinfo else started.replace(tzinfo=datetime.UTC)
    return round(aware.timestamp() * 1000)


def _parameters(run: Run) -> Iterator[model2.Parameter]:
    header = run.header
    yield model2.Parameter("backend", header.backend.name)
    yield model2.Parameter("edition", header.edition)
    yield model2.Parameter("level", header.level)
    # what changes without the question changing must not cut the history
    yield model2.Parameter("kit", header.kit, excluded=True)
    yield model2.Parameter("corpus", header.corpus, excluded=True)


def _where(result: RuleResult) -> tuple[str, str]:
    """The epic and the feature of a rule: its chapter, and its section of that."""
    epic = EPICS.get(result.chapter, result.chapter.capitalize())
    same_chapter = (title for first, title in SECTIONS if first[:1] == result.id[:1] and first <= result.id)
    return epic, next(same_chapter, epic)


def _labels(run: Run, result: RuleResult) -> Iterator[model2.Label]:
    epic, feature = _where(result)
    yield model2.Label(LabelType.EPIC, epic)
    yield model2.Label(LabelType.FEATURE, feature)
    yield model2.Label(LabelType.STORY, f"{result.id} {result.sentence}")
    yield model2.Label(LabelType.PARENT_SUITE, run.header.backend.name)
    yield model2.Label(LabelType.SUITE, epic)
    yield model2.Label(LabelType.SUB_SUITE, feature)
    yield model2.Label(LabelType.SEVERITY, SEVERITY.get(result.level, Severity.NORMAL).value)
    yield model2.Label(LabelType.TAG, result.id)
    if result.word is Word.WAIVED:
        yield model2.Label(LabelType.TAG, "waived")


def _links(result: RuleResult) -> Iterator[model2.Link]:
    """The links in a reason: where a waiver says the violation is followed up."""
    for url in re.findall(r"https?://[^\s,;()<>]+", result.reason):
        yield model2.Link(type=LinkType.ISSUE, url=url, name=url)


def _message(result: RuleResult, cause: Cause | None) -> str:
    """The word first: the categories go by it."""
    falls_with = f"falls with {cause.first.id}: " if cause and cause.first.id != result.id else ""
    return f"{result.word}  {result.id}  {falls_with}{why(result)}"


def _trace(run: Run, result: RuleResult, cause: Cause | None) -> str | None:
    return _block(run, result, cause) if result.word is Word.VIOLATED else None


def _block(run: Run, result: RuleResult, cause: Cause | None) -> str:
    also = cause.also if cause and cause.first.id == result.id else ()
    return block(result, run.header.backend.words, also, alike(run, [result.id]))


def _description(run: Run, result: RuleResult) -> str:
    """Markdown: the sentence, why this word, which bug it is like, and the counts that it rests on beside its floor."""
    seen = [f"{name} {result.coverage.get(name, 0)} (floor {least})" for name, least in result.floor.items()]
    parts = [
        f"{result.word}: {why(result)}" if why(result) else result.word,
        *(f"same shape as {one}" for one in alike(run, [result.id])),
        f"exercised: {', '.join(seen)}" if seen else "",
        f"scenarios: {', '.join(result.scenarios)}" if result.scenarios else "",
    ]
    return "\n\n".join([f"**{result.level}** {plain(result.sentence)}", *(plain(part) for part in parts if part)])


def _steps(result: RuleResult, moment: int) -> Iterator[model2.TestStepResult]:
    """The smallest history, an operation a step. Nothing else makes steps: no try, no shrinking."""
    steps = result.witnesses[0].steps if result.witnesses else ()
    for number, step in enumerate(steps, 1):
        wrong = number == len(steps)
        yield model2.TestStepResult(
            name=_step_name(step),
            status=model2.Status.FAILED if wrong else model2.Status.PASSED,
            statusDetails=model2.StatusDetails(message=_step_message(step)) if wrong else None,
            stage="finished",
            start=moment,
            stop=moment,
        )


def _step_name(step: ShownStep) -> str:
    who = f"{step.client}: " if step.client else ""
    return f"{who}{step.operation}  →  {step.observed}"


def _step_message(step: ShownStep) -> str:
    return f"observed: {step.observed}\nallowed: {step.allowed}" if step.allowed else f"observed: {step.observed}"


def _attached(run: Run, result: RuleResult, cause: Cause | None) -> Iterator[tuple[str, str]]:
    if result.witnesses:
        yield "smallest history, as a scenario", result.witnesses[0].text
        yield "what is wrong", _block(run, result, cause)


def _of_fault(run: Run, fault: Fault, place: int) -> model2.TestResult:
    """A fault of the kit is a test of its own: it must be seen also where no rule was left without a verdict by it."""
    test = _test(run, f"kit-fault-{place - len(run.rules)}", "Kit fault", place)
    test.titlePath = [run.header.backend.name, "Kit"]
    test.status = model2.Status.BROKEN
    test.statusDetails = model2.StatusDetails(message=f"{Word.KIT_FAULT}  {fault.message}", trace=fault.detail)
    test.description = plain(claim(run))
    test.labels += [
        model2.Label(LabelType.EPIC, "Kit"),
        model2.Label(LabelType.PARENT_SUITE, run.header.backend.name),
        model2.Label(LabelType.SUITE, "Kit"),
        model2.Label(LabelType.SEVERITY, Severity.CRITICAL.value),
    ]
    return test
