"""What a decoder of bytes gains: `python benchmarks/generation.py`. Checked operations a second, with shrinking on.

Three ways to make operations for one model and one backend in memory: a `RuleBasedStateMachine`, as one would write it;
the kit's decoder under Hypothesis (`st.binary` of exactly the size of a program, which shrinks); and the decoder under
`random.Random`. In all three an operation is carried out and judged by the same few lines, so that what is compared is
how it is made. Beside them the kit's examiner, which watches over limits of time, counts and blames as well.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from _table import Beside, Case, Goal, OpenSuite, Suite, main, seconds_since
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test
from perdure import MAX_SEQUENCE_NR, Storage
from perdure.errors import SequenceConflict
from perdure_memory import MemoryJournal, MemorySnapshotStore, World, backend
from perdure_tck import model
from perdure_tck.examiner import Examiner
from perdure_tck.generation import CONTENTS, ID_FAMILIES, SIZE, TAGS, TIMES, decode, programs
from perdure_tck.judge import FULL_CLAIMS
from perdure_tck.model import State
from perdure_tck.operations import (
    QUERY_OPERATIONS,
    AnyOperation,
    Batch,
    Bounds,
    Clock,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Reopen,
    Replay,
    SaveSnapshot,
    Write,
)
from perdure_tck.outcomes import AnyOutcome, Conflict, Invalid
from perdure_tck.program import Program
from perdure_tck.runner import answer as answer_of
from perdure_tck.stage import ManualClock

EXAMPLES = 100
STEPS = 50
AT_ONCE = 8
"""How many programs make one example under Hypothesis, whose own costs hang on the number of examples."""
PROGRAMS = 500


class Subject:
    """A fresh backend in memory with its model, and how many operations were checked on all subjects."""

    checked: ClassVar[int] = 0

    def __init__(self) -> None:
        world, self._clock = World(), ManualClock()
        self._storage = Storage(
            MemoryJournal(world.events, self._clock, 1), MemorySnapshotStore(world.snapshots, self._clock)
        )
        self._state = State()
        self._number = 0

    def check(self, operation: AnyOperation) -> None:
        """Carry an operation out and look whether the model allows what came of it."""
        self._number += 1
        Subject.checked += 1
        if isinstance(operation, Reopen):
            return
        observed = self._observed(operation)
        allowed = model.step(self._state, operation, self._number, FULL_CLAIMS)
        agreeing = [one.state for one in allowed if one.outcome.same_as(observed)]
        assert agreeing, f"{operation}: {observed}, allowed: {' or '.join(str(one.outcome) for one in allowed)}"
        self._state = agreeing[0]

    def _observed(self, operation: AnyOperation) -> AnyOutcome:
        try:
            return at_once(answer_of(operation, self._number, self._storage, self._clock))
        except SequenceConflict:
            return Conflict()
        except ValueError:
            return Invalid()


def at_once(coroutine: Coroutine[Any, Any, AnyOutcome]) -> AnyOutcome:
    """The result of a coroutine that never suspends, as none of the backend in memory does: no event loop is needed."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        outcome: AnyOutcome = stop.value
        return outcome
    raise AssertionError("suspended")


numbers = st.integers(0, 12) | st.sampled_from([2**31, 2**53, MAX_SEQUENCE_NR])
jumps = st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 5, 100])
lengths = st.sampled_from([1, 1, 1, 2, 3, 7])
bounds = st.builds(
    lambda highest, latest, lowest: Bounds(highest, latest, min(highest, lowest)),
    numbers,
    st.sampled_from(TIMES),
    st.integers(0, 3),
)


