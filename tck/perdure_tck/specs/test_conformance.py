"""Two tests: one for each rule and scenario, and one for each rule as a whole. Both carry the rule as a JUnit property.

They are plain functions without asyncio or assert, so that the ini file of whoever runs them cannot change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perdure_tck.specs._session import RuleUnproven, RuleViolated
from perdure_tck.stage import KitFault
from perdure_tck.verdict import Word

if TYPE_CHECKING:
    from perdure_tck.rules import Rule
    from perdure_tck.specs._session import Case, Session


def test_scenario(perdure_session: Session, perdure_case: Case, request: pytest.FixtureRequest) -> None:
    """The backend answers every step of the scenario as the rule allows."""
    _record(request, rule=perdure_case.rule.id)
    unmet = perdure_session.unmet_claim(perdure_case)
    if unmet:
        pytest.skip(f"UNSUPPORTED: {unmet} is not claimed")
    lacking = perdure_session.lacking(perdure_case)
    if lacking:
        pytest.skip(f"UNSUPPORTED: the backend offers no {lacking}")
    violations = perdure_session.violations(perdure_case)
    if violations:
        raise RuleViolated("\n\n".join(violations))


def test_rule(perdure_session: Session, perdure_rule: Rule, request: pytest.FixtureRequest) -> None:
    """The rule as a whole conforms: nothing deviates, and it was exercised enough to be believed."""
    result = perdure_session.result(perdure_rule)
    _record(request, rule=result.id, word=result.word.value)
    match result.word:
        case Word.CONFORMS:
            return
        case Word.UNSUPPORTED:
            pytest.skip(f"{result.word}: {result.reason}")
        case Word.WAIVED:
            pytest.xfail(f"{result.word}: {result.reason}")
        case Word.KIT_FAULT:
            raise KitFault(result.reason)
        case Word.VIOLATED:
            raise RuleViolated(f"{result.word}  {result.id}  {result.sentence}\n  {result.reason}")
        case _:
            raise RuleUnproven(f"{result.word}  {result.id}  {result.sentence}\n  {result.reason}")


def _record(request: pytest.FixtureRequest, **properties: str) -> None:
    """Properties for the JUnit file. Not by `record_property`: it warns under pytest's default family of such files,
    and where an author's warnings are errors every rule would end in one.
    """
    request.node.user_properties.extend(properties.items())
