"""Serialization of a small event beside msgspec alone: `python benchmarks/serialization.py`. A few seconds.

Without verification the limit is encoding or decoding alone; with it, writing reads each value back and compares, so
the limit of writing is to encode and decode. Both make values of the same type from the same bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from _table import Beside, Case, Goal, Suite, main, rate
from perdure import EventAdapters, Serialization, Tagged

COUNT = 100_000
THREE_TIMES = Goal(1 / 3)


class Deposited(msgspec.Struct, frozen=True, gc=False):
    account: str
    amount: int
    note: str = ""


class Tagging:
    def manifest(self, event: Deposited) -> str:
        return ""

    def to_journal(self, event: Deposited) -> object:
        return Tagged(event, frozenset({"money"}))


EVENT = Deposited("account-1", 100, "rent for November")


def _case(name: str, call: Callable[[], object], beside: str | None = None) -> Case:
    async def calls() -> None:
        for _ in range(COUNT):
            call()

    async def run() -> float:
        return await rate(COUNT, calls())

    return Case(name, run, [Beside(beside, THREE_TIMES)] if beside else [])


@asynccontextmanager
async def small_event(_: Path) -> AsyncIterator[Suite]:
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Deposited).decode
    verified, trusting = Serialization(Deposited), Serialization(Deposited, verify=False)
    adapters = EventAdapters({Deposited: Tagging()})
    payload = verified.to_payload(EVENT)
    data = payload.data
    yield Suite(
        "an event of three fields",
        [
            _case("msgspec: encode", lambda: encode(EVENT)),
            _case("msgspec: decode", lambda: decode(data)),
            _case("msgspec: encode and decode", lambda: decode(encode(EVENT))),
            _case("to_payload, verify=False", lambda: trusting.to_payload(EVENT), "msgspec: encode"),
            _case("to_payload", lambda: verified.to_payload(EVENT), "msgspec: encode and decode"),
            _case("from_payload", lambda: verified.from_payload(payload), "msgspec: decode"),
            _case(
                "to_payload and from_payload",
                lambda: verified.from_payload(verified.to_payload(EVENT)),
                "msgspec: encode and decode",
            ),
            _case("to_journal, with tags", lambda: adapters.to_journal(EVENT)),
        ],
    )


if __name__ == "__main__":
    main("Serialization beside msgspec alone", {"small_event": small_event})
