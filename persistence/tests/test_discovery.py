"""Finding backends: each way in which it fails says what was asked for and what there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import perdure._discovery
import pytest
from perdure import Backend, BrokenBackend, UnknownBackend, installed_backends, load_backend
from perdure.errors import PerdureError


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules can be imported, and are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_backend_in_memory_is_installed_and_nothing_is_imported_to_know_it() -> None:
    assert installed_backends()["memory"].value == "perdure_memory:backend"


def test_an_installed_backend_is_loaded_by_its_name() -> None:
    assert load_backend("memory").name == "memory"


def test_an_unknown_name_is_answered_with_those_that_are_installed() -> None:
    with pytest.raises(UnknownBackend, match=r"no backend named 'nosuch'; installed: .*memory") as raised:
        load_backend("nosuch")
    assert raised.value.name == "nosuch"
    assert "memory" in raised.value.installed
    assert isinstance(raised.value, PerdureError)


def test_where_nothing_is_installed_the_message_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perdure._discovery, "entry_points", lambda **_: [])
    with pytest.raises(UnknownBackend, match="installed: none"):
        load_backend("memory")


def test_a_backend_that_is_not_installed_is_loaded_as_module_and_attribute(importable: Path) -> None:
    (importable / "nearly_memory.py").write_text("from perdure_memory import backend as mine\n")
    assert isinstance(load_backend("nearly_memory:mine"), Backend)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:backend", r"'no_such_module:backend'.*cannot be imported: ModuleNotFoundError"),
        ("broken_backend:backend", r"cannot be imported: ZeroDivisionError"),
        ("fine_module:nothing", r"cannot be imported: AttributeError"),
        ("fine_module:number", r"is a int, not a perdure\.Backend"),
    ],
)
def test_a_backend_that_cannot_be_used_says_why(importable: Path, name: str, message: str) -> None:
    (importable / "broken_backend.py").write_text("1 / 0\n")
    (importable / "fine_module.py").write_text("number = 1\n")
    with pytest.raises(BrokenBackend, match=message):
        load_backend(name)


def test_an_entry_point_that_is_broken_is_named_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mydb", "perdure_mydb_that_is_not_there:backend", "perdure.backends")
    monkeypatch.setattr(perdure._discovery, "entry_points", lambda **_: [point])
    with pytest.raises(BrokenBackend, match=r"'mydb' \(perdure_mydb_that_is_not_there:backend\)"):
        load_backend("mydb")


def test_settings_reach_the_backend() -> None:
    assert load_backend("memory", {"offset_step": "7"}).settings == {"offset_step": "7"}


def test_a_backend_without_settings_refuses_them_by_name(importable: Path) -> None:
    (importable / "unset.py").write_text("from perdure import Backend\nbackend = Backend('unset', None)\n")
    with pytest.raises(ValueError, match="no settings, so color cannot be set"):
        load_backend("unset:backend", {"color": "red"})
