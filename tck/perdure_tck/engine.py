"""The engine: from a backend and a selection of rules to a run, with one word for every rule."""

from __future__ import annotations

import datetime
import platform
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import msgspec
from perdure import Backend, Claims

from . import actor_generation
from .conformance import Conformance, Waiver
from .document import FORMAT, Awaiting, BackendFacts, Diagnosis, Fault, Footer, Header, RuleResult, Run, Witness
from .endpoints import endpoint_of
from .examiner import Examiner, Finding, readable
from .history import Recorder
from .judge import FULL_CLAIMS, disagreement, unmet_claim
from .lanes import DEVIATING_MAX, Lanes, Progress, Work
from .offers import QUERY_METHODS, Offers
from .packs import digest
from .preflight import claims_fault
from .program import Program
from .rules import EDITION, Rule, all_rules, claimed
from .stage import KitFault
from .sweep import Ask, Swept, installed_sweeping, narrowed
from .swept import not_struck, struck_in, word_of_sweeps
from .verdict import EXIT_KIT_FAULT, Word, exit_code
from .zoo import BrokenZoo, diagnoses, installed_animals

GENERATED: Mapping[str, int] = {"core": 2_600, "full": 26_000}
"""How many generated programs the gate runs at each level: of core, 100 000 operations."""

OVERLAPPING_SHARE = 10
"""For every tenth of them, one more with overlapping steps, under one schedule."""

ACTORS_SHARE = 26
"""For every so many of them, one more with actors: each takes as long as ten others."""

SEED = 2026

