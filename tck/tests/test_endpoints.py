"""Servers of backends: where one is, who starts it, and that a run without one is not green."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from perdure import Backend, Claims, Location
from perdure_memory import backend as memory
from perdure_tck import endpoints
from perdure_tck.command_line._group import perdure
from perdure_tck.endpoints import NoServer, Served, endpoint_of, served, variable
from perdure_tck.stage import Stage
from perdure_tck.verdict import EXIT_UNPROVEN

NAME = variable("memory")


@contextmanager
def started(_: Mapping[str, str]) -> Iterator[Served]:
    yield Served("there:1", "a server")


@contextmanager
def absent(_: Mapping[str, str]) -> Iterator[Served]:
    raise NoServer("none is installed; pip install one")
    yield


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_offered", lambda name: started if name == "memory" else None)


@pytest.mark.usefixtures("offered")
def test_a_server_is_there_for_as_long_as_it_is_asked_for() -> None:
    with served(memory) as server:
        assert server == Served("there:1", "a server")
        assert endpoint_of(memory) == "there:1"
        assert os.environ[NAME] == "there:1"  # for the processes that a run starts
    assert endpoint_of(memory) is None


@pytest.mark.usefixtures("offered")
def test_a_url_that_was_given_goes_before_and_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "mine:2")
    with served(memory) as server:
        assert server == Served("mine:2", "given by PERDURE_MEMORY_URL")
    assert endpoint_of(memory) == "mine:2"


def test_a_backend_without_a_server_needs_none() -> None:
    with served(memory) as server:
        assert server is None


def test_each_location_on_a_server_has_a_namespace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "mine:2")
    seen: list[Location] = []

    def opened(location: Location) -> object:
        seen.append(location)
        return memory.open(location)

    backend = Backend("memory", opened, Claims())  # type: ignore[arg-type]  # it gives what memory gives
    for _ in range(2):
        stage = Stage(backend)
        stage.open()
        stage.close()
    assert [location.endpoint for location in seen] == ["mine:2", "mine:2"]
    assert len({location.namespace for location in seen}) == 2
    assert all(location.namespace.endswith("-perdure") for location in seen)


def test_the_url_of_a_server_is_not_shown_for_it_may_hold_a_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(NAME, "sql://me:secret@there")
    done = CliRunner().invoke(perdure, ["run", "memory", "J-43", "--out", str(tmp_path / "run.jsonl")])
    assert done.exit_code == 0
    assert done.stderr == "server: given by PERDURE_MEMORY_URL\n"
    assert "secret" not in done.output + (tmp_path / "run.jsonl").read_text(encoding="utf-8")


def test_a_backend_on_a_server_is_not_struck_and_the_run_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(NAME, "mine:2")
    conformance = tmp_path / "conformance.toml"
    conformance.write_text("[claims]\nkill_durable = true\n", encoding="utf-8")
    words = ["run", "memory", "D-01", "--conformance", str(conformance), "--out", str(tmp_path / "run.jsonl")]
    done = CliRunner().invoke(perdure, words)
    assert done.exit_code == EXIT_UNPROVEN
    assert "1 NOT RUN" in done.stdout
    assert "this one keeps all on a server" in " ".join(done.stdout.split())


def test_a_run_without_a_server_says_so_and_is_not_green(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(endpoints, "_offered", lambda _: absent)
    done = CliRunner().invoke(perdure, ["run", "memory", "J-43", "--out", str(tmp_path / "run.jsonl")])
    assert done.exit_code == EXIT_UNPROVEN
    assert done.stderr == "NOT RUN  no server for memory: none is installed; pip install one\n"
    assert not (tmp_path / "run.jsonl").exists()
