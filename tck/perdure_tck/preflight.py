"""The pre-flight of an adapter: whether it loads, opens, and has the shape of the contracts, before any rule is judged.

What fails here is a fault of the adapter (KIT FAULT), not of the backend: one missing method must not look like forty
violated rules.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
from perdure import (
    AtomicWrite,
    Backend,
    Claims,
    NoJournal,
    NoSnapshotStore,
    Payload,
    PersistentRepr,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
)

from .offers import QUERY_METHODS, Offers
from .stage import KitFault, Silent, Stage

JOURNAL_METHODS = {
    "write_messages": ("writes",),
    "replay_messages": ("persistence_id", "from_sequence_nr", "to_sequence_nr", "max_count"),
    "read_highest_sequence_nr": ("persistence_id", "from_sequence_nr"),
    "delete_messages_to": ("persistence_id", "to_sequence_nr"),
}
SNAPSHOT_METHODS = {
    "load": ("persistence_id", "criteria"),
    "save": ("metadata", "snapshot"),
    "delete": ("metadata",),
    "delete_matching": ("persistence_id", "criteria"),
}


_Work = Callable[[Stage], Coroutine[Any, Any, tuple[bool, str]]]


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at, and what was seen."""

    name: str
    passed: bool
    seen: str


def shape_fault(storage: object) -> str:
    """What of the contracts' shape a storage lacks, in one line; "" if nothing."""
    if not isinstance(storage, Storage):
        return f"open() gave a {type(storage).__name__}, not a perdure.Storage"
    faults = [_shape_of("journal", storage.journal, JOURNAL_METHODS)]
    faults.append(_shape_of("snapshot store", storage.snapshots, SNAPSHOT_METHODS))
    offered = {name: arguments for name, arguments in QUERY_METHODS.items() if hasattr(storage.queries, name)}
    faults.append(_shape_of("queries", storage.queries, offered))
    return next((fault for fault in faults if fault), "")


def _shape_of(what: str, part: object, methods: dict[str, tuple[str, ...]]) -> str:
    for name, arguments in methods.items():
        method = getattr(part, name, None)
        if not callable(method):
            of = "have" if what == "queries" else "has"
            return f"its {what} ({type(part).__name__}) {of} no method {name}({', '.join(arguments)})"
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError as error:
            return f"{type(part).__name__}.{name} cannot be called with ({', '.join(arguments)}): {error}"
        except ValueError:
            continue  # a compiled method without a signature: calling it will tell
    return ""


def preflight(backend: Backend, claims: Claims, limit_s: float) -> Iterator[Check]:
    """Look at one backend, step by step; after the first step that fails the rest is not tried."""
    yield Check("loads", True, f"{backend.name} {backend.version}".strip())
    wrong = claims_fault(claims)
    yield Check("claims are well formed", not wrong, wrong or _claimed(claims))
    if wrong:
        return
    stage = Stage(backend, open_limit_s=limit_s)
    try:
        yield from _in_use(stage, claims, limit_s)
    finally:
        try:
            stage.close()
        except KitFault as fault:
            yield Check("closes", False, str(fault))


def claims_fault(claims: Claims) -> str:
    """What is wrong with claims by themselves, in one line; "" if nothing."""
    try:
        msgspec.convert(msgspec.structs.asdict(claims), Claims)
    except msgspec.ValidationError as error:
        return str(error)
    if claims.power_durable == "yes" and not claims.kill_durable:
        return "power_durable 'yes' without kill_durable: what outlives the power outlives the process"
    if claims.kill_durable and not claims.survives_close:
        return "kill_durable without survives_close: what outlives a kill outlives a close"
    return ""


def _claimed(claims: Claims) -> str:
    default = msgspec.structs.asdict(Claims())
    changed = {name: value for name, value in msgspec.structs.asdict(claims).items() if value != default[name]}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "none beyond the obligatory"


