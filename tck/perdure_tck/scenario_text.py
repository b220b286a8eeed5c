"""The text form of programs, both ways: `parse` and `show`, which lose nothing between them.

The grammar is in `docs/scenario-files.md`. A mistake raises `ScenarioError` with file, line and what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP

from .actor_operations import ACTOR_OPERATIONS
from .actors_text import ACTOR_READERS, expected_notes
from .cursor import END, STRING, Cursor, any_of, as_number, read_window
from .cursor import ScenarioError as ScenarioError
from .hazards import AT, TROUBLES, Hazard, Kind
from .operations import (
    BARE_WORD,
    DEFAULT_SERIALIZER_ID,
    AnyOperation,
    Batch,
    Bounds,
    Cancel,
    Clock,
    Close,
    Content,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Reopen,
    Replay,
    Resume,
    SaveSnapshot,
    Take,
    Write,
    quoted,
    shown_number,
)
from .outcomes import shown_numbers
from .program import Program, Step, without_loose_ends
from .query_operations import FOREIGN, SUBJECTS

HEAD = ("rules", "level", "page_size", "private", "one_handle", "schedule")
LEVELS = ("core", "full")
EVENT_ATTRIBUTES = ("data", "serializer", "payload_manifest", "manifest", "writer", "at", "tags", "metadata")
SIZE_MAX = 2**28
EVENTS_MAX = 100_000
"""What a line may ask for at most, so that a slip of the pen does not fill the memory."""

SNAPSHOT_ATTRIBUTES = ("data", "serializer", "payload_manifest")
CLIENT = r"[a-z][a-z0-9]*(@[a-z0-9]+)?"
AT_TIME = rf"at(?!=|\s+every\b){END}"
"""`at 1000`, but neither `at=1000` nor `at every io` of a hazard."""


def read_scenario(path: Path) -> Program:
    """The program of one scenario file; its name is the file's."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}:1", "text in UTF-8", f"byte {error.object[error.start]:#04x}") from None
    return parse(text, path.stem, str(path))


def parse(text: str, name: str, place: str = "") -> Program:
    """Read a program: prose in `#` lines, the head (`rules`, `level`, ...), one operation a line, then its hazards."""
    prose: list[str] = []
    steps: list[Step] = []
    hazards: list[Hazard] = []
    head = _Head()
    blocks = _Blocks()
    for number, line in enumerate(text.splitlines(), 1):
        cursor = Cursor(line.strip(), f"{place or name}:{number}")
        if not cursor.text:
            continue
        if cursor.text.startswith("#"):
            prose.append(cursor.text.removeprefix("#").strip())
        elif not steps and cursor.peek(any_of(HEAD)):
            head.read(cursor)
        elif cursor.peek(any_of(tuple(_HAZARDS))):
            hazards.append(_hazard(cursor, steps))
        elif hazards:
            raise cursor.error(f"a hazard ({', '.join(_HAZARDS)}), since hazards stand behind the steps")
        elif not blocks.read(cursor, steps):
            steps.append(msgspec.structs.replace(_step(cursor), block=blocks.current))
            _refuse_loose_end(steps, cursor.place)
    end = f"{place or name}:{len(text.splitlines()) + 1}"
    if not head.rules:
        raise ScenarioError(end, "a line 'rules J-01 ...'", "none")
    if not steps:
        raise ScenarioError(end, "at least one operation", "none")
    blocks.check(end, steps)
    return Program(
        name,
        "\n".join(prose),
        head.rules,
        tuple(steps),
        level=head.level,
        page_size=head.page_size,
        private=head.private,
        one_handle=head.one_handle,
        schedule=head.schedule,
        hazards=tuple(hazards),
    )


def _refuse_loose_end(steps: Sequence[Step], place: str) -> None:
    """A line that takes from a query, closes it or resumes behind it needs one that was opened before."""
    if isinstance(steps[-1].operation, Query | Take | Close) and without_loose_ends(tuple(steps))[-1:] != (steps[-1],):
        raise ScenarioError(place, "the name of a query that is open", repr(str(steps[-1].operation)))


