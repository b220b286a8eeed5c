"""The page of all names has them all, each below a module that has it, and none that is not there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "names.md").read_text(encoding="utf-8")
SECTIONS: dict[str, set[str]] = {}
for module, text in re.findall(r"^## `(perdure[\w.]*)`[^\n]*\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    SECTIONS.setdefault(module, set()).update(name for cell in cells for name in re.findall(r"`(\w+)`", cell))


def public_names(module: str) -> set[str]:
    """Those that a table of contents exports, or that a module without one defines."""
    found = importlib.import_module(module)
    source = Path(str(found.__file__))
    if source.name == "__init__.py":
        return set(re.findall(r"^from [\w.]+ import \w+ as (\w+)", source.read_text(encoding="utf-8"), re.MULTILINE))
    return {
        name for name, value in vars(found).items() if name[0] != "_" and getattr(value, "__module__", None) == module
    } - {"Event", "Event_co", "State", "Effect"}


@pytest.mark.parametrize("module", sorted(SECTIONS))
def test_what_the_page_says_of_a_module_is_there(module: str) -> None:
    assert SECTIONS[module] <= public_names(module)


ELSEWHERE = {"perdure.actors", "perdure.persistent", "perdure.serialization"}
"""Whose names are said of `perdure` already, where that has them too."""


@pytest.mark.parametrize("module", sorted({*SECTIONS, *ELSEWHERE}))
def test_every_public_name_is_on_the_page(module: str) -> None:
    said = SECTIONS.get(module, set()) | (SECTIONS["perdure"] if module in ELSEWHERE else set())
    assert public_names(module) - said == set()
