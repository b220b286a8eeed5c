"""Programs let loose: what exploration tries and the gate does not, made of the gate's own programs.

The gate is a fixed number of programs, so that its universe is small. Here it may be larger: raw ids, contents sixteen
times as large, many more steps. Nothing here changes what the gate runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from .generation import decode
from .operations import AnyOperation, Content, SaveSnapshot, Write, ids_of, renamed
from .program import Program, Step

Said = TypeVar("Said", bound=msgspec.Struct)

RAW_IDS: Sequence[tuple[str, str, str]] = (
    ("..", ".", "../.."),
    ("/", "//", "\\"),
    ("CON", "con", "NUL"),
    ("\u00df", "ss", "SS"),
    ("I", "\u0131", "i"),
    ("p", "p\n", "p\t"),
    (" ", "  ", "\u00a0"),
    ("\ufeffp", "p", "p\u200b"),
    ("a" * 254, "a" * 255, "a" * 1_000),
    ("*", "?", "[a]"),
    ("0", "-1", "1e3"),
    ("\U0010ffff", "\uffff", "\u0001"),
)
"""Ids that stand as they are, at a location of their own: the prefix of other programs would hide what they mean."""

SIZE_MAX = 4 * 2**20
BYTES_MAX = 16 * 2**20
EVENTS_MAX = 1_000
"""How large a content may become, and how much one program may write: there it ends."""


def loose(codes: bytes, name: str) -> Program:
    """The program of some bytes, as far as it can be borne; one in sixteen has raw ids or large contents."""
    program = decode(codes, name)
    match codes[0] >> 2:
        case 63 | 62:
            program = _with_raw_ids(program, RAW_IDS[codes[1] % len(RAW_IDS)])
        case 61 | 60:
            program = _each(program, _heavier)
    return _bearable(program)


def _with_raw_ids(program: Program, family: tuple[str, ...]) -> Program:
    """The program at a location of its own, its ids replaced by those of a family in the order in which they appear."""
    ids = dict.fromkeys(one for step in program.steps for one in ids_of(step.operation) if _is_id(one))
    names = dict(zip(ids, family, strict=False))
    changed = _each(program, lambda operation: renamed(operation, lambda one: names.get(one, one)))
    return msgspec.structs.replace(changed, private=True)


def _is_id(text: str) -> bool:
    return bool(text) and not any("\ud800" <= character <= "\udfff" for character in text)


def _each(program: Program, change: Callable[[AnyOperation], AnyOperation]) -> Program:
    steps = tuple(msgspec.structs.replace(step, operation=change(step.operation)) for step in program.steps)
    return msgspec.structs.replace(program, steps=steps)


def _heavier(operation: AnyOperation) -> AnyOperation:
    match operation:
        case Write(batches=batches):
            return Write(tuple(_with_heavier(batch, batch.content) for batch in batches))
        case SaveSnapshot(content=content):
            return _with_heavier(operation, content)
        case _:
            return operation


def _with_heavier(value: Said, content: Content | None) -> Said:
    if content is None or not content.size:
        return value
    return msgspec.structs.replace(value, content=Content(size=min(16 * content.size, SIZE_MAX)))


def _bearable(program: Program) -> Program:
    """The program up to the step with which it would have written too much."""
    steps, written_bytes, written_events = [], 0, 0
    for step in program.steps:
        size, events = _weight(step)
        written_bytes, written_events = written_bytes + size, written_events + events
        if written_bytes > BYTES_MAX or written_events > EVENTS_MAX:
            break
        steps.append(step)
    return msgspec.structs.replace(program, steps=tuple(steps))


def _weight(step: Step) -> tuple[int, int]:
    """How many bytes of sized contents, and how many events, a step writes."""
    match step.operation:
        case Write(batches=batches):
            events = [batch.last - batch.first + 1 for batch in batches]
            sizes = [batch.content.size if batch.content else 0 for batch in batches]
            return sum(size * count for size, count in zip(sizes, events, strict=True)), sum(events)
        case SaveSnapshot(content=Content(size=size)):
            return size, 0
        case _:
            return 0, 0
