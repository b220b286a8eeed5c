"""The run document: everything a report needs, as JSON lines with a header and a footer.

A document without its footer was cut off and is refused: half a run must never look like a whole one. Reports are pure
functions of a `Run`; nothing else is handed to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .verdict import Word

FORMAT = 1


class BackendFacts(msgspec.Struct, frozen=True):
    """Which backend was judged, how it was set up, and what it claimed.

    `chosen_by` are the words that chose it on a command line, settings included: what a command that repeats
    something has to say.
    """

    name: str
    version: str
    settings: Mapping[str, str]
    claims: Mapping[str, Any]
    chosen_by: str = ""

    @property
    def words(self) -> str:
        return self.chosen_by or self.name


class Header(msgspec.Struct, frozen=True, tag="header"):
    """What was judged, by what, where, and when. Two runs of the same code differ in `started` alone."""

    format: int
    kit: str
    edition: str
    level: str
    corpus: str
    backend: BackendFacts
    python: str
    platform: str
    started: str
    command: str
    selection: tuple[str, ...] = ()
    """The rules that were asked for; empty: all of the edition."""


class ShownStep(msgspec.Struct, frozen=True):
    """One line of a witness: the operation, what was observed, and, in the line that is wrong, what is allowed.

    Neighbouring lines of one `block` overlapped; block 0 is none.
    """

    client: str
    operation: str
    observed: str
    allowed: str = ""
    block: int = 0


class Struck(msgspec.Struct, frozen=True):
    """What had struck when a state was found: how it came about, in words, and what had been acknowledged before.

    `moment` names the call before and the call after, `model` the disk that a power cut needs for it and what that
    lost. `settings` are those of the backend. `directory` is where the state is kept, if it is.
    """

    hazard: str
    moment: str
    model: str
    acknowledged: str
    settings: str = ""
    directory: str = ""


class Witness(msgspec.Struct, frozen=True):
    """The smallest history found that breaks a rule.

    `scenario` is the program that led to it, `text` the shrunk program as a scenario file, `rules` those that fall with
    it, `tries` how many programs were run to shrink it. `file` is where the text was written, if it was. Run again and
    again, the history broke the rule `seen` times of `repeated`; less than always is a race, never a flaky test.
    """

    scenario: str
    rules: tuple[str, ...]
    steps: tuple[ShownStep, ...]
    text: str
    tries: int
    file: str = ""
    seen: int = 1
    repeated: int = 1
    struck: Struck | None = None
    """What had struck it, for a witness of a sweep."""

    @property
    def intermittent(self) -> bool:
        return self.seen < self.repeated


class RuleResult(msgspec.Struct, frozen=True, tag="rule"):
    """What is said of one rule: the word, why, and the counts that it rests on."""

    id: str
    level: str
    chapter: str
    sentence: str
    check: tuple[str, ...]
    word: Word
    reason: str
    scenarios: tuple[str, ...]
    coverage: Mapping[str, int]
    floor: Mapping[str, int]
    witnesses: tuple[Witness, ...] = ()


class Awaiting(msgspec.Struct, frozen=True, tag="awaiting"):
    """A rule of the edition that no chapter of the kit judges yet, or that nothing can judge, and why."""

    id: str
    sentence: str
    reason: str
    untestable: bool = False
    at_full: bool = False
    """Whether level full judges it."""


class Diagnosis(msgspec.Struct, frozen=True, tag="diagnosis"):
    """A broken backend of the zoo that falls on nearly the same rules, and what is wrong with it.

    `rules` are those that fell on both, `of` how many fall on the broken backend of those that this run judged.
    """

    animal: str
    cause: str
    rules: tuple[str, ...]
    of: int


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """The adapter, the environment or the kit raised; the run ended there."""

    message: str
    detail: str


class Pace(msgspec.Struct, frozen=True):
    """What the hazards of one kind took: the states that were judged, how many directories were opened for them, and
    the seconds, in which everything is contained. A state whose directory was not opened equals one that was."""

    states: int = 0
    opened: int = 0
    seconds: float = 0.0

    def __add__(self, other: Pace) -> Pace:
        seconds = round(self.seconds + other.seconds, 3)
        return Pace(self.states + other.states, self.opened + other.opened, seconds)


class FaultCoverage(msgspec.Struct, frozen=True):
    """What the sweeps of a run struck: counts by the names of `coverage.STRUCK`, states judged, and how long it took,
    in all and by the kind of hazard.

    `remarks` are to be told beside it: what could not be recorded, what this machine lacks.
    """

    counts: Mapping[str, int]
    states: int
    seconds: float
    remarks: tuple[str, ...] = ()
    paces: Mapping[str, Pace] = {}


class Footer(msgspec.Struct, frozen=True, tag="footer"):
    """The end of a run: how many rules ended in each word, and the exit code."""

    counts: Mapping[str, int]
    exit_code: int
    programs: int
    operations: int
    duration_s: float
    generated: int = 0
    """How many of the programs were generated."""

    struck: FaultCoverage | None = None
    """What was struck, if sweeps ran."""


Line = Header | RuleResult | Awaiting | Fault | Diagnosis | Footer


class Run(msgspec.Struct, frozen=True):
    """A whole run."""

    header: Header
    rules: tuple[RuleResult, ...]
    awaiting: tuple[Awaiting, ...]
    faults: tuple[Fault, ...]
    footer: Footer
    diagnoses: tuple[Diagnosis, ...] = ()


class BadDocument(ValueError):
    """A file that is not a whole run document. The message says what is missing and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


def lines_of(run: Run) -> Iterable[Line]:
    return (run.header, *run.rules, *run.awaiting, *run.faults, *run.diagnoses, run.footer)


def write_run(run: Run, path: Path) -> None:
    """Write the document beside its place and move it there, so that no reader meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        content = b"".join(msgspec.json.encode(line, order="deterministic") + b"\n" for line in lines_of(run))
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def read_run(path: Path) -> Run:
    """Read a document. Raises `BadDocument` for anything but a whole one of this format."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadDocument(path, f"cannot be read: {error.strerror}") from error
    lines = [_line(path, number, text) for number, text in enumerate(raw.splitlines(), 1) if text.strip()]
    if not lines or not isinstance(lines[0], Header):
        raise BadDocument(path, "does not begin with the header of a run document; write one with 'perdure run --out'")
    if lines[0].format != FORMAT:
        raise BadDocument(path, f"has format {lines[0].format}, this kit reads {FORMAT}; run the backend again")
    if not isinstance(lines[-1], Footer):
        raise BadDocument(path, f"was cut off: no footer after {len(lines)} lines; run the backend again")
    return Run(
        lines[0],
        tuple(line for line in lines if isinstance(line, RuleResult)),
        tuple(line for line in lines if isinstance(line, Awaiting)),
        tuple(line for line in lines if isinstance(line, Fault)),
        lines[-1],
        tuple(line for line in lines if isinstance(line, Diagnosis)),
    )


_decoder = msgspec.json.Decoder(Line)


def _line(path: Path, number: int, text: bytes) -> Line:
    try:
        line: Line = _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise BadDocument(path, f"line {number} is not a line of a run document, or was cut off: {error}") from error
    return line
