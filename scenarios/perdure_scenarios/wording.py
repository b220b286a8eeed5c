"""Calls and places of a trace in words for people."""

from __future__ import annotations

from collections.abc import Sequence

from .trace import (
    AnyCall,
    Created,
    Linked,
    MadeDirectory,
    RemovedDirectory,
    Renamed,
    Synced,
    SyncedAll,
    SyncedDirectory,
    Trace,
    Truncated,
    Unlinked,
    Wrote,
)

LISTED_MAX = 4


def call_words(call: AnyCall) -> str:
    match call:
        case Created(path=path):
            return f"creation of {path}"
        case MadeDirectory(path=path):
            return f"creation of directory {path}"
        case Wrote(path=path, offset=offset, data=data):
            return f"write of {_bytes(len(data))} at {offset} to {path}"
        case Truncated(path=path, size=size):
            return f"truncation of {path} to {_bytes(size)}"
        case Renamed(path=path, to=to):
            return f"rename of {path} to {to}"
        case Linked(path=path, to=to):
            return f"link of {path} as {to}"
        case Unlinked(path=path):
            return f"unlink of {path}"
        case RemovedDirectory(path=path):
            return f"removal of directory {path}"
        case Synced(path=path, data_only=data_only):
            return f"{'fdatasync' if data_only else 'fsync'} of {path}"
        case SyncedDirectory(path=path):
            return f"fsync of directory {path or '.'}"
        case SyncedAll():
            return "sync of everything"


def place_words(trace: Trace, position: int) -> str:
    """Where a trace stands when so many calls are done: after which, before which."""
    before = [f"after {call_words(trace.calls[position - 1])}"] if position else []
    after = [f"before {call_words(trace.calls[position])}"] if position < len(trace.calls) else []
    if not before:
        return f"{after[0]}, the first call" if after else "before anything was done"
    return ", ".join(before + (after or ["the last call"]))


def inside_words(call: Wrote, there: int) -> str:
    return f"inside {call_words(call)}, of which {there} are there"


def lost_words(call: AnyCall, there: int | None) -> str:
    """What became of a call that did not survive whole: `there` bytes of a write, 0 if only the size is, None if
    nothing."""
    if there is None or not isinstance(call, Wrote):
        return f"lost: {call_words(call)}"
    if not there:
        return f"zeros instead of {call_words(call)}"
    return f"torn: write of {there} of {_bytes(len(call.data))} at {call.offset} to {call.path}"


def listed(lost: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(lost) - LISTED_MAX
    return "; ".join([*lost[:LISTED_MAX], *([f"and {more} more"] if more > 0 else [])])


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"
