"""The pytest plugin: options, markers and the parametrisation of the specs. Loaded in every pytest run of every user.

So everything it offers carries the prefix `perdure`, and it imports neither Hypothesis nor the specs nor the kit until
a spec is really collected. The rule ids and scenarios become parameters: one test for each rule and scenario.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .specs._session import Session

_SESSION = pytest.StashKey["Session"]()
_SPECS = "perdure_tck.specs"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perdure", "conformance of persistence backends")
    group.addoption("--perdure-backend", metavar="NAME", help="the backend that the perdure specs judge")
    group.addoption(
        "--perdure-setting", action="append", default=[], metavar="NAME=VALUE", help="a setting of it; repeatable"
    )
    group.addoption("--perdure-level", choices=("core", "full"), help="how much the perdure specs run")
    group.addoption("--perdure-conformance", metavar="FILE", type=Path, help="claims and waivers [conformance.toml]")
    group.addoption("--perdure-limit", type=float, default=5.0, metavar="S", help="seconds an operation may take")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "perdure_rule(id): the rule of the specification that this test judges")
    if any(argument.startswith(_SPECS) for argument in config.args):
        _session(config)  # what is wrong with the options is told in one line, before anything is collected


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the specs their parameters; other tests are left alone."""
    wanted = {"perdure_case", "perdure_rule"} & set(metafunc.fixturenames)
    if wanted and metafunc.module.__name__.startswith(_SPECS):
        session = _session(metafunc.config)
        for name in sorted(wanted):
            metafunc.parametrize(name, session.parameters(name))


@pytest.fixture(scope="session")
def perdure_session(request: pytest.FixtureRequest) -> Session:
    """The backend under judgement, opened when the first spec asks for it."""
    return _session(request.config)


def _session(config: pytest.Config) -> Session:
    from .specs._session import Session, Unusable

    if _SESSION not in config.stash:
        name = config.getoption("--perdure-backend")
        if not name:
            raise pytest.UsageError("the perdure specs need --perdure-backend NAME")
        try:
            config.stash[_SESSION] = Session(
                name,
                config.getoption("--perdure-setting"),
                config.getoption("--perdure-level"),
                config.getoption("--perdure-conformance"),
                config.getoption("--perdure-limit"),
            )
        except Unusable as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[_SESSION]


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(_SESSION, None)
    if session is not None:
        session.close()
