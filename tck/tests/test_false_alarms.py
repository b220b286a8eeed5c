"""No false alarms: generated programs find nothing on the reference backends, with whatever seed.

A few programs with every run of the tests; with `PERDURE_SOAK=1` ten thousand with each of ten seeds, on each backend.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from perdure import Backend, load_backend
from perdure_tck import generation
from perdure_tck.examiner import Examiner
from perdure_tck.program import Program

BACKENDS = {
    "memory": load_backend("memory"),
    "sqlite": load_backend("sqlite"),
    "sqlite, akka-net": load_backend("sqlite", {"layout": "akka-net"}),
}
PROGRAMS = {"memory": 200, "sqlite": 60, "sqlite, akka-net": 60}
SEEDS = range(1, 4)

SOAK_PROGRAMS = int(os.environ.get("PERDURE_SOAK_PROGRAMS", "10000"))
SOAK_SEEDS = range(101, 111)
AT_ONE_LOCATION = 500
"""After so many programs comes a fresh location, since nothing is cleaned up in one: a disk has an end."""

soak = pytest.mark.skipif(
    os.environ.get("PERDURE_SOAK") != "1",
    reason="NOT RUN: it takes an hour; PERDURE_SOAK=1 asks for 10 000 programs with each of ten seeds",
)
each_backend = pytest.mark.parametrize("name", BACKENDS)


def false_alarms(backend: Backend, programs: Iterator[Program]) -> tuple[int, list[str]]:
    """How many operations were checked, and what was found."""
    operations, found = 0, []
    while some := list(itertools.islice(programs, AT_ONE_LOCATION)):
        with Examiner(backend, operation_limit_s=30.0) as examiner:
            for program in some:
                asked = generation.within(program, backend.claims, journal=True, snapshots=True)
                finding = examiner.examine(asked)
                operations += finding.operations
                found.extend(witness.text for witness in finding.witnesses)
    return operations, found


@each_backend
@pytest.mark.parametrize("seed", SEEDS)
def test_generated_programs_find_nothing_on_a_right_backend(name: str, seed: int) -> None:
    operations, found = false_alarms(BACKENDS[name], generation.programs(seed, PROGRAMS[name]))
    assert found == []
    assert operations > 30 * PROGRAMS[name]


@soak
@pytest.mark.timeout(0)
@each_backend
@pytest.mark.parametrize("seed", SOAK_SEEDS)
def test_many_generated_programs_find_nothing_on_a_right_backend(name: str, seed: int) -> None:
    operations, found = false_alarms(BACKENDS[name], generation.programs(seed, SOAK_PROGRAMS))
    print(f"{name}, seed {seed}: {SOAK_PROGRAMS} programs, {operations} operations, {len(found)} alarms")
    assert found == []
