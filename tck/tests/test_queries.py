"""Queries in the kit: what is asked of whoever offers some, what readers leave behind, what generation finds."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import perdure_zoo
import pytest
from perdure import Backend, Claims, EventEnvelope, Location, Offset, Storage
from perdure_memory import backend as memory
from perdure_tck.document import Run
from perdure_tck.engine import Request, conduct
from perdure_tck.examiner import Examiner
from perdure_tck.generation import programs, within
from perdure_tck.model import step
from perdure_tck.offers import QUERY_METHODS
from perdure_tck.outcomes import Taken
from perdure_tck.packs import installed_programs
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse
from perdure_tck.state import State
from perdure_tck.verdict import EXIT_OK, Word

OF_QUERIES = [one for one in installed_programs() if one.uses_queries]
RULES = tuple(one.id for one in all_rules().values() if one.judged and one.chapter == "queries")


class Some:
    """Those queries of the backend in memory that are named."""

    def __init__(self, queries: object, names: Sequence[str]) -> None:
        for name in names:
            setattr(self, name, getattr(queries, name))


def offering(*names: str, claims: Claims = memory.claims) -> Backend:
    @asynccontextmanager
    async def open_some(location: Location) -> AsyncIterator[Storage]:
        async with memory.open(location) as storage:
            yield msgspec.structs.replace(storage, queries=Some(storage.queries, names))  # type: ignore[arg-type]

    return Backend("some", open_some, claims)


def judged(backend: Backend) -> Run:
    return conduct(backend, Request(programs=OF_QUERIES, rules=RULES, today=datetime.date(2026, 1, 1)))


NOT_LIVE = msgspec.structs.replace(memory.claims, live_queries=False)


def test_whoever_offers_no_query_is_excused_from_their_rules() -> None:
    run = judged(offering(claims=NOT_LIVE))
    assert {(one.word, one.reason) for one in run.rules} == {(Word.UNSUPPORTED, "the backend offers no queries")}


@pytest.mark.parametrize("name", [name for name in QUERY_METHODS if name.startswith("current_")])
def test_whoever_offers_one_query_is_judged_by_it_and_told_what_others_need(name: str) -> None:
    run = judged(offering(name, claims=NOT_LIVE))
    assert {one.word for one in run.rules} == {Word.CONFORMS, Word.UNSUPPORTED}
    assert run.footer.exit_code == EXIT_OK
    missing = [one.reason for one in run.rules if "offers no " in one.reason or "not offered" in one.reason]
    assert missing
    assert all(name not in reason.replace(",", "").split() for reason in missing)


def test_without_live_queries_every_rule_that_is_not_about_them_is_judged() -> None:
    run = judged(msgspec.structs.replace(memory, claims=NOT_LIVE))
    excused = {one.id for one in run.rules if one.word is Word.UNSUPPORTED}
    assert excused == {rule_id for rule_id in RULES if all_rules()[rule_id].claim == "live_queries"}
    assert {one.word for one in run.rules} == {Word.CONFORMS, Word.UNSUPPORTED}


def test_claiming_live_queries_without_one_is_a_fault_of_the_adapter() -> None:
    run = judged(offering("current_all_events"))
    assert "live_queries is claimed, and no live query is offered" in run.faults[0].message


@pytest.mark.parametrize(
    ("animal", "rule_id"),
    [
        ("offset_is_included", "Q-06"),
        ("tags_ignore_case", "Q-22"),
        ("deleted_events_in_queries_by_id", "Q-33"),
        ("live_query_ends_where_nothing_is", "Q-01"),
        ("error_is_the_end", "Q-05"),
    ],
)
def test_generated_programs_find_broken_queries_and_name_the_rule(animal: str, rule_id: str) -> None:
    with Examiner(perdure_zoo.animal(animal).backend, operation_limit_s=1.0) as examiner:
        offers = examiner.offers()
        asked = (within(one, examiner.claims, *offers) for one in programs(2026, 4_000) if one.uses_queries)
        found = next(finding for finding in map(examiner.examine, asked) if finding.witnesses)
    assert rule_id in {one for witness in found.witnesses for one in witness.rules}
    assert min(len(witness.steps) for witness in found.witnesses) <= 8
    for witness in found.witnesses:
        assert parse(witness.text, "witness").rules == witness.rules


def test_a_live_query_that_is_left_open_disturbs_nobody() -> None:
    """It waits for an item when the program ends, and is closed with it."""
    left = parse("rules Q-01\nquery f all events\ntake f 1 -> pending\nquery g persistence ids\ntake g 1", "left")
    after = parse("rules Q-01\nwrite p 1 -> ok\nquery f current all events\ntake f all -> p 1, end", "after")
    with Examiner(memory) as examiner:
        for _ in range(3):
            assert examiner.examine(msgspec.structs.replace(left, name=f"left_{_}")).witnesses == ()
            assert examiner.examine(msgspec.structs.replace(after, name=f"after_{_}")).witnesses == ()


LOOSE = """rules Q-30
page_size 1

write q 1 tags=a
query f events by tag a
take f 1
write p 1..3 tags=a
delete p ..max
write q 2 tags=a
delete q ..max
take f all
"""


@pytest.mark.parametrize(
    ("given", "allowed"),
    [((), True), ((4,), True), ((1,), True), ((1, 2), True), ((2, 3), False), ((3,), False), ((1, 4), True)],
)
def test_a_live_query_may_have_fetched_a_page_of_what_was_there_at_any_moment(
    given: tuple[int, ...], allowed: bool
) -> None:
    """Deleted events that a page can have held: the first two of `p`, or `q` 2 after those had gone."""
    claims = msgspec.structs.replace(memory.claims, deleted_events_in_feeds="dropped")
    state = State(page_size=1)
    steps = parse(LOOSE, "loose").steps
    for number, one in enumerate(steps[:-1], 1):
        state = step(state, one.operation, number, claims)[0].state
    envelopes = tuple(EventEnvelope(Offset("here", place), state.feed[place]) for place in given)
    observed = Taken(envelopes, "pending")
    answer = step(state, steps[-1].operation, len(steps), claims, observed)[0].outcome
    assert isinstance(answer, Taken)
    assert ([one.event for one in answer.envelopes] == [one.event for one in envelopes]) is allowed
