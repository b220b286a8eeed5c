"""The rules: one numbered sentence of the specification each, read from `rules.toml` and nowhere else.

Docs, markers, reports and `perdure explain` are derived from this table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from perdure import Claims

CHAPTERS = {"A": "actors", "D": "durability", "J": "journal", "Q": "queries", "S": "snapshots"}
"""The letter of a rule id, and what its chapter is about."""

EDITION = "2026.1"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule.

    `check` says what to look at when it fails. `claim` is the claim without which a backend is excused. `floor` is what
    must have been seen, summed over the rule's scenarios, for a CONFORMS to be believed. A rule without a floor is not
    judged yet: `needs` names the chapter of the kit that will, or `untestable` says why nothing can. One that needs
    faults and has a floor is judged by sweeps, at level full.
    """

    id: str
    level: Literal["MUST", "SHOULD", "MAY"]
    sentence: str
    why: str
    check: tuple[str, ...]
    source: str
    edition: str
    claim: str = ""
    floor: Mapping[str, int] = {}
    needs: Literal["", "faults", "concurrency", "actors", "nodes"] = ""
    untestable: str = ""

    @property
    def judged(self) -> bool:
        return bool(self.floor)

    @property
    def swept(self) -> bool:
        """Whether it is judged by sweeps, which strike a backend in processes of its own."""
        return bool(self.floor) and self.needs == "faults"

    def binds(self, claims: Claims) -> bool:
        """Whether a backend with these claims has to keep it."""
        return claimed(claims, self.claim)

    @property
    def chapter(self) -> str:
        return CHAPTERS[self.id[0]]


def claimed(claims: Claims, claim: str) -> bool:
    """Whether a claim is made: `tags`, or `power_durable=yes` for one value of it. No claim is always made."""
    name, _, value = claim.partition("=")
    if not name:
        return True
    made = getattr(claims, name)
    return made == value if value else bool(made) and made != "no"


class UnknownRule(ValueError):
    """There is no rule of this id. The message names the nearest ones."""

    def __init__(self, rule_id: str) -> None:
        near = [known for known in all_rules() if known[0] == rule_id[:1].upper()] or list(all_rules())
        super().__init__(f"no rule {rule_id!r}; there are {near[0]} to {near[-1]} ('perdure rules' lists them)")
        self.rule_id = rule_id


@cache
def all_rules() -> Mapping[str, Rule]:
    """Every rule by its id, in the order of the table."""
    table = tomllib.loads((files("perdure_tck") / "rules.toml").read_text(encoding="utf-8"))
    return {rule_id: msgspec.convert({"id": rule_id, **row}, Rule) for rule_id, row in table.items()}


def rule(rule_id: str) -> Rule:
    """One rule by its id. Raises `UnknownRule`."""
    found = all_rules().get(rule_id.upper())
    if found is None:
        raise UnknownRule(rule_id)
    return found
