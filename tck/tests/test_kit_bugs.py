"""Ways in which conformance kits were green and wrong, or red and wrong, and what keeps them from happening here.

All of them happened somewhere; `KIT_BUGS` says which tests stand against each. Those that prove something of other
parts of the kit stand with them. Each test here tells in its docstring what went wrong elsewhere.
"""

from __future__ import annotations

import ast
import datetime
import io
import os
import re
import runpy
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import perdure_zoo
import pytest
from perdure import (
    AtomicWrite,
    Backend,
    Claims,
    EventEnvelope,
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    WriteRejected,
)
from perdure_memory import MemoryJournal, MemorySnapshotStore, World
from perdure_memory import backend as memory
from perdure_memory._queries import MemoryQueries
from perdure_reports import junit, summary, terminal
from perdure_tck.actor_operations import Tell
from perdure_tck.document import Run
from perdure_tck.engine import ACTORS_SHARE, OVERLAPPING_SHARE, Request, conduct
from perdure_tck.examiner import Examiner
from perdure_tck.history import Execution, Observation
from perdure_tck.judge import FULL_CLAIMS, judge
from perdure_tck.operations import (
    ACTOR_OPERATIONS,
    Delete,
    Highest,
    LoadSnapshot,
    Query,
    Replay,
    SaveSnapshot,
    Take,
    Write,
    ids_of,
)
from perdure_tck.outcomes import Answers, AnyOutcome, Done, Events, Loaded
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program, Step
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse
from perdure_tck.verdict import EXIT_OK, EXIT_UNPROVEN, EXIT_USAGE, Word, exit_code
from perdure_zoo import ANIMALS, DEGENERATES
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
TODAY = datetime.date(2026, 1, 1)

KIT_BUGS: Mapping[str, Sequence[str]] = {
    # A suite demanded what the contract does not promise, so right stores failed. Here every expectation has a second
    # oracle: a scenario that the model contradicts is a fault of the kit and no violation.
    "K-01": (
        "test_scenario_files::test_a_scenario_expects_what_the_model_says",
        "test_engine::test_a_scenario_that_contradicts_the_model_is_a_fault_of_the_kit",
        "test_model::test_an_expectation_that_the_model_does_not_share_is_named",
    ),
    "K-02": (
        "test_kit_bugs::test_whoever_claims_less_and_keeps_to_it_breaks_no_rule",
        "test_kit_bugs::test_whoever_claims_less_and_keeps_to_it_can_pass",
        "test_engine::test_every_combination_of_claims_can_be_asked",
    ),
    "K-03": ("test_kit_bugs::test_a_scenario_that_looks_for_nothing_shows_something_too",),
    "K-04": ("test_kit_bugs::test_a_deletion_of_what_is_not_there_proves_nothing_of_deletions",),
    "K-05": (
        "test_kit_bugs::test_no_scenario_passes_on_a_backend_that_does_nothing_right",
        "test_degenerate_backends::test_every_rule_is_violated_by_a_backend_that_does_nothing_right",
    ),
    "K-06": (
        "test_kit_bugs::test_no_scenario_passes_on_a_backend_that_does_nothing_right",
        "test_degenerate_backends::test_every_rule_is_violated_by_a_backend_that_does_nothing_right",
    ),
    # Suites skipped without a word. Here what is not claimed has a word of its own and a reason, both doors show it,
    # it never makes a run green by itself, and on a backend that claims everything nothing at all is skipped.
    "K-07": (
        "test_pytest_plugin::test_what_is_not_claimed_is_skipped_with_its_reason",
        "test_pytest_plugin::test_the_memory_is_green_with_a_test_for_each_rule_and_for_each_of_its_scenarios",
        "test_engine::test_a_run_in_which_every_rule_is_excused_has_proved_nothing",
        "test_zoo::test_the_same_run_is_clean_on_a_right_backend",
    ),
    # Suites took it for granted that positions have no gaps. Here the reference backend leaves gaps on purpose, between
    # offsets, and the programs leave them between the numbers of events.
    "K-08": (
        "test_model::test_whatever_the_memory_does_the_model_allows",
        "test_memory::test_offsets_may_have_gaps",
        "test_model::test_a_history_by_hand",
    ),
    "K-09": ("test_kit_bugs::test_each_way_to_break_a_rule_has_an_animal_that_falls_on_it",),
    "K-10": (
        "test_kit_bugs::test_a_backend_without_any_claim_is_asked_for_nothing_more",
        "test_engine::test_an_adapter_that_does_not_work_is_a_fault_and_no_violation",
    ),
    "K-11": (
        "test_kit_bugs::test_no_scenario_is_a_copy_of_another",
        "test_pytest_plugin::test_both_doors_give_the_same_words",
    ),
    "K-12": (
        "test_kit_bugs::test_every_field_of_an_event_is_compared",
        "test_kit_bugs::test_every_field_of_a_snapshot_is_compared",
    ),
    "K-13": (
        "test_kit_bugs::test_a_run_without_programs_proves_nothing_and_says_so",
        "test_kit_bugs::test_the_number_of_programs_that_ran_is_part_of_the_run",
        "test_engine::test_a_rule_below_its_floor_is_unproven_and_says_what_is_missing",
        "test_document::test_every_prefix_of_a_document_is_refused",
    ),
    "K-14": ("test_kit_bugs::test_what_is_excused_is_named_with_its_reason_in_every_report",),
    "K-15": (
        "test_kit_bugs::test_what_is_not_judged_yet_is_named_in_the_run",
        "test_kit_bugs::test_what_is_excused_is_named_with_its_reason_in_every_report",
    ),
    # A test was taken out where the behaviour should have been mended. Here a rule or a known bug cannot vanish: the
    # numbers are counted, and each of them is judged, or says what it waits for, or why it is not.
    "K-16": (
        "test_rules::test_every_number_of_the_edition_is_listed_once",
        "test_rules::test_a_rule_is_judged_or_says_what_it_waits_for_or_why_nothing_can",
        "test_zoo::test_every_known_bug_has_an_animal_or_awaits_a_chapter_or_is_not_ours",
        "test_zoo::test_the_catalogue_has_every_bug_once",
    ),
    # A slip in a test made it look past the very hole it was for, for years. Here every scenario and every rule has to
    # catch a broken backend that is broken in what it is about.
    "K-17": (
        "test_crude_mistakes::test_a_scenario_catches_a_broken_backend_by_a_rule_that_it_is_about",
        "test_zoo::test_every_judged_rule_catches_an_animal",
    ),
    "K-18": (
        "test_kit_bugs::test_after_a_refusal_somebody_looks",
        "test_judge::test_any_other_outcome_ends_the_walk",
    ),
    # "All tests were green before this fix." Here every known bug of a real system has an animal, or is on the list of
    # those that wait for the means to show it.
    "K-19": (
        "test_zoo::test_every_known_bug_has_an_animal_or_awaits_a_chapter_or_is_not_ours",
        "test_zoo::test_an_animal_is_caught_by_a_rule_that_names_its_cause",
    ),
    "K-20": (
        "test_kit_bugs::test_no_scenario_wants_an_acknowledged_event_to_vanish",
        "test_rules::test_a_rule_says_why_what_to_check_and_where_it_comes_from",
    ),
    "K-21": (
        "test_kit_bugs::test_mutants_are_made_on_a_copy_and_leave_no_bytecode",
        "test_kit_bugs::test_an_animal_does_not_change_what_it_is_made_of",
    ),
}
"""Each way, and the tests that stand against it."""


