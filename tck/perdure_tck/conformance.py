"""`conformance.toml`: what the author of a backend states about it, in one place.

edition = "2026.1"
level = "core"
scenarios = ["scenarios"]    # folders of your own scenario files, beside this one, which are run too

[claims]                     # replaces single claims of the backend
tags = false

[[waiver]]                   # a known violation: which rule, why, where it is followed up, until when
rule = "J-43"
reason = "the counter is lost when an id is emptied twice"
link = "https://example.org/issues/12"
until = 2027-03-01
"""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from perdure import Claims

from .rules import EDITION, UnknownRule, rule


class ConformanceError(ValueError):
    """A `conformance.toml` that is malformed or contradicts itself. The message names the file and the remedy."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A violation that its author knows of. In force up to and including the day `until`."""

    rule: str
    reason: str
    link: str
    until: datetime.date

    def in_force(self, today: datetime.date) -> bool:
        return today <= self.until


class Conformance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The statements of one file; the defaults are those of a backend without one."""

    edition: str = EDITION
    level: Literal["core", "full"] = "core"
    scenarios: tuple[str, ...] = ()
    """Folders of the author's own scenarios; in a file relative to it, once read as they are found from here."""

    claims: dict[str, Any] = {}
    waiver: tuple[Waiver, ...] = ()

    def claims_of(self, stated: Claims) -> Claims:
        """The backend's claims with those of the file put in their place."""
        return msgspec.structs.replace(stated, **self.claims) if self.claims else stated


def read_conformance(path: Path) -> Conformance:
    """Read and check a file. Raises `ConformanceError`."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Conformance)
        _check_claims(found, path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, OSError) as error:
        raise ConformanceError(path, str(error)) from error
    _check(found, path)
    folders = tuple(str(path.parent / folder) for folder in found.scenarios)
    return msgspec.structs.replace(found, scenarios=folders)


def _check_claims(found: Conformance, path: Path) -> None:
    unknown = sorted(found.claims.keys() - set(Claims.__struct_fields__))
    if unknown:
        known = ", ".join(sorted(Claims.__struct_fields__))
        raise ConformanceError(path, f"no claim named {unknown[0]!r}; there are {known}")
    msgspec.convert(found.claims, Claims)


def _check(found: Conformance, path: Path) -> None:
    if found.edition != EDITION:
        raise ConformanceError(path, f"edition {found.edition!r} is not in this kit; it has {EDITION}")
    seen: set[str] = set()
    for waiver in found.waiver:
        try:
            waived = rule(waiver.rule)
        except UnknownRule as error:
            raise ConformanceError(path, f"a waiver names {error}") from error
        if waiver.rule in seen:
            raise ConformanceError(path, f"two waivers for {waiver.rule}; keep one")
        seen.add(waiver.rule)
        if not waived.judged:
            raise ConformanceError(path, f"a waiver for {waiver.rule}, which is not judged yet; remove it")
        if not waiver.reason.strip() or not waiver.link.strip():
            raise ConformanceError(path, f"the waiver for {waiver.rule} needs a reason and a link")
        if waived.claim and found.claims.get(waived.claim) is False:
            raise ConformanceError(
                path, f"{waived.id} is waived, and excused because {waived.claim} is not claimed; keep one of the two"
            )