def _in_use(stage: Stage, claims: Claims, limit_s: float) -> Iterator[Check]:
    try:
        begun = time.monotonic()
        stage.open()
        yield Check("opens", True, f"in {(time.monotonic() - begun) * 1000:.0f} ms")
        storage = stage.run(stage.storage())
    except KitFault as fault:
        yield Check("opens", False, str(fault))
        return
    fault_of_shape = shape_fault(storage)
    fault_of_shape = fault_of_shape or live_fault(storage, claims)
    yield Check("has the methods of the contracts", not fault_of_shape, fault_of_shape or _offered(storage))
    if fault_of_shape:
        return
    if not isinstance(storage.journal, NoJournal):
        yield from _timed(stage, "writes one event and reads it", _one_event, limit_s)
    if not isinstance(storage.snapshots, NoSnapshotStore):
        yield from _timed(stage, "saves one snapshot and loads it", _one_snapshot, limit_s)
    if not isinstance(storage.journal, NoJournal) and Offers.of(storage).queries:
        yield from _timed(stage, "finds the event by a query", _one_query, limit_s)
    if claims.survives_close:
        yield from _timed(stage, "opens again with what it had", _again, limit_s)


def live_fault(storage: Storage, claims: Claims) -> str:
    """What is wrong with the claim of live queries, in one line; "" if nothing."""
    if claims.live_queries and not Offers.of(storage).live:
        return "live_queries is claimed, and no live query is offered (all_events, events_by_tag, ...)"
    return ""


def _offered(storage: Storage) -> str:
    offers = Offers.of(storage)
    offered = ["journal"] if offers.journal else []
    offered += ["snapshot store"] if offers.snapshots else []
    offered += [f"{len(offers.queries)} of {len(QUERY_METHODS)} queries"] if offers.queries else []
    return " and ".join(offered) or "neither a journal nor a snapshot store"


def _timed(stage: Stage, name: str, work: _Work, limit_s: float) -> Iterator[Check]:
    stage.pulse.begin(limit_s)
    try:
        yield Check(name, *stage.run(work(stage)))
    except Silent as silence:
        yield Check(name, False, str(silence))
    except Exception as error:
        yield Check(name, False, f"{type(error).__name__}: {error}")
    finally:
        stage.pulse.end()


_EVENT = PersistentRepr("preflight", 1, Payload(4, "", b"pre-flight"), timestamp=1)


async def _one_event(stage: Stage) -> tuple[bool, str]:
    journal = (await stage.storage()).journal
    answers = await journal.write_messages([AtomicWrite((_EVENT,))])
    seen = [event async for event in journal.replay_messages("preflight")]
    good = list(answers) == [None] and [event.payload for event in seen] == [_EVENT.payload]
    return good, "it came back as it was written" if good else f"write answered {answers!r}, replay gave {seen!r}"


async def _one_snapshot(stage: Stage) -> tuple[bool, str]:
    snapshots = (await stage.storage()).snapshots
    payload = Payload(4, "", b"pre-flight")
    await snapshots.save(SnapshotMetadata("preflight", 1, 1), payload)
    found = await snapshots.load("preflight", SnapshotSelectionCriteria())
    good = found is not None and found.snapshot == payload
    return good, "it came back as it was saved" if good else f"load gave {found!r}"


async def _one_query(stage: Stage) -> tuple[bool, str]:
    """The first current query that is offered, or the first live one, asked for one item."""
    queries = (await stage.storage()).queries
    name = next(name for name in QUERY_METHODS if hasattr(queries, name))
    arguments = {"persistence_id": "preflight"} if "persistence_id" in QUERY_METHODS[name] else {}
    if "tag" in QUERY_METHODS[name]:
        return True, f"{name} needs a tag, and is not tried here"
    iterator = getattr(queries, name)(**arguments)
    item = await anext(iterator, None)
    if hasattr(iterator, "aclose"):
        await iterator.aclose()
    found = item if isinstance(item, str) else getattr(item, "persistence_id", None)
    return found == "preflight", f"{name} gave {found!r}"


async def _again(stage: Stage) -> tuple[bool, str]:
    await stage.reopen()
    storage = await stage.storage()
    if isinstance(storage.journal, NoJournal):
        return True, "opened again"
    highest = await storage.journal.read_highest_sequence_nr("preflight")
    return highest == 1, f"the highest number of the event's id is {highest}"
