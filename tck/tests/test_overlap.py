"""Programs whose steps overlap: their text, how they are run, what is found, and that it is found again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import perdure_zoo
import pytest
from perdure import AtomicWrite, Backend, Claims, EventEnvelope, Location, Offset, Storage, WriteRejected
from perdure_memory import backend as memory
from perdure_sqlite import backend as sqlite
from perdure_tck import overlap_generation
from perdure_tck.examiner import Examiner, Finding
from perdure_tck.judge import disagreement, unmet_claim
from perdure_tck.outcomes import Cancelled
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.scenario_text import ScenarioError, parse, show
from perdure_zoo._animal import WardJournal, caged
from perdure_zoo._query_ward import WardQueries, caged_with_queries

RACE = """\
# Two writers.
rules J-80
one_handle

write p 1      -> ok
together
  a: write p 2 -> ok | conflict
  b: write p 2 -> ok | conflict
end
replay p       -> 1..2
"""


def program(text: str = RACE) -> Program:
    return parse(text, "race")


def examined(backend: Backend, text: str = RACE) -> Finding:
    with Examiner(backend, operation_limit_s=2.0) as examiner:
        return examiner.examine(program(text))


# ------------------------------------------------------------------------------------------------------------ language


def test_a_block_is_shown_as_it_is_read() -> None:
    assert show(program()) == RACE


@pytest.mark.parametrize("one", [one for one in installed_programs() if one.overlaps], ids=lambda one: one.name)
def test_scenarios_are_shown_without_loss_and_agree_with_the_model(one: Program) -> None:
    assert parse(show(one), one.name) == one
    assert disagreement(one) == ""


def test_a_schedule_is_shown_without_loss() -> None:
    for schedule in ((), (0, 2, 1)):
        one = msgspec.structs.replace(program(), schedule=schedule)
        assert parse(show(one), "race") == one


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("together\na: write p 1", "race:4: expected the 'end' of a block, found none"),
        ("end", "race:2: expected steps between 'together' and 'end', found none"),
        ("together\nend", "race:3: expected steps between 'together' and 'end', found none"),
        ("together\ntogether", "race:3: expected 'end' of the block before another one begins, found together"),
        ("together\nreopen\nend", "race:4: expected no 'reopen' in a block, where calls overlap, found one"),
        ("cancel a", "race:3: expected 'cancel' within a block only, found one outside"),
        ("together\na: cancel a\nend", "race:4: expected the cancelled client in the same block, as another one"),
        ("together\na: replay p\nb: cancel c\nend", "race:5: expected the cancelled client in the same block"),
        (
            "query f current all events\ntogether\na: take f all\nend",
            "race:5: expected a number of events to take in a block",
        ),
    ],
)
def test_a_mistake_in_a_block_is_named(lines: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(f"rules J-80\n{lines}", "race")
    assert str(raised.value).startswith(message)


def test_an_expectation_that_no_order_gives_or_that_forgets_one_contradicts_the_model() -> None:
    assert "the model allows 1..2" in disagreement(program(RACE.replace("-> 1..2", "-> 1 | 1..2")))
    assert "the model allows conflict or ok as well" in disagreement(program(RACE.replace("p 2 -> ok | c", "p 2 -> c")))


def test_handles_of_their_own_ask_for_a_claim_and_one_handle_does_not() -> None:
    assert unmet_claim(program(), Claims()) == ""
    assert unmet_claim(program(RACE.replace("one_handle\n", "")), Claims()) == "shared"


@pytest.mark.parametrize(
    ("claims", "query", "unmet"),
    [
        (Claims(live_queries=True), "query f events by tag t", ""),
        (Claims(live_queries=True, tags=False), "query f events by tag t", "tags"),
        (Claims(), "query f all events", "live_queries"),
        (Claims(), "query f current all events", ""),
        (Claims(), "reopen", "survives_close"),
    ],
)
def test_a_block_asks_for_the_claims_that_its_steps_need(claims: Claims, query: str, unmet: str) -> None:
    text = RACE.replace("together", f"{query}\ntogether").replace("p 2 ", "p 2 tags=t ")
    assert unmet_claim(program(text), claims) == unmet


def test_a_query_that_cannot_be_closed_when_all_is_done_is_no_fault_of_the_kit() -> None:
    """What a program left open is closed for it; a `close` of its own is what asks for that."""
    text = "rules Q-08\none_handle\nquery f all events\ntogether\n  a: write p 1\n  b: take f 1\nend"
    finding = examined(caged_with_queries("waits_to_close", ClosingWaits), text)
    assert not finding.witnesses
    assert finding.coverage["looks"] > 0


class ClosingWaits(WardQueries):
    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        try:
            async for row in super().feed(subject, behind, tag, live):
                yield row
        finally:
            await self.shelf.changes.after(self.shelf.changes.count)


# ------------------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("backend", [memory, sqlite], ids=lambda backend: backend.name)
def test_a_right_backend_is_clean(backend: Backend) -> None:
    finding = examined(backend)
    assert not finding.witnesses
    assert finding.coverage["interleavings"] >= 5
    assert finding.coverage["contended"] == finding.coverage["interleavings"]
    assert ("schedules" in finding.coverage) == (backend is memory)
    assert ("real_runs" in finding.coverage) == (backend is sqlite)


def test_a_race_is_found_shrunk_and_found_again_the_same() -> None:
    backend = perdure_zoo.animal("reads_then_writes").backend
    first, again = (examined(backend).witnesses[0] for _ in range(2))
    assert first == again
    assert (first.seen, first.repeated) == (3, 3)
    assert [step.operation for step in first.steps] == ["write p 1", "write p 1"]
    assert all(step.block for step in first.steps)
    assert (first.steps[-1].observed, first.steps[-1].allowed) == ("ok", "conflict")
    replayed = parse(first.text, "witness")
    assert replayed.schedule is not None
    with Examiner(backend) as examiner:
        assert examiner.try_alone(replayed).deviations
    with Examiner(memory) as examiner:
        assert not examiner.try_alone(replayed).deviations


NEEDS_A_SCHEDULE = """\
rules J-17
one_handle
write p 1..2, q 1
together
  a: highest p
  b: highest q
