"""Lanes of generated programs: the same findings in threads and in processes, and nothing left behind."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from perdure import Backend, Claims, load_backend
from perdure_memory import backend as memory
from perdure_tck.engine import Request, conduct
from perdure_tck.examiner import Examiner, Finding
from perdure_tck.lanes import FEW, Lanes, Work, _Lane
from perdure_tck.stage import KitFault

LANE = "perdure_tck.lanes"
COUNT = FEW + 50
ODD = """
import os
from contextlib import asynccontextmanager

import msgspec
from perdure import Backend, Storage
from perdure_memory import backend as memory


@asynccontextmanager
async def open_deadly(location):
    os._exit(77)
    yield Storage()


@asynccontextmanager
async def open_shut(location):
    raise RuntimeError("closed today")
    yield Storage()


class Forgetful:
    def __init__(self, journal):
        self.write_messages = journal.write_messages
        self.replay_messages = journal.replay_messages
        self.delete_messages_to = journal.delete_messages_to

    async def read_highest_sequence_nr(self, persistence_id, from_sequence_nr=0):
        return 0


@asynccontextmanager
async def open_forgetful(location):
    async with memory.open(location) as storage:
        yield Storage(Forgetful(storage.journal), storage.snapshots)


deadly = Backend("deadly", open_deadly, memory.claims)
shut = Backend("shut", open_shut, memory.claims)
forgetful = Backend("forgetful", open_forgetful, msgspec.structs.replace(memory.claims, live_queries=False))
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with backends that are not installed, which a process finds where its parent does."""
    module = f"odd_backends_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    return module


def work(words: str, claims: Claims = memory.claims, count: int = COUNT) -> Work:
    return Work(
        seed=7,
        count=count,
        overlapping=20,
        words=words,
        claims=claims,
        operation_limit_s=5.0,
        open_limit_s=60.0,
    )


def found(words: str, backend: Backend, *, apart: bool) -> list[Finding]:
    told: list[str] = []
    with Lanes(
        work(words, backend.claims), lambda: Examiner(backend), lambda *one: told.append(one[2]), apart=apart
    ) as lanes:
        findings = lanes.findings()
    assert sorted(told) == sorted(finding.program for finding in findings)
    return findings


def test_processes_find_what_threads_find() -> None:
    apart = found("memory", memory, apart=True)
    assert apart == found("memory", memory, apart=False)
    assert len(apart) > COUNT


def test_witnesses_come_back_whole_from_a_process(odd: str) -> None:
    words = f"{odd}:forgetful"
    forgetful = load_backend(words)
    apart = found(words, forgetful, apart=True)
    assert apart == found(words, forgetful, apart=False)
    assert any(finding.witnesses for finding in apart)


def test_settings_reach_the_process() -> None:
    words = "sqlite --setting layout=akka-net --setting synchronous=OFF"
    backend = load_backend("sqlite", {"layout": "akka-net", "synchronous": "OFF"})
    assert len(found(words, backend, apart=True)) > COUNT


def test_a_backend_that_ends_its_process_is_a_kit_fault_that_says_so(odd: str) -> None:
    with (
        Lanes(work(f"{odd}:deadly"), lambda: Examiner(memory), lambda *_: None, apart=True) as lanes,
        pytest.raises(KitFault, match=r"the process of lane \d of the generated programs ended with exit code 77"),
    ):
        lanes.findings()


def test_a_backend_that_cannot_be_opened_in_the_process_is_a_kit_fault_with_its_cause(odd: str) -> None:
    with (
        Lanes(work(f"{odd}:shut"), lambda: Examiner(memory), lambda *_: None, apart=True) as lanes,
        pytest.raises(KitFault, match="raised RuntimeError: closed today") as raised,
    ):
        lanes.findings()
    assert "closed today" in str(raised.value.__cause__)


def test_leaving_early_ends_the_processes() -> None:
    with Lanes(work("memory", count=100_000), lambda: Examiner(memory), lambda *_: None, apart=True) as lanes:
        processes = list(lanes._processes)
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)


def test_a_process_ends_with_its_parent() -> None:
    told = _Lane(work=work("memory", count=1_000_000), place=0, import_path=tuple(sys.path))
    with subprocess.Popen([sys.executable, "-m", LANE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as lane:
        assert lane.stdin is not None
        assert lane.stdout is not None
        lane.stdin.write(msgspec.json.encode(told) + b"\n")
        lane.stdin.flush()
        assert lane.stdout.readline()
        lane.stdin.close()  # as when the parent is gone
        while lane.stdout.read(65536):
            pass
    assert lane.returncode == 1


def test_a_run_of_a_named_backend_is_that_of_the_same_backend_without_a_name() -> None:
    def run(words: str) -> object:
        request = Request(programs=(), generated=COUNT, today=datetime.date(2026, 1, 1), chosen_by=words)
        judged = conduct(memory, request)
        return judged.rules, judged.footer.counts, judged.footer.generated, judged.footer.operations

    assert run("memory") == run("")
