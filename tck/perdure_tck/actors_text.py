"""The text form of operations on actors, read; they print themselves. The grammar is in `docs/scenario-files.md`."""

from __future__ import annotations

import re
from collections.abc import Callable

from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP

from .actor_operations import (
    BARE,
    DIRECTIVES,
    FILTER_MODES,
    MACHINE_STATES,
    NAMED,
    NOTHING,
    OVERFLOWS,
    PERSISTING,
    TARGETS,
    TROUBLES,
    Act,
    AnyActorOperation,
    Crash,
    Disturb,
    Reaction,
    Release,
    Selection,
    StartActor,
    StopActor,
    Tell,
    Wait,
)
from .cursor import END, STRING, Cursor, ScenarioError, read_window
from .operation import BARE_WORD

NUMBER_ENDS = r"\s*(\)|,|;|->|$)"
NAME_FOLLOWS = rf"(?!then{END})(?:{BARE_WORD}|{STRING})"
DEEDS = (*PERSISTING, *NAMED, *BARE, "delete", "goto", "stay", "store", "load")


def _start(cursor: Cursor) -> StartActor:
    persistence_id = cursor.string("a persistence id")
    said: dict[str, object] = {}
    reactions: list[Reaction] = []
    while cursor.text and not cursor.peek("->"):
        if cursor.accept("to" + END):
            said["to_sequence_nr"] = cursor.number()
        elif cursor.accept("limit" + END):
            said["replay_max"] = cursor.number()
        elif cursor.accept("without" + END):
            cursor.one_of(("snapshot",))
            said["selection"] = NOTHING
        elif cursor.accept("snapshot" + END):
            said["selection"] = _selection(cursor)
        elif cursor.accept("optional" + END):
            cursor.one_of(("snapshot",))
            said["optional_snapshot"] = True
        elif cursor.accept("filter" + END):
            said["replay_filter"] = cursor.one_of(FILTER_MODES)
        elif cursor.accept("capacity" + END):
            said["capacity"] = cursor.number(1)
            said["overflow"] = cursor.one_of(OVERFLOWS)
        elif cursor.accept("permits" + END):
            said["permits"] = cursor.number(1)
        elif cursor.peek(f"(coroutines|delivers|machine|queue){END}"):
            said[cursor.one_of(("coroutines", "delivers", "machine", "queue"))] = True
        elif cursor.accept("on" + END):
            reactions.append(Reaction(cursor.string("an event, snapshot or completed"), _handler(cursor)))
        else:
            said["directive"] = cursor.one_of(DIRECTIVES)
    start = StartActor(persistence_id, **said, reactions=tuple(reactions))  # type: ignore[arg-type]  # by name
    unsuited = [word for word in ("capacity", "coroutines", "delivers", "permits") if said.get(word)]
    if (start.machine or start.queue) and (unsuited or reactions or start.machine is start.queue):
        raise ScenarioError(
            cursor.place, "a machine or a queue with no more than its recovery and directive", str(start)
        )
    if start.is_endless:
        raise ScenarioError(cursor.place, "'stop' or 'resume' beside 'on completed (raise)'", "a start without end")
    return start


def _selection(cursor: Cursor) -> Selection:
    numbers, times = (0, MAX_SEQUENCE_NR), (0, MAX_TIMESTAMP)
    if cursor.accept("seq" + END):
        numbers = read_window(cursor, 0, MAX_SEQUENCE_NR)
    if cursor.accept("time" + END):
        times = read_window(cursor, 0, MAX_TIMESTAMP)
    return Selection(numbers[1], times[1], numbers[0], times[0])


def _tell(cursor: Cursor) -> Tell:
    persistence_id = cursor.string("a persistence id")
    commands = [_acts(cursor)]
    while cursor.accept(";"):
        commands.append(_acts(cursor))
    return Tell(persistence_id, tuple(commands))


def _acts(cursor: Cursor) -> tuple[Act, ...]:
    acts = [_act(cursor)]
    while cursor.accept(","):
        acts.append(_act(cursor))
    return tuple(acts)


