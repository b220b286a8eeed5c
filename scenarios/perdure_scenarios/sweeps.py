"""Sweeps: a program is recorded once, every state that its hazards may leave is looked at, and each look is judged.

The order is that of `Sweep.sweep`: record; then hazard by hazard, kills, power cuts, calls that fail, damage; and for
kills a second one while it recovers. What cannot be recorded is struck otherwise (`unrecorded.py`). Found through the
entry points of `perdure.sweeps`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
from perdure import Claims, load_backend
from perdure_tck.durability import Context, Moment, judge_answers, judge_look
from perdure_tck.hazards import Hazard
from perdure_tck.history import completion_of
from perdure_tck.judge import FULL_CLAIMS
from perdure_tck.look import sights_of
from perdure_tck.past import Past
from perdure_tck.program import Program
from perdure_tck.sweep import Again, Ask, Measure, Progress, Swept

from .bench import EMPTY_IMAGE, Bench, looked_at
from .contents import content_of
from .crew import Crew
from .damage import damages
from .failing import LANES, Trial, Tried, trials, tried
from .images import Image
from .looking import Looker, words_of
from .proofs import Rerun, past_of, read
from .recording._calls import Read
from .recording._final_state import final_state
from .recording._nursery import Nursery
from .recording._record import Recording, record
from .recording._refusal import refusal
from .rooms import Rooms
from .scratch import materialise, read_image
from .states import Duty, image_of, kill_states, lied
from .strikes import Key, Strike, distinct, dropped, each_once, kills, power_cuts, recoveries, spread, steps_of
from .tasks import Closed, Run, observations, under_way
from .trace import Synced
from .unrecorded import RECOVERY, Unrecorded, past_unharmed

RECOVERIES_MAX = 3
"""Of how many states of one program the recovery is recorded and struck in its turn."""

LIES_MAX = 6
"""How many syncs of one program lie, one at a time."""

STATES_A_CALL = 2
"""How many power cuts there are at least for each call, however long a program is."""


class Sweep:
    """One backend, swept program by program. Use it as a context manager; leaving it ends every process."""

    def __init__(self, ask: Ask, crew_size: int = 3) -> None:
        self._ask = ask
        self._words = words_of(ask.words)
        self._crew_size = crew_size
        self._stack = ExitStack()
        self._settings = " · ".join(
            f"{name} {value}" for name, value in load_backend(self._words.name, self._words.settings).settings.items()
        )

    def __enter__(self) -> Sweep:
        try:
            self._rooms = self._stack.enter_context(Rooms())
            limit_s = self._ask.open_limit_s + self._ask.operation_limit_s
            self._crew = self._stack.enter_context(Crew(self._words, self._crew_size, limit_s))
            self._refusal = refusal()
            self._nursery = Nursery(self._words)
            if not self._refusal:
                self._stack.enter_context(self._nursery)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def workers(self) -> list[int]:
        """The processes that look at states, by their numbers."""
        return self._crew.workers()

    def rooms(self) -> Path:
        """Where everything of this sweep lies until it is left."""
        return self._rooms.directory

    def sweep(self, program: Program, progress: Progress) -> Swept:
        keep, claims, words = self._ask.keep, self._ask.claims, self._ask.words
        bench = Bench(program, claims, words, self._settings, keep, self._rooms, progress)
        looker = Looker(self._crew, self._rooms, sights_of(program), program.page_size)
        if self._refusal:
            self._strike_unrecorded(bench, looker, self._refusal)
            return bench.swept()
        room = self._rooms.new("recorded")
        recording = self._recorded(program, room)
        given_up = _given_up(recording, room, looker)
        self._rooms.leave(room)
        past = past_unharmed(bench, recording.reports)
        if past is not None and given_up:
            self._strike_unrecorded(bench, looker, f"it cannot be recorded: {given_up}")
        elif past is not None and not recording.trace.calls:
            bench.untouched = True
        elif past is not None:
            for hazard in program.hazards:
                self._strike(hazard, bench, looker, past, recording)
        return bench.swept()

    def _strike_unrecorded(self, bench: Bench, looker: Looker, why: str) -> None:
        Unrecorded(self._words, self._run, bench, looker, self._rooms, self._ask.open_limit_s).strike(why)

    def _recorded(self, program: Program, room: Path) -> Recording:
        run, limit_s = self._run(program, room), self._ask.open_limit_s
        return record(self._words, run, limit_s=limit_s, process=self._nursery.start)

    def _run(self, program: Program, room: Path) -> Run:
        bare = msgspec.structs.replace(program, hazards=())
        limit_s = self._ask.operation_limit_s
        return Run(program=bare, directory=str(room), page_size=program.page_size, operation_limit_s=limit_s)

    def _strike(self, hazard: Hazard, bench: Bench, looker: Looker, past: Past, recording: Recording) -> None:
        trace, end, steps = recording.trace, _end(past), steps_of(hazard, bench.program)
        known: set[Key] = set()
        match hazard.kind:
            case "kill":
                self._kill(distinct(kills(trace, end, steps), known), bench, looker, past)
            case "power cut":
                cuts = power_cuts(trace, end, steps, max(self._ask.states_max, STATES_A_CALL * len(trace.calls)))
                bench.judge(each_once(cuts, known), past, looker)
            case "damage":
                self._damage(recording, bench, looker, past)
            case _ if hazard.trouble == "lying sync":
                self._lie(recording, bench, looker, past)
            case _:
                reads = self._reads(bench.program) if hazard.trouble == "failed read" else ()
                chosen = trials(hazard, trace, steps, self._ask.runs_max, reads)
                self._fail(hazard, chosen, bench, looker, recording)
                if hazard.trouble == "failed read":
                    self._fail_recovery(hazard, bench, looker, past, recording)
        bench.paced(hazard.kind)

    # Kills, and a second one while it recovers from the first

    def _kill(self, found: Sequence[Strike], bench: Bench, looker: Looker, past: Past) -> None:
        """What the first kills leave is judged while recoveries are recorded, which takes as long."""
        inside = [strike for strike in found if strike.moment.under_way] or found
        chosen = spread(inside, RECOVERIES_MAX)
        pool = ThreadPoolExecutor(LANES)
        try:
            recorded = pool.map(self._recovery, chosen)
            bench.judge(found, past, looker)
            self._strike_recoveries(zip(chosen, recorded, strict=True), bench, looker, past)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _recovery(self, strike: Strike) -> Recording:
        room = self._rooms.new("recovery")
        with self._rooms.want():
            materialise(strike.image, room)
        recording = self._recorded(RECOVERY, room)
        self._rooms.leave(room)
        return recording

    def _strike_recoveries(
        self, recorded: Iterable[tuple[Strike, Recording]], bench: Bench, looker: Looker, past: Past
    ) -> None:
        known: set[Key] = set()
        for strike, recording in recorded:
            if recording.trace.given_up is None and any(isinstance(one, Closed) for one in recording.reports):
                bench.coverage["recoveries"] += 1
                bench.judge(each_once(recoveries(recording.trace, strike), known), past, looker)

    # Calls that fail

    def _reads(self, program: Program, start: Image = EMPTY_IMAGE) -> Sequence[Read]:
        """What is read when nothing fails. Recorded apart: a stop at each read would slow down every other sweep."""
        room = self._rooms.new("reads")
        with self._rooms.want():
            materialise(start, room)
        run, limit_s = self._run(program, room), self._ask.open_limit_s
        found = record(self._words, run, limit_s=limit_s, process=self._nursery.start, reads=True)
        self._rooms.leave(room)
        return found.reads

    def _fail(
        self, hazard: Hazard, chosen: Sequence[Trial], bench: Bench, looker: Looker, recording: Recording
    ) -> None:
        run = self._run(bench.program, Path())
        made = tried(chosen, self._words, run, self._rooms, self._ask.open_limit_s, process=self._nursery.start)
        for number, one in enumerate(made, 1):
            bench.progress(number, len(chosen), str(hazard))
            self._judge_trial(hazard, one, bench, looker, recording)
            self._rooms.leave(one.room)

    def _judge_trial(self, hazard: Hazard, one: Tried, bench: Bench, looker: Looker, whole: Recording) -> None:
        if not one.recording.struck:
            return
        context: Context = "disk full" if hazard.kind == "disk full" else "error"
        past = Past(bench.program, observations(bench.program, one.recording.reports), self._ask.claims)
        moment = Moment(context, past.known, under_way(one.recording.reports))
        _count_trial(bench, past, context)
        strike = Strike(moment, EMPTY_IMAGE, one.trial.words)
        if past.deviation is not None:
            bench.tell(judge_answers(past, context, self._ask.claims), strike, past, _rerun(one.trial))
            return
        strikes = [msgspec.structs.replace(strike, image=read_image(one.room))]
        if hazard.trouble == "failed sync" and self._ask.claims.power_durable == "yes":
            strikes += _after_dropping(one, whole, past)
        bench.judge(distinct(strikes, set()), past, looker)

    def _fail_recovery(self, hazard: Hazard, bench: Bench, looker: Looker, past: Past, recording: Recording) -> None:
        """Reads fail while a location is opened that was killed behind its last step, when nothing was closed."""
        trace, closing = recording.trace, _end(past).step
        killed = image_of(trace, sum(call.step < closing for call in trace.calls))
        both = frozenset({0, 1})  # the opening and the closing
        chosen = trials(hazard, trace, both, self._ask.runs_max, self._reads(RECOVERY, killed))
        run = self._run(RECOVERY, Path())
        limit_s, process = self._ask.open_limit_s, self._nursery.start
        for one in tried(chosen, self._words, run, self._rooms, limit_s, killed, process=process):
            if one.recording.struck:
                bench.coverage["failures"] += 1
                words = f"{one.trial.words}, in the recovery from a kill after the last step"
                strike = Strike(Moment("error", past.known), read_image(one.room), words)
                bench.judge([strike], past, looker)
            self._rooms.leave(one.room)

    # A disk that lies, and damage

    def _lie(self, recording: Recording, bench: Bench, looker: Looker, past: Past) -> None:
        """Nothing of this is judged: no backend can help what its disk loses. It is measured and told."""
        trace, end = recording.trace, _end(past)
        syncs = [place for place, call in enumerate(trace.calls) if isinstance(call, Synced)]
        measure = Measure()
        for place in syncs[:: max(1, len(syncs) // LIES_MAX)]:
            everywhere = steps_of(Hazard("power cut"), bench.program)
            cuts = power_cuts(lied(trace, place), end, everywhere, 2 * len(trace.calls))
            strikes = [strike for strike in distinct(cuts, set()) if strike.moment.told]
            for strike, look in looked_at(strikes, looker, write_more=False):
                measure = measure.with_state(judge_look(past, strike.moment, look, FULL_CLAIMS))
        bench.remarks.append(f"a disk that lies about one sync, measured and not judged: {measure.told()}")

    def _damage(self, recording: Recording, bench: Bench, looker: Looker, past: Past) -> None:
        if not any(isinstance(report, Closed) for report in recording.reports):
            bench.unproven = "the location could not be closed, so nothing closed could be damaged"
            return
        whole = image_of(recording.trace, len(recording.trace.calls))
        moment = Moment("damage", past.known)
        strikes = [Strike(moment, damage.image, damage.words) for damage in damages(whole)]
        bench.judge(distinct(strikes, set()), past, looker, write_more=False)

    # Proofs

    def again(self, directory: Path) -> Again:
        """Judge a kept proof again."""
        proof, image = read(directory)
        claims = self._ask.claims
        past = past_of(proof, claims)
        if proof.rerun is not None:
            room = self._rooms.new("again")
            run, rerun = self._run(past.program, room), proof.rerun
            made = record(self._words, run, rerun.injections, rerun.capacity, self._ask.open_limit_s)
            past = Past(past.program, observations(past.program, made.reports), claims)
            judged = judge_answers(past, proof.moment.context, claims)
        else:
            looker = Looker(self._crew, self._rooms, sights_of(past.program), past.program.page_size)
            _, look = next(iter(looker.look_at([image], proof.moment.context != "damage")))
            judged = judge_look(past, proof.moment, look, claims)
        lines = [f"{proof.moment.context} {proof.words}", *([proof.model] if proof.model else [])]
        lines += [f"found {one.what} {one.found}   ✗ allowed: {one.allowed}" for one in judged.breaches]
        rules = dict.fromkeys(rule for breach in judged.breaches for rule in breach.rules)
        return Again(tuple(lines), tuple(rules))


class Sweeping:
    """What the entry point names: sweeps of a backend, and proofs judged again."""

    def __call__(self, ask: Ask) -> Sweep:
        return Sweep(ask)

    def again(self, directory: Path) -> Again:
        """Judge a kept proof again, with the backend that it names."""
        proof, _ = read(directory)
        with Sweep(Ask(words=proof.backend, claims=msgspec.convert(proof.claims, Claims)), crew_size=1) as sweep:
            return sweep.again(directory)


sweeping = Sweeping()


def _given_up(recording: Recording, room: Path, looker: Looker) -> str:
    """Why a recording is not to be struck, or "": the recorder says so, or files that it cannot see matter."""
    if recording.trace.given_up is not None:
        return recording.trace.given_up.detail
    if not recording.mapped:
        return ""
    as_left, traced = read_image(room), final_state(recording.trace)
    unseen = [path for path in recording.mapped if path in as_left.files and path in traced]
    as_traced = Image(
        {**as_left.files, **{path: content_of(traced[path]) for path in unseen}},
        as_left.directories,
    )
    looks = {image.digest: look for image, look in looker.look_at([as_left, as_traced], write_more=False)}
    if looks[as_left.digest] == looks[as_traced.digest]:
        return ""
    return f"{', '.join(unseen)} is changed in memory and never synced, and it matters"


def _end(past: Past) -> Duty:
    return Duty(len(past.program.steps) + 1, len(past.observations))


def _count_trial(bench: Bench, past: Past, context: str) -> None:
    """Count that a fault struck, and what it made fail."""
    wrong = [seen for seen in past.observations if completion_of(seen.outcome) != "ok"]
    bench.operations += len(past.observations)
    if context == "disk full":
        bench.coverage["disks_full"] += 1
        bench.coverage["full_answers"] += len(wrong)
        return
    bench.coverage["failures"] += 1
    bench.coverage["failed_answers"] += len(wrong)
    bench.coverage["deletions_failed"] += sum(seen.step.operation.kind == "delete" for seen in wrong)


def _rerun(trial: Trial) -> Rerun:
    return Rerun(trial.injections, trial.capacity)


def _after_dropping(one: Tried, whole: Recording, past: Past) -> list[Strike]:
    """What a power cut leaves when the failed sync had dropped its data and everything else reached the disk."""
    call = whole.trace.calls[one.trial.at - 1]
    trace = dropped(one.recording.trace, one.trial.at - 1, call.path)
    return [
        Strike(
            Moment(
                "error", state.duty.told, state.duty.step if state.duty.told < state.duty.step < _end(past).step else 0
            ),
            state.image,
            f"{one.trial.words}, then a power cut {state.place}",
            "what the failed sync was about is lost, everything else is there",
        )
        for state in kill_states(trace, _end(past))
        if state.position >= one.trial.at
    ]
