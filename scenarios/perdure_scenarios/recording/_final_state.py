"""What a trace amounts to: the files as they are when every call of it was made. The check that nothing was missed."""

from __future__ import annotations

from collections.abc import Mapping

from ..trace import (
    AnyCall,
    Created,
    Linked,
    MadeDirectory,
    RemovedDirectory,
    Renamed,
    Trace,
    Truncated,
    Unlinked,
    Wrote,
)


def final_state(trace: Trace) -> dict[str, bytes]:
    """All files with their contents after the last call; directories end in `/`, as in `trace.before`."""
    files = {path: bytearray(content) for path, content in trace.before.items()}
    for call in trace.calls:
        _apply(call, files)
    return {path: bytes(content) for path, content in files.items()}


def _apply(call: AnyCall, files: dict[str, bytearray]) -> None:
    """Names lead to files, and two names of one file to the same bytes."""
    match call:
        case Created(path=path):
            files[path] = bytearray()
        case MadeDirectory(path=path):
            files[f"{path}/"] = bytearray()
        case Wrote(path=path, offset=offset, data=data):
            _resize(files[path], max(offset + len(data), len(files[path])))
            files[path][offset : offset + len(data)] = data
        case Truncated(path=path, size=size):
            _resize(files[path], size)
        case Renamed(path=path, to=to):
            _rename(path, to, files)
        case Linked(path=path, to=to):
            files[to] = files[path]
        case Unlinked(path=path):
            del files[path]
        case RemovedDirectory(path=path):
            del files[f"{path}/"]


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _rename(path: str, to: str, files: dict[str, bytearray]) -> None:
    """A directory takes along what is in it, and replaces an empty one."""
    if path in files:
        files[to] = files.pop(path)
        return
    for name in [name for name in files if name.startswith(f"{path}/")]:
        files[f"{to}/{name[len(path) + 1 :]}"] = files.pop(name)


def difference(expected: Mapping[str, bytes], found: Mapping[str, bytes], but: frozenset[str]) -> str:
    """The first file that differs, and how; "" if none does. The contents of the files in `but` may differ."""
    for path in sorted(expected.keys() | found.keys()):
        if path not in found or path not in expected:
            return f"{path} is {'not there' if path not in found else 'there'} and no call of the trace says so"
        if expected[path] != found[path] and path not in but:
            return f"{path} has other contents than the calls of the trace wrote"
    return ""
