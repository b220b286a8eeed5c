"""Runs built by hand, small enough to read: what every test of a report begins with."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from perdure_tck.document import Awaiting, BackendFacts, Fault, Footer, Header, RuleResult, Run, ShownStep, Witness
from perdure_tck.verdict import Word, exit_code

SENTENCES = {
    "J-01": "Events MUST come back in order.",
    "J-42": "Deleting every event MUST NOT lower the highest sequence number.",
    "J-43": "Deleting everything a second time MUST NOT lower the highest sequence number.",
    "J-44": "Numbers MUST go on after everything was deleted.",
    "S-04": "A snapshot SHOULD be found by its number.",
}

LOST = (
    ShownStep("", "write p 1..5", "ok"),
    ShownStep("", "delete p ..max", "ok"),
    ShownStep("", "highest p", "0", "5"),
)
"""A history that loses the highest number."""


class Build:
    """Makes values of the run document; whatever a test does not name is unremarkable."""

    def witness(self, steps: tuple[ShownStep, ...] = LOST, text: str = "", scenario: str = "empties_twice") -> Witness:
        told = text or "\n".join(step.operation for step in steps)
        return Witness(scenario, ("J-42",), steps, told, tries=7)

    def rule(
        self,
        rule_id: str,
        word: Word = Word.CONFORMS,
        reason: str = "",
        *witnesses: Witness,
        coverage: Mapping[str, int] | None = None,
        level: str = "MUST",
    ) -> RuleResult:
        return RuleResult(
            id=rule_id,
            level=level,
            chapter={"J": "journal", "S": "snapshots"}[rule_id[0]],
            sentence=SENTENCES.get(rule_id, f"Rule {rule_id} MUST hold."),
            check=("Where does the number live when no row is left?",),
            word=word,
            reason=reason,
            scenarios=("empties_twice",),
            coverage=coverage or {"deletions": 3},
            floor={"deletions": 2},
            witnesses=witnesses,
        )

    def run(
        self,
        *rules: RuleResult,
        faults: tuple[Fault, ...] = (),
        awaiting: tuple[Awaiting, ...] = (),
        partial: bool = False,
        backend: BackendFacts | None = None,
        started: str = "2026-03-01T12:00:00+00:00",
        kit: str = "0.1.0",
        corpus: str = "c41d",
    ) -> Run:
        words = [rule.word for rule in rules]
        sqlite = BackendFacts("sqlite", "SQLite 3.40.1", {"journal_mode": "WAL", "synchronous": "FULL"}, {"tags": True})
        header = Header(
            format=1,
            kit=kit,
            edition="2026.1",
            level="core",
            corpus=corpus,
            backend=backend or sqlite,
            python="3.11.7",
            platform="Linux",
            started=started,
            command="perdure run sqlite",
        )
        counts = {word: words.count(word) for word in Word if word in words}
        code = exit_code(words, partial) if not faults else 3
        footer = Footer(counts, code, programs=214, operations=9100, duration_s=9.41)
        return Run(header, rules, awaiting, faults, footer)

    def every_word(self, partial: bool = False) -> Run:
        """A run in which each of the seven words occurs."""
        return self.run(
            self.rule("J-01"),
            self.rule("J-42", Word.VIOLATED, "seen in 2 scenarios", self.witness()),
            self.rule("J-43", Word.WAIVED, "known (https://example.org/issues/12, until 2027-03-01)", self.witness()),
            self.rule("J-44", Word.UNSUPPORTED, "tags is not claimed, and a probe confirmed that"),
            self.rule("S-04", Word.UNPROVEN, "not exercised enough", coverage={"deletions": 1}, level="SHOULD"),
            self.rule("S-05", Word.NOT_RUN, "this machine has no ptrace", level="MAY"),
            self.rule("S-06", Word.KIT_FAULT, "opening sqlite raised OSError: disk full"),
            faults=(Fault("opening sqlite raised OSError: disk full", "OSError(28)\nin open"),),
            awaiting=(
                Awaiting("J-05", "Later.", "will be judged with faults"),
                Awaiting("J-09", "Never.", "untestable: there are no reply messages here", untestable=True),
            ),
            partial=partial,
        )

    @staticmethod
    def evil(text: str = "a\x1b[31m\x00\ud800\n\u202eb]]><&|`") -> str:
        """What a backend may come back with: controls, half a surrogate pair, a line break, marks of every format."""
        return text


@pytest.fixture
def build() -> Build:
    return Build()