def show(program: Program) -> str:
    """The text of a program, with its arrows below each other."""
    lines = [f"# {line}".rstrip() for line in program.prose.splitlines()]
    lines.append(f"rules {' '.join(program.rules)}")
    if program.level != "core":
        lines.append(f"level {program.level}")
    if program.page_size is not None:
        lines.append(f"page_size {program.page_size}")
    if program.private:
        lines.append("private")
    if program.one_handle:
        lines.append("one_handle")
    if program.schedule is not None:
        lines.append(f"schedule {' '.join(map(str, program.schedule)) or '0'}")
    lines += ["", *_aligned(program), ""]
    if program.hazards:
        lines += [*map(str, program.hazards), ""]
    return "\n".join(lines)


def _aligned(program: Program) -> list[str]:
    lefts = [_left(step) for step in program.steps]
    width = min(max(map(len, lefts)), 60)
    lines: list[str] = []
    for block, numbered in program.blocks:
        shown = [
            f"{lefts[number - 1]:<{width}} -> {' | '.join(step.expected)}" if step.expected else lefts[number - 1]
            for number, step in numbered
        ]
        lines += ["together", *shown, "end"] if block else shown
    return lines


def _left(step: Step) -> str:
    indent = "  " if step.block else ""
    return f"{indent}{step.client}: {step.operation}" if step.client else f"{indent}{step.operation}"


class _Blocks:
    """The blocks of steps that overlap: `together`, steps, `end`."""

    def __init__(self) -> None:
        self._count = 0
        self.current = 0

    def read(self, cursor: Cursor, steps: Sequence[Step]) -> bool:
        """Whether a line begins or ends a block."""
        if cursor.accept("together" + END):
            if self.current:
                raise ScenarioError(cursor.place, "'end' of the block before another one begins", "together")
            self._count += 1
            self.current = self._count
        elif cursor.accept("end" + END):
            if not self.current or not steps or steps[-1].block != self.current:
                raise ScenarioError(cursor.place, "steps between 'together' and 'end'", "none")
            self._check(cursor.place, [step for step in steps if step.block == self.current])
            self.current = 0
        else:
            return False
        cursor.end()
        return True

    def _check(self, place: str, steps: Sequence[Step]) -> None:
        clients = {step.client for step in steps}
        for step in steps:
            if isinstance(step.operation, (Reopen, Clock, *ACTOR_OPERATIONS)):
                raise ScenarioError(place, f"no '{step.operation.kind}' in a block, where calls overlap", "one")
            if isinstance(step.operation, Cancel) and step.operation.client not in clients - {step.client}:
                raise ScenarioError(
                    place, "the cancelled client in the same block, as another one", step.operation.client
                )
            if isinstance(step.operation, Take) and step.operation.count == MAX_SEQUENCE_NR:
                raise ScenarioError(place, "a number of events to take in a block, where more may always come", "all")

    def check(self, place: str, steps: Sequence[Step]) -> None:
        if self.current:
            raise ScenarioError(place, "the 'end' of a block", "none")
        if any(isinstance(step.operation, Cancel) and not step.block for step in steps):
            raise ScenarioError(place, "'cancel' within a block only", "one outside")


