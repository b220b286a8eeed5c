"""The models of disks against two oracles that are written another way: machines that carry a disk from call to call.

The oracles try everything a disk could do, so traces are tiny; the models must reach the same states, no more, no less.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import NamedTuple

import pytest
from perdure_scenarios.candidates import Bounds
from perdure_scenarios.disk import Model
from perdure_scenarios.states import Duty, image_of, kill_states, power_states
from perdure_scenarios.trace import (
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

SECTOR = 512
EVERYTHING = Bounds(at_most=10**9, exhaustive=20, samples=0)
SEEDS = range(60)
END = Duty(0, 99)
Plain = tuple[tuple[str, bytes], ...]
Reached = set[tuple[int, Plain]]


# Tiny programs on files. `told` counts the calls, so that no state of one moment is taken for one of another.


def tiny_trace(seed: int, wide: bool = False, calls: int = 6) -> Trace:
    """A few calls that a process might make in a directory; writes within one sector, or `wide` over some."""
    random = Random(seed)
    before = {"a": bytes([1]) * random.choice((0, 100, 700)), "b": bytes([2]) * 30} if random.random() < 0.7 else {}
    if random.random() < 0.3:
        before |= {"d/": b"", "d/c": b"c" * 600}
    files = {path for path in before if not path.endswith("/")}
    folders = {"", *(path.rstrip("/") for path in before if path.endswith("/"))}
    trace: list[AnyCall] = []
    while len(trace) < calls:
        trace += _tiny_call(random, len(trace), files, folders, wide)
    return Trace(before, tuple(trace))


def _tiny_call(random: Random, told: int, files: set[str], folders: set[str], wide: bool) -> list[AnyCall]:
    kind = random.choice(("create", "write", "write", "write", "cut", "rename", "unlink", "sync", "names", "folder"))
    fresh = random.choice(sorted(folders)) + random.choice(("/a", "/b", "/c"))
    fresh = fresh.lstrip("/")
    if kind == "create" and fresh not in files:
        files.add(fresh)
        return [Created(0, told, fresh)]
    if kind == "names":
        sync = SyncedDirectory(0, told, random.choice(sorted(folders)))
        return [sync if random.random() < 0.9 else SyncedAll(0, told, "")]
    if kind == "folder" and "d" not in folders:
        folders.add("d")
        return [MadeDirectory(0, told, "d")]
    if not files:
        return []
    path = random.choice(sorted(files))
    if kind == "write":
        offset, length = random.choice((0, 80, 512, 600)), random.choice((20, 300))
        length = random.choice((600, 1100)) if wide else min(length, SECTOR - offset % SECTOR)
        return [Wrote(0, told, path, offset, bytes([told + 65]) * length)]
    if kind == "cut":
        return [Truncated(0, told, path, random.choice((0, 50, 520, 900)))]
    if kind == "sync":
        return [Synced(0, told, path, data_only=random.random() < 0.5)]
    if kind == "rename" and fresh != path:
        files.discard(path)
        files.add(fresh)
        return [Renamed(0, told, path, fresh)]
    if kind == "rename" and fresh not in files:
        files.add(fresh)
        return [Linked(0, told, path, fresh)]
    if kind == "unlink":
        files.discard(path)
        return [Unlinked(0, told, path)]
    return []


# What both oracles need to know of the process: which node a path is.


class Process:
    """Names and sizes as the process sees them. Node 0 is the root; directories are in `folders`."""

    def __init__(self, before: dict[str, bytes]) -> None:
        self.names: dict[tuple[int, str], int] = {}
        self.folders = {0}
        self.size: dict[int, int] = {}
        self.first: dict[int, bytes] = {}
        for path, content in sorted(before.items()):
            node = self.add(path.rstrip("/"), path.endswith("/"))
            if not path.endswith("/"):
                self.size[node], self.first[node] = len(content), content

    def at(self, path: str) -> int:
        node = 0
        for name in path.split("/") if path else []:
            node = self.names[node, name]
        return node

    def slot(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.at(above), name

    def add(self, path: str, folder: bool = False) -> int:
        node = 1 + max([0, *self.names.values(), *self.size, *self.folders])
        self.names[self.slot(path)] = node
        if folder:
            self.folders.add(node)
        else:
            self.size[node] = 0
        return node

    def picture(self, names: dict[tuple[int, str], int], contents: dict[int, bytes]) -> Plain:
        """Paths with contents, as `Image.plain` has them."""
        found: dict[str, bytes] = {}

        def visit(folder: int, prefix: str, above: tuple[int, ...]) -> None:
            for (inside, name), node in names.items():
                if inside != folder or node in above:
                    continue
                if node in self.folders:
                    found[f"{prefix}{name}/"] = b""
                    visit(node, f"{prefix}{name}/", (*above, node))
                else:
                    found[prefix + name] = contents[node]

        visit(0, "", (0,))
        return tuple(sorted(found.items()))


def patched(content: bytes, offset: int, data: bytes) -> bytes:
    content = content.ljust(offset, b"\0")
    return content[:offset] + data + content[offset + len(data) :]


def sized(content: bytes, size: int) -> bytes:
    return content[:size].ljust(size, b"\0")


# The strict oracle: at every moment, each fact that was not synchronised is there or not.


class Fact(NamedTuple):
    kind: str
    node: int
    slot: tuple[int, str] | None = None
    old: tuple[int, str] | None = None
    removes: bool = False
    offset: int = 0
    data: bytes = b""
    after: int = -1
    size: int = 0


def strict_states(trace: Trace) -> Reached:
    process = Process(trace.before)
    first = dict(process.names)
    facts: list[Fact] = []
    certain: set[int] = set()
    reached: Reached = set()
    for position in range(len(trace.calls) + 1):
        contents = {node: process.first.get(node, b"") for node in process.size}
        reached |= {(position, picture) for picture in strict_moment(process, first, contents, facts, certain)}
        if position < len(trace.calls):
            certain |= strict_certain(process, facts, trace.calls[position])
            facts += strict_facts(process, trace.calls[position], len(facts))
    return reached


def strict_moment(
    process: Process,
    first: dict[tuple[int, str], int],
    contents: dict[int, bytes],
    facts: list[Fact],
    certain: set[int],
) -> Iterator[Plain]:
    choices = [("whole",) if n in certain else fates_of(fact) for n, fact in enumerate(facts)]
    for fates in product(*choices):
        if any(
            fact.after >= 0 and fates[fact.after] == "lost" != fate for fact, fate in zip(facts, fates, strict=True)
        ):
            continue
        some_names, some_contents = dict(first), dict(contents)
        for fact, fate in zip(facts, fates, strict=True):
            happen(fact, fate, some_names, some_contents)
        yield process.picture(some_names, some_contents)


def fates_of(fact: Fact) -> tuple[str, ...]:
    grows = fact.kind == "write" and fact.offset + len(fact.data) > fact.size
    return ("lost", "whole", "size") if grows else ("lost", "whole")


def happen(fact: Fact, fate: str, names: dict[tuple[int, str], int], contents: dict[int, bytes]) -> None:
    if fate == "lost":
        return
    if fact.kind == "cut":
        contents[fact.node] = sized(contents[fact.node], fact.size)
    elif fate == "size":
        end = fact.offset + len(fact.data)
        contents[fact.node] = sized(contents[fact.node], max(len(contents[fact.node]), end))
    elif fact.kind == "write":
        contents[fact.node] = patched(contents[fact.node], fact.offset, fact.data)
    else:
        if fact.old:
            names.pop(fact.old, None)
        assert fact.slot
        names.pop(fact.slot, None)
        if not fact.removes:
            names[fact.slot] = fact.node


def strict_certain(process: Process, facts: list[Fact], call: AnyCall) -> set[int]:
    match call:
        case SyncedAll():
            return set(range(len(facts)))
        case Synced(path=path):
            node = process.at(path)
            return {n for n, fact in enumerate(facts) if fact.node == node and fact.slot is None}
        case SyncedDirectory(path=path):
            found = {n for n, fact in enumerate(facts) if fact.slot and fact.slot[0] == process.at(path)}
            return found | {facts[n].after for n in found if facts[n].after >= 0}
    return set()


def strict_facts(process: Process, call: AnyCall, count: int) -> list[Fact]:
    """What a call does, as facts; and let the process see it."""
    match call:
        case Created(path=path) | MadeDirectory(path=path):
            node = process.add(path, isinstance(call, MadeDirectory))
            return [Fact("name", node, process.slot(path))]
        case Linked(path=path, to=to):
            process.names[process.slot(to)] = process.at(path)
            return [Fact("name", process.at(to), process.slot(to))]
        case Unlinked(path=path) | RemovedDirectory(path=path):
            return [Fact("name", process.names.pop(process.slot(path)), process.slot(path), removes=True)]
        case Renamed(path=path, to=to):
            old, new = process.slot(path), process.slot(to)
            if process.names.get(new) == process.names[old]:
                return []
            node = process.names[new] = process.names.pop(old)
            if old[0] == new[0]:
                return [Fact("name", node, new, old)]
            return [Fact("name", node, new), Fact("name", node, old, removes=True, after=count)]
        case Wrote(path=path, offset=offset, data=data):
            node = process.at(path)
            size, process.size[node] = process.size[node], max(process.size[node], offset + len(data))
            return [Fact("write", node, offset=offset, data=data, size=size)]
        case Truncated(path=path, size=size):
            process.size[process.at(path)] = size
            return [Fact("cut", process.at(path), size=size)]
    return []


# The ext4 oracle: between two calls the system may, as often as it likes, commit the first entry of the journal, write
# out the first waiting fragment of a sector, or let a size grow. All disks that this leads to are carried on.


class Fragment(NamedTuple):
    """Bytes within one sector. `moment` is when they were written; `new` if they lie in no block of before."""

    moment: int
    node: int
    offset: int
    data: bytes
    new: bool
    end: int


class Platter(NamedTuple):
    names: frozenset[tuple[tuple[int, str], int]]
    contents: tuple[bytes, ...]
    journal: tuple[tuple[int, tuple[Fact, ...]], ...]
    waiting: tuple[Fragment, ...]


def ext4_states(trace: Trace) -> Reached:
    process = Process(trace.before)
    nodes = 1 + len(trace.before) + len(trace.calls)
    contents = tuple(process.first.get(node, b"") for node in range(nodes))
    platters = {Platter(frozenset(process.names.items()), contents, (), ())}
    blocks = dict(process.size)
    since: list[tuple[int, Fact, bool]] = []
    reached: Reached = set()
    for position in range(len(trace.calls) + 1):
        platters = closure(platters)
        reached |= {(position, process.picture(dict(p.names), dict(enumerate(p.contents)))) for p in platters}
        if position < len(trace.calls):
            platters = ext4_call(process, blocks, since, platters, trace.calls[position], position)
    return reached


def ext4_call(
    process: Process,
    blocks: dict[int, int],
    since: list[tuple[int, Fact, bool]],
    platters: set[Platter],
    call: AnyCall,
    position: int,
) -> set[Platter]:
    """`since` is what was done and not yet forced to the disk by a synchronisation, with whether reading a file needs
    it; `blocks` up to where a file had blocks when it was last forced."""
    forced, journal_too = ext4_forced(process, since, call)
    if isinstance(call, Synced | SyncedAll | SyncedDirectory):
        gone = [entry for entry in since if entry[1].node in forced and entry[1].slot is None]
        gone += [entry for entry in since if journal_too and entry[1].kind != "write"]
        since[:] = [entry for entry in since if entry not in gone]
        for node in {fact.node for _, fact, _ in gone if fact.slot is None}:
            if not any(fact.node == node and fact.slot is None for _, fact, _ in since):
                blocks[node] = blocks_after(blocks.pop(node, 0), [fact for _, fact, _ in gone if fact.node == node])
        return {force(platter, forced, journal_too) for platter in platters}
    known = set(process.size) | process.folders
    facts = strict_facts(process, call, 0)
    for fact in facts:
        cuts = [done.size for _, done, _ in since if done.kind == "cut" and done.node == fact.node]
        low = min([blocks.get(fact.node, 0), *cuts])
        end = fact.offset + len(fact.data)
        needed = fact.kind == "cut" or (fact.kind == "write" and end > low) or fact.node not in known
        since.append((position, fact, needed))
        if fact.kind == "write":
            pieces = tuple(fragments(fact, position, low))
            return {platter._replace(waiting=platter.waiting + pieces) for platter in platters}
    entry = ((position, tuple(facts)),) if facts else ()
    return {platter._replace(journal=platter.journal + entry) for platter in platters}


def blocks_after(blocks: int, facts: list[Fact]) -> int:
    for fact in facts:
        if fact.kind == "cut":
            blocks = min(blocks, fact.size)
        elif fact.kind == "write":
            blocks = max(blocks, fact.offset + len(fact.data))
    return blocks


def ext4_forced(process: Process, since: list[tuple[int, Fact, bool]], call: AnyCall) -> tuple[set[int], bool]:
    """Of which files a call forces the bytes to the disk, and whether it forces the journal."""
    match call:
        case SyncedAll():
            return set(process.size), True
        case SyncedDirectory(path=path):
            node = process.at(path)
            slots = [slot for _, fact, _ in since for slot in (fact.slot, fact.old) if slot]
            made = any(fact.node == node for _, fact, _ in since)
            return set(), made or any(folder == node for folder, _ in slots)
        case Synced(path=path, data_only=data_only):
            node = process.at(path)
            return {node}, any(fact.node == node and (needed or not data_only) for _, fact, needed in since)
    return set(), False


def fragments(fact: Fact, moment: int, low: int) -> Iterator[Fragment]:
    start, end = fact.offset, fact.offset + len(fact.data)
    while start < end:
        border = min(end, start - start % SECTOR + SECTOR)
        data = fact.data[start - fact.offset : border - fact.offset]
        grows = border if border > fact.size else 0
        yield Fragment(moment, fact.node, start, data, border > low, grows)
        start = border


def closure(platters: set[Platter]) -> set[Platter]:
    found, fresh = set(platters), list(platters)
    while fresh:
        for after in steps(fresh.pop()):
            if after not in found:
                found.add(after)
                fresh.append(after)
    return found


def steps(platter: Platter) -> Iterator[Platter]:
    if platter.journal:
        yield commit(platter)
    sectors = set()
    for fragment in platter.waiting:
        ready = not platter.journal or platter.journal[0][0] > fragment.moment
        sector = fragment.node, fragment.offset // SECTOR
        if sector not in sectors and (ready or not fragment.new):
            yield write_out(platter, fragment)
        if fragment.end > len(platter.contents[fragment.node]) and ready:
            grown = sized(platter.contents[fragment.node], fragment.end)
            yield platter._replace(contents=replaced(platter.contents, fragment.node, grown))
        sectors.add(sector)


def commit(platter: Platter) -> Platter:
    """The first entry of the journal. Bytes behind a cut that still wait never get there."""
    (moment, facts), *journal = platter.journal
    names, contents, waiting = dict(platter.names), dict(enumerate(platter.contents)), list(platter.waiting)
    for fact in facts:
        happen(fact, "whole", names, contents)
        if fact.kind == "cut":
            waiting = [
                clipped
                for fragment in waiting
                for clipped in [clip(fragment, fact) if fragment.moment < moment else fragment]
                if clipped.data
            ]
    return Platter(frozenset(names.items()), tuple(contents.values()), tuple(journal), tuple(waiting))


def clip(fragment: Fragment, cut: Fact) -> Fragment:
    if fragment.node != cut.node:
        return fragment
    return fragment._replace(data=fragment.data[: max(cut.size - fragment.offset, 0)], end=0)


def write_out(platter: Platter, fragment: Fragment) -> Platter:
    waiting = list(platter.waiting)
    waiting.remove(fragment)
    content = patched(platter.contents[fragment.node], fragment.offset, fragment.data)
    return platter._replace(contents=replaced(platter.contents, fragment.node, content), waiting=tuple(waiting))


def force(platter: Platter, nodes: set[int], journal: bool) -> Platter:
    """In the order in which it was done: cuts and writes of one file may not change places."""
    while True:
        fragment = next((one for one in platter.waiting if one.node in nodes), None)
        entry = platter.journal[0] if platter.journal and journal else None
        if fragment and (entry is None or fragment.moment < entry[0]):
            platter = write_out(platter, fragment)
        elif entry:
            platter = commit(platter)
        else:
            return platter


def replaced(contents: tuple[bytes, ...], node: int, content: bytes) -> tuple[bytes, ...]:
    return (*contents[:node], content, *contents[node + 1 :])


# The comparisons


def reached_by(trace: Trace, model: Model, bounds: Bounds = EVERYTHING) -> Reached:
    states = power_states(trace, model, bounds, END)
    return {(state.position, tuple(sorted(state.image.plain().items()))) for state in states}


ORACLES = {"ext4": ext4_states, "strict": strict_states}


@pytest.mark.parametrize("model", ["ext4", "strict"])
def test_a_model_reaches_what_its_oracle_reaches_and_nothing_else(model: Model) -> None:
    for seed in SEEDS:
        trace = tiny_trace(seed)
        assert reached_by(trace, model) == ORACLES[model](trace), f"seed {seed}"


def test_no_torn_state_is_reached_that_sector_by_sector_cannot_be() -> None:
    torn = 0
    for seed in SEEDS:
        trace = tiny_trace(seed, wide=True, calls=4)
        states = list(power_states(trace, "ext4", EVERYTHING))
        torn += sum(words.startswith("torn") for state in states for words in state.lost)
        assert reached_by(trace, "ext4") <= ext4_states(trace), f"seed {seed}"
    assert torn > 50


def test_what_ext4_may_lose_the_strict_model_may_lose_too() -> None:
    for seed in SEEDS:
        trace = tiny_trace(seed, calls=7)
        assert reached_by(trace, "ext4") <= reached_by(trace, "strict"), f"seed {seed}"


@pytest.mark.parametrize("model", ["ext4", "strict"])
def test_where_nothing_is_lost_the_disk_is_what_a_kill_leaves(model: Model) -> None:
    for seed in SEEDS:
        trace = tiny_trace(seed, wide=seed % 2 == 0, calls=9)
        killed = {state.position: state.image for state in kill_states(trace, END) if not state.inside}
        whole = {s.position: s.image for s in power_states(trace, model, Bounds(exhaustive=0), END) if not s.lost}
        assert set(whole) == set(killed) == set(range(len(trace.calls) + 1))
        assert all(image == image_of(trace, position) for position, image in whole.items())


@pytest.mark.parametrize("model", ["ext4", "strict"])
def test_nothing_is_lost_after_a_sync_of_everything(model: Model) -> None:
    for seed in SEEDS:
        trace = tiny_trace(seed, wide=True, calls=8)
        last = len(trace.calls)
        synced = Trace(trace.before, (*trace.calls, SyncedAll(0, last, "")))
        end = [state for state in power_states(synced, model, end=END) if state.position == last + 1]
        assert all(state.image == image_of(synced, last + 1) for state in end)


@pytest.mark.parametrize("model", ["ext4", "strict"])
def test_bytes_that_were_synced_are_never_lost(model: Model) -> None:
    for seed in SEEDS:
        trace = tiny_trace(seed, calls=6)
        for path, content in image_of(trace, 6).files.items():
            synced = Trace(trace.before, (*trace.calls, Synced(0, 6, path), SyncedDirectory(0, 7, "")))
            found = [state.image.files for state in power_states(synced, model, end=END) if state.position == 8]
            if "/" not in path:
                assert all(bytes(files[path]) == bytes(content) for files in found), f"seed {seed}, {path}"