SERVER_NOT_STRUCK = "only processes and directories of a backend are struck, and this one keeps all on a server"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be judged. `rules` empty means all of the edition; `level` core leaves out heavy programs.

    `generated` is how many generated programs run after the scenarios: always the same ones, so that the verdict is the
    same on every machine. They are about all rules at once, so a selection of rules leaves them out.
    """

    programs: Sequence[Program]
    rules: tuple[str, ...] = ()
    level: str = "core"
    generated: int = 0
    conformance: Conformance = Conformance()
    operation_limit_s: float = 5.0
    open_limit_s: float = 60.0
    partial: bool = False
    today: datetime.date
    keep: Path | None = None
    """Where sweeps keep the states that break a rule."""

    sweeps_deviating_max: int | None = None
    """After how many sweeps that broke a rule no more is made; None: all are. For the zoo, where one is enough."""

    command: str = ""
    chosen_by: str = ""


class _Case(msgspec.Struct, frozen=True):
    """One program as it concerns one backend.

    `unmet` is the claim for want of which the program cannot be asked of the backend, or "". `lacks` are the claims
    that some of its rules need and the backend does not make: it runs as a probe of those too.
    """

    program: Program
    unmet: str
    lacks: tuple[str, ...]


class _Evidence:
    """All that was found, by program, and what ended the run if something did."""

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}
        self.probes: dict[str, Finding] = {}
        self.swept: dict[str, Swept] = {}
        self.refuted: set[str] = set()
        """Claims that are not made, and rightly so: a program that needs them deviated."""
        self.generated = 0
        self.fault: KitFault | None = None
        self.offers = Offers()

    def witnesses_against(self, rule_id: str) -> tuple[Witness, ...]:
        """The witnesses against a rule, shortest first, from whichever program; probes do not count."""
        return tuple(sorted((one for one in self._witnesses if rule_id in one.rules), key=lambda one: len(one.steps)))

    def blamed(self) -> set[str]:
        return {rule_id for witness in self._witnesses for rule_id in witness.rules}

    @cached_property
    def _witnesses(self) -> Sequence[Witness]:
        """Asked for when everything has been gathered, and then once for each rule."""
        found: Iterable[Finding | Swept] = (*self.findings.values(), *self.swept.values())
        return [witness for finding in found for witness in finding.witnesses]


def conduct(
    backend: Backend, request: Request, progress: Progress = lambda *_: None, recorder: Recorder | None = None
) -> Run:
    """Judge a backend. Never raises for what the backend does; what it cannot judge is in the run as such.

    `progress` is told of each program before it runs (number, total, name); `recorder` writes down what happens.
    """
    started = time.monotonic()
    claims = request.conformance.claims_of(backend.claims)
    rules = [rule for rule in all_rules().values() if _asked(rule, request)]
    evidence = _Evidence()
    cases: list[_Case] = []

    def new_examiner() -> Examiner:
        return Examiner(backend, claims, request.operation_limit_s, request.open_limit_s, recorder)

    try:
        _refuse_claims(claims)
        with Lanes(_generated(request, claims), new_examiner, progress, apart=recorder is None) as lanes:
            cases = _cases(rules, claims, request)
            with new_examiner() as examiner:
                evidence.offers = examiner.offers()
                _gather(examiner, [case for case in cases if not case.program.hazards], evidence, progress)
                _gather_actors(examiner, request, evidence, progress)
            for finding in lanes.findings():
                evidence.findings[finding.program] = finding
                evidence.generated += 1
        _gather_swept(backend, claims, cases, request, evidence, progress)
    except KitFault as fault:
        evidence.fault = fault
    blamed = evidence.blamed()
    named = [rule for rule in all_rules().values() if rule in rules or (rule.id in blamed and _counts(rule, claims))]
    results = [_result(rule, cases, claims, evidence, request) for rule in named]
    return _run(backend, claims, request, results, evidence, time.monotonic() - started)


def _asked(rule: Rule, request: Request) -> bool:
    """Whether a run judges a rule. One that is judged by sweeps is, at level full, or if it was asked for by name."""
    if not rule.judged:
        return False
    return rule.id in request.rules if request.rules else (request.level == "full" or not rule.swept)


def _counts(rule: Rule, claims: Claims) -> bool:
    """Whether a rule that nobody asked for, and that fell all the same, is to be told."""
    return rule.judged and (rule.binds(claims) or not rule.swept)


def _cases(rules: Iterable[Rule], claims: Claims, request: Request) -> list[_Case]:
    wanted = {rule.id: rule for rule in rules}
    cases = []
    for program in request.programs:
        about = [wanted[rule_id] for rule_id in program.rules if rule_id in wanted]
        if program.hazards:
            cases += [_Case(program, "", ())] if about else []
        elif about and (program.level == "core" or request.level == "full"):
            lacks = {rule.claim for rule in about if not claimed(claims, rule.claim)}
            cases.append(_Case(program, unmet_claim(program, claims), tuple(sorted(lacks))))
    return cases


def _gather(examiner: Examiner, cases: Sequence[_Case], evidence: _Evidence, progress: Progress) -> None:
    """Run every program once; one that the claims excuse, or excuse from a rule, runs as a probe."""
    for number, case in enumerate(cases, 1):
        progress(number, len(cases), case.program.name)
        if evidence.offers.lacking(case.program):
            continue
        _refuse_contradiction(case.program)
        if not case.unmet:
            evidence.findings[case.program.name] = examiner.examine(case.program)
        if case.unmet or case.lacks:
            probe = examiner.examine(case.program, _widened(case, examiner.claims))
            evidence.probes[case.program.name] = probe
            if probe.witnesses:
                evidence.refuted.add(case.unmet)


def _gather_swept(
    backend: Backend,
    claims: Claims,
    cases: Sequence[_Case],
    request: Request,
    evidence: _Evidence,
    progress: Progress,
) -> None:
    """Sweep every program that has hazards, if something is installed that can."""
    struck = [case.program for case in cases if case.program.hazards]
    asked = [one for one in struck if not evidence.offers.lacking(one)]
    if request.rules:
        chosen = [rule for rule in all_rules().values() if _asked(rule, request)]
        asked = [narrowed(program, chosen) for program in asked]
    if endpoint_of(backend):
        evidence.swept.update({program.name: not_struck(program, SERVER_NOT_STRUCK) for program in asked})
        return
    sweeping = installed_sweeping() if asked else None  # to load it takes as long as many programs
    if sweeping is None:
        return
    words = request.chosen_by or backend.name
    ask = Ask(
        words=words,
        claims=claims,
        open_limit_s=request.open_limit_s,
        operation_limit_s=request.operation_limit_s,
        keep=request.keep,
    )
    with sweeping(ask) as sweeper:
        for number, program in enumerate(asked, 1):
            told = _sweeping(progress, number, len(asked), program.name)
            told(0, 0, "recording")
            evidence.swept[program.name] = sweeper.sweep(program, told)
            if sum(bool(one.witnesses) for one in evidence.swept.values()) == request.sweeps_deviating_max:
                break


def _sweeping(progress: Progress, number: int, total: int, name: str) -> Callable[[int, int, str], None]:
    """Progress within one program, beside the progress over all of them."""

    def told(done: int, _known: int, what: str) -> None:
        progress(number, total, f"{name}: {what}" + (f", {done} states" if done else ""))

    return told


def _gather_actors(examiner: Examiner, request: Request, evidence: _Evidence, progress: Progress) -> None:
    """Generated programs of actors, until enough deviated."""
    count = 0 if request.rules or not evidence.offers.journal else request.generated // ACTORS_SHARE
    found: list[Finding] = []
    for number, program in enumerate(actor_generation.programs(SEED, count), 1):
        progress(number, count, program.name)
        asked = actor_generation.within(program, examiner.claims, evidence.offers.snapshots)
        found.append(examiner.examine(asked))
        evidence.findings[program.name] = found[-1]
        evidence.generated += 1
        if _enough(found):
            return


def _enough(findings: Sequence[Finding]) -> bool:
    return sum(bool(finding.witnesses) for finding in findings) >= DEVIATING_MAX


def _generated(request: Request, claims: Claims) -> Work:
    count = 0 if request.rules else request.generated
    return Work(
        seed=SEED,
        count=count,
        overlapping=count // OVERLAPPING_SHARE,
        words=request.chosen_by,
        claims=claims,
        operation_limit_s=request.operation_limit_s,
        open_limit_s=request.open_limit_s,
    )


def _refuse_claims(claims: Claims) -> None:
    wrong = claims_fault(claims)
    if wrong:
        raise KitFault(f"the claims are malformed: {wrong}")


def _refuse_contradiction(program: Program) -> None:
    wrong = disagreement(program)
    if wrong:
        raise KitFault(f"scenario {program.name} contradicts the model: {wrong}")


def _widened(case: _Case, claims: Claims) -> Claims:
    """The claims of a backend that may be asked this program by all of its rules, and no more than these."""
    claims = msgspec.structs.replace(claims, **{lack: getattr(FULL_CLAIMS, lack) for lack in case.lacks})
    while unmet := unmet_claim(case.program, claims):
        claims = msgspec.structs.replace(claims, **{unmet: getattr(FULL_CLAIMS, unmet)})
    return claims


def _result(rule: Rule, cases: Sequence[_Case], claims: Claims, evidence: _Evidence, request: Request) -> RuleResult:
    mine = [case for case in cases if rule.id in case.program.rules]
    judged = [case for case in mine if not case.unmet and not evidence.offers.lacking(case.program)]
    coverage: Counter[str] = Counter()
    for case in judged:
        finding = evidence.swept.get(case.program.name) or evidence.findings.get(case.program.name)
        coverage += Counter(finding.coverage if finding else {})
    word, reason = _word(rule, mine, judged, coverage, claims, evidence)
    waiver = next((one for one in request.conformance.waiver if one.rule == rule.id), None)
    if waiver is not None:
        word, reason = _waived(waiver, word, reason, request.today)
    witnesses = evidence.witnesses_against(rule.id) if word in (Word.VIOLATED, Word.WAIVED) else ()
    return RuleResult(
        id=rule.id,
        level=rule.level,
        chapter=rule.chapter,
        sentence=rule.sentence,
        check=rule.check,
        word=word,
        reason=reason,
        scenarios=tuple(case.program.name for case in mine),
        coverage={name: coverage[name] for name in rule.floor},
        floor=rule.floor,
        witnesses=witnesses,
    )


def _word(
    rule: Rule,
    mine: Sequence[_Case],
    judged: Sequence[_Case],
    coverage: Counter[str],
    claims: Claims,
    evidence: _Evidence,
) -> tuple[Word, str]:
    """The word for one rule, strongest reason first, and the reason in words."""
    if not evidence.offers.chapter(rule.chapter):
        return Word.UNSUPPORTED, f"the backend offers no {rule.chapter}"
    if rule.swept:
        found = [evidence.swept[case.program.name] for case in mine if case.program.name in evidence.swept]
        violations = {one.scenario for one in evidence.witnesses_against(rule.id)}
        return word_of_sweeps(rule, claims, found, coverage, len(violations), evidence.fault)
    if not rule.binds(claims):
        return Word.UNSUPPORTED, _probed(rule.claim, rule, mine, evidence)
    violations = {one.scenario for one in evidence.witnesses_against(rule.id)}
    if violations:
        return Word.VIOLATED, f"seen in {_scenarios(len(violations))}"
    if evidence.fault and (not mine or any(case.program.name not in evidence.findings for case in judged)):
        return Word.KIT_FAULT, str(evidence.fault)
    lacking = sorted({evidence.offers.lacking(case.program) for case in mine} - {""})
    if mine and not judged:
        unmet = next((case.unmet for case in mine if case.unmet), "")
        told = _probed(unmet, rule, mine, evidence) if unmet else f"the backend offers no {' and no '.join(lacking)}"
        return Word.UNSUPPORTED, told
    absent = [name for name in lacking if name in QUERY_METHODS]
    if absent and any(coverage[name] for name in rule.floor):  # floors are those of a backend that offers everything
        return Word.CONFORMS, f"{_scenarios(len(judged))}; others need {', '.join(absent)}, not offered"
    missing = [f"{name} {coverage[name]} of {least}" for name, least in rule.floor.items() if coverage[name] < least]
    if missing:
        return Word.UNPROVEN, f"not exercised enough: {', '.join(missing)}"
    return Word.CONFORMS, _scenarios(len(judged)) + _interleaved(coverage)


def _interleaved(coverage: Counter[str]) -> str:
    """How calls were made to overlap, since that is not equally strong."""
    if coverage["schedules"]:
        return f" on {coverage['schedules']} chosen schedules"
    return f", {coverage['real_runs']} runs on a real event loop, unchosen" if coverage["real_runs"] else ""


def _scenarios(number: int) -> str:
    return f"{number} scenario{'' if number == 1 else 's'}"


def _probed(claim: str, rule: Rule, mine: Sequence[_Case], evidence: _Evidence) -> str:
    """What was found about an ability that is not claimed, by trying it all the same."""
    findings = [evidence.probes[case.program.name] for case in mine if case.program.name in evidence.probes]
    if not findings:
        return f"{claim} is not claimed; no probe was made"
    broken = any(rule.id in witness.rules for finding in findings for witness in finding.witnesses)
    if broken or claim in evidence.refuted:
        return f"{claim} is not claimed, and a probe confirmed that"
    return f"{claim} is not claimed, yet it held in {_scenarios(len(findings))}: you may claim it"


def _waived(waiver: Waiver, word: Word, reason: str, today: datetime.date) -> tuple[Word, str]:
    """A waiver turns VIOLATED into WAIVED, and is itself red when it is out of date or not needed."""
    if word in (Word.KIT_FAULT, Word.NOT_RUN, Word.UNPROVEN):
        return word, reason
    if word is not Word.VIOLATED:
        return Word.VIOLATED, f"waived until {waiver.until}, yet it ends in {word}: remove the waiver"
    if not waiver.in_force(today):
        return Word.VIOLATED, f"{reason}; its waiver expired on {waiver.until} ({waiver.link})"
    return Word.WAIVED, f"{waiver.reason} ({waiver.link}, until {waiver.until})"


def _run(
    backend: Backend,
    claims: Claims,
    request: Request,
    results: Sequence[RuleResult],
    evidence: _Evidence,
    duration_s: float,
) -> Run:
    counts = Counter(result.word for result in results)
    header = Header(
        format=FORMAT,
        kit=version("perdure"),
        edition=EDITION,
        level=request.level,
        corpus=digest(request.programs),
        backend=BackendFacts(
            backend.name, backend.version, dict(backend.settings), msgspec.structs.asdict(claims), request.chosen_by
        ),
        python=platform.python_version(),
        platform=platform.platform(),
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=request.command,
        selection=request.rules,
    )
    faults = (_told_of(evidence.fault),) if evidence.fault else ()
    footer = Footer(
        counts={word: counts[word] for word in Word},
        exit_code=EXIT_KIT_FAULT if faults else exit_code(counts, request.partial),
        programs=len(evidence.findings) + len(evidence.probes) + len(evidence.swept),
        generated=evidence.generated,
        operations=sum(
            sum(one.operations for one in found.values())
            for found in (evidence.findings, evidence.probes, evidence.swept)
        ),
        duration_s=round(duration_s, 3),
        struck=struck_in(evidence.swept.values()),
    )
    return Run(header, tuple(results), tuple(_awaiting(request)), faults, footer, _diagnoses(results))


def _diagnoses(results: Sequence[RuleResult]) -> tuple[Diagnosis, ...]:
    if not any(result.witnesses for result in results):
        return ()
    try:
        return tuple(diagnoses(results, installed_animals()))
    except BrokenZoo:  # a hint must not cost a verdict; `perdure zoo` tells what is wrong with the zoo
        return ()


def _told_of(fault: KitFault) -> Fault:
    """The fault in one line, and below it where it came from, for `-v` and for attachments."""
    return Fault(readable(str(fault)), readable("".join(traceback.format_exception(fault.__cause__ or fault))))


def _awaiting(request: Request) -> Iterable[Awaiting]:
    for rule in all_rules().values():
        if not _asked(rule, request) and (not request.rules or rule.id in request.rules):
            reason = f"untestable: {rule.untestable}" if rule.untestable else f"will be judged with {rule.needs}"
            if rule.swept:
                reason = "judged by sweeps, at level full"
            yield Awaiting(rule.id, rule.sentence, reason, bool(rule.untestable), rule.swept)