class _Head:
    """The lines before the first operation."""

    def __init__(self) -> None:
        self.rules: tuple[str, ...] = ()
        self.level = "core"
        self.page_size: int | None = None
        self.private = False
        self.one_handle = False
        self.schedule: tuple[int, ...] | None = None

    def read(self, cursor: Cursor) -> None:
        word = cursor.take(BARE_WORD, "a word")
        if word == "rules":
            self.rules = tuple(cursor.rest().split())
            for rule in self.rules:
                if not re.fullmatch(r"[A-Z]-\d\d+", rule):
                    raise ScenarioError(cursor.place, "rule ids such as J-42", repr(rule))
        elif word == "level":
            self.level = cursor.one_of(LEVELS)
        elif word == "page_size":
            self.page_size = cursor.number(1)
        elif word == "one_handle":
            self.one_handle = True
        elif word == "schedule":
            choices = [cursor.number()]
            while cursor.text:
                choices.append(cursor.number())
            while choices and choices[-1] == 0:
                choices.pop()
            self.schedule = tuple(choices)
        else:
            self.private = True
        cursor.end()


def _step(cursor: Cursor) -> Step:
    client = ""
    if cursor.peek(f"{CLIENT}:"):
        client = cursor.take(f"{CLIENT}:", "a client").removesuffix(":")
    word = cursor.one_of(tuple(_OPERATIONS))
    operation = _OPERATIONS[word](cursor)
    if client and isinstance(operation, ACTOR_OPERATIONS):
        raise ScenarioError(cursor.place, f"no client before '{operation.kind}', since actors belong to none", client)
    expected: tuple[str, ...] = ()
    if cursor.accept("->"):
        expected = tuple(_expectation(operation, part.strip(), cursor) for part in _alternatives(cursor.rest()))
    cursor.end()
    return Step(operation, client, expected)


def _alternatives(text: str) -> list[str]:
    """What stands between the bars, except bars within strings."""
    return re.split(rf"\|(?=(?:{STRING}|[^\"])*$)", text)


def _write(cursor: Cursor) -> Write:
    batches: list[Batch] = []
    if cursor.accept("nothing" + END):
        return Write(())
    persistence_id: str | None = None
    while True:
        if not cursor.peek(rf"-?\d|max{END}|each\s+\d"):
            persistence_id = cursor.string("a persistence id")
        if persistence_id is None:
            raise cursor.error("a persistence id")
        if not persistence_id or any("\ud800" <= character <= "\udfff" for character in persistence_id):
            raise ScenarioError(cursor.place, "a persistence id that an AtomicWrite can have", quoted(persistence_id))
        batches.extend(_batches(cursor, persistence_id))
        if not cursor.accept(","):
            return Write(tuple(batches))


def _batches(cursor: Cursor, persistence_id: str) -> list[Batch]:
    each = cursor.accept("each" + END)
    first = cursor.number(1)
    last = cursor.number(first, min(first + EVENTS_MAX, MAX_SEQUENCE_NR)) if cursor.accept(r"\.\.") else first
    ranges = [(number, number) for number in range(first, last + 1)] if each else [(first, last)]
    attributes = _attributes(cursor, EVENT_ATTRIBUTES)
    return [
        Batch(
            persistence_id,
            low,
            high,
            content=attributes.content,
            serializer_id=attributes.serializer_id,
            payload_manifest=attributes.payload_manifest,
            manifest=attributes.manifest,
            writer_uuid=attributes.writer_uuid,
            timestamp=attributes.timestamp,
            tags=attributes.tags,
            metadata=attributes.metadata,
        )
        for low, high in ranges
    ]


class _Attributes:
    """What may be said of an event or a snapshot behind its number."""

    def __init__(self) -> None:
        self.content: Content | None = None
        self.serializer_id = DEFAULT_SERIALIZER_ID
        self.payload_manifest = self.manifest = self.writer_uuid = ""
        self.timestamp = 0
        self.tags: tuple[str, ...] = ()
        self.metadata: Content | None = None


def _attributes(cursor: Cursor, names: Sequence[str]) -> _Attributes:
    found = _Attributes()
    while cursor.peek(r"[a-z_]+="):
        name = cursor.take(f"({'|'.join(names)})=", ", ".join(f"{name}=" for name in names))
        match name:
            case "data=":
                found.content = _content(cursor)
            case "serializer=":
                found.serializer_id = cursor.number(-(2**31))
            case "payload_manifest=":
                found.payload_manifest = cursor.string("a string")
            case "manifest=":
                found.manifest = cursor.string("a string")
            case "writer=":
                found.writer_uuid = cursor.string("a string")
            case "at=":
                found.timestamp = cursor.number(1)
            case "tags=":
                found.tags = _tags(cursor)
            case _:
                found.metadata = _content(cursor)
    return found


