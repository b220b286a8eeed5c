"""One pytest session's worth of judging: the same questions to the same engine as `perdure run` puts."""

from __future__ import annotations

import contextlib
import datetime
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from perdure import Backend, load_backend
from perdure.errors import PerdureError

from ..conformance import Conformance, read_conformance
from ..document import RuleResult, Run
from ..engine import GENERATED, Request, conduct
from ..examiner import Examiner
from ..failure_text import block
from ..finds import violated
from ..judge import unmet_claim
from ..offers import Offers
from ..own_scenarios import with_own
from ..packs import installed_programs
from ..program import Program
from ..rules import Rule, all_rules
from ..stage import KitFault

CONFORMANCE_FILE = "conformance.toml"


class Unusable(Exception):
    """The options of the session do not name a backend that can be judged."""


class RuleViolated(AssertionError):
    """The backend broke a rule. The text is the whole report: rule, smallest history, how to repeat it."""


class RuleUnproven(AssertionError):
    """Nothing deviated, but too little was exercised for the rule to be believed."""


class Case(msgspec.Struct, frozen=True):
    """One rule and one of the programs that are about it."""

    rule: Rule
    program: Program


class Session:
    """The backend under judgement, and what has been found so far."""

    def __init__(
        self, name: str, settings: Sequence[str], level: str | None, conformance: Path | None, limit_s: float
    ) -> None:
        try:
            pairs = dict(_pair(setting) for setting in settings)
            self.backend: Backend = load_backend(name, pairs)
            path = conformance or (Path(CONFORMANCE_FILE) if Path(CONFORMANCE_FILE).exists() else None)
            self.conformance = read_conformance(path) if path else Conformance()
            self._corpus = with_own(installed_programs(), map(Path, self.conformance.scenarios))
        except (PerdureError, ValueError) as error:
            raise Unusable(str(error)) from error
        self.words = " ".join([name, *(f"--setting {shlex.quote(setting)}" for setting in settings)])
        self.level = level or self.conformance.level
        self.programs = [program for program in self._corpus if self.level == "full" or program.level == "core"]
        self._limit_s = limit_s
        self._claims = self.conformance.claims_of(self.backend.claims)
        self._examiner: Examiner | None = None
        self._offers: Offers | None = None
        self._run: Run | None = None

    def parameters(self, name: str) -> list[object]:
        """The parameters of one fixture: every rule that is judged, or every rule with each of its programs."""
        rules = [rule for rule in all_rules().values() if rule.judged and (self.level == "full" or not rule.swept)]
        if name == "perdure_rule":
            return [pytest.param(rule, id=rule.id, marks=pytest.mark.perdure_rule(rule.id)) for rule in rules]
        return [
            pytest.param(Case(rule, program), id=f"{rule.id}-{program.name}", marks=pytest.mark.perdure_rule(rule.id))
            for rule in rules
            for program in self.programs
            if not program.hazards and rule.id in program.rules
        ]

    def unmet_claim(self, case: Case) -> str:
        """The claim for want of which the backend is excused from a case, or ""."""
        if not case.rule.binds(self._claims):
            return case.rule.claim
        return unmet_claim(case.program, self._claims)

    def lacking(self, case: Case) -> str:
        """What the case needs and the backend does not offer, or ""."""
        if self._offers is None:
            self._offers = self._examining().offers()
        return self._offers.lacking(case.program)

    def violations(self, case: Case) -> list[str]:
        """What one program found against its rule, or against a rule of a single field, each as a block."""
        finding = self._examining().examine(case.program)
        about = set(case.program.rules)
        against = [one for one in finding.witnesses if case.rule.id in one.rules or not about & set(one.rules)]
        waived = {waiver.rule for waiver in self.conformance.waiver}
        return [
            block(violated(rule_id, witness), self.words)
            for witness in against
            for rule_id in [case.rule.id if case.rule.id in witness.rules else witness.rules[0]]
            if rule_id not in waived
        ]

    def result(self, rule: Rule) -> RuleResult:
        """The word for one rule, from one run over everything."""
        if self._run is None:
            self._run = conduct(self.backend, self._request())
        for fault in self._run.faults:  # it hides every other word, as in an exit code
            raise KitFault(fault.message)
        return next(result for result in self._run.rules if result.id == rule.id)

    def _request(self) -> Request:
        return Request(
            programs=self._corpus,
            level=self.level,
            generated=GENERATED[self.level],
            conformance=self.conformance,
            operation_limit_s=self._limit_s,
            today=datetime.date.today(),
            command="pytest",
            chosen_by=self.words,
        )

    def _examining(self) -> Examiner:
        if self._examiner is None:
            self._examiner = Examiner(self.backend, self._claims, self._limit_s)
        return self._examiner

    def close(self) -> None:
        if self._examiner is not None:
            with contextlib.suppress(KitFault):  # the run of `result` closes too, and says so
                self._examiner.__exit__()


def _pair(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals or not name:
        raise Unusable(f"--perdure-setting {setting!r} is not name=value")
    return name, value
