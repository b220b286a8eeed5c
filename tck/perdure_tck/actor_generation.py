"""Generated programs of actors: codes of a fixed size decoded into commands, troubles, crashes and recoveries.

As in `generation`, code 0 is no operation, and a program stays meaningful while it shrinks. Troubles and crashes come
at any point: a write is kept, so that the actor is stopped, restarted or crashed while it is under way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import msgspec
from perdure import MAX_SEQUENCE_NR, Claims

from .actor_operations import (
    ACTOR_OPERATIONS,
    DIRECTIVES,
    NOTHING,
    Act,
    Crash,
    Deed,
    Disturb,
    Reaction,
    Release,
    Selection,
    StartActor,
    StopActor,
    Tell,
    Trouble,
    Wait,
    asks_for_snapshots,
)
from .operations import AnyOperation, Highest, Reopen, Replay
from .program import Program, Step

CODE_SIZE = 6
OPERATIONS = 24
SIZE = CODE_SIZE * OPERATIONS
"""How many bytes make a program."""

IDS = ("p", "p", "p", "p ")
DEPTH = 2
ODD_NAMES = ("unfit", "never", "twice")

DEEDS: Sequence[Deed] = (
    *("persist",) * 6,
    *("persist_async",) * 4,
    *("persist_all",) * 3,
    *("persist_all_async",) * 2,
    "defer",
    "defer_async",
    "note",
    "raise",
    "raise",
    "stash",
    "unstash",
    "save snapshot",
    "save snapshot",
    "delete",
    "delete snapshot",
    "delete snapshots",
    "persist_broken",
    "become",
    "stop",
)
WRITE_TROUBLES: Sequence[Trouble] = ("waits", "waits", "waits", "fails", "loses", "rejects", "rejects")
OTHER_TROUBLES: Sequence[Disturb] = (
    Disturb("replay", "p", "fails"),
    Disturb("replay", "p", "waits"),
    Disturb("replay", "p", "breaks", 2),
    Disturb("highest", "p", "fails"),
    Disturb("load", "p", "unreadable"),
    Disturb("load", "p", "fails"),
    Disturb("save", "p", "fails"),
    Disturb("save", "p", "loses"),
    Disturb("delete", "p", "fails"),
)


class _Decoder:
    def __init__(self, codes: bytes) -> None:
        self._codes = codes
        self._absent = dict.fromkeys(IDS, True)
        self._events = 0

    def steps(self) -> Iterator[Step]:
        for at in range(0, len(self._codes) - CODE_SIZE + 1, CODE_SIZE):
            kind, a, *rest = self._codes[at : at + CODE_SIZE]
            make = _KINDS[kind % len(_KINDS)]
            if make is not None:
                yield Step(make(self, IDS[a % len(IDS)], a // len(IDS), *rest))

    def start(self, owner: str, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        self._absent[owner] = False
        return StartActor(
            owner,
            to_sequence_nr=(1 + c % 5) if b % 16 == 1 else MAX_SEQUENCE_NR,
            replay_max=c % 4 if b % 16 == 2 else MAX_SEQUENCE_NR,
            selection=_SELECTIONS[d % len(_SELECTIONS)],
            optional_snapshot=b % 4 == 0,
            directive=DIRECTIVES[(0, 0, 0, 1, 1, 2)[e % 6]],
            capacity=1 + c % 2 if b % 16 == 3 else None,
            overflow=("drops", "replies", "fails")[d % 3] if b % 16 == 3 else "fails",
            coroutines=b % 8 == 7,
            reactions=self._reactions(c, d),
        )

    def _reactions(self, c: int, d: int) -> tuple[Reaction, ...]:
        if c % 8 == 1:
            return (Reaction("completed", (Act("persist", (self._name(0),)),)),)
        if c % 8 == 2:
            return (Reaction("snapshot", (Act("pass" if d % 4 else "raise"),)),)
        return (
            (Reaction("e1", (Act("raise" if d % 4 == 0 else "persist", ("x",) if d % 4 else ()),)),)
            if c % 8 == 3
            else ()
        )

    def tell(self, owner: str, a: int, b: int, c: int, d: int, e: int) -> AnyOperation:
        if self._absent[owner]:
            return self.start(owner, a, b, c, d, e)
        codes = random.Random(bytes((a, b, c, d, e)).hex())
        commands = tuple(self._acts(codes, DEPTH) for _ in range(1 + a % 3))
        return Tell(owner, commands)

    def _acts(self, codes: random.Random, depth: int) -> tuple[Act, ...]:
        return tuple(self._act(codes, depth) for _ in range(codes.choice((1, 1, 1, 2, 2, 3))))

    def _act(self, codes: random.Random, depth: int) -> Act:
        deed = codes.choice(DEEDS)
        if deed == "stash" and depth < DEPTH:
            deed = "note"  # a handler has no command to stash
        if deed in ("persist", "persist_async", "persist_all", "persist_all_async", "persist_broken"):
            several = codes.randrange(4) if deed.startswith("persist_all") else 1
            names = tuple(self._name(codes.randrange(40)) for _ in range(several))
            nested = self._acts(codes, depth - 1) if depth and several and codes.randrange(5) == 0 else ()
            then = "done" if deed.startswith("persist_all") and codes.randrange(3) == 0 else ""
            return Act(deed, names, 0, nested, then)
        if deed in ("defer", "defer_async", "note", "become"):
            return Act(deed, (codes.choice(("x", "y", "z")),))
        if deed.startswith("delete"):
            return Act(deed, (), codes.choice((1, 2, 3, 5, MAX_SEQUENCE_NR if deed == "delete" else 8)))
        return Act(deed)

    def _name(self, code: int) -> str:
        self._events += 1
        odd = ODD_NAMES[code - 1] if 1 <= code <= len(ODD_NAMES) else "e"
        return f"{odd}{self._events}"

    def disturb_write(self, owner: str, a: int, b: int, *_: int) -> AnyOperation:
        trouble = WRITE_TROUBLES[a % len(WRITE_TROUBLES)]
        self._absent[owner] = self._absent[owner] or trouble in ("fails", "loses")
        return Disturb("write", owner, trouble, 1 + b % 8 if trouble == "rejects" and b % 2 else 0)

    def disturb(self, owner: str, a: int, *_: int) -> AnyOperation:
        self._absent[owner] = True
        return msgspec.structs.replace(OTHER_TROUBLES[a % len(OTHER_TROUBLES)], persistence_id=owner)

    def crash(self, owner: str, *_: int) -> AnyOperation:
        self._absent[owner] = True
        return Crash(owner)

    def stop(self, owner: str, *_: int) -> AnyOperation:
        self._absent[owner] = True
        return StopActor(owner)

    def release(self, owner: str, *_: int) -> AnyOperation:
        return Release(owner)

    def wait(self, owner: str, *_: int) -> AnyOperation:
        self._absent = dict.fromkeys(IDS, True)
        return Wait()

    def replay(self, owner: str, *_: int) -> AnyOperation:
        return Replay(owner)

    def highest(self, owner: str, *_: int) -> AnyOperation:
        return Highest(owner)

    def reopen(self, owner: str, a: int, *_: int) -> AnyOperation:
        """Rarely: opening a store costs as much as many operations."""
        if a % 4:
            return self.crash(owner)
        self._absent = dict.fromkeys(IDS, True)
        return Reopen()


_SELECTIONS = (*(Selection(),) * 6, NOTHING, Selection(2))

_KINDS: Sequence[Callable[..., AnyOperation] | None] = (
    None,
    *(_Decoder.tell,) * 16,
    *(_Decoder.start,) * 3,
    *(_Decoder.disturb_write,) * 5,
    *(_Decoder.disturb,) * 1,
    *(_Decoder.crash,) * 2,
    _Decoder.stop,
    *(_Decoder.release,) * 3,
    _Decoder.wait,
    _Decoder.replay,
    _Decoder.highest,
    _Decoder.reopen,
)


def decode(codes: bytes, name: str) -> Program:
    """The program of exactly `SIZE` bytes. The same bytes give the same program, on every machine and version."""
    return Program(name, "", (), tuple(_Decoder(codes).steps()))


def programs(seed: int, count: int) -> Iterator[Program]:
    source = random.Random(f"actors {seed}")
    for number in range(count):
        yield decode(source.randbytes(SIZE), f"actors_{seed}_{number}")


def within(program: Program, claims: Claims, snapshots: bool) -> Program:
    """The program without what a backend cannot be asked, for what it offers and claims."""

    def possible(operation: AnyOperation) -> bool:
        if isinstance(operation, Reopen):
            return claims.survives_close
        return snapshots or not isinstance(operation, ACTOR_OPERATIONS) or not asks_for_snapshots(operation)

    steps = tuple(step for step in program.steps if possible(step.operation))
    return msgspec.structs.replace(program, steps=steps)