def _content(cursor: Cursor) -> Content:
    if cursor.accept("empty" + END):
        return Content()
    if cursor.accept("size:"):
        return Content(size=cursor.number(1, SIZE_MAX))
    if cursor.accept("hex:"):
        return Content(hex=cursor.take(r"([0-9a-f]{2})+", "pairs of hexadecimal digits"))
    return Content(text=cursor.string('"text", hex:00ff, size:4096 or empty'))


def _tags(cursor: Cursor) -> tuple[str, ...]:
    tags = [cursor.string("a tag")]
    while cursor.accept(r"\+"):
        tags.append(cursor.string("a tag"))
    return tuple(tags)


def _replay(cursor: Cursor) -> Replay:
    persistence_id = cursor.string("a persistence id")
    first, last, limit = 1, MAX_SEQUENCE_NR, MAX_SEQUENCE_NR
    if cursor.peek(r"-?\d|max|\.\."):
        first, last = read_window(cursor, 1, MAX_SEQUENCE_NR)
    if cursor.accept("limit" + END):
        limit = cursor.number(-MAX_SEQUENCE_NR)
    return Replay(persistence_id, first, last, limit)


def _highest(cursor: Cursor) -> Highest:
    persistence_id = cursor.string("a persistence id")
    return Highest(persistence_id, cursor.number(-MAX_SEQUENCE_NR) if cursor.accept("hint" + END) else 0)


def _delete(cursor: Cursor) -> AnyOperation:
    if cursor.accept("snapshots" + END):
        return DeleteSnapshots(cursor.string("a persistence id"), _bounds(cursor))
    if cursor.accept("snapshot" + END):
        persistence_id = cursor.string("a persistence id")
        return DeleteSnapshot(persistence_id, cursor.number(), cursor.number(1) if cursor.accept(AT_TIME) else 0)
    persistence_id = cursor.string("a persistence id")
    cursor.take(r"\.\.", "'..' and the last number to delete")
    return Delete(persistence_id, cursor.number(-MAX_SEQUENCE_NR))


def _save(cursor: Cursor) -> SaveSnapshot:
    cursor.take("snapshot" + END, "snapshot")
    persistence_id = cursor.string("a persistence id")
    sequence_nr = cursor.number()
    timestamp = cursor.number(1) if cursor.accept(AT_TIME) else 0
    said = _attributes(cursor, SNAPSHOT_ATTRIBUTES)
    return SaveSnapshot(persistence_id, sequence_nr, timestamp, said.content, said.serializer_id, said.payload_manifest)


def _load(cursor: Cursor) -> LoadSnapshot:
    cursor.take("snapshot" + END, "snapshot")
    return LoadSnapshot(cursor.string("a persistence id"), _bounds(cursor))


def _bounds(cursor: Cursor) -> Bounds:
    numbers, times = (0, MAX_SEQUENCE_NR), (0, MAX_TIMESTAMP)
    if cursor.accept("seq" + END):
        numbers = read_window(cursor, 0, MAX_SEQUENCE_NR)
    if cursor.accept("time" + END):
        times = read_window(cursor, 0, MAX_TIMESTAMP)
    return Bounds(numbers[1], times[1], numbers[0], times[0])


QUERY_NAME = r"[a-z][a-z0-9]*(?![A-Za-z0-9_-])"