@pytest.mark.parametrize("kit_bug", KIT_BUGS)
def test_the_tests_that_stand_against_a_bug_of_kits_exist(kit_bug: str) -> None:
    assert KIT_BUGS[kit_bug]
    for name in KIT_BUGS[kit_bug]:
        module, _, test = name.partition("::")
        assert test in names_of_tests(module), f"{kit_bug} rests on {name}, which does not exist"


def test_every_known_bug_of_kits_is_covered() -> None:
    assert list(KIT_BUGS) == [f"K-{number:02}" for number in range(1, 22)]


def test_every_test_here_is_of_use_against_a_bug_of_kits() -> None:
    listed = {name for names in KIT_BUGS.values() for name in names}
    told = [name for name in names_of_tests("test_kit_bugs") if re.match(r"K-\d\d", globals()[name].__doc__ or "")]
    assert told
    assert {f"test_kit_bugs::{name}" for name in told} == {name for name in listed if name.startswith("test_kit_bugs")}


@cache
def names_of_tests(module: str) -> list[str]:
    """The names of the tests of a module, wherever in the checkout it lies."""
    (path,) = ROOT.glob(f"*/tests/{module}.py")
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [one.name for one in found if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")]


def judged(backend: Backend, programs: Sequence[Program] | None = None, generated: int = 0, rules: str = "") -> Run:
    asked = installed_programs() if programs is None else programs
    request = Request(programs=asked, rules=tuple(rules.split()), today=TODAY, generated=generated)
    return conduct(backend, request)


def words(run: Run) -> dict[str, Word]:
    return {result.id: result.word for result in run.rules}


each_program = pytest.mark.parametrize("program", installed_programs(), ids=lambda program: program.name)


# ------------------------------------------------------------------------- K-02, K-10: nobody is asked for too much


class ModestJournal(MemoryJournal):
    """Keeps what its claims say, and no more; refuses what they say that it refuses."""

    def __init__(self, world: World, location: Location, claims: Claims) -> None:
        super().__init__(world.events, location.clock, 1)
        self.claims = claims

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        for write in writes:
            refuse_long_id(write.persistence_id, self.claims)
        refused = [self._refusal(write) for write in writes]
        left = [write for write, refusal in zip(writes, refused, strict=True) if refusal is None]
        answers = iter(await super().write_messages(left))
        return [next(answers) if refusal is None else refusal for refusal in refused]

    def _refusal(self, write: AtomicWrite) -> WriteRejected | None:
        if self.claims.atomic_batch is not None and len(write.events) > self.claims.atomic_batch:
            return WriteRejected("too many events")
        size_max = self.claims.payload_size_max
        if size_max is not None and any(len(event.payload.data) > size_max for event in write.events):
            return WriteRejected("too large a payload")
        tags = [tag for event in write.events for tag in event.tags] if self.claims.tags else []
        if self.claims.tags_without and any(not tag or {*tag} & {*self.claims.tags_without} for tag in tags):
            return WriteRejected("a tag that cannot be kept")
        return None

    def _stamped(self, event: PersistentRepr) -> PersistentRepr:
        event = super()._stamped(event)
        return msgspec.structs.replace(
            event,
            timestamp=rounded(event.timestamp, self.claims),
            writer_uuid=event.writer_uuid if self.claims.writer_uuid else "",
            manifest=event.manifest if self.claims.event_manifest else "",
            tags=event.tags if self.claims.tags else frozenset(),
            metadata=event.metadata if self.claims.metadata else None,
        )

    def replay_messages(self, persistence_id: str, *window: int) -> AsyncIterator[PersistentRepr]:
        refuse_long_id(persistence_id, self.claims)
        return super().replay_messages(persistence_id, *window)

    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        refuse_long_id(persistence_id, self.claims)
        return await super().read_highest_sequence_nr(persistence_id, from_sequence_nr)

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        refuse_long_id(persistence_id, self.claims)
        await super().delete_messages_to(persistence_id, to_sequence_nr)


class ModestSnapshots(MemorySnapshotStore):
    """The same of snapshots."""

    def __init__(self, world: World, location: Location, claims: Claims) -> None:
        super().__init__(world.snapshots, location.clock)
        self.claims = claims

    async def load(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> SelectedSnapshot | None:
        refuse_long_id(persistence_id, self.claims)
        return await super().load(persistence_id, criteria)

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        refuse_long_id(metadata.persistence_id, self.claims)
        timestamp = rounded(metadata.timestamp or self._clock(), self.claims)
        kept = SelectedSnapshot(msgspec.structs.replace(metadata, timestamp=timestamp), snapshot)
        self._shelf.snapshots[metadata.persistence_id, metadata.sequence_nr] = kept

    async def delete(self, metadata: SnapshotMetadata) -> None:
        refuse_long_id(metadata.persistence_id, self.claims)
        key = (metadata.persistence_id, metadata.sequence_nr)
        kept = self._shelf.snapshots.get(key)
        if kept and (not metadata.timestamp or rounded(metadata.timestamp, self.claims) == kept.metadata.timestamp):
            del self._shelf.snapshots[key]

    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        refuse_long_id(persistence_id, self.claims)
        await super().delete_matching(persistence_id, criteria)


class ModestQueries(MemoryQueries):
    """The same of queries; deleted events are in feeds only if the claims say so."""

    def __init__(self, world: World, location: Location, claims: Claims) -> None:
        super().__init__(world.events, location.page_size)
        self.claims = claims

    async def _feed(self, query: str, position: int, tag: str | None, live: bool) -> AsyncIterator[EventEnvelope]:
        async for envelope in super()._feed(query, position, tag, live):
            if self.claims.deleted_events_in_feeds == "kept" or self._shelf.holds(envelope):
                yield envelope

    def current_events_by_persistence_id(self, persistence_id: str, *window: int) -> AsyncIterator[EventEnvelope]:
        refuse_long_id(persistence_id, self.claims)
        return super().current_events_by_persistence_id(persistence_id, *window)

    def events_by_persistence_id(self, persistence_id: str, *window: int) -> AsyncIterator[EventEnvelope]:
        refuse_long_id(persistence_id, self.claims)
        return super().events_by_persistence_id(persistence_id, *window)


def refuse_long_id(persistence_id: str, claims: Claims) -> None:
    limit = claims.persistence_id_length_max
    if limit is not None and len(persistence_id) > limit:
        raise ValueError(f"persistence_id of {len(persistence_id)} characters; {limit} are allowed")


def rounded(timestamp: int, claims: Claims) -> int:
    return timestamp - timestamp % claims.timestamp_resolution_ns


def modest(claims: Claims) -> Backend:
    """A backend that does what it claims and takes the rest at its word.

    Without `survives_close` it forgets at closing, and without `shared` it refuses to be opened twice at once.
    """
    worlds: dict[Location, World] = {}
    handles: Counter[Location] = Counter()

    @asynccontextmanager
    async def open_modest(location: Location) -> AsyncIterator[Storage]:
        if handles[location] and not claims.shared:
            raise OSError("somebody has it open")
        handles[location] += 1
        world = worlds.setdefault(location, World())
        queries = ModestQueries(world, location, claims)
        try:
            yield Storage(ModestJournal(world, location, claims), ModestSnapshots(world, location, claims), queries)
        finally:
            queries.close()
            handles[location] -= 1
            if not handles[location] and not claims.survives_close:
                del worlds[location]

    return Backend("modest", open_modest, claims)


ABLE = Claims(survives_close=True, shared=True, live_queries=True, deleted_events_in_feeds="kept")
LESS: Mapping[str, Any] = {
    "survives_close": False,
    "shared": False,
    "writer_uuid": False,
    "event_manifest": False,
    "tags": False,
    "metadata": False,
    "atomic_batch": 1,
    "live_queries": False,
    "deleted_events_in_feeds": "dropped",
    "tags_without": ",;",
    "timestamp_resolution_ns": 1_000_000,
    "persistence_id_length_max": 255,
    "payload_size_max": 1_000,
}
"""Each claim that a backend may make less of, and how much less."""

STRUCK = {"kill_durable", "power_durable", "detects_damage"}
"""The claims that sweeps judge, which need a backend in files."""

AWAITED = {"live_queries", "deleted_events_in_feeds"}
"""The claims that no rule is judged by yet: they await queries."""

CLAIMED_LESS = {
    **{name: {name: value} for name, value in LESS.items()},
    "everything at once": dict(LESS),
    "one event at a time, in milliseconds": {"atomic_batch": 1, "timestamp_resolution_ns": 1_000_000},
    "batches of two, in seconds": {"atomic_batch": 2, "timestamp_resolution_ns": 1_000_000_000},
    "no fields": dict.fromkeys(("writer_uuid", "event_manifest", "tags", "metadata"), False),
}


GENERATED = 300
"""How many generated programs are put to each of them, and one with overlapping steps beside every tenth."""


def test_every_claim_can_be_made_less_of_below() -> None:
    assert LESS.keys() | STRUCK | AWAITED == {*Claims.__struct_fields__}


@cache
def run_of_modest(less: str) -> Run:
    return judged(modest(msgspec.structs.replace(ABLE, **CLAIMED_LESS[less])), generated=GENERATED)


@pytest.mark.parametrize("less", CLAIMED_LESS)
def test_whoever_claims_less_and_keeps_to_it_breaks_no_rule(less: str) -> None:
    """K-02: with a capability switched off, a suite asked in a way that no plugin without it could answer.

    Here a backend stands for each claim that is not made, and for several at once. It really does no more than it
    claims, scenarios and generated programs are put to it, and it must not fall on anything.
    """
    run = run_of_modest(less)
    assert run.faults == ()
    assert {result.id: result.reason for result in run.rules if result.word is Word.VIOLATED} == {}
    assert run.footer.generated == GENERATED + GENERATED // OVERLAPPING_SHARE + GENERATED // ACTORS_SHARE


@pytest.mark.parametrize("less", CLAIMED_LESS)
def test_whoever_claims_less_and_keeps_to_it_can_pass(less: str) -> None:
    """K-02: the same. What is not asked for must not be missed afterwards."""
    wrong = [one for one in run_of_modest(less).rules if one.word not in (Word.CONFORMS, Word.UNSUPPORTED)]
    assert {result.id: result.reason for result in wrong} == {}
    assert run_of_modest(less).footer.exit_code == EXIT_OK


def test_a_backend_without_any_claim_is_asked_for_nothing_more() -> None:
    """K-10: facts of a suite failed on a right store, for want of a precondition that nobody had written down.

    Here what a suite may take for granted is a claim. A backend that forgets at closing and cannot be opened twice at
    once, as the plainest one does, is neither at fault nor violates anything.
    """
    run = judged(modest(Claims()), generated=GENERATED)
    assert run.faults == ()
    assert run.footer.generated == GENERATED + GENERATED // OVERLAPPING_SHARE + GENERATED // ACTORS_SHARE
    assert {*words(run).values()} == {Word.CONFORMS, Word.UNSUPPORTED}
    needing = {rule.id for rule in all_rules().values() if rule.judged and not rule.swept and not rule.binds(Claims())}
    assert {rule_id for rule_id, word in words(run).items() if word is Word.UNSUPPORTED} == needing


# ------------------------------------------------------------- K-03, K-18, K-20: what a scenario has to look like


ABSENT = ("none", "0", "end", "pending", "closed")
REFUSALS = ("conflict", "rejected", "invalid")
LOOKS = (Replay, Highest, LoadSnapshot, Take, *ACTOR_OPERATIONS)


def shows_something(step: Step) -> bool:
    if isinstance(step.operation, ACTOR_OPERATIONS):  # an actor that recovers something, or from something
        return any(re.search(r"\b(replayed|snapshot \d)", expected) for expected in step.expected)
    return isinstance(step.operation, LOOKS) and not {*step.expected} & {*ABSENT, "invalid"}


@each_program
def test_a_scenario_that_looks_for_nothing_shows_something_too(program: Program) -> None:
    """K-03: cases about what must not be found asked with a fresh timestamp, and so for what never was.

    Here every scenario sees something that is stored, in each of the two stores in which it looks for nothing.
    """
    for kinds in ((Replay, Highest, Take, *ACTOR_OPERATIONS), (LoadSnapshot, *ACTOR_OPERATIONS)):
        looks = [step for step in program.steps if isinstance(step.operation, kinds)]
        nothing = [step for step in looks if {*step.expected} & {*ABSENT}]
        assert not nothing or any(shows_something(step) for step in looks), f"{nothing[0]} alone proves nothing"
    assert any(shows_something(step) for step in program.steps)


@each_program
def test_after_a_refusal_somebody_looks(program: Program) -> None:
    """K-18: a test of conflicts passed for another reason: some error came, and nobody looked at what it had done.

    Here the kind of error is compared, and whatever is refused is followed by a look at what is stored, at the same id
    unless nobody can have such an id.
    """
    for place, step in enumerate(program.steps, 1):
        if any(refusal in expected for expected in step.expected for refusal in REFUSALS):
            ids = {one for one in ids_of(step.operation) if possible(one)}
            looks = [one for one in program.steps[place:] if isinstance(one.operation, LOOKS) and sees(one)]
            assert any(not ids or ids & ids_looked_at(one, program) for one in looks), f"nobody looks after {step}"


def ids_looked_at(step: Step, program: Program) -> set[str]:
    """The ids that a step names; a query that is not about one id looks at all of them."""
    if not isinstance(step.operation, Take):
        return {*ids_of(step.operation)}
    queries = [one.operation for one in program.steps if isinstance(one.operation, Query)]
    query = next(one for one in reversed(queries) if one.name == step.operation.name)
    return {*ids_of(query)} or {one for some in program.steps for one in ids_of(some.operation)}


def sees(step: Step) -> bool:
    return "invalid" not in step.expected


def possible(persistence_id: str) -> bool:
    return bool(persistence_id) and not any("\ud800" <= character <= "\udfff" for character in persistence_id)


@each_program
def test_no_scenario_wants_an_acknowledged_event_to_vanish(program: Program) -> None:
    """K-20: a test had the destruction of the log as the result that it wanted, and so had whoever read it.

    The expectations here are written by hand, and the model agrees with them. This is a third opinion that shares no
    line with either: an event that was seen is seen again by every later replay of everything, unless a deletion of its
    id reached it.
    """
    seen: dict[tuple[str, str], set[int]] = {}
    for step in program.steps:
        operation = step.operation
        if isinstance(operation, Delete) and step.expected == ("ok",):
            known = seen.setdefault((step.namespace, operation.persistence_id), set())
            known -= {number for number in known if number <= operation.to_sequence_nr}
        elif isinstance(operation, Tell):  # an actor that deletes is told how far
            upto = max((int(one) for one in re.findall(r"\bdeleted (\d+)", " ".join(step.expected))), default=0)
            known = seen.setdefault((step.namespace, operation.persistence_id), set())
            known -= {number for number in known if number <= upto}
        elif replays_everything(step):
            key = (step.namespace, *ids_of(operation))
            vanished = seen.get(key, set()) - numbers_in(step.expected[0])
            assert not vanished, f"{step} wants {sorted(vanished)} gone, which nobody deleted"
            seen[key] = numbers_in(step.expected[0])


def replays_everything(step: Step) -> bool:
    whole = isinstance(step.operation, Replay) and step.operation == Replay(step.operation.persistence_id)
    return whole and len(step.expected) == 1 and sees(step)


def numbers_in(expected: str) -> set[int]:
    """The numbers of `1..3, 5`."""
    found: set[int] = set()
    for part in expected.replace("max", str(2**63 - 1)).split(", "):
        first, _, last = part.partition("..")
        if first != "none":
            found.update(range(int(first), int(last or first) + 1))
    return found


def test_no_scenario_is_a_copy_of_another() -> None:
    """K-11: a suite was copied by hand for several stores, and in one of the copies the assertions were weaker.

    Here there is one corpus for every backend, both doors lead to it, and no two of its scenarios ask the same.
    """
    asked = {
        (tuple((step.client, step.operation) for step in one.steps), one.page_size, one.hazards)
        for one in installed_programs()
    }
    assert len(asked) == len(installed_programs())


# ------------------------------------------------------------------------- K-04, K-05, K-06: what must not pass


def test_a_deletion_of_what_is_not_there_proves_nothing_of_deletions() -> None:
    """K-04: a case deleted by a wrong number, so nothing was deleted, and it passed all the same.

    Here a deletion counts as one only if it took something away, and every rule that has to do with the effect of
    deletions wants such ones.
    """
    right = parse("rules J-41\nwrite p 5..9 -> ok\ndelete p ..7 -> ok\nhighest p -> 9\nreplay p -> 8..9", "right")
    wrong = parse("rules J-41\nwrite p 5..9 -> ok\ndelete p ..4 -> ok\nhighest p -> 9\nreplay p -> 5..9", "wrong")
    for program, deletions in ((right, 1), (wrong, 0)):
        (result,) = judged(memory, [program], rules="J-41").rules
        assert result.word is Word.UNPROVEN
        assert f"deletions {deletions} of 2" in result.reason
    about = {one.id for one in all_rules().values() if one.judged and re.search(r"\b[Dd]elet(ed|ing)\b", one.sentence)}
    floors = {rule_id: all_rules()[rule_id].floor for rule_id in sorted(about)}
    assert about
    assert {rule_id for rule_id, floor in floors.items() if not any("deletions" in one for one in floor)} == set()


ANSWERING = [backend for backend in DEGENERATES if backend.name not in ("never_answers", "blocks_the_loop")]


@pytest.mark.parametrize("backend", ANSWERING, ids=lambda backend: backend.name)
def test_no_scenario_passes_on_a_backend_that_does_nothing_right(backend: Backend) -> None:
    """K-05, K-06: specs passed on a store that loads nothing, and a whole suite on one that refuses every write.

    Here not only does no rule conform there: no single scenario passes on a store that is always empty, refuses or
    fails every write, is closed, or answers nonsense.
    """
    with Examiner(backend, operation_limit_s=1.0) as examiner:
        assert [one.name for one in installed_programs() if not examiner.try_alone(one).deviations] == []


# -------------------------------------------------------------------------------------- K-09: every way to break a rule


WAYS: Mapping[str, Mapping[str, str]] = {
    "J-16": {
        "a number that has an event": "second_write_replaces_the_first",
        "a number that has none any more, or never had": "unique_key_only",
        "the number of the last event": "retry_of_the_last_event_succeeds",
    },
    "J-46": {
        "a hint above the highest number": "hint_is_the_answer",
        "a hint where nothing is": "hint_is_a_bound",
    },
    "J-42": {
        "deleting everything": "highest_rewinds",
        "deleting up to the very last number": "truncation_is_the_highest_number",
    },
}
"""Branches of a rule, and for each an animal that is right in the others."""


@pytest.mark.parametrize("rule_id", WAYS)
def test_each_way_to_break_a_rule_has_an_animal_that_falls_on_it(rule_id: str) -> None:
    """K-09: a case about forged values only ever tried the branch in which a value was there already.

    Here a rule with several branches has an animal for each, all of them fall on it, and the scenarios tell them apart:
    no two fall on the same ones.
    """
    programs = [program for program in installed_programs() if rule_id in program.rules]
    catching = {way: {one.name for one in programs if falls(name, rule_id, one)} for way, name in WAYS[rule_id].items()}
    assert all(catching.values()), catching
    assert len({frozenset(names) for names in catching.values()}) == len(catching), "two ways that nothing tells apart"


def falls(animal: str, rule_id: str, program: Program) -> bool:
    with Examiner(perdure_zoo.animal(animal).backend, operation_limit_s=1.0) as examiner:
        return any(rule_id in one.rules for one in examiner.try_alone(program).deviations)


# ------------------------------------------------------------------------------------------ K-12: nothing is left out


WRITING = 'write p 1 data="x" payload_manifest=pm manifest=m writer=w at=1999 tags=a+b metadata="y"\nreplay p\nreplay q'
SAVING = 'save snapshot p 3 at 7 data="x" payload_manifest=pm\nload snapshot p'


def variants(value: object) -> Iterator[object]:
    """Values that differ from this one in a single place, however deep. One of an unknown kind is a mistake of ours."""
    match value:
        case msgspec.Struct():
            for field in value.__struct_fields__:
                for other in variants(getattr(value, field)):
                    yield msgspec.structs.replace(value, **{field: other})
        case frozenset():
            yield from (value - {one} for one in value)
            yield value | {"another"}
        case str():
            yield from ("", value + "x", value.upper())
        case bytes():
            yield from (b"", value + b"x")
        case int():
            yield from (value + 1, value - 1)
        case _:
            raise TypeError(f"how does one change a little in {value!r}?")


def full_event(program: Program) -> PersistentRepr:
    """What the program writes, in which every field says something."""
    operation = program.steps[0].operation
    assert isinstance(operation, Write)
    (event,) = operation.batches[0].atomic_write(1).events
    assert all(getattr(event, field) for field in event.__struct_fields__), "a field that this test knows nothing of"
    return event


def deviates(program: Program, *outcomes: AnyOutcome) -> bool:
    seen = [Observation(number, program.steps[number - 1], outcome) for number, outcome in enumerate(outcomes, 1)]
    return bool(judge(program, Execution(tuple(seen)), FULL_CLAIMS, page_size=500).deviations)


def test_every_field_of_an_event_is_compared() -> None:
    """K-12: of the tags of an event only one was looked for, so a store could lose the others.

    Here an event is changed in one place at a time, in every field that it has, and each change is a deviation. A field
    that is new is one that this test does not know, and fails.
    """
    program = parse(f"rules J-50\n{WRITING}", "by_hand")
    event = full_event(program)
    stored = Answers((False,))
    assert not deviates(program, stored, Events((event,)), Events(()))
    changed = list(variants(event))
    assert len(changed) > 2 * len(event.__struct_fields__)
    assert [one for one in changed if not deviates(program, stored, Events((one,)))] == []
    for wrong in ((), (event, event), (msgspec.structs.replace(event, sequence_nr=2), event)):
        assert deviates(program, stored, Events(wrong))
    for lost in ({"tags": frozenset()}, {"metadata": None}):
        assert deviates(program, stored, Events((msgspec.structs.replace(event, **lost),)))


def test_every_field_of_a_snapshot_is_compared() -> None:
    """K-12: the same of snapshots."""
    program = parse(f"rules S-01\n{SAVING}", "by_hand")
    operation = program.steps[0].operation
    assert isinstance(operation, SaveSnapshot)
    saved = SelectedSnapshot(operation.metadata(), operation.payload(1))
    assert not deviates(program, Done(), Loaded(saved))
    changed = list(possible_variants(saved))
    assert len(changed) > 8
    assert [one for one in changed if not deviates(program, Done(), Loaded(one))] == []


def possible_variants(saved: SelectedSnapshot) -> Iterator[SelectedSnapshot]:
    """The variants of a snapshot, without those that cannot even be made: an empty id."""
    for field in saved.metadata.__struct_fields__:
        for value in variants(getattr(saved.metadata, field)):
            if value != "":
                yield msgspec.structs.replace(saved, metadata=msgspec.structs.replace(saved.metadata, **{field: value}))
    for payload in variants(saved.snapshot):
        assert isinstance(payload, Payload)
        yield msgspec.structs.replace(saved, snapshot=payload)


# ------------------------------------------------------------------------------ K-13, K-14, K-15: what a run has to say


def test_a_run_without_programs_proves_nothing_and_says_so() -> None:
    """K-13: a pipeline reported success while its specs failed, or had not run at all.

    Here nothing is green by default: without programs every rule is unproven, and without rules the run is a mistake.
    """
    run = judged(memory, [])
    assert {*words(run).values()} == {Word.UNPROVEN}
    assert (run.footer.programs, run.footer.operations, run.footer.exit_code) == (0, 0, EXIT_UNPROVEN)
    assert exit_code([]) == EXIT_USAGE


def test_the_number_of_programs_that_ran_is_part_of_the_run() -> None:
    """K-13: the same. How many programs and operations a verdict rests on is written down, and is what really ran."""
    asked: list[str] = []
    core = [one for one in installed_programs() if one.level == "core"]
    request = Request(programs=installed_programs(), today=TODAY, generated=40)
    run = conduct(memory, request, lambda _number, _total, name: asked.append(name))
    assert run.footer.exit_code == EXIT_OK
    assert run.footer.generated == 40 + 40 // OVERLAPPING_SHARE + 40 // ACTORS_SHARE
    assert run.footer.programs == len(asked) == len({*asked}) == len(core) + run.footer.generated
    assert {one.name for one in core} <= {*asked}
    assert run.footer.operations > sum(len(one.steps) for one in core)


def shown(run: Run, tmp_path: Path) -> Mapping[str, str]:
    """Every report of a run, as text."""
    console = Console(file=io.StringIO(), width=400)
    terminal.show(run, console)
    junit.write(run, tmp_path / "junit.xml")
    assert isinstance(console.file, io.StringIO)
    return {
        "terminal": console.file.getvalue(),
        "summary": summary.text(run),
        "junit": (tmp_path / "junit.xml").read_text(encoding="utf-8"),
    }


def test_what_is_excused_is_named_with_its_reason_in_every_report(tmp_path: Path) -> None:
    """K-14, K-15: a case was made optional because plugins failed it, and others stood behind a flag.

    Here what is optional is a claim, and a rule that is excused for want of one is named in every report, with the
    claim, and is not counted as one that conforms.
    """
    run = judged(modest(msgspec.structs.replace(ABLE, tags=False, metadata=False)), rules="J-01 J-22 J-35 S-01 Q-21")
    excused = {rule_id for rule_id, word in words(run).items() if word is Word.UNSUPPORTED}
    assert excused == {"J-22", "J-35", "Q-21"}
    assert {word for rule_id, word in words(run).items() if rule_id not in excused} == {Word.CONFORMS}
    for name, text in shown(run, tmp_path).items():
        for result in run.rules:
            assert (result.id in text) or result.id not in excused, f"{result.id} is not named in {name}"
        assert "UNSUPPORTED" in text, name
        assert "tags is not claimed" in " ".join(text.split()), name
    cases = ElementTree.parse(tmp_path / "junit.xml").iter("testcase")
    skipped = {str(case.get("name"))[:4] for case in cases if case.find("skipped") is not None}
    assert skipped == excused


def test_what_is_not_judged_yet_is_named_in_the_run() -> None:
    """K-15: cases about deletion stood behind a flag that nobody set.

    Here every rule of the edition is either judged in a run or named in it with the reason; there is no third kind.
    """
    run = judged(memory, [])
    assert {one.id for one in run.rules} | {one.id for one in run.awaiting} == all_rules().keys()
    assert not {one.id for one in run.rules} & {one.id for one in run.awaiting}
    assert all(
        one.reason.startswith(("will be judged with ", "untestable: ", "judged by sweeps")) for one in run.awaiting
    )


# ----------------------------------------------------------------------------------------------- K-21: honest mutants


def test_mutants_are_made_on_a_copy_and_leave_no_bytecode(tmp_path: Path) -> None:
    """K-21: a gate of mutants was green because a file that was edited twice in a second kept its old bytecode.

    Here mutants of the kit are made in a copy that has no bytecode and gets none, all of one function side by side; the
    copy is of what is judged, and it is not the checkout.
    """
    mutation = runpy.run_path(str(Path(__file__).with_name("mutation.py")))
    mutation["prepare"](tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".pyc" or path.name == "__pycache__"]
    environment: Mapping[str, str] = mutation["environment"](tmp_path)
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not any(place.startswith(str(ROOT)) for place in environment["PYTHONPATH"].split(os.pathsep))
    for target in mutation["TARGETS"]:
        copied = (tmp_path / "src" / "perdure_tck" / f"{target}.py").read_text(encoding="utf-8")
        original = (ROOT / "tck" / "perdure_tck" / f"{target}.py").read_text(encoding="utf-8")
        assert copied == original.replace("@cache\n", "")
        forgetful = copied.replace("@cached_property", "")  # which dies with its object
        assert "@cache" not in forgetful, "an answer from before would outlive a change"
    assert "process_isolation = forkserver" in (tmp_path / "setup.cfg").read_text(encoding="utf-8")


TOLD = "x__weight__mutmut_3"


@pytest.mark.parametrize(
    ("codes", "explained", "code"),
    [
        ({"a": 1, TOLD: 0}, "| `after` | it is the same |", 0),
        ({"a": 1, TOLD: 0}, "", 1),
        ({"a": 1, TOLD: 0}, "after", 1),
        ({TOLD: 0}, "`after`", 1),
        ({"a": 1, TOLD: 0, "b": 33}, "`after`", 1),
        ({"a": 1, TOLD: 0, "b": None}, "`after`", 1),
        ({"a": 1, "b": 24, TOLD: 0}, "`after`", 0),
        ({"a": 1, TOLD: 0}, "`af\\|ter`", 1),
        ({}, "", 1),
    ],
)
def test_a_mutant_that_nobody_noticed_has_to_be_explained(
    codes: Mapping[str, int | None], explained: str, code: int
) -> None:
    mutation = runpy.run_path(str(Path(__file__).with_name("mutation.py")))
    living = [mutation["Change"](TOLD, "before", "after")] if TOLD in codes else []
    assert mutation["told"](codes, living, explained) == code


def test_an_animal_does_not_change_what_it_is_made_of() -> None:
    """K-21: the same of the zoo: its animals are classes of their own, and the backend that they are made of stays.

    Here the reference is judged after some of them, in one process, and conforms; and none shares a class with another.
    """
    for animal in ANIMALS[::12]:
        assert Word.VIOLATED in words(judged(animal.backend, rules=" ".join(animal.killed_by))).values()
    assert {*words(judged(memory)).values()} == {Word.CONFORMS}
    assert len({animal.backend.open for animal in ANIMALS}) == len(ANIMALS)
