"""Imports point one way: contracts <- backends, contracts <- kit <- scenarios, and reports read run documents only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {path.name: path for path in ROOT.glob("*/perdure*") if (path / "__init__.py").exists()}

ALLOWED = {
    "perdure": set(),
    "perdure_memory": {"perdure"},
    "perdure_sqlite": {"perdure"},
    "perdure_files": {"perdure"},
    "perdure_postgres": {"perdure"},
    "perdure_zoo": {"perdure", "perdure_files", "perdure_memory"},
    "perdure_tck": {"perdure"},
    "perdure_scenarios": {"perdure", "perdure_tck"},
    "perdure_reports": {"perdure_tck.document", "perdure_tck.verdict", "perdure_tck.failure_text"},
}
"""What of this project each package may import, besides itself."""

FOREIGN = {
    "perdure": {"msgspec", "google"},  # protobuf is imported as `google.protobuf`
    "perdure_memory": {"msgspec"},
    "perdure_sqlite": {"msgspec"},
    "perdure_files": {"msgspec"},
}
"""What else the packages may import that applications install; the kit and the reports have extras of their own."""


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The absolute names of the modules that are imported anywhere in a file, `from . import x` as its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield package
            elif node.module in PACKAGES:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def imports_of(package: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(PACKAGES[package].rglob("*.py")):
        for name in imported(ast.parse(path.read_text(encoding="utf-8")), package):
            yield path, name


def test_every_package_has_its_directions() -> None:
    assert PACKAGES.keys() == ALLOWED.keys()


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    allowed = {package, *ALLOWED[package]}
    ours = [(path, name) for path, name in imports_of(package) if name.split(".")[0] in PACKAGES]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in ours
        if not any(name == one or name.startswith(f"{one}.") for one in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(FOREIGN))
def test_what_applications_install_needs_no_extra(package: str) -> None:
    foreign = {name.split(".")[0] for _, name in imports_of(package)} - set(sys.stdlib_module_names) - PACKAGES.keys()
    assert foreign <= FOREIGN[package]


def test_the_pytest_plugin_loads_nothing_of_the_kit() -> None:
    """It is loaded in every pytest run of every user who has the kit installed."""
    heavy = ["hypothesis", "rich", "click", "allure", "perdure", "msgspec", "perdure_tck.specs", "perdure_tck.engine"]
    script = f"import sys, perdure_tck.pytest_plugin; print(*(name for name in {heavy} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_the_command_line_loads_neither_hypothesis_nor_pytest() -> None:
    script = "import sys, perdure_tck.command_line._group; print('hypothesis' in sys.modules, 'pytest' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