def _query(cursor: Cursor) -> Query:
    name = _query_name(cursor)
    if name == FOREIGN.name:
        raise ScenarioError(cursor.place, "a name that is not 'foreign', which stands for a foreign offset", repr(name))
    current = cursor.accept("current" + END)
    found = cursor.one_of(SUBJECTS)
    subject = next(one for one in SUBJECTS if one == found)
    persistence_id, tag, window, after = "", "", (1, MAX_SEQUENCE_NR), None
    if subject == "events by persistence id":
        persistence_id = cursor.string("a persistence id")
        if cursor.peek(r"-?\d|max|\.\."):
            window = read_window(cursor, 1, MAX_SEQUENCE_NR)
    elif subject == "events by tag":
        tag = cursor.string("a tag")
    if subject in ("events by tag", "all events") and cursor.accept("after" + END):
        source = _query_name(cursor)
        after = Resume(source, cursor.number(1) if source != FOREIGN.name and cursor.peek(r"\d") else 0)
    return Query(name, subject, current, persistence_id, *window, tag, after)


def _query_name(cursor: Cursor) -> str:
    return cursor.take(QUERY_NAME, "the name of a query, such as f")


def _take(cursor: Cursor) -> Take:
    name = _query_name(cursor)
    return Take(name) if cursor.accept("all" + END) else Take(name, cursor.number(1, EVENTS_MAX))


_OPERATIONS: dict[str, Callable[[Cursor], AnyOperation]] = {
    "write": _write,
    "replay": _replay,
    "highest": _highest,
    "delete": _delete,
    "save": _save,
    "load": _load,
    "query": _query,
    "take": _take,
    "close": lambda cursor: Close(_query_name(cursor)),
    "reopen": lambda _: Reopen(),
    "clock": lambda cursor: Clock(cursor.number(1)),
    "cancel": lambda cursor: Cancel(cursor.take(CLIENT, "a client")),
    **ACTOR_READERS,
}

_HAZARDS: dict[str, Callable[[Cursor], Kind]] = {
    "kill": lambda _: "kill",
    "power": lambda cursor: _after(cursor, "cut", "power cut"),
    "fail": lambda _: "fail",
    "disk": lambda cursor: "disk full" if cursor.one_of(("full", "read-only")) == "full" else "disk read-only",
    "damage": lambda _: "damage",
}


def _after(cursor: Cursor, word: str, kind: Kind) -> Kind:
    cursor.one_of((word,))
    return kind


def _hazard(cursor: Cursor, steps: Sequence[Step]) -> Hazard:
    """`kill at every io`, `power cut during write p 4..6 at every io`, `fail every io with EIO during reopen`."""
    kind = _HAZARDS[cursor.one_of(tuple(_HAZARDS))](cursor)
    if kind == "fail":
        _words(cursor, AT[kind])
        cursor.one_of(("with",))
        trouble = cursor.take(f"({'|'.join(TROUBLES)}){END}", f"one of {', '.join(TROUBLES)}")
        hazard = Hazard(kind, trouble, _during(cursor, steps))
    else:
        hazard = Hazard(kind, "", _during(cursor, steps) if kind in ("kill", "power cut") else None)
        _words(cursor, AT[kind])
    cursor.end()
    return hazard


def _during(cursor: Cursor, steps: Sequence[Step]) -> AnyOperation | None:
    if not cursor.accept("during" + END):
        return None
    written = cursor.text
    word = cursor.one_of(tuple(_OPERATIONS))
    operation = _OPERATIONS[word](cursor)
    if operation not in [step.operation for step in steps]:
        raise ScenarioError(cursor.place, "one of the operations above", repr(written))
    return operation


def _words(cursor: Cursor, words: str) -> None:
    for word in words.split():
        cursor.take(word + END, f"'{words}'")


