"""A projection in a process of its own, to be killed: `python projection_process.py JOURNAL_DIRECTORY VIEW LIMIT`.

It writes a line for each event that it has handled, so that whoever started it can kill it after some. Once it has
handled so many events it waits to be killed, so that it cannot get away; it ends when the journal has no more. A
script, not a test module: it must find its code wherever pytest was started.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from itertools import count
from pathlib import Path

from perdure import EventEnvelope, Location, ReadJournal
from perdure_sqlite import SqliteOffsets, backend

handled = count()


def handle(connection: sqlite3.Connection, envelope: EventEnvelope) -> None:
    if next(handled) >= int(sys.argv[3]):
        time.sleep(600)
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