class Machine(RuleBasedStateMachine):
    """The same operations as rules, with a bundle of ids."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.subject = Subject()
        self.highest: dict[str, int] = {}

    @rule(target=ids, family=st.sampled_from(ID_FAMILIES), place=st.integers(0, 2))
    def an_id(self, family: tuple[str, str, str], place: int) -> str:
        return family[place]

    @rule(
        owner=ids,
        jump=jumps,
        length=lengths,
        content=st.sampled_from(CONTENTS),
        tags=st.sampled_from(TAGS[:-1]),
        timestamp=st.sampled_from(TIMES),
    )
    def write(self, owner: str, jump: int, length: int, content: Any, tags: tuple[str, ...], timestamp: int) -> None:
        first = self.highest.get(owner, 0) + 1 + jump
        self.highest[owner] = first + length - 1
        batch = Batch(owner, first, first + length - 1, content=content, tags=tags, timestamp=timestamp)
        self.subject.check(Write((batch,)))

    @rule(owner=ids, back=st.integers(0, 5), length=lengths)
    def write_again(self, owner: str, back: int, length: int) -> None:
        first = max(self.highest.get(owner, 0) - back, 1)
        self.highest.setdefault(owner, first + length - 1)
        self.subject.check(Write((Batch(owner, first, first + length - 1),)))

    @rule(owner=ids)
    def replay(self, owner: str) -> None:
        self.subject.check(Replay(owner))

    @rule(owner=ids, first=numbers, last=numbers, limit=st.integers(0, 3) | st.just(MAX_SEQUENCE_NR))
    def replay_window(self, owner: str, first: int, last: int, limit: int) -> None:
        self.subject.check(Replay(owner, first, last, limit))

    @rule(owner=ids, hint=st.just(0) | numbers)
    def highest_number(self, owner: str, hint: int) -> None:
        self.subject.check(Highest(owner, hint))

    @rule(owner=ids, to=numbers)
    def delete(self, owner: str, to: int) -> None:
        self.subject.check(Delete(owner, to))

    @rule(owner=ids, number=numbers, timestamp=st.sampled_from(TIMES), content=st.sampled_from(CONTENTS))
    def save(self, owner: str, number: int, timestamp: int, content: Any) -> None:
        self.subject.check(SaveSnapshot(owner, number, timestamp, content))

    @rule(owner=ids, within=bounds)
    def load(self, owner: str, within: Bounds) -> None:
        self.subject.check(LoadSnapshot(owner, within))

    @rule(owner=ids, number=numbers, timestamp=st.sampled_from(TIMES))
    def delete_snapshot(self, owner: str, number: int, timestamp: int) -> None:
        self.subject.check(DeleteSnapshot(owner, number, timestamp))

    @rule(owner=ids, within=bounds)
    def delete_snapshots(self, owner: str, within: Bounds) -> None:
        self.subject.check(DeleteSnapshots(owner, within))

    @rule(moved=st.integers(-1, 1))
    def clock(self, moved: int) -> None:
        self.subject.check(Clock(model.START_OF_CLOCK + moved))


def settings_of(examples: int) -> settings:
    """What a project would set: no database and no deadline, all phases, so that what fails is shrunk."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def state_machine() -> None:
    run_state_machine_as_test(Machine, settings=settings_of(EXAMPLES))


def under_hypothesis() -> None:
    @settings_of(EXAMPLES)
    @given(st.binary(min_size=SIZE * AT_ONCE, max_size=SIZE * AT_ONCE))
    def examine(codes: bytes) -> None:
        for start in range(0, len(codes), SIZE):
            check_all(decode(codes[start : start + SIZE], ""))

    examine()


def under_random(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(PROGRAMS):
        check_all(decode(source.randbytes(SIZE), ""))


def made_before(some: Sequence[Program]) -> None:
    for program in some:
        check_all(program)


def check_all(program: Program) -> None:
    """A program on a fresh subject; other namespaces and queries are left out, since the subject has one and none."""
    subject = Subject()
    for step in program.steps:
        if not step.namespace and not isinstance(step.operation, QUERY_OPERATIONS):
            subject.check(step.operation)


def examined(seed: int) -> None:
    with Examiner(backend) as examiner:
        for program in programs(seed, PROGRAMS):
            Subject.checked += examiner.examine(program).operations


async def rate_of(work: Callable[[], None]) -> float:
    before, start = Subject.checked, time.perf_counter()
    work()
    return (Subject.checked - before) / seconds_since(start)


@asynccontextmanager
async def generation(_: Path) -> AsyncIterator[Suite]:
    peer = "RuleBasedStateMachine"
    yield Suite(
        "checked operations a second on the backend in memory",
        [
            Case(peer, partial(rate_of, state_machine)),
            Case("decoder, Hypothesis", partial(rate_of, under_hypothesis), (Beside(peer, Goal(20)),)),
            Case("decoder, random.Random", partial(rate_of, partial(under_random, 1)), (Beside(peer, Goal(20)),)),
            Case(
                "programs made before",
                partial(rate_of, partial(made_before, [*programs(1, PROGRAMS)])),
                (Beside(peer),),
            ),
            Case("the kit's examiner", partial(rate_of, partial(examined, 1)), (Beside(peer),)),
        ],
        f"{EXAMPLES} examples under Hypothesis, of {STEPS} steps or {AT_ONCE} programs; {PROGRAMS} programs elsewhere\n"
        "programs made before: the limit, since carrying out and judging costs the same however an operation is made",
    )


SUITES: dict[str, OpenSuite] = {"generation": generation}

if __name__ == "__main__":
    main("Checked operations a second: a decoder of bytes beside a RuleBasedStateMachine.", SUITES)
