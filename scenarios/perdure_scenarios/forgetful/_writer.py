"""The process that loads a backend, or looks at it: `python -m perdure_scenarios.forgetful._writer TASK`.

It tells in lines of JSON on its standard output what it asks for and what is acknowledged, as it happens. What it is
told arrives whole in its argument. It is meant to be killed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import sys
from pathlib import Path
from typing import Literal

import msgspec
from perdure import AtomicWrite, Backend, Journal, Location, Payload, PersistentRepr, load_backend

BATCH_MAX = 3
PAYLOAD_SIZE = 200
LINE_MAX = 300
"""How many numbers are told in one line, so that it is shorter than PIPE_BUF: a kill cuts no line in two."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """`words` choose the backend as on the kit's command line. To write: as many writers as ids; to look: which ids."""

    work: Literal["write", "look"]
    words: str
    directory: str
    persistence_ids: tuple[str, ...]


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    pass


class Invoked(msgspec.Struct, frozen=True, tag="invoked"):
    persistence_id: str
    first: int
    last: int


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    persistence_id: str
    first: int
    last: int


class Found(msgspec.Struct, frozen=True, tag="found"):
    """The events of one id: their numbers, and how many of them are not what was written."""

    persistence_id: str
    numbers: list[int]
    damaged: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The last line of whoever looked; without it the looking was cut off."""


class Broke(msgspec.Struct, frozen=True, tag="broke"):
    """The backend raised."""

    reason: str


Line = Opened | Invoked | Acknowledged | Found | Finished | Broke


def backend_of(words: str) -> Backend:
    """Raises what `load_backend` raises, and `ValueError` for words that are no name and settings."""
    name, *options = shlex.split(words)
    settings = options[1::2]
    if len(options) % 2 or any(word != "--setting" for word in options[::2]) or not all("=" in one for one in settings):
        raise ValueError(f"{words!r} does not choose a backend; write: NAME --setting KEY=VALUE ...")
    return load_backend(name, dict(one.split("=", 1) for one in settings))


def _payload(persistence_id: str, number: int) -> Payload:
    word = f"{persistence_id} {number} ".encode()
    return Payload(1, "", (word * (PAYLOAD_SIZE // len(word) + 1))[:PAYLOAD_SIZE])


def _say(line: Line) -> None:
    os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")


async def _write(journal: Journal, persistence_id: str) -> None:
    first = 1
    for count in itertools.count():
        last = first + count % BATCH_MAX
        events = (
            PersistentRepr(persistence_id, number, _payload(persistence_id, number))
            for number in range(first, last + 1)
        )
        _say(Invoked(persistence_id, first, last))
        (answer,) = await journal.write_messages([AtomicWrite(tuple(events))])
        if answer is not None:
            raise RuntimeError(f"an ordinary event was rejected: {answer.reason}")
        _say(Acknowledged(persistence_id, first, last))
        first = last + 1
        await asyncio.sleep(0)


async def _look(journal: Journal, persistence_id: str) -> None:
    events = [event async for event in journal.replay_messages(persistence_id)]
    wrong = sum(event.payload != _payload(persistence_id, event.sequence_nr) for event in events)
    highest = await journal.read_highest_sequence_nr(persistence_id)
    numbers = [event.sequence_nr for event in events]
    if highest < max(numbers, default=0):
        wrong += 1
    for place in range(0, len(numbers), LINE_MAX):
        _say(Found(persistence_id, numbers[place : place + LINE_MAX], wrong if place == 0 else 0))


async def _work(task: Task) -> None:
    one = _write if task.work == "write" else _look
    async with backend_of(task.words).open(Location(directory=Path(task.directory))) as storage:
        _say(Opened())
        await asyncio.gather(*(one(storage.journal, persistence_id) for persistence_id in task.persistence_ids))
    _say(Finished())


def main() -> None:
    task = msgspec.json.decode(sys.argv[1], type=Task)
    try:
        asyncio.run(_work(task))
    except Exception as error:
        _say(Broke(repr(error)[:1000]))


if __name__ == "__main__":
    main()