def _act(cursor: Cursor) -> Act:
    deed = cursor.one_of(("save", *DEEDS))
    if deed == "save":
        cursor.one_of(("snapshot",))
        return Act("save snapshot")
    if deed in ("goto", "stay"):
        return _step(cursor, deed)
    if deed == "store":
        return _stored(cursor)
    if deed == "load":
        cursor.one_of(("state",))
        return Act("load state")
    if deed == "delete":
        return _deletion(cursor)
    if deed in NAMED:
        return Act(deed, (cursor.string("a name"),))  # type: ignore[arg-type]  # one of them
    if deed not in PERSISTING:
        return Act(deed)  # type: ignore[arg-type]  # one of the bare ones
    names = []
    while cursor.peek(NAME_FOLLOWS):
        names.append(cursor.string("the name of an event"))
    several = deed not in ("persist", "persist_async")
    if not several and len(names) != 1:
        raise cursor.error("the name of one event")
    handler = _handler(cursor) if cursor.peek(r"\(") else ()
    then = cursor.string("a name") if several and cursor.accept("then" + END) else ""
    return Act(deed, tuple(names), 0, handler, then)  # type: ignore[arg-type]  # one of the persisting ones


def _step(cursor: Cursor, deed: str) -> Act:
    names = [cursor.one_of(tuple(MACHINE_STATES))] if deed == "goto" else []
    if cursor.accept("applying" + END):
        names.append(cursor.string("the name of an event"))
        while cursor.peek(NAME_FOLLOWS) and not cursor.peek("for" + END):
            names.append(cursor.string("the name of an event"))
    number = cursor.number(1) if cursor.accept("for" + END) else 0
    then = cursor.string("a name") if cursor.accept("then" + END) else ""
    return Act(deed, tuple(names), number, (), then)  # type: ignore[arg-type]  # one of two


def _stored(cursor: Cursor) -> Act:
    deed = f"store {cursor.one_of(('sent', 'confirmed'))}"
    number = cursor.number()
    names = [cursor.string("a message")] if deed == "store sent" else []
    if cursor.accept("under" + END):
        names.append(cursor.string("a qualifier"))
    return Act(deed, tuple(names), number)  # type: ignore[arg-type]  # one of two


def _deletion(cursor: Cursor) -> Act:
    if cursor.accept("snapshot" + END):
        return Act("delete snapshot", (), cursor.number())
    deed = "delete snapshots" if cursor.accept("snapshots" + END) else "delete"
    cursor.take(r"\.\.", "'..' and the last number to delete")
    return Act(deed, (), cursor.number())  # type: ignore[arg-type]  # one of two


def _handler(cursor: Cursor) -> tuple[Act, ...]:
    cursor.take(r"\(", "'(' and what its handler does")
    acts = _acts(cursor)
    cursor.take(r"\)", "')'")
    return acts


def _next(cursor: Cursor) -> Disturb:
    target = cursor.one_of(TARGETS)
    persistence_id = cursor.string("a persistence id")
    trouble = cursor.one_of(TROUBLES)
    number = cursor.number(1) if trouble in ("rejects", "breaks") and cursor.peek(r"\d") else 0
    wrong = _WHERE.get(trouble)
    if wrong and target not in wrong:
        raise ScenarioError(cursor.place, f"'{trouble}' of {' or '.join(wrong)}", target)
    return Disturb(target, persistence_id, trouble, number)  # type: ignore[arg-type]  # words of both lists


_WHERE = {"rejects": ("write",), "unreadable": ("load",), "breaks": ("replay",)}

ACTOR_READERS: dict[str, Callable[[Cursor], AnyActorOperation]] = {
    "start": _start,
    "tell": _tell,
    "stop": lambda cursor: StopActor(cursor.string("a persistence id")),
    "crash": lambda cursor: Crash(cursor.string("a persistence id")),
    "next": _next,
    "release": lambda cursor: Release(cursor.string("a persistence id")),
    "wait": lambda _: Wait(),
}

NAME = rf"(?:{BARE_WORD}|{STRING})"
STATES = "|".join(MACHINE_STATES)
NOTE = re.compile(
    rf"({NAME}: )?(replayed( {NAME} \d+)+|(rejected |failed |sent )?{NAME} \d+|snapshot \d+ \[[^\]]*\]|completed"
    rf"|next \d+ confirmed \d+ \[[^\]]*\]|(timeout in )?({STATES})|({STATES}) to ({STATES})|(in )?{NAME} \[[^\]]*\]"
    rf"|stopped|refused|recovery failed( at {NAME})?|(saved|save failed|deleted|delete failed|snapshot deleted"
    rf"|snapshot delete failed|snapshots deleted|snapshots delete failed) \d+|{NAME})$"
)


def expected_notes(text: str, cursor: Cursor) -> str:
    """The notes behind an arrow in the form in which they print themselves."""
    notes = [" ".join(part.split()) for part in re.split(r",(?![^\[]*\])", text)]
    for note in notes:
        if not NOTE.match(note):
            raise ScenarioError(
                cursor.place, "notes such as 'a 1', 'replayed a 1 b 2', 'completed' or none", repr(note)
            )
    return ", ".join(notes)
