"""The engine: one word for every rule, never green by default, and the same every time."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from perdure import Backend, Claims, Location, PersistentRepr, Storage, WriteRejected
from perdure_memory import MemoryJournal, MemorySnapshotStore, World
from perdure_memory import backend as memory
from perdure_tck.conformance import Conformance, Waiver
from perdure_tck.document import RuleResult, Run
from perdure_tck.engine import Request, conduct
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse
from perdure_tck.verdict import Word, exit_code

TODAY = datetime.date(2026, 6, 15)
CLAIMS = Claims(survives_close=True, shared=True)


def backend_of(journal: type[MemoryJournal], claims: Claims = CLAIMS) -> Backend:
    worlds: dict[int, tuple[Location, World]] = {}

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        _, world = worlds.setdefault(id(location), (location, World()))
        yield Storage(journal(world.events, location.clock, 1), MemorySnapshotStore(world.snapshots, location.clock))

    return Backend("odd", open_it, claims)


def judged(backend: Backend, *rules: str, programs: Sequence[Program] = (), **request: object) -> Run:
    return conduct(backend, Request(programs=programs or installed_programs(), rules=rules, today=TODAY, **request))


def only(run: Run) -> RuleResult:
    (result,) = run.rules
    return result


class Resets(MemoryJournal):
    """Deleting everything a second time sets the highest number back: J-43."""

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        log = self._shelf.logs.get(persistence_id)
        if log and not log.events:
            log.highest_sequence_nr = 0
        await super().delete_messages_to(persistence_id, to_sequence_nr)


class DropsTags(MemoryJournal):
    async def replay_messages(self, *window: object) -> AsyncIterator[PersistentRepr]:
        async for event in super().replay_messages(*window):
            yield msgspec.structs.replace(event, tags=frozenset())


# ----------------------------------------------------------------------------------------------------------- one word


def test_a_rule_that_holds_and_was_exercised_conforms() -> None:
    run = judged(memory, "J-43")
    assert only(run).word is Word.CONFORMS
    assert only(run).reason.endswith("scenarios")
    assert run.footer.exit_code == 0
    assert all(only(run).coverage[name] >= least for name, least in only(run).floor.items())


def test_a_rule_that_is_broken_is_violated_with_its_witness() -> None:
    run = judged(backend_of(Resets), "J-43")
    assert only(run).word is Word.VIOLATED
    assert only(run).witnesses
    assert run.footer.exit_code == 1


def test_a_rule_below_its_floor_is_unproven_and_says_what_is_missing() -> None:
    """K-13: nothing that was not exercised may look like a pass."""
    program = parse("rules J-43\nwrite p 1 -> ok\ndelete p ..max -> ok\nhighest p -> 1", "only_one")
    run = judged(memory, "J-43", programs=[program])
    assert only(run).word is Word.UNPROVEN
    assert only(run).reason == "not exercised enough: deletions 1 of 2, idle_deletions 0 of 3, highest_read 1 of 4"
    assert run.footer.exit_code == 4


def test_a_rule_without_any_scenario_is_unproven() -> None:
    program = parse("rules J-43\nwrite p 1 -> ok", "another")
    assert only(judged(memory, "J-50", programs=[program])).word is Word.UNPROVEN


def test_a_violation_outweighs_a_floor_that_was_not_reached() -> None:
    program = parse("rules J-43\nwrite p 1\ndelete p ..max\ndelete p ..max\nhighest p -> 1", "short")
    assert only(judged(backend_of(Resets), "J-43", programs=[program])).word is Word.VIOLATED


def test_all_rules_are_judged_where_none_is_named() -> None:
    run = judged(memory)
    assert [result.id for result in run.rules] == [
        one.id for one in all_rules().values() if one.judged and not one.swept
    ]
    assert {one.id for one in run.awaiting} == all_rules().keys() - {result.id for result in run.rules}
    assert sum(run.footer.counts.values()) == len(run.rules)


def test_only_the_programs_of_the_selected_rules_run() -> None:
    names: list[str] = []
    conduct(
        memory,
        Request(programs=installed_programs(), rules=("J-43",), today=TODAY),
        lambda *told: names.append(told[2]),
    )
    assert names
    assert set(names) == {one.name for one in installed_programs() if "J-43" in one.rules and one.level == "core"}


def test_a_program_of_level_full_runs_only_when_asked_for() -> None:
    core = parse("rules J-43\nwrite p 1", "light")
    full = parse("rules J-43\nlevel full\nwrite p 1", "heavy")
    assert judged(memory, "J-43", programs=[core, full]).footer.programs == 1
    assert judged(memory, "J-43", programs=[core, full], level="full").footer.programs == 2


def test_blame_on_a_rule_that_was_not_selected_shows_all_the_same() -> None:
    run = judged(backend_of(DropsTags), "J-50", programs=[parse("rules J-50\nwrite p 1 tags=a\nreplay p", "x")])
    assert {result.id: result.word for result in run.rules} == {"J-22": Word.VIOLATED, "J-50": Word.UNPROVEN}


def test_the_prefixes_that_keep_programs_apart_are_not_shown() -> None:
    run = judged(backend_of(Resets), "J-43")
    shown = [step.operation for witness in only(run).witnesses for step in witness.steps]
    assert shown
    assert not any(re.search(r"k\d+z", operation) for operation in shown)
    assert {"write p 1"} == {only(run).witnesses[0].steps[0].operation}


# ------------------------------------------------------------------------------------------------------------- claims


def test_a_claim_that_is_absent_and_would_not_hold_is_confirmed_by_a_probe() -> None:
    forgetful = backend_of(DropsTags, msgspec.structs.replace(CLAIMS, tags=False))
    run = judged(forgetful, "J-22")
    assert only(run).word is Word.UNSUPPORTED
    assert only(run).reason == "tags is not claimed, and a probe confirmed that"
    assert only(run).witnesses == ()


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        ("tags", "J-22"),
        ("writer_uuid", "J-19"),
        ("event_manifest", "J-21"),
        ("metadata", "J-35"),
        ("survives_close", "J-45"),
        ("survives_close", "S-34"),
        ("shared", "J-85"),
    ],
)
def test_a_claim_that_is_absent_but_holds_may_be_made(claim: str, rule: str) -> None:
    modest = msgspec.structs.replace(memory, claims=msgspec.structs.replace(memory.claims, **{claim: False}))
    run = judged(modest, rule)
    assert only(run).word is Word.UNSUPPORTED
    assert only(run).reason.startswith(f"{claim} is not claimed, yet it held in ")
    assert only(run).reason.endswith(": you may claim it")


def test_a_run_in_which_every_rule_is_excused_has_proved_nothing() -> None:
    """K-07: what is skipped is counted, and never a success."""
    modest = msgspec.structs.replace(memory, claims=msgspec.structs.replace(memory.claims, tags=False))
    run = judged(modest, "J-22")
    assert run.footer.counts[Word.UNSUPPORTED] == 1
    assert run.footer.exit_code == 4


@pytest.mark.parametrize(
    "claims",
    [
        Claims(),
        Claims(atomic_batch=1),
        Claims(atomic_batch=2, payload_size_max=100, persistence_id_length_max=64),
        Claims(tags=False, metadata=False, writer_uuid=False, event_manifest=False),
        Claims(timestamp_resolution_ns=1_000_000_000),
    ],
)
def test_every_combination_of_claims_can_be_asked(claims: Claims) -> None:
    """K-02: a kit that only ever sees full claims may demand of others what they cannot do. None of this may raise."""
    run = judged(msgspec.structs.replace(memory, claims=claims), programs=installed_programs()[::4])
    assert run.faults == ()


def test_a_limit_excuses_from_programs_that_go_beyond_it() -> None:
    class Single(MemoryJournal):
        async def write_messages(self, writes: object) -> object:
            answers = list(await super().write_messages([one for one in writes if len(one.events) == 1]))
            rejection = WriteRejected("one event at a time")
            return [rejection if len(one.events) > 1 else answers.pop(0) for one in writes]

    program = parse("rules J-43\nwrite p 1..3 -> ok\nreopen -> ok\nhighest p -> 3", "batch")
    run = judged(backend_of(Single, Claims(atomic_batch=1)), "J-43", programs=[program])
    assert (only(run).word, only(run).reason) == (
        Word.UNSUPPORTED,
        "atomic_batch is not claimed, and a probe confirmed that",
    )


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (Claims(power_durable="yes"), "power_durable 'yes' without kill_durable"),
        (Claims(kill_durable=True), "kill_durable without survives_close"),
    ],
)
def test_claims_that_contradict_themselves_are_a_fault_of_the_adapter(claims: Claims, message: str) -> None:
    run = judged(msgspec.structs.replace(memory, claims=claims), "J-43")
    assert only(run).word is Word.KIT_FAULT
    assert message in run.faults[0].message
    assert run.footer.exit_code == 3


# -------------------------------------------------------------------------------------------------- what is not offered


@asynccontextmanager
async def open_journal_only(location: Location) -> AsyncIterator[Storage]:
    async with memory.open(location) as storage:
        yield Storage(journal=storage.journal)


@asynccontextmanager
async def open_snapshots_only(location: Location) -> AsyncIterator[Storage]:
    async with memory.open(location) as storage:
        yield Storage(snapshots=storage.snapshots)


@pytest.mark.parametrize(
    ("opener", "missing", "offered"),
    [(open_journal_only, "snapshots", "journal"), (open_snapshots_only, "journal", "snapshots")],
)
def test_a_chapter_that_the_backend_does_not_offer_is_unsupported(opener: object, missing: str, offered: str) -> None:
    run = judged(Backend("half", opener, CLAIMS))
    words = {
        chapter: {result.word for result in run.rules if result.chapter == chapter} for chapter in (missing, offered)
    }
    assert words[missing] == {Word.UNSUPPORTED}
    assert words[offered] <= {Word.CONFORMS, Word.UNPROVEN}
    assert Word.CONFORMS in words[offered]
    reasons = {result.reason for result in run.rules if result.chapter == missing}
    assert reasons == {f"the backend offers no {missing}"}


# ------------------------------------------------------------------------------------------------------------ waivers


def waived(until: datetime.date, rule: str = "J-43") -> Conformance:
    return Conformance(waiver=(Waiver(rule=rule, reason="known", link="https://example.org/1", until=until),))


@pytest.mark.parametrize(
    ("days", "word", "reason", "code"),
    [
        (1, Word.WAIVED, "known (https://example.org/1, until 2026-06-16)", 0),
        (0, Word.WAIVED, "known (https://example.org/1, until 2026-06-15)", 0),
        (-1, Word.VIOLATED, "its waiver expired on 2026-06-14 (https://example.org/1)", 1),
    ],
)
def test_a_waiver_is_in_force_up_to_and_including_its_day(days: int, word: Word, reason: str, code: int) -> None:
    run = judged(backend_of(Resets), "J-43", conformance=waived(TODAY + datetime.timedelta(days)))
    assert only(run).word is word
    assert only(run).reason.endswith(reason)
    assert only(run).witnesses
    assert run.footer.exit_code == code


def test_a_waiver_that_is_not_needed_is_red() -> None:
    run = judged(memory, "J-43", conformance=waived(TODAY))
    assert only(run).word is Word.VIOLATED
    assert only(run).reason == "waived until 2026-06-15, yet it ends in CONFORMS: remove the waiver"
    assert run.footer.exit_code == 1


def test_a_waiver_of_what_is_unsupported_is_red() -> None:
    modest = msgspec.structs.replace(memory, claims=msgspec.structs.replace(memory.claims, tags=False))
    run = judged(modest, "J-22", conformance=waived(TODAY, "J-22"))
    assert only(run).word is Word.VIOLATED
    assert "yet it ends in UNSUPPORTED: remove the waiver" in only(run).reason


def test_a_waiver_does_not_make_a_rule_proven() -> None:
    program = parse("rules J-43\nwrite p 1 -> ok", "short")
    run = judged(memory, "J-43", programs=[program], conformance=waived(TODAY))
    assert only(run).word is Word.UNPROVEN


def test_the_claims_of_the_conformance_file_replace_single_ones() -> None:
    run = judged(memory, "J-22", conformance=Conformance(claims={"tags": False}))
    assert only(run).word is Word.UNSUPPORTED
    assert run.header.backend.claims["tags"] is False
    assert run.header.backend.claims["shared"] is True


# ------------------------------------------------------------------------------------------------------------- faults


@asynccontextmanager
async def open_raises(_: Location) -> AsyncIterator[Storage]:
    raise OSError("no such server")
    yield Storage()


@asynccontextmanager
async def open_hangs(_: Location) -> AsyncIterator[Storage]:
    await asyncio.Event().wait()
    yield Storage()


@asynccontextmanager
async def open_gives_a_number(_: Location) -> AsyncIterator[Storage]:
    yield 5


@asynccontextmanager
async def open_lacks_a_method(_: Location) -> AsyncIterator[Storage]:
    class Half:
        async def write_messages(self, writes: object) -> object: ...

    yield Storage(Half())


@asynccontextmanager
async def open_has_another_signature(location: Location) -> AsyncIterator[Storage]:
    class Other(MemoryJournal):
        async def delete_messages_to(self, persistence_id: str) -> None: ...

    yield Storage(Other(World().events, location.clock, 1))


@pytest.mark.parametrize(
    ("opener", "message"),
    [
        (open_raises, "opening odd raised OSError: no such server"),
        (open_hangs, "opening odd gave no answer in 0.1 s"),
        (open_gives_a_number, "open() gave a int, not a perdure.Storage"),
        (
            open_lacks_a_method,
            "has no method replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max_count)",
        ),
        (open_has_another_signature, "delete_messages_to cannot be called with (persistence_id, to_sequence_nr)"),
    ],
)
def test_an_adapter_that_does_not_work_is_a_fault_and_no_violation(opener: object, message: str) -> None:
    run = judged(Backend("odd", opener, CLAIMS), "J-43", "S-01", open_limit_s=0.1)
    assert [result.word for result in run.rules] == [Word.KIT_FAULT, Word.KIT_FAULT]
    assert len(run.faults) == 1
    assert message in run.faults[0].message
    assert run.footer.exit_code == 3


def test_a_backend_that_cannot_be_closed_is_a_fault_of_the_run() -> None:
    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        async with memory.open(location) as storage:
            yield storage
        raise OSError("no longer there")

    run = judged(Backend("odd", open_it, CLAIMS), "J-43")
    assert run.faults[0].message == "closing odd raised OSError: no longer there"
    assert run.footer.exit_code == 3


def test_a_scenario_that_contradicts_the_model_is_a_fault_of_the_kit() -> None:
    program = parse("rules J-43\nwrite p 1 -> conflict", "wrong")
    run = judged(memory, "J-43", programs=[program])
    assert run.faults[0].message.startswith("scenario wrong contradicts the model: step 1 'write p 1 -> conflict'")
    assert run.footer.exit_code == 3


def test_a_fault_does_not_hide_what_was_found_before_it() -> None:
    good = parse("rules J-43\nwrite p 1\ndelete p ..max\ndelete p ..max\nhighest p", "a_good_one")
    wrong = parse("rules J-50\nwrite p 1 -> conflict", "wrong")
    run = judged(backend_of(Resets), "J-43", "J-50", programs=[good, wrong])
    assert {result.id: result.word for result in run.rules} == {"J-43": Word.VIOLATED, "J-50": Word.KIT_FAULT}
    assert run.footer.exit_code == 3


def test_a_backend_that_is_silent_is_told_so_and_the_rest_of_the_run_goes_on() -> None:
    class SilentDelete(MemoryJournal):
        async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
            await asyncio.Event().wait()

    run = judged(backend_of(SilentDelete), "J-43", "J-50", operation_limit_s=0.1)
    words = {result.id: result.word for result in run.rules}
    assert words["J-43"] is Word.VIOLATED
    assert words["J-50"] is Word.CONFORMS
    silent = next(result for result in run.rules if result.id == "J-43").witnesses[0].steps[-1]
    assert silent.observed.startswith("no answer in 0.")


# -------------------------------------------------------------------------------------------------------- determinism


def test_two_runs_differ_in_their_times_only() -> None:
    def timeless(run: Run) -> Run:
        header = msgspec.structs.replace(run.header, started="")
        return msgspec.structs.replace(run, header=header, footer=msgspec.structs.replace(run.footer, duration_s=0.0))

    backend = backend_of(Resets)
    assert timeless(judged(backend)) == timeless(judged(backend))


# --------------------------------------------------------------------------------------------------------- exit codes

W = Word
EXIT_CODES = [
    ((), 2),
    ((W.CONFORMS,), 0),
    ((W.CONFORMS, W.WAIVED, W.UNSUPPORTED), 0),
    ((W.WAIVED,), 0),
    ((W.UNSUPPORTED,), 4),
    ((W.CONFORMS, W.UNPROVEN), 4),
    ((W.CONFORMS, W.NOT_RUN), 4),
    ((W.UNPROVEN, W.VIOLATED), 1),
    ((W.NOT_RUN, W.VIOLATED, W.CONFORMS), 1),
    ((W.VIOLATED, W.KIT_FAULT), 3),
    (tuple(W), 3),
]


@pytest.mark.parametrize(("words", "code"), EXIT_CODES)
def test_the_exit_code_is_that_of_the_gravest_word(words: tuple[Word, ...], code: int) -> None:
    assert {exit_code(order) for order in itertools.islice(itertools.permutations(words), 24)} == {code}


def test_partial_lets_not_run_pass_and_nothing_else() -> None:
    assert exit_code([W.CONFORMS, W.NOT_RUN], partial=True) == 0
    assert exit_code([W.CONFORMS, W.NOT_RUN, W.UNPROVEN], partial=True) == 4
    assert exit_code([W.VIOLATED, W.NOT_RUN], partial=True) == 1
