"""Lanes: generated programs are run in a few lanes side by side, each with a location of its own.

A program is in the same lane on every machine, so each lane, and with them the run, comes out the same. A backend that
can be loaded by its words has each lane in a process of its own, since the interpreter runs one thread at a time; any
other one has them in threads, where at least the waiting for a disk is shared.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import msgspec
from perdure import Claims, load_backend

from . import generation, overlap_generation
from .examiner import Examiner, Finding, readable
from .offers import Offers
from .program import Program
from .scratch import new_directory, remove
from .stage import KitFault

Progress = Callable[[int, int, str], None]

LANES = 3
"""One more than the processors of a small machine: while one lane waits for a disk, another one goes on."""

DEVIATING_MAX = 3
"""How many deviating programs a lane runs before it stops."""

DEVIATING_OVERLAPPING_MAX = 2
"""The same for programs with overlapping steps."""

ON_REAL_LOOP_SHARE = 4
"""Of programs with overlapping steps every fourth, where a backend cannot run on a simulated event loop: there each
takes ten times as long."""

FEW = 200
"""So few programs are not worth a process."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What all lanes of a run have in common. `words` are those that choose the backend; "" if none do.

    `count` programs one step after the other, and `overlapping` more with steps that overlap.
    """

    seed: int
    count: int
    overlapping: int
    words: str
    claims: Claims
    operation_limit_s: float
    open_limit_s: float


class _Lane(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane in a process of its own is told, in one line."""

    work: Work
    place: int
    import_path: tuple[str, ...]


class _Began(msgspec.Struct, frozen=True, tag="began"):
    program: str


class _Found(msgspec.Struct, frozen=True, tag="found"):
    finding: Finding


class _Faulty(msgspec.Struct, frozen=True, tag="fault"):
    message: str
    detail: str


class _Done(msgspec.Struct, frozen=True, tag="done"):
    """The last line; without it the lane was cut off."""


_Line = _Began | _Found | _Faulty | _Done


class Lanes:
    """Lanes that are under way. Use it as a context manager: leaving it early ends them all, Ctrl-C included."""

    def __init__(self, work: Work, new_examiner: Callable[[], Examiner], progress: Progress, *, apart: bool) -> None:
        """`apart`: in processes of their own, beginning now; else in threads, beginning when `findings` is called."""
        self._work = work
        self._new_examiner = new_examiner
        self._progress = progress
        self._done = itertools.count(1)
        self._interrupted = threading.Event()
        apart = apart and bool(work.words) and work.count >= FEW
        self._directory = new_directory() if apart else None
        self._processes = [_begun(work, place, self._directory) for place in range(LANES)] if self._directory else []

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self._interrupted.set()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self._directory:
            remove(self._directory)

    def findings(self) -> list[Finding]:
        """What all lanes found, lane by lane. Raises `KitFault` if a lane could not go on."""
        one_lane = self._heard if self._processes else self._played
        with ThreadPoolExecutor(LANES) as lanes:
            try:
                found = list(lanes.map(one_lane, range(LANES)))
            except BaseException:  # Ctrl-C too: a lane ends with its program, not with all of its programs
                self.__exit__()
                raise
        return [finding for findings in found for finding in findings]

    def _played(self, place: int) -> list[Finding]:
        with self._new_examiner() as examiner:
            return list(_findings(examiner, self._work, place, self._tell, self._interrupted.is_set))

    def _heard(self, place: int) -> list[Finding]:
        process = self._processes[place]
        decoder = msgspec.json.Decoder(_Line)
        findings: list[Finding] = []
        assert process.stdout is not None
        for text in process.stdout:
            line = decoder.decode(text)
            match line:
                case _Began(program):
                    self._tell(program)
                case _Found(finding):
                    findings.append(finding)
                case _Faulty(message, detail):
                    raise KitFault(message) from RuntimeError(f"in a process of its own:\n{detail}")
                case _Done():
                    return findings
        raise KitFault(f"the process of lane {place + 1} of the generated programs {_ending(process.wait())}")

    def _tell(self, program: str) -> None:
        self._progress(next(self._done), self._work.count + self._work.overlapping, program)


def _findings(
    examiner: Examiner, work: Work, place: int, tell: Callable[[str], None], stopped: Callable[[], bool] = lambda: False
) -> Iterator[Finding]:
    """What one lane finds. Of either kind until enough deviated: what is broken everywhere need not be shown so."""
    if not work.count:
        return
    offers = examiner.offers()
    deviating = 0
    for program in generation.programs(work.seed, work.count, first=place, every=LANES):
        if stopped() or deviating == DEVIATING_MAX:
            break
        tell(program.name)
        finding = examiner.examine(generation.within(program, examiner.claims, *offers))
        yield finding
        deviating += bool(finding.witnesses)

    def enough(findings: Sequence[Finding]) -> bool:
        return stopped() or sum(bool(finding.witnesses) for finding in findings) >= DEVIATING_OVERLAPPING_MAX

    if work.overlapping:
        yield from examiner.examine_all(_overlapping(examiner, work, place, offers), enough, tell)


def _overlapping(examiner: Examiner, work: Work, place: int, offers: Offers) -> Iterator[Program]:
    """The programs of a lane with overlapping steps, those left out that no longer have any for this backend."""
    count = work.overlapping // (ON_REAL_LOOP_SHARE if examiner.overlaps.not_simulated else 1)
    for program in itertools.islice(overlap_generation.programs(work.seed, count), place, None, LANES):
        asked = overlap_generation.within(program, examiner.claims, offers)
        if asked.overlaps:
            yield asked


def _begun(work: Work, place: int, directory: Path) -> subprocess.Popen[bytes]:
    """A lane in a process of its own. It has its locations below the directory, since whoever is killed leaves them."""
    lane = _Lane(work=work, place=place, import_path=tuple(sys.path))
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once, which is told when it is asked for
        process.stdin.write(msgspec.json.encode(lane) + b"\n")
        process.stdin.flush()  # and stays open: its end tells the lane that nobody is waiting any more
    return process


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _main() -> None:
    """A lane in a process of its own: told what to do by the first line of its input, telling what it finds."""
    lane = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Lane)
    sys.path[:] = lane.import_path
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a backend that prints must not garble the answers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _play(lane, answers)
    except Exception as error:
        said = str(error) if isinstance(error, KitFault) else f"a lane of generated programs raised {error!r}"
        cause = "".join(traceback.format_exception(error.__cause__ or error))
        _say(answers, _Faulty(readable(said), readable(cause)))
    _say(answers, _Done())


def _play(lane: _Lane, answers: IO[bytes]) -> None:
    work = lane.work
    name, *options = shlex.split(work.words)
    settings = dict(one.split("=", 1) for one in options[1::2])
    backend = load_backend(name, settings)
    with Examiner(backend, work.claims, work.operation_limit_s, work.open_limit_s) as examiner:
        for finding in _findings(examiner, work, lane.place, lambda program: _say(answers, _Began(program))):
            _say(answers, _Found(finding))


def _say(answers: IO[bytes], line: _Line) -> None:
    answers.write(msgspec.json.encode(line) + b"\n")
    if not isinstance(line, _Found):  # which something else follows at once: whoever listens is woken half as often
        answers.flush()


def _end_with_parent() -> None:
    """Not through `sys.stdin`: its lock, held by a thread, would keep the interpreter from ending in peace."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its lanes
    _main()
