"""A program that cannot be recorded: it is struck at failpoints, and at moments that are drawn by chance.

Kills are real: a worker is killed where its backend passes a failpoint, and at moments within its steps. What the power
would take is seen on a forgetful disk in which the program runs. Damage needs no recording. Calls that fail cannot be
brought about here.

This sees some moments and not all, so it can show a loss, and that there is none only for what it saw.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, get_args

import msgspec
from perdure_tck.durability import Context, Moment
from perdure_tck.hazards import Kind
from perdure_tck.history import completion_of
from perdure_tck.past import Past
from perdure_tck.program import Program
from perdure_tck.stage import KitFault

from . import forgetful
from .bench import Bench
from .damage import damages
from .forgetful import DiskFailed, ForgetfulDisk, Keep, Model, Rule
from .images import Image
from .killing import Attended, Killed, kill_at_failpoint, kill_during, with_failpoints_counted
from .looking import Looker
from .rooms import Rooms
from .scratch import materialise, read_image
from .strikes import Key, Strike, distinct, places, steps_of
from .tasks import AnyReport, Closed, Finished, Instant, OpeningFailed, Run, Words, begun, observations, under_way

KILLS = 16
"""At how many moments drawn by chance a worker is killed, for each program."""

FAILPOINTS_MAX = 24
"""At how many passings of failpoints a worker is killed, for each program."""

RECOVERIES_MAX = 3
INSTANTS = 64
"""At how many moments of a program it is seen what a disk of each model would keep."""

KEPT: Sequence[tuple[Keep, int]] = (("nothing", 0), *(("half", seed) for seed in range(6)), ("everything", 0))
"""What of the unsynced reached the disk, with the seed of the choice: the states of each moment."""

SLOW = tuple(Rule(operation=one, delay_s=0.004) for one in ("write", "fsync", "fsyncdir", "rename", "unlink"))
"""The disk takes its time for what matters, so that a step is still under way when it is looked at."""

MOMENT_MIN_S = 0.0002
OPENING_S = 0.004
BEYOND = 1.2
"""Instants are drawn from a little more than the time that a step took when nothing struck it."""

LANES = 2
NEEDS_RECORDING: tuple[Kind, ...] = ("fail", "disk full", "disk read-only")

RECOVERY = Program("recovery", "", (), ())
"""Opening and closing, and nothing else."""


Point = TypeVar("Point")
Found = TypeVar("Found")


class Unrecorded:
    """One program in the hands of a sweep that cannot record it. `run_in` says what is run in a directory."""

    def __init__(
        self,
        words: Words,
        run_in: Callable[[Program, Path], Run],
        bench: Bench,
        looker: Looker,
        rooms: Rooms,
        limit_s: float,
    ) -> None:
        self._words, self._run_in, self._bench, self._looker = words, run_in, bench, looker
        self._rooms, self._limit_s = rooms, limit_s
        self._chance = random.Random(bench.program.name)

    def strike(self, why: str) -> None:
        """Strike the program by those of its hazards that need no recording; `why` there is none."""
        bench = self._bench
        bench.unrecorded = why
        kinds = tuple(dict.fromkeys(hazard.kind for hazard in bench.program.hazards))
        for kind in kinds:
            if kind in NEEDS_RECORDING:
                bench.not_run[kind] = f"{why}; without a recording no call can be made to fail"
        room = self._rooms.new("calm")
        calm = with_failpoints_counted(self._words, self._run_in(bench.program, room), self._limit_s)
        left = self._image(room)
        past = past_unharmed(bench, calm.reports)
        if past is None or left is None:
            return
        if not left.files:
            bench.untouched = True
            return
        if "kill" in kinds:
            self._kill(calm)
        if "power cut" in kinds:
            self._cut(why)
        if "damage" in kinds:
            self._damage(calm, left, past)

    def _image(self, room: Path, name: str = "") -> Image | None:
        """What a room holds, or a directory in it; None, and the bench knows why, for what no image can hold."""
        try:
            return read_image(room / name)
        except ValueError as error:
            self._bench.unproven = str(error)
            return None
        finally:
            self._rooms.leave(room)

    # Kills

    def _kill(self, calm: Killed) -> None:
        known: set[Key] = set()
        steps = self._steps("kill")
        struck: list[tuple[Strike, Past]] = []
        instants = drawn(self._chance, calm, self._bench.program, steps, KILLS)
        for name, found in (("kills_by_chance", self._by_chance(instants)), ("kills_at_failpoints", self._at(calm))):
            for number, (killed, room, words) in enumerate(found, 1):
                self._bench.progress(number, KILLS, "kill")
                image = self._image(room)
                if image is None or not killed.struck or begun(killed.reports, self._bench.program) not in steps:
                    continue
                past = Past(self._bench.program, observations(self._bench.program, killed.reports), self._bench.claims)
                mine = distinct([Strike(_moment("kill", past, killed.reports), image, words)], known)
                self._bench.judge(mine, past, self._looker)
                self._bench.coverage[name] += len(mine)
                struck += [(strike, past) for strike in mine]
        self._strike_recoveries(struck)

    def _by_chance(self, instants: Iterable[Instant]) -> Iterator[tuple[Killed, Path, str]]:
        def kill(instant: Instant) -> tuple[Killed, Path, str]:
            room = self._rooms.new("killed")
            run = self._run_in(self._bench.program, room)
            return kill_during(self._words, run, instant, self._limit_s), room, f"{instant}"

        return _in_lanes(kill, instants)

    def _at(self, calm: Killed) -> Iterator[tuple[Killed, Path, str]]:
        """At each passing of each failpoint, or as many of them as may be."""
        passed = next((one.failpoints for one in calm.reports if isinstance(one, Finished)), {})
        points = [(name, passing) for name, most in passed.items() for passing in range(1, most + 1)]

        def kill(point: tuple[str, int]) -> tuple[Killed, Path, str]:
            room = self._rooms.new("killed")
            run = self._run_in(self._bench.program, room)
            killed = kill_at_failpoint(self._words, run, *point, self._limit_s)
            return killed, room, f"at failpoint '{point[0]}', passed for the {point[1]}. time"

        return _in_lanes(kill, [points[place] for place in places(len(points), FAILPOINTS_MAX)])

    def _strike_recoveries(self, struck: Sequence[tuple[Strike, Past]]) -> None:
        """A second kill, while a worker opens what the first one has left."""
        inside = [(strike, past) for strike, past in struck if strike.moment.under_way] or struck
        for strike, past in (inside[place] for place in places(len(inside), RECOVERIES_MAX)):
            room = self._rooms.new("recovery")
            with self._rooms.want():
                materialise(strike.image, room)
            instant = Instant(0, self._chance.uniform(0, OPENING_S))
            killed = kill_during(self._words, self._run_in(RECOVERY, room), instant, self._limit_s)
            image = self._image(room)
            if killed.struck and image is not None:
                self._bench.coverage["recoveries"] += 1
                again = msgspec.structs.replace(strike.moment, context="recovery")
                words = f"{instant}, in the recovery from a kill {strike.words}"
                self._bench.judge([Strike(again, image, words)], past, self._looker)

    def _steps(self, kind: Kind) -> frozenset[int]:
        """What hazards of this kind strike, the opening (0) and the closing included unless they are limited."""
        program = self._bench.program
        limits = (steps_of(hazard, program) for hazard in program.hazards if hazard.kind == kind)
        return frozenset().union(*limits)

    # Power cuts

    def _cut(self, why: str) -> None:
        refused = forgetful.refusal()
        if refused:
            self._bench.not_run["power cut"] = f"{why}, and the forgetful disk is refused: {refused}"
            return
        known: set[Key] = set()
        for model in get_args(Model):
            place = self._rooms.new("disk")
            try:
                with ForgetfulDisk(place, model, SLOW) as disk:
                    self._cut_on(disk, known)
            except DiskFailed as error:
                raise KitFault(str(error)) from error
            self._rooms.leave(place)

    def _cut_on(self, disk: ForgetfulDisk, known: set[Key]) -> None:
        """Run the program once in peace, to know how long its steps take there, and once to look."""
        program, bench = self._bench.program, self._bench
        calm_place, place = disk.directory / "calm", disk.directory / "struck"
        calm_place.mkdir()
        place.mkdir()
        disk.sync_all()
        calm = with_failpoints_counted(self._words, self._run_in(program, calm_place), self._limit_s)
        if past_unharmed(bench, calm.reports) is None:
            return
        instants = drawn(self._chance, calm, program, self._steps("power cut"), INSTANTS)
        found: list[tuple[Past, Sequence[Strike]]] = []
        with Attended(self._words, self._run_in(program, place), self._limit_s) as worker:
            for number, instant in enumerate(sorted(instants), 1):
                if not worker.come_to(instant):
                    break
                bench.progress(number, INSTANTS, "power cut")
                found.append(self._survivors(disk, worker, place.name, instant))
            last = Instant(len(program.steps) + 1, 0.0)  # a program may be too fast for all the others
            found.append(self._survivors(disk, worker, place.name, last))
        for past, strikes in found:  # only now: meanwhile the worker would have come to its end
            mine = distinct(strikes, known)
            bench.judge(mine, past, self._looker)
            bench.coverage["power_cuts_by_chance"] += len(mine)

    def _survivors(
        self, disk: ForgetfulDisk, worker: Attended, name: str, instant: Instant
    ) -> tuple[Past, Sequence[Strike]]:
        """What the power would leave now. A moment in which something is told is let go: who knows what came first."""
        rooms = [(self._rooms.new("survivors"), keep, seed) for keep, seed in KEPT]
        reports = worker.told()
        disk.survivors(rooms)
        same = worker.told() == reports
        images = [(self._image(room, name), keep) for room, keep, _ in rooms]
        past = Past(self._bench.program, observations(self._bench.program, reports), self._bench.claims)
        when = _moment("power cut", past, reports)
        kept = "on a forgetful disk; of the unsynced it kept"
        strikes = [Strike(when, image, f"{instant}", f"{disk.model}, {kept} {keep}") for image, keep in images if image]
        return past, strikes if same else ()

    # Damage

    def _damage(self, calm: Killed, whole: Image, past: Past) -> None:
        if not any(isinstance(report, Closed) for report in calm.reports):
            self._bench.unproven = "the location could not be closed, so nothing closed could be damaged"
            return
        moment = Moment("damage", past.known)
        strikes = [Strike(moment, damage.image, damage.words) for damage in damages(whole)]
        self._bench.judge(distinct(strikes, set()), past, self._looker, write_more=False)


def past_unharmed(bench: Bench, reports: Sequence[AnyReport]) -> Past | None:
    """What is known of a run that nothing struck; None if nothing could strike it, and then the bench knows why."""
    failed = next((one for one in reports if isinstance(one, OpeningFailed)), None)
    past = Past(bench.program, observations(bench.program, reports), bench.claims)
    bench.operations += len(past.observations)
    if failed is not None:
        bench.unproven = f"the location cannot be opened: {failed.failure}"
    elif past.deviation is not None:
        step = past.deviation
        bench.unproven = f"{bench.program.name} deviates unharmed: step {step.number} gave {step.observed}"
    elif unknown := [seen for seen in past.observations if completion_of(seen.outcome) == "unknown"]:
        bench.unproven = f"{bench.program.name} fails unharmed: step {unknown[0].number} gave {unknown[0].outcome}"
    else:
        return past
    return None


def drawn(chance: random.Random, calm: Killed, program: Program, steps: frozenset[int], count: int) -> list[Instant]:
    """So many moments by chance, as many in each of these steps: also in the opening (0), and in the closing."""
    heard = zip(calm.reports, calm.heard_s, strict=False)
    spans: dict[int, tuple[float, float]] = {}
    so_far: list[AnyReport] = []
    for report, at_s in heard:
        so_far.append(report)
        number = begun(so_far, program)
        spans[number] = spans.get(number, (at_s, at_s))[0], at_s
    phases = [number for number in spans if number in steps]
    found = []
    for place in range(count if phases else 0):
        number = phases[place % len(phases)]
        first_s, last_s = spans[number]
        found.append(Instant(number, chance.uniform(0, BEYOND * max(last_s - first_s, MOMENT_MIN_S))))
    return found


def _moment(context: Context, past: Past, reports: Sequence[AnyReport]) -> Moment:
    return Moment(context, past.known, under_way(reports))


def _in_lanes(kill: Callable[[Point], Found], points: Iterable[Point]) -> Iterator[Found]:
    pool = ThreadPoolExecutor(LANES)
    try:
        yield from pool.map(kill, points)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