_WORDS: dict[type[AnyOperation], tuple[str, ...]] = {
    Write: ("ok", "rejected", "conflict", "failed", "invalid"),
    Replay: ("none", "invalid", "unreadable"),
    Highest: ("invalid",),
    Delete: ("ok", "invalid"),
    SaveSnapshot: ("ok", "failed", "invalid"),
    LoadSnapshot: ("none", "invalid", "unreadable"),
    DeleteSnapshot: ("ok", "invalid"),
    DeleteSnapshots: ("ok", "invalid"),
    Query: ("ok",),
    Take: ("end", "pending", "closed", "invalid", "unreadable"),
    Close: ("ok",),
    Reopen: ("ok",),
    Clock: (),
    Cancel: (),
}


def _expectation(operation: AnyOperation, text: str, cursor: Cursor) -> str:
    """An expectation in the form in which outcomes print themselves, so that the two compare as strings."""
    if isinstance(operation, ACTOR_OPERATIONS):
        return expected_notes(text, cursor)
    words = _WORDS[type(operation)]
    if text == "cancelled" and not isinstance(operation, Reopen | Clock | Cancel):
        return text
    if text in words:
        return text
    match operation:
        case Write() if re.fullmatch(r"(ok|rejected)(\s*,\s*(ok|rejected))+", text):
            return re.sub(r"\s*,\s*", ", ", text)
        case Replay() if re.fullmatch(rf"{RUN}(\s*,\s*{RUN})*", text):
            runs = _runs(text)
            if all(first <= last for first, last in runs):
                return shown_numbers(number for first, last in runs for number in range(first, last + 1))
        case Highest() if re.fullmatch(NUMBER, text):
            return shown_number(as_number(text))
        case LoadSnapshot() if re.fullmatch(rf"{NUMBER}(\s+at\s+\d+)?", text):
            number, *at = text.split()
            return " ".join([shown_number(as_number(number)), *at])
        case Take():
            taken = _taken(Cursor(text, cursor.place), words)
            if taken:
                return taken
    raise ScenarioError(cursor.place, _expectable(operation, words), repr(text))


NUMBER = r"(?:\d+|max)"
RUN = rf"{NUMBER}(?:\.\.{NUMBER})?"


def _expectable(operation: AnyOperation, words: tuple[str, ...]) -> str:
    numbers = {
        Replay: "numbers such as 1..3, 5",
        Highest: "a number",
        LoadSnapshot: "a number, or 13 at 1000",
        Take: "events such as p 1..3, 5, q 1, end, or ids such as p, q, end",
    }
    kinds = [*words, numbers[type(operation)]] if type(operation) in numbers else list(words)
    return f"after the arrow of '{operation.kind}': {' or '.join(kinds) or 'nothing'}"


def _taken(cursor: Cursor, words: tuple[str, ...]) -> str:
    """`p 1..3, q 1, end` or `p, q, end` as outcomes print it; "" if it is neither."""
    events: list[tuple[str, list[int]]] = []
    ids: list[str] = []
    ended = ""
    while not ended:
        word = re.match(rf"({'|'.join(words)})$", cursor.text)
        if word:
            ended = cursor.rest()
            break
        if not cursor.peek(NUMBER):
            owner = cursor.string("a persistence id")
            if not cursor.peek(NUMBER):
                ids.append(owner)
            elif not events or events[-1][0] != owner:
                events.append((owner, []))
        if cursor.peek(NUMBER):
            if not events:
                return ""
            first, last = _runs(cursor.take(RUN, "a number"))[0]
            events[-1][1].extend(range(first, last + 1))
        if not cursor.accept(","):
            break
    if cursor.text or (events and ids) or any(not numbers for _, numbers in events):
        return ""
    runs = [f"{quoted(owner)} {shown_numbers(numbers)}" for owner, numbers in events]
    return ", ".join([*runs, *map(quoted, sorted(ids)), *([ended] if ended else [])])


def _runs(text: str) -> list[tuple[int, int]]:
    """`1..3, 5` as pairs of first and last."""
    runs = [part.strip().split("..") for part in text.split(",")]
    return [(as_number(run[0]), as_number(run[-1])) for run in runs]
