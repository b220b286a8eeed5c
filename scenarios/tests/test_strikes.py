"""Which points are struck: limits of hazards, calls that can fail, and what a failed sync has dropped."""

from __future__ import annotations

import pytest
from perdure_scenarios.failing import trials
from perdure_scenarios.images import Image
from perdure_scenarios.looking import look_of, words_of
from perdure_scenarios.recording._calls import Read
from perdure_scenarios.states import Duty, image_of
from perdure_scenarios.strikes import distinct, dropped, kills, places, power_cuts, steps_of
from perdure_scenarios.tasks import Failure, More, Seen, Sight, Words
from perdure_scenarios.trace import Created, Renamed, Synced, SyncedDirectory, Trace, Wrote
from perdure_tck.hazards import Hazard
from perdure_tck.look import Sights
from perdure_tck.outcomes import Answers, Damaged, Loaded, Number, Raised
from perdure_tck.scenario_text import parse

PROGRAM = parse("rules D-01\nwrite p 1\nwrite p 2\n\nkill during write p 2 at every io", "two")
TRACE = Trace(
    {},
    (
        Created(0, 0, "log"),
        Wrote(1, 0, "log", 0, b"one."),
        Synced(1, 0, "log"),
        Wrote(2, 1, "log", 4, b"two."),
        Synced(2, 1, "log"),
        SyncedDirectory(3, 2, ""),
    ),
)
END = Duty(3, 2)
ALL = frozenset(range(4))


def test_a_hazard_strikes_the_steps_that_it_names() -> None:
    assert steps_of(Hazard("kill"), PROGRAM) == ALL
    assert steps_of(PROGRAM.hazards[0], PROGRAM) == {2}
    assert {strike.moment.under_way for strike in kills(TRACE, END, frozenset({2}))} == {2}


def test_what_is_under_way_is_what_was_not_answered() -> None:
    moments = [(strike.moment.told, strike.moment.under_way) for strike in kills(TRACE, END, ALL)]
    assert moments[0] == (0, 0)
    assert moments[-1] == (2, 0)
    assert (0, 1) in moments
    assert (1, 2) in moments


def test_equal_states_with_equal_duties_are_judged_once() -> None:
    strikes = list(power_cuts(TRACE, END, ALL, 50))
    once = distinct(strikes, set())
    assert len({strike.key for strike in strikes}) == len(once)
    assert {strike.model.partition(";")[0] for strike in once} >= {"ext4"}


@pytest.mark.parametrize(
    ("length", "number", "found"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (10, 3, [0, 4, 9]), (10, 1, [9]), (0, 3, [])],
)
def test_places_are_spread_from_the_first_to_the_last(length: int, number: int, found: list[int]) -> None:
    assert places(length, number) == found


def test_a_failed_sync_drops_what_was_written_since_the_last_one() -> None:
    after = dropped(TRACE, 4, "log")
    assert bytes(image_of(after, len(after.calls)).files["log"]) == b"one."
    assert dropped(TRACE, 2, "other") == TRACE


@pytest.mark.parametrize(
    ("trouble", "struck"),
    [
        ("EIO", [1, 2, 3, 4, 5, 6]),
        ("EACCES", [1]),
        ("EINTR", [1, 2, 4]),
        ("failed sync", [3, 5]),
        ("short write", [2, 4]),
    ],
)
def test_a_call_fails_with_what_it_can_fail_with(trouble: str, struck: list[int]) -> None:
    assert [trial.at for trial in trials(Hazard("fail", trouble), TRACE, ALL, 24)] == struck


def test_a_disk_is_full_around_each_write_and_within_it() -> None:
    found = trials(Hazard("disk full"), TRACE, ALL, 24)
    assert [trial.capacity.size for trial in found if trial.capacity] == [0, 2, 3, 4, 6, 7]
    assert [trial.at for trial in found if trial.capacity is None] == [2, 4]


@pytest.mark.parametrize(("runs", "struck"), [(2, [4, 5]), (4, [1, 4, 5, 6]), (5, [1, 3, 4, 5, 6])])
def test_of_more_runs_than_there_is_time_for_each_kind_of_call_gets_some(runs: int, struck: list[int]) -> None:
    assert [trial.at for trial in trials(Hazard("fail", "EIO"), TRACE, ALL, runs)] == struck


def test_reads_fail_one_by_one_in_the_steps_that_are_struck() -> None:
    reads = (Read(0, "log", 8), Read(2, "log", 8), Read(3, "log", 4))
    found = trials(Hazard("fail", "failed read"), TRACE, frozenset({2, 3}), 24, reads)
    assert [trial.words for trial in found] == [
        "read 2, of 8 bytes of log, fails with EIO",
        "read 3, of 4 bytes of log, fails with EIO",
    ]
    assert [trial.injections[0].at for trial in found] == [2, 3]


def test_renamed_files_keep_their_size() -> None:
    trace = Trace({"a": b"123"}, (Renamed(0, 0, "a", "b"), Wrote(0, 0, "b", 3, b"4")))
    sizes = [trial.capacity.size for trial in trials(Hazard("disk full"), trace, ALL, 24) if trial.capacity]
    assert sizes == [3]


# ------------------------------------------------------------------------------------------------------------- looks


SIGHTS = Sights(("p",), {"p": (1, 5)})


def test_words_are_those_of_a_command_line() -> None:
    assert words_of("sqlite --setting 'journal_mode=DELETE'") == Words("sqlite", {"journal_mode": "DELETE"})


def test_what_failed_is_an_outcome_and_names_no_room() -> None:
    failures = (
        Failure("replay", "Unreadable", "/rooms/state-1/a.log: checksum", known=True),
        Failure("snapshots", "OSError", "bad"),
    )
    look = look_of(Seen((Sight("p", (), 3, (), failures),)), SIGHTS, "/rooms/state-1")
    (seen,) = look.seen
    assert seen.events == Damaged("a.log: checksum")
    assert seen.highest == Number(3)
    assert seen.snapshots == {1: Raised("OSError", "bad"), 5: Raised("OSError", "bad")}


def test_a_snapshot_that_is_not_there_is_none() -> None:
    (seen,) = look_of(Seen((Sight("p", (), 0, ()),)), SIGHTS, "").seen
    assert seen.snapshots == {1: Loaded(None), 5: Loaded(None)}


def test_one_more_event_is_told_with_how_it_ended() -> None:
    refused = Failure("write", "OSError", "no")
    look = look_of(Seen(more=(More("p", 4), More("p", 5, refused), More("p", 0, refused))), SIGHTS, "")
    assert [added.outcome for added in look.added] == [Answers((False,)), Raised("OSError", "no")]
    assert look.added[0].event.sequence_nr == 4


def test_an_image_that_is_empty_is_an_image() -> None:
    assert Image({}) == Image({})
