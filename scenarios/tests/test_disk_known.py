"""What is known of real stores, told by traces written by hand: which of their losses each model shows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from perdure_scenarios.candidates import Bounds
from perdure_scenarios.disk import Model
from perdure_scenarios.states import Duty, State, kill_states, lied, power_states
from perdure_scenarios.trace import (
    AnyCall,
    Created,
    Renamed,
    Synced,
    SyncedDirectory,
    Trace,
    Truncated,
    Unlinked,
    Wrote,
)

OLD, NEW = b"old " * 1024, b"new " * 1024
BOTH: tuple[Model, ...] = ("ext4", "strict")
each_model = pytest.mark.parametrize("model", BOTH)


def trace_of(before: dict[str, bytes], calls: Sequence[AnyCall]) -> Trace:
    """The calls of one step that is acknowledged when all of them are done."""
    return Trace(before, tuple(msgspec.structs.replace(call, step=1) for call in calls))


def acknowledged(trace: Trace, model: Model) -> list[State]:
    """The states after the acknowledgement of everything."""
    return [state for state in power_states(trace, model, end=Duty(2, 1)) if state.duty.told == 1]


def contents(states: Sequence[State], path: str) -> set[bytes | None]:
    found = (state.image.files.get(path) for state in states)
    return {None if content is None else bytes(content) for content in found}


# SQLite, journal_mode DELETE: a commit is complete when the rollback journal is gone.

ROLLBACK = [
    Created(0, 0, "p.db-journal"),
    Wrote(0, 0, "p.db-journal", 0, OLD),
    Synced(0, 0, "p.db-journal", data_only=True),
    SyncedDirectory(0, 0, ""),
    Wrote(0, 0, "p.db", 0, NEW),
    Synced(0, 0, "p.db", data_only=True),
]
DELETE = [*ROLLBACK, Unlinked(0, 0, "p.db-journal")]


@each_model
def test_a_rollback_journal_comes_back_and_takes_the_last_commit_with_it(model: Model) -> None:
    states = acknowledged(trace_of({"p.db": OLD}, DELETE), model)
    assert contents(states, "p.db-journal") == {None, OLD}
    assert contents(states, "p.db") == {NEW}
    (back,) = [state for state in states if "p.db-journal" in state.image.files]
    assert back.words == (
        f"power cut after unlink of p.db-journal, the last call ({model}); lost: unlink of p.db-journal"
    )


@each_model
def test_a_sync_of_the_directory_keeps_the_rollback_journal_away(model: Model) -> None:
    states = acknowledged(trace_of({"p.db": OLD}, [*DELETE, SyncedDirectory(0, 0, "")]), model)
    assert contents(states, "p.db-journal") == {None}


@each_model
def test_a_rollback_journal_cut_to_nothing_and_synced_stays_so(model: Model) -> None:
    cut = [Truncated(0, 0, "p.db-journal", 0), Synced(0, 0, "p.db-journal")]
    states = acknowledged(trace_of({"p.db": OLD}, [*ROLLBACK, *cut]), model)
    assert contents(states, "p.db-journal") == {b""}
    assert contents(states, "p.db") == {NEW}


@each_model
def test_the_database_is_never_changed_before_its_journal_is_whole(model: Model) -> None:
    for state in power_states(trace_of({"p.db": OLD}, DELETE), model):
        if state.position <= 6 and bytes(state.image.files["p.db"]) != OLD:
            assert bytes(state.image.files["p.db-journal"]) == OLD


# SQLite, journal_mode WAL: a commit is complete when its frames are in the log; with synchronous=NORMAL unsynced.

FRAMES = [Wrote(0, 0, "p.db-wal", 24, NEW), Wrote(0, 0, "p.db-wal", 24 + len(NEW), NEW)]
LOG = {"p.db": OLD, "p.db-wal": b"w" * 24}


@each_model
def test_a_log_that_is_not_synced_loses_what_was_acknowledged(model: Model) -> None:
    states = acknowledged(trace_of(LOG, FRAMES), model)
    assert {b"w" * 24, b"w" * 24 + NEW, b"w" * 24 + 2 * NEW} <= contents(states, "p.db-wal")
    assert {"torn: write of 488 of 4096 bytes at 24 to p.db-wal"} & {words for state in states for words in state.lost}


@each_model
def test_a_log_that_is_synced_loses_nothing(model: Model) -> None:
    states = acknowledged(trace_of(LOG, [*FRAMES, Synced(0, 0, "p.db-wal", data_only=True)]), model)
    assert contents(states, "p.db-wal") == {b"w" * 24 + 2 * NEW}


@each_model
def test_a_sync_that_lies_is_none(model: Model) -> None:
    trace = trace_of(LOG, [*FRAMES, Synced(0, 0, "p.db-wal")])
    told = lied(trace, 2)
    assert contents(acknowledged(told, model), "p.db-wal") == contents(
        acknowledged(trace_of(LOG, FRAMES), model), "p.db-wal"
    )


# A file that is replaced by rename: the usual way, and what is forgotten.

REPLACED = [Created(0, 0, "s.tmp"), Wrote(0, 0, "s.tmp", 0, NEW)]
RENAMED = Renamed(0, 0, "s.tmp", "s")


@each_model
def test_a_rename_without_a_sync_of_the_file_leaves_an_empty_one(model: Model) -> None:
    states = acknowledged(trace_of({"s": OLD}, [*REPLACED, RENAMED, SyncedDirectory(0, 0, "")]), model)
    assert {b"", bytes(len(NEW)), NEW} <= contents(states, "s")
    assert OLD not in contents(states, "s")


@each_model
def test_a_rename_without_a_sync_of_the_directory_may_be_undone(model: Model) -> None:
    states = acknowledged(trace_of({"s": OLD}, [*REPLACED, Synced(0, 0, "s.tmp"), RENAMED]), model)
    assert contents(states, "s") == {OLD, NEW}


@each_model
def test_a_file_replaced_by_the_book_is_the_old_or_the_new_one_and_then_the_new(model: Model) -> None:
    trace = trace_of({"s": OLD}, [*REPLACED, Synced(0, 0, "s.tmp"), RENAMED, SyncedDirectory(0, 0, "")])
    assert contents(list(power_states(trace, model)), "s") == {OLD, NEW}
    assert contents(acknowledged(trace, model), "s") == {NEW}


# A new file: its bytes are one thing, its name another.


def test_a_new_file_that_was_synced_has_lost_its_name_in_the_strict_model_alone() -> None:
    trace = trace_of({}, [Created(0, 0, "1.log"), Wrote(0, 0, "1.log", 0, NEW), Synced(0, 0, "1.log")])
    assert contents(acknowledged(trace, "strict"), "1.log") == {None, NEW}
    assert contents(acknowledged(trace, "ext4"), "1.log") == {NEW}


def test_in_ext4_a_sync_of_one_file_carries_the_names_of_others() -> None:
    calls = [Renamed(0, 0, "a", "b"), Created(0, 0, "c"), Synced(0, 0, "c")]
    assert contents(acknowledged(trace_of({"a": OLD}, calls), "ext4"), "b") == {OLD}
    assert contents(acknowledged(trace_of({"a": OLD}, calls), "strict"), "b") == {None, OLD}


@each_model
def test_fdatasync_of_bytes_in_place_carries_no_names(model: Model) -> None:
    """Nothing of the file waits in the journal but its times, which fdatasync leaves behind."""
    calls = [Renamed(0, 0, "a", "b"), Wrote(0, 0, "c", 0, NEW), Synced(0, 0, "c", data_only=True)]
    states = acknowledged(trace_of({"a": OLD, "c": OLD}, calls), model)
    assert contents(states, "b") == {None, OLD}
    assert contents(states, "c") == {NEW}


@pytest.mark.parametrize(
    "changes",
    [
        [Created(0, 0, "c")],
        [Wrote(0, 0, "log", len(OLD), NEW)],
        [Truncated(0, 0, "log", 0)],
        [Truncated(0, 0, "log", 9000), Synced(0, 0, "log"), Renamed(0, 0, "x", "y"), Wrote(0, 0, "log", 8000, b"x")],
    ],
    ids=["a new file", "a file that grew", "a file that was cut", "blocks in a hole"],
)
def test_in_ext4_fdatasync_carries_names_if_reading_the_file_needs_the_journal(changes: list[AnyCall]) -> None:
    synced = Synced(0, 0, changes[-1].path, data_only=True)
    trace = trace_of({"a": OLD, "log": OLD, "x": OLD}, [Renamed(0, 0, "a", "b"), *changes, synced])
    assert contents(acknowledged(trace, "ext4"), "b") == {OLD}
    if "y" in {call.to for call in changes if isinstance(call, Renamed)}:
        assert contents(acknowledged(trace, "ext4"), "y") == {OLD}


def test_a_write_beside_a_lost_one_in_its_sector_is_there_in_the_strict_model_alone() -> None:
    calls = [Wrote(0, 0, "a", 10, b"1"), Wrote(0, 0, "a", 500, b"2" * 100)]
    trace = trace_of({"a": bytes(2048)}, calls)
    whole, torn = bytes(500) + b"2" * 100 + bytes(1448), bytes(512) + b"2" * 88 + bytes(1448)
    assert whole in contents(acknowledged(trace, "strict"), "a")
    assert whole not in contents(acknowledged(trace, "ext4"), "a")
    assert torn in contents(acknowledged(trace, "ext4"), "a")


def test_in_ext4_nothing_is_written_over_a_wide_write_that_is_lost() -> None:
    calls = [Wrote(0, 0, "a", 0, b"1" * 1024), Wrote(0, 0, "a", 0, b"2" * 100), Wrote(0, 0, "a", 600, b"3" * 100)]
    trace = trace_of({"a": bytes(2048)}, calls)
    alone = bytes(600) + b"3" * 100 + bytes(1348)
    assert alone in contents(acknowledged(trace, "strict"), "a")
    assert alone not in contents(acknowledged(trace, "ext4"), "a")


@each_model
def test_where_too_much_waits_to_be_combined_sizes_without_bytes_are_tried(model: Model) -> None:
    calls = [Wrote(0, 0, "a", 512 * n, b"x" * 512) for n in range(12)]
    states = power_states(trace_of({"a": b""}, calls), model, Bounds(exhaustive=0, samples=0), Duty(2, 1))
    found = contents([state for state in states if state.position == 12], "a")
    assert {bytes(12 * 512), b"x" * 11 * 512 + bytes(512), bytes(512) + b"x" * 11 * 512} <= found


def test_in_ext4_a_file_never_grows_into_a_cut_that_is_lost() -> None:
    trace = trace_of({"a": OLD + OLD}, [Truncated(0, 0, "a", 0), Wrote(0, 0, "a", 0, NEW)])
    assert contents(acknowledged(trace, "ext4"), "a") >= {OLD + OLD, b"", NEW, bytes(len(NEW))}
    assert NEW + OLD not in contents(acknowledged(trace, "ext4"), "a")
    assert NEW + OLD in contents(acknowledged(trace, "strict"), "a")


@each_model
def test_a_write_far_behind_the_end_leaves_zeros_before_it(model: Model) -> None:
    states = acknowledged(trace_of({"a": b""}, [Wrote(0, 0, "a", 8192, b"x")]), model)
    assert contents(states, "a") == {b"", bytes(8192) + b"x", bytes(8193)}


def test_a_file_made_anew_under_an_old_name_is_another_file() -> None:
    """The bytes of the new one never show in the old one, whichever of the two has the name."""
    calls = [Unlinked(0, 0, "a"), Created(0, 0, "a"), Wrote(0, 0, "a", 0, b"n")]
    for model in BOTH:
        found = contents(acknowledged(trace_of({"a": b"o" * 9}, calls), model), "a")
        assert found == {None, b"o" * 9, b"", b"n", b"\0"}


def test_a_killed_process_loses_none_of_this() -> None:
    for calls in (DELETE, REPLACED):
        last = list(kill_states(trace_of({"p.db": OLD}, calls)))[-1]
        assert last.words.startswith("killed after")
        assert last.lost == ()
