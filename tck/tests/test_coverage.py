"""Coverage: each counter is reached, and counts what its name says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from perdure_memory import backend as memory
from perdure_tck.coverage import COUNTS, OVERLAP_COUNTS
from perdure_tck.examiner import Examiner
from perdure_tck.scenario_text import parse

FEED = "write p each 1..3 tags=a, q 1\n"
ACTOR = "start p\ntell p persist a, persist b\ncrash p\n"
PERMITS = "next load p waits\nstart p permits 1\n"
COUNTED = [
    ("writes", "write p 1..3\nwrite p 4, q 1", 3),
    ("rejections", 'write p 1 manifest="\\ud800", 1, 2 tags="\\ud800"', 2),
    ("writes", 'write p 1 manifest="\\ud800", 1', 1),
    ("conflicts", "write p 2\nwrite p 1\nwrite p 2, q 1", 2),
    ("invalid", 'replay ""\nhighest p hint -1\nload snapshot p seq 3..2', 3),
    ("empty_calls", "write nothing\nwrite p 1", 1),
    ("events_replayed", "write p 1..5\nreplay p 2..4\nreplay p limit 1", 4),
    ("empty_replays", "write p 1\nreplay p\nreplay q\nreplay p 2..\nreplay p limit 0", 3),
    ("windows", "write p 1..3\nreplay p\nreplay p 2..\nreplay p limit 2\nreplay p ..9", 2),
    ("gaps", "write p 1..2\nwrite p 5\nwrite p 9\nreplay p", 2),
    ("gaps", "write p 3\nreplay p", 1),
    ("gaps", "write p 3\nreplay p 3..", 0),
    ("gaps", "write p 1\nwrite p 3\nreplay p", 1),
    ("gaps", "write p 2\nreplay p", 1),
    ("gaps", "write p 2\nreplay p 0..", 1),
    ("pages", "page_size 2\nwrite p 1..3\nreplay p\nreplay p 2..", 1),
    ("highest_read", "write p 1\nhighest p\nhighest p\nhighest q", 2),
    ("highest_unknown", "write p 1..2\nhighest p\nhighest p\nhighest q", 1),
    ("hints", "write p 1\nhighest p hint 5\nhighest p hint 1\nhighest p", 2),
    ("deletions", "write p 1..2\ndelete p ..1\ndelete p ..1\ndelete q ..9", 1),
    ("idle_deletions", "write p 1..2\ndelete p ..1\ndelete p ..1\ndelete q ..9\ndelete p ..0", 3),
    ("reopenings", "write p 1\nreopen\nreopen", 2),
    ("handles", "write p 1\na: highest p\nb: highest p", 2),
    ("saves", "save snapshot p 1 at 1\nsave snapshot p 1 at 2", 2),
    ("replaced", "save snapshot p 1 at 1\nsave snapshot p 1 at 2\nsave snapshot q 1 at 1", 1),
    ("loads", "save snapshot p 1 at 1\nload snapshot p\nload snapshot p\nload snapshot q", 2),
    ("empty_loads", "save snapshot p 1 at 1\nload snapshot p\nload snapshot p\nload snapshot q", 1),
    (
        "snapshot_deletions",
        "save snapshot p 1 at 1\nsave snapshot p 2 at 1\ndelete snapshot p 1\ndelete snapshots p",
        2,
    ),
    ("events_taken", f"{FEED}query f current all events\ntake f 2\ntake f all\nquery g persistence ids\ntake g 2", 4),
    ("taken_by_id", f"{FEED}query f current events by persistence id p 2..\ntake f all", 2),
    ("taken_by_tag", f"{FEED}query f current events by tag a\ntake f all\nquery g all events\ntake g 1", 3),
    ("taken_of_all", f"{FEED}query f current all events\ntake f 3\nquery g current events by tag a\ntake g 1", 3),
    ("taken_live", f"{FEED}query f all events\ntake f 2\nquery g current all events\ntake g all", 2),
    ("ids_taken", f"{FEED}query f current persistence ids\ntake f all", 2),
    ("resumed", f"{FEED}query f all events\ntake f 1\nquery g all events after f\ntake g 1\ntake f 1", 1),
    ("withheld", f"{FEED}delete p ..2\nquery f current events by persistence id p\ntake f 1\ntake f 1", 1),
    ("withheld", f"{FEED}query f current events by persistence id p\ntake f all", 0),
    ("feed_pages", f"page_size 2\n{FEED}query f current all events\ntake f 2\ntake f 1\ntake f 1", 1),
    ("ends", f"{FEED}query f current all events\ntake f 4\ntake f 1\nquery g all events\ntake g all", 1),
    ("empty_feeds", "query f all events\ntake f 1\nquery g current all events\ntake g all\nwrite p 1\ntake f all", 2),
    ("pauses", f"{FEED}query f all events\ntake f all\ntake f 1\nquery g current all events\ntake g all", 2),
    (
        "refused_queries",
        'query f current events by persistence id ""\ntake f 1\nquery g all events after foreign\ntake g 1',
        2,
    ),
    ("closed_takes", f"{FEED}query f all events\nreopen\ntake f 1", 1),
    ("closes", f"{FEED}query f all events\ntake f 1\nclose f", 1),
    ("idle_snapshot_deletions", "save snapshot p 1 at 1\ndelete snapshot p 1 at 2\ndelete snapshots q", 2),
    ("commands", "start p\ntell p note x; note y\ncrash p\ntell p note z", 2),
    ("handled", "start p\ntell p persist a, note x, persist b", 2),
    ("noted", "start p\ntell p persist a, note x, defer y", 2),
    ("replayed", f"{ACTOR}start p", 2),
    ("recovered", f"{ACTOR}start p", 2),
    ("offered", "start p\ntell p persist a; save snapshot\ncrash p\nstart p", 1),
    ("rejected_events", "start p\nnext write p rejects\ntell p persist a, persist b", 2),
    ("failed_events", "start p\nnext write p fails\ntell p persist a, persist b", 1),
    ("stopped_actors", "start p\nnext write p fails\ntell p persist a\nstart p\nstop p", 2),
    ("failed_recoveries", f"{ACTOR}next replay p fails\nstart p", 1),
    ("answered_requests", "start p\ntell p persist a; save snapshot; delete ..1", 2),
    ("failed_requests", "start p\ntell p delete ..1", 1),
    ("refused_persists", f"{ACTOR}start p on a (persist x)", 1),
    ("restarts", "start p\ntell p raise\ncrash p\nstart p", 1),
    ("crashes", "start p\ncrash p\ncrash p", 1),
    ("crashes_in_persist", "start p\nnext write p waits\ntell p persist a\ncrash p\nstart p\ncrash p", 1),
    ("disturbed", "next write p waits\nstart p\ntell p persist a\nnext save p fails", 1),
    ("released", "start p\nnext write p waits\ntell p persist a\nrelease p", 1),
    ("timed_out", "start p\nwait\nnext write p waits\ntell p persist a\nwait", 1),
    ("sent", "start p delivers\ntell p persist send_a\nwait", 2),
    ("failed_starts", 'start ""\nstart p', 1),
    ("transitions", "start p machine\ntell p goto active, stay; goto active; stay", 2),
    ("acknowledged", "start p queue\ntell p store sent 1 a; store sent 1 a; store sent 3 c; load state", 2),
    ("queue_states", "start p queue\ntell p store sent 1 a; load state", 1),
    ("waited_for_permits", f"{PERMITS}start q permits 1\nstart r permits 2\nrelease p", 1),
    ("admitted", f"{PERMITS}start q permits 1\nstart r permits 1\nrelease p", 2),
    ("recovered", f"{PERMITS}start q permits 1\nrelease p", 2),
]


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with Examiner(memory) as found:
        yield found


@pytest.mark.parametrize(("counter", "text", "number"), COUNTED)
def test_a_counter_counts_what_its_name_says(examiner: Examiner, counter: str, text: str, number: int) -> None:
    trial = examiner.try_alone(parse(f"rules J-01\n{text}", "by_hand"))
    assert trial.deviations == ()
    assert trial.coverage.get(counter, 0) == number


def test_every_counter_is_tried_above() -> None:
    assert {counter for counter, _, _ in COUNTED} == set(COUNTS) - set(OVERLAP_COUNTS)


def test_nothing_is_counted_that_has_no_name(examiner: Examiner) -> None:
    for _, text, _ in COUNTED:
        assert examiner.try_alone(parse(f"rules J-01\n{text}", "by_hand")).coverage.keys() <= set(COUNTS)
