"""One of several processes on one SQLite file: run by the tests as `python sqlite_process.py open|compete ...`.

A script, not a test module: a process of its own must find its code wherever pytest was started.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from perdure import AtomicWrite, Location, Payload, PersistentRepr
from perdure.errors import SequenceConflict
from perdure_sqlite import sqlite_backend


def write(persistence_id: str, number: int, data: bytes = b"x") -> AtomicWrite:
    return AtomicWrite((PersistentRepr(persistence_id, number, Payload(1, "", data)),))


async def open_once(directory: Path, namespace: str) -> None:
    async with sqlite_backend(busy_timeout_s=60).open(Location(directory=directory, namespace=namespace)):
        pass


def open_at_once(directory: Path, rounds: int) -> None:
    """Open a new file in each round, when whoever waits for all processes says so."""
    for attempt in range(rounds):
        print("ready", flush=True)
        sys.stdin.readline()
        asyncio.run(open_once(directory, str(attempt)))


async def compete(directory: Path, name: str, rounds: int) -> None:
    """Append to an id that others append to as well, and to one of its own."""
    async with sqlite_backend(busy_timeout_s=60).open(Location(directory=directory)) as storage:
        won = 0
        while won < rounds:
            highest = await storage.journal.read_highest_sequence_nr("shared")
            try:
                await storage.journal.write_messages(
                    [write("shared", highest + 1, name.encode()), write(name, won + 1)]
                )
            except SequenceConflict:
                continue
            won += 1


if __name__ == "__main__":
    what, where, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if what == "open":
        open_at_once(where, rounds)
    else:
        asyncio.run(compete(where, sys.argv[4], rounds))
