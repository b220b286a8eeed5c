"""A projection in a process of its own, to be killed: `python projection_process.py JOURNAL_DIRECTORY VIEW`.

It writes a line for each event that it has handled, so that whoever started it can kill it after some, and ends when
the journal has no more. A script, not a test module: it must find its code wherever pytest was started.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

from perdure import EventEnvelope, Location, ReadJournal
from perdure_sqlite import SqliteOffsets, backend


def handle(connection: sqlite3.Connection, envelope: EventEnvelope) -> None:
    amount = len(envelope.event.payload.data)
    connection.execute("INSERT INTO handled VALUES (?, ?)", (envelope.persistence_id, envelope.sequence_nr))
    connection.execute("UPDATE balance SET amount = amount + ?", (amount,))
    print(envelope.sequence_nr, flush=True)


async def main(directory: Path, view: Path) -> None:
    async with backend.open(Location(directory=directory, page_size=10)) as storage, SqliteOffsets(view) as offsets:
        assert isinstance(storage.queries, ReadJournal)
        await offsets.project("balance", storage.queries.current_all_events, handle, batch_max=7)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