end
"""


def test_the_schedule_of_a_witness_is_as_plain_as_may_be() -> None:
    witness = examined(perdure_zoo.animal("answers_another_caller").backend, NEEDS_A_SCHEDULE).witnesses[0]
    shown = parse(witness.text, "witness")
    assert shown.schedule is not None
    assert sum(map(bool, shown.schedule)) <= 1
    assert len(shown.steps) <= 4


@pytest.mark.parametrize("name", ["keeps_its_lock", "leaves_half_a_batch", "cancelled_yet_carried_out"])
def test_what_a_cancelled_call_leaves_is_found(name: str) -> None:
    text = (
        "rules J-33\none_handle\ntogether\na: write p 1..2\nb: cancel a\nend\nhighest p\nreplay p\nhighest p\nwrite p 3"
    )
    witness = examined(perdure_zoo.animal(name).backend, text).witnesses[0]
    assert any(step.observed == str(Cancelled()) for step in witness.steps)


class _Blocks(WardJournal):
    """A lock of threads in a coroutine: the second call waits for the first, and neither can go on."""

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        lock = self.ward.__dict__.setdefault("lock", threading.Lock())
        if not lock.acquire(timeout=1):
            raise TimeoutError
        try:
            await asyncio.sleep(0)
            return await super().write_messages(writes)
        finally:
            lock.release()


def test_a_backend_that_blocks_its_event_loop_is_told_so() -> None:
    with Examiner(caged("blocks", _Blocks), operation_limit_s=0.2) as examiner:
        finding = examiner.examine(program())
        assert examiner.overlaps.not_simulated == "it blocks its event loop"
    assert "no answer" in finding.witnesses[0].steps[-1].observed
    assert "J-61" in finding.witnesses[0].rules


class _BlocksOnce(WardJournal):
    """What a machine with too much to do looks like: one write of the whole run takes longer than it may."""

    blocked = False

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        if not _BlocksOnce.blocked:
            _BlocksOnce.blocked = True
            time.sleep(1.0)  # noqa: ASYNC251 - that is the point
        return await super().write_messages(writes)


def test_a_machine_that_is_slow_once_does_not_change_how_a_backend_is_judged() -> None:
    with Examiner(caged("blocks_once", _BlocksOnce), operation_limit_s=0.2) as examiner:
        assert examiner.overlaps.not_simulated == ""
        assert _BlocksOnce.blocked
        assert examiner.examine(program()).witnesses == ()


@asynccontextmanager
async def _with_a_socket(location: Location) -> AsyncIterator[Storage]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server, memory.open(location) as storage:
        yield storage


def test_a_backend_with_connections_is_judged_on_a_real_loop() -> None:
    with Examiner(Backend("connected", _with_a_socket, memory.claims)) as examiner:
        finding = examiner.examine(program())
        assert "input and output" in examiner.overlaps.not_simulated
    assert not finding.witnesses
    assert finding.coverage["real_runs"] == finding.coverage["interleavings"] > 0


# --------------------------------------------------------------------------------------------------------------- feeds


FEED = """\
rules Q-08
one_handle

