"""The kit on the reference backends: `python benchmarks/kit.py`. What `perdure run` does, generated
programs included, without writing a report.

The limit beside it is the model alone: it walks through the same programs and judges them on no backend at all.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from _table import Beside, Case, Goal, NotRun, OpenSuite, Suite, main, seconds_since
from perdure import load_backend
from perdure_tck.document import Footer
from perdure_tck.engine import GENERATED, Request, conduct
from perdure_tck.judge import disagreement
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program

SECONDS_ALLOWED = {"memory": 5.0, "sqlite": 20.0}


@asynccontextmanager
async def operations(_: Path) -> AsyncIterator[Suite]:
    programs = _core_programs()
    cases = [Case("model alone", partial(_model_rate, programs))]
    cases += [
        Case(name, partial(_operation_rate, name, programs), (Beside("model alone"),)) for name in SECONDS_ALLOWED
    ]
    yield Suite(f"level core, {len(programs)} programs; operations run and judged a second", cases)


@asynccontextmanager
async def seconds(_: Path) -> AsyncIterator[Suite]:
    programs = _core_programs()
    cases = [
        Case(
            name,
            partial(_seconds, name, programs),
            (Beside(f"{allowed_s:g} s", Goal(1, at_most=True), allowed_s),),
            " s",
        )
        for name, allowed_s in SECONDS_ALLOWED.items()
    ]
    yield Suite(f"level core, {len(programs)} programs; seconds of the whole run", cases)


def _core_programs() -> Sequence[Program]:
    return [program for program in installed_programs() if program.level == "core"]


async def _model_rate(programs: Sequence[Program]) -> float:
    start = time.perf_counter()
    for program in programs:
        disagreement(program)
    return sum(len(program.steps) for program in programs) / seconds_since(start)


async def _operation_rate(name: str, programs: Sequence[Program]) -> float:
    footer = _conducted(name, programs)
    return footer.operations / footer.duration_s


async def _seconds(name: str, programs: Sequence[Program]) -> float:
    return _conducted(name, programs).duration_s


def _conducted(name: str, programs: Sequence[Program]) -> Footer:
    """A whole run. What it says of the backend does not matter here, as long as it came to its end."""
    request = Request(programs=programs, generated=GENERATED["core"], today=datetime.date.today(), chosen_by=name)
    run = conduct(load_backend(name), request)
    if run.faults:
        raise NotRun(f"the run on {name} ended early: {run.faults[0]}")
    return run.footer


SUITES: dict[str, OpenSuite] = {"operations": operations, "seconds": seconds}

if __name__ == "__main__":
    main("The conformance kit on the reference backends.", SUITES)
