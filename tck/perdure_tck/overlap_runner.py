"""Runs programs in which steps overlap: on a simulated loop, where a schedule chooses, or on a real one.

Each client of a block is a task, and each call a task of its own, so that it can be cancelled as a caller would. Before
a call, and between the events of a replay, a client gives way: a backend that never suspends is then still interleaved
with others between its calls. A call begins when the backend is entered, not when its task was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from perdure import PersistentRepr, Storage

from .history import Execution, Observation
from .model import START_OF_CLOCK
from .operations import Cancel, Close, Query, Reopen, Take
from .outcomes import AnyOutcome, Cancelled, Done, Failed, NoAnswer, Raised, Stuck
from .overlap_reach import reach
from .program import Program, Step
from .readers import Readers
from .runner import Limits, answer, outcome_of
from .simulation import Choose, Deadlock, Livelock, SimulatedThread
from .stage import KitFault, Silent, Stage

PAUSE_S = 0.002
"""How long a client on a real loop waits at most before a call."""

TURNS_MAX = 1_000

Pause = Callable[[], Awaitable[None]]
Numbered = tuple[int, Step]


def simulated(program: Program, stage: Stage, thread: SimulatedThread, choose: Choose, limits: Limits) -> Run:
    """A run of a program on a stage whose loop is simulated. `choose` chooses within blocks only."""

    async def pause() -> None:
        await asyncio.sleep(0)

    return Run(program, stage, limits, pause, lambda begins: thread.choosing(choose if begins else None))


def real(program: Program, stage: Stage, limits: Limits, seed: str, prefix: str) -> Run:
    """A run of a program on a real loop, where clients wait for moments that the seed says."""
    source = random.Random(seed)

    async def pause() -> None:
        await asyncio.sleep(source.choice((0, 0, source.random() * PAUSE_S)))

    run = Run(program, stage, limits, pause, lambda _: None, prefix)

    async def before_cancel(client: str) -> None:
        """Until there is something to cancel, since no schedule sees to that here."""
        for _ in range(TURNS_MAX):  # two clients that cancel each other would wait for each other
            if run.is_busy(client):
                break
            await asyncio.sleep(0)
        for _ in range(source.randrange(3)):
            await asyncio.sleep(0)

    run.before_cancel = before_cancel
    return run


class Run:
    """One run of one program: `execution` carries it out, `cut_off` tells what there was when it was given up."""

    def __init__(
        self,
        program: Program,
        stage: Stage,
        limits: Limits,
        pause: Pause,
        block_begins: Callable[[bool], None],
        prefix: str = "",
    ) -> None:
        self._program = program
        self._stage = stage
        self._limits = limits
        self._pause = pause
        self._block_begins = block_begins
        self._time = itertools.count(1)
        self._began: dict[int, int] = {}
        self._observations: dict[int, Observation] = {}
        self._calls: dict[str, tuple[int, asyncio.Task[AnyOutcome]]] = {}
        self._cancelled: set[int] = set()
        self._readers = Readers(prefix)
        self._reach = reach(program.steps, stage.backend.claims) if program.uses_queries else {}
        self._ended: set[str] = set()
        self.before_cancel: Callable[[str], Awaitable[None]] = lambda _: pause()

    def execution(self) -> Execution:
        self._stage.open()
        try:
            self._stage.run(self._play())
        except Silent as silence:
            return self.cut_off(NoAnswer(silence.limit_s), str(silence))
        except (Deadlock, Livelock) as stuck:
            return self.cut_off(Stuck(str(stuck)), str(stuck))
        finally:
            self._stage.pulse.end()
        return Execution(self._sorted())

    def cut_off(self, outcome: AnyOutcome, why: str) -> Execution:
        """With the calls that never returned.

        After the last step only queries that were left open are closed. If that gives no answer, the execution is whole
        all the same: what a close has to answer is judged where one is asked for (Q-43).
        """
        if len(self._observations) == len(self._program.steps):
            return Execution(self._sorted(), why)
        waiting = [number for number in self._began if number not in self._observations]
        if not waiting:  # it happened between calls, as where a handle is opened
            raise KitFault(f"{self._stage.backend.name}: {why}, outside of any call")
        for number in waiting:
            self._note(number, outcome, 0)
        return Execution(self._sorted(), why)

    def _sorted(self) -> tuple[Observation, ...]:
        return tuple(self._observations[number] for number in sorted(self._observations))

    def _note(self, number: int, outcome: AnyOutcome, ended: int) -> None:
        step = self._program.steps[number - 1]
        self._observations[number] = Observation(number, step, outcome, self._began[number], ended)

    async def _play(self) -> None:
        self._stage.clock.now = START_OF_CLOCK
        for step in self._program.steps:
            with contextlib.suppress(Exception):  # a handle that cannot be opened fails whoever asks something of it
                await self._storage(step)
        for block, numbered in self._program.blocks:
            if block:
                await self._together(numbered)
            else:
                await self._call(numbered[0])
        if self._readers:
            self._stage.pulse.begin(self._limits.of(Close.kind))
            await self._readers.close_all()

    async def _together(self, numbered: Sequence[Numbered]) -> None:
        clients = dict.fromkeys(step.client for _, step in numbered)
        self._block_begins(True)
        tasks = [
            asyncio.create_task(self._client([one for one in numbered if one[1].client == client]))
            for client in clients
        ]
        await asyncio.gather(*tasks)
        self._block_begins(False)

    async def _client(self, numbered: Sequence[Numbered]) -> None:
        for one in numbered:
            operation = one[1].operation
            await (self._pause() if not isinstance(operation, Cancel) else self.before_cancel(operation.client))
            await self._call(one)
        self._ended.add(numbered[0][1].client)

    async def _call(self, one: Numbered) -> None:
        number, step = one
        self._stage.pulse.begin(self._limits.of(step.operation.kind))
        if isinstance(step.operation, Cancel):
            self._began[number] = next(self._time)
            self._cancel(step.operation.client)
            self._note(number, Done(), next(self._time))
            return
        task = asyncio.create_task(self._entered(one))
        self._calls[step.client] = number, task
        await asyncio.wait({task})
        self._began.setdefault(number, next(self._time))  # it was cancelled before it began
        self._note(number, self._outcome(number, task), next(self._time))

    def is_busy(self, client: str) -> bool:
        """Whether a client has a call under way, or will have none any more."""
        _, task = self._calls.get(client, (0, None))
        return client in self._ended or (task is not None and not task.done())

    def _cancel(self, client: str) -> None:
        number, task = self._calls.get(client, (0, None))
        if task is not None and task.cancel():
            self._cancelled.add(number)

    def _outcome(self, number: int, task: asyncio.Task[AnyOutcome]) -> AnyOutcome:
        """What a call ended in. One that was cancelled may say so by any exception."""
        if task.cancelled():
            return Cancelled()
        outcome = task.result()
        return Cancelled() if number in self._cancelled and isinstance(outcome, Raised | Failed) else outcome

    async def _entered(self, one: Numbered) -> AnyOutcome:
        number, step = one
        self._began[number] = next(self._time)
        if isinstance(step.operation, Reopen):
            return await outcome_of(self._reopened())
        if isinstance(step.operation, Take):
            due = self._reach[number] - self._readers.given(step)
            return await outcome_of(self._readers.take(step, min(due, step.operation.count)))
        if isinstance(step.operation, Close):
            return await outcome_of(self._readers.close(step))
        return await outcome_of(self._asked(number, step))

    async def _asked(self, number: int, step: Step) -> AnyOutcome:
        storage = await self._storage(step)
        if isinstance(step.operation, Query):
            return await self._readers.open(step, storage.queries)
        return await answer(step.operation, number, storage, self._stage.clock, self._read)

    async def _reopened(self) -> AnyOutcome:
        await self._stage.reopen()
        return Done()

    async def _storage(self, step: Step) -> Storage:
        return await self._stage.storage(self._program.handle_of(step.client))

    async def _read(self, events: AsyncIterator[PersistentRepr]) -> list[PersistentRepr]:
        """A reader who takes his time, and closes what he does not read to the end."""
        found = []
        try:
            async for event in events:
                found.append(event)
                await self._pause()
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        return found
