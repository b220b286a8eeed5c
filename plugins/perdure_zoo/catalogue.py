"""The catalogue: every bug of a real system that we know of, so that none is forgotten while its animal is missing."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Literal

import msgspec

Chapter = Literal["faults", "concurrency", "nodes", "servers", "soak"]


class Bug(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bug that happened.

    Its animals name it in their `bug`, with a letter for a second variant. One without animals either `awaits` the
    chapter of the kit that brings the means to show it, or is `not_ours`: why a decision of the design makes it no bug
    here.
    """

    id: str
    title: str
    system: str
    source: str
    awaits: Chapter | Literal[""] = ""
    not_ours: str = ""


def _read() -> tuple[Bug, ...]:
    table = tomllib.loads((files("perdure_zoo") / "catalogue.toml").read_text(encoding="utf-8"))
    return tuple(msgspec.convert({"id": bug_id, **row}, Bug) for bug_id, row in table.items())


CATALOGUE: tuple[Bug, ...] = _read()
"""Every known bug, by family."""