query f all events
together
  a: write p 1
  b: write q 1
  c: take f {count}
end
"""


def test_a_take_of_more_than_will_come_rightly_waits() -> None:
    finding = examined(memory, FEED.format(count=3))
    assert not finding.witnesses
    assert finding.coverage["looks"] > 0


def test_a_take_of_what_has_come_and_is_never_given_deviates() -> None:
    witness = examined(perdure_zoo.animal("woken_too_early").backend, FEED.format(count=2)).witnesses[0]
    assert witness.steps[-1].observed.startswith("never answered")
    assert [step.operation for step in witness.steps] == ["query f all events", "write p 1", "take f 1"]


def test_a_take_that_is_cancelled_closes_its_query_and_harms_nobody() -> None:
    cancelled = FEED.format(count=2).replace("  b: write q 1\n", "  a: cancel c\n  b: write q 1\n")
    behind = "take f all\nquery g current all events after f\ntake g all\n"
    finding = examined(memory, cancelled + behind)
    assert not finding.witnesses
    assert 0 < finding.coverage["cancelled"] < finding.coverage["interleavings"]


def test_offsets_that_go_down_deviate_though_the_events_are_right() -> None:
    backend = caged_with_queries("downwards", OffsetsGoDown)
    deviations = []
    with Examiner(backend) as examiner:
        deviations += examiner.overlaps.search(program(FEED.format(count=2)), backend.claims).deviations
    assert [one.field for one in deviations] == ["offset"]
    assert "above" in deviations[0].allowed


class OffsetsGoDown(WardQueries):
    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        return EventEnvelope(Offset(row.offset.origin, 100 - row.offset.position), row.event)


# ---------------------------------------------------------------------------------------------------------- generated


def test_generated_programs_are_always_the_same_and_lose_nothing_as_text() -> None:
    some = list(overlap_generation.programs(3, 60))
    assert some == list(overlap_generation.programs(3, 60))
    for one in some:
        if one.overlaps:
            named = msgspec.structs.replace(one, rules=("J-17",))
            shown = parse(show(named), one.name)
            assert msgspec.structs.replace(shown, prose="") == named


def test_generated_programs_find_nothing_in_memory_and_races_where_there_are_some() -> None:
    def found(backend: Backend, count: int) -> list[Finding]:
        with Examiner(backend) as examiner:
            offers = examiner.offers()
            asked = [
                overlap_generation.within(one, backend.claims, offers) for one in overlap_generation.programs(1, count)
            ]
            findings = examiner.examine_all(
                [one for one in asked if one.overlaps], lambda some: bool(some[-1:] and some[-1].witnesses)
            )
        return [finding for finding in findings if finding.witnesses]

    assert not found(memory, 150)
    for name, chapter in (
        ("reads_then_writes", "J-"),
        ("batch_is_seen_row_by_row", "J-"),
        ("one_temporary_file", "S-"),
        ("passes_a_late_commit", "Q-08"),
        ("woken_too_early", "Q-08"),
        ("goes_live_from_the_end", "Q-08"),
        ("timer_ends_catching_up", "Q-08"),
    ):
        witness = found(perdure_zoo.animal(name).backend, 150)[0].witnesses[0]
        assert witness.rules[0].startswith(chapter)
        assert len(witness.steps) <= 5, witness.text


# ------------------------------------------------------------------------------------------------- what is left behind


LEFT_OPEN = """\
rules Q-08
one_handle

query f all events
together
  a: write p 1 -> ok
  b: write q 1 -> ok
end
"""


class ClosingNeverEnds(WardQueries):
    """Whoever closes a live query waits for ever."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        try:
            async for row in super().feed(subject, behind, tag, live):
                yield row
        finally:
            if live:
                await asyncio.Event().wait()


@pytest.mark.parametrize("in_simulation", [True, False])
def test_closing_what_was_left_open_may_be_silent_once_every_step_was_observed(in_simulation: bool) -> None:
    asked = program(LEFT_OPEN + "take f 2 -> p 1, q 1 | q 1, p 1\n")
    with Examiner(caged_with_queries("closing", ClosingNeverEnds), operation_limit_s=0.5, open_limit_s=1.0) as examiner:
        if not in_simulation:
            examiner.overlaps._not_simulated = "a test asks so"
        trial = examiner.overlaps.search(asked, Claims(live_queries=True), 2)
    assert not trial.deviations
    assert len(trial.execution.observations) == len(asked.steps)
    assert trial.execution.ended_early
    assert trial.runs == 2
