"""The numbers of system calls, against the tables of the kernel: on aarch64 nothing here has ever been run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from perdure_scenarios.recording._calls import _HANDLERS
from perdure_scenarios.recording._machine import AARCH64, MACHINES, X86_64, Machine

GENERIC = Path("/usr/include/asm-generic/unistd.h")
X86 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
DEFINED = re.compile(r"^#define __NR(?:3264)?_(\w+) (\d+)$", re.MULTILINE)


def table(header: Path) -> dict[str, int]:
    return {name: int(number) for name, number in DEFINED.findall(header.read_text())}


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        pytest.param(
            machine, header, marks=pytest.mark.skipif(not header.exists(), reason=f"NOT RUN: there is no {header}")
        )
        for machine, header in ((AARCH64, GENERIC), (X86_64, X86))
    ],
    ids=["aarch64", "x86_64"],
)
def test_every_number_is_that_of_the_kernel(machine: Machine, header: Path) -> None:
    kernel = table(header)
    assert len(kernel) > 200
    mine = machine.calls | machine.reads
    assert mine == {name: kernel.get(name) for name in mine}


@pytest.mark.skipif(not GENERIC.exists(), reason=f"NOT RUN: there is no {GENERIC}")
def test_of_the_calls_that_change_files_none_is_forgotten_on_aarch64() -> None:
    """Whatever x86-64 has to be watched for, and aarch64 has a number for, is watched for there too."""
    assert {*X86_64.calls} & {*table(GENERIC)} == {*AARCH64.calls}


def test_whatever_stops_is_understood() -> None:
    for machine in MACHINES.values():
        assert {*machine.calls, *machine.reads} <= _HANDLERS.keys()
