"""Processes that write and processes that read live, all on one SQLite file: no skip, no repeat, order kept. (Q-08)

`PERDURE_QUERIES_S=300` makes it a long one; without it the writers write for three seconds. `pytest -s` shows the
counts.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

PROCESS = Path(__file__).with_name("feed_process.py")
SECONDS = float(os.environ.get("PERDURE_QUERIES_S", "3"))
WAIT_S = 120 + 2 * SECONDS

Entry = tuple[int, str, int]
"""Offset, persistence id and sequence number."""


class Verdict(msgspec.Struct, frozen=True):
    """What a reader got wrong. Every list is empty if it got everything, once, in order."""

    skipped: list[Entry]
    repeated: list[Entry]
    disordered: list[Entry]
    """Those that came after one with a higher offset, or after a higher number of their id."""
    invented: list[Entry]


GOOD = Verdict([], [], [], [])


def judge(seen: Sequence[Entry], stored: Sequence[Entry]) -> Verdict:
    """What a reader has seen, against what is stored behind its start and up to its end, in the order of offsets."""
    times = Counter(seen)
    wanted = set(stored)
    return Verdict(
        skipped=[entry for entry in stored if entry not in times],
        repeated=[entry for entry, count in times.items() if count > 1],
        disordered=list(_out_of_order(seen)),
        invented=[entry for entry in times if entry not in wanted],
    )


def _out_of_order(seen: Sequence[Entry]) -> Iterator[Entry]:
    highest_offset = 0
    highest: dict[str, int] = {}
    for offset, persistence_id, number in seen:
        if offset < highest_offset or number < highest.get(persistence_id, 0):
            yield offset, persistence_id, number
        highest_offset = max(highest_offset, offset)
        highest[persistence_id] = max(highest.get(persistence_id, 0), number)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ([(1, "p", 1), (2, "q", 1), (4, "p", 2)], GOOD),
        ([(1, "p", 1), (4, "p", 2)], Verdict([(2, "q", 1)], [], [], [])),
        ([(1, "p", 1), (2, "q", 1)], Verdict([(4, "p", 2)], [], [], [])),
        ([(1, "p", 1), (2, "q", 1), (2, "q", 1), (4, "p", 2)], Verdict([], [(2, "q", 1)], [], [])),
        ([(2, "q", 1), (1, "p", 1), (4, "p", 2)], Verdict([], [], [(1, "p", 1)], [])),
        ([(1, "p", 1), (2, "q", 1), (3, "q", 2), (4, "p", 2)], Verdict([], [], [], [(3, "q", 2)])),
        ([(1, "p", 2), (2, "q", 1), (4, "p", 1)], Verdict(
            [(1, "p", 1), (4, "p", 2)], [], [(4, "p", 1)], [(1, "p", 2), (4, "p", 1)]
        )),
    ],
)  # fmt: skip
def test_the_checker_tells_what_is_wrong(seen: list[Entry], verdict: Verdict) -> None:
    assert judge(seen, [(1, "p", 1), (2, "q", 1), (4, "p", 2)]) == verdict


@pytest.mark.parametrize("layout", ["perdure", "akka-net"])
@pytest.mark.timeout(60 + 3 * WAIT_S)
def test_four_processes_write_with_holds_and_four_read_live(tmp_path: Path, layout: str) -> None:
    acknowledged = [start("write", tmp_path, layout, "first", "0").communicate(timeout=WAIT_S)[0]]  # makes the file
    queries = ["all", "tag:red", "tag:green", "id:writer-2-1"]
    targets = [tmp_path / f"seen-{place}" for place in range(len(queries))]
    with ExitStack() as stack:
        readers = [start("read", tmp_path, layout, *pair) for pair in zip(queries, map(str, targets), strict=True)]
        for reader in readers:
            stack.callback(reader.wait)
            stack.callback(reader.kill)
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        writers = [start("write", tmp_path, layout, f"writer-{place}", str(SECONDS)) for place in range(4)]
        for writer in writers:
            stack.callback(writer.wait)
            stack.callback(writer.kill)
        acknowledged += [writer.communicate(timeout=WAIT_S)[0] for writer in writers]
        assert [writer.returncode for writer in writers] == [0] * 4
        stored = [entries_of(tmp_path / "perdure.db", layout, query) for query in queries]
        for reader, entries in zip(readers, stored, strict=True):
            reader.communicate(f"{entries[-1][0] if entries else 0}\n", timeout=WAIT_S)
        assert [reader.returncode for reader in readers] == [0] * 4
    written = {line.split()[0]: int(line.split()[1]) for output in acknowledged for line in output.splitlines()}
    assert Counter(persistence_id for _, persistence_id, _ in stored[0]) == written, "what was acknowledged is there"
    for query, target, entries in zip(queries, targets, stored, strict=True):
        seen = [entry_of(line) for line in target.read_text().splitlines()]
        assert judge(seen, entries) == GOOD, query
        print(f"{layout}, {query}: {len(seen)} events read live, of {len(entries)} stored: none skipped or repeated")
    assert all(written.values()), "each id was written"


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROCESS), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def entries_of(path: Path, layout: str, query: str) -> list[Entry]:
    """What is stored, by SQL alone."""
    kind, _, argument = query.partition(":")
    table = "event" if layout == "perdure" else "event_journal"
    tagged = (
        "ordering IN (SELECT ordering FROM event_tag WHERE tag = ?1)"
        if layout == "perdure"
        else "tags LIKE '%;' || ?1 || ';%'"
    )
    chosen = {"all": "?1 = ?1", "tag": tagged, "id": "persistence_id = ?1"}[kind]
    with closing(sqlite3.connect(path)) as connection:
        select = f"SELECT ordering, persistence_id, sequence_nr FROM {table} WHERE {chosen} ORDER BY ordering"
        return connection.execute(select, (argument,)).fetchall()


def entry_of(line: str) -> Entry:
    position, persistence_id, number = line.split()
    return int(position), persistence_id, int(number)
