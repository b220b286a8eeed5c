"""Operations on persistent actors: start one, tell it commands, stop it, crash it, and disturb its storage.

An actor is known by its persistence id, and there is at most one for each id of a namespace. What commands make it do
is written in acts. The grammar is in `docs/scenario-files.md`.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP

from .operation import Operation, quoted, shown_number, shown_window

Deed = Literal[
    "persist",
    "persist_async",
    "persist_all",
    "persist_all_async",
    "persist_broken",
    "defer",
    "defer_async",
    "note",
    "goto",
    "stay",
    "store sent",
    "store confirmed",
    "load state",
    "raise",
    "stop",
    "pass",
    "stash",
    "unstash",
    "become",
    "save snapshot",
    "delete snapshot",
    "delete snapshots",
    "delete",
]
PERSISTING = ("persist", "persist_async", "persist_all", "persist_all_async", "persist_broken")
"""`persist_broken` is a persist_all of events that raises behind them while they are listed."""

NAMED = ("defer", "defer_async", "note", "become")
BARE = ("raise", "stop", "pass", "stash", "unstash", "save snapshot")

MACHINE_STATES = {"idle": None, "active": None, "waiting": 20.0}
"""The states of a machine, and after how many seconds each has waited long enough; it begins in the first."""

Target = Literal["write", "save", "delete snapshot", "delete snapshots", "delete", "load", "highest", "replay"]
TARGETS: tuple[Target, ...] = (
    "write",
    "save",
    "delete snapshots",
    "delete snapshot",
    "delete",
    "load",
    "highest",
    "replay",
)
Trouble = Literal["fails", "loses", "rejects", "waits", "unreadable", "breaks"]
TROUBLES: tuple[Trouble, ...] = ("fails", "loses", "rejects", "waits", "unreadable", "breaks")
Overflow = Literal["fails", "drops", "replies"]
OVERFLOWS: tuple[Overflow, ...] = ("fails", "drops", "replies")
Directive = Literal["restart", "resume", "stop"]
DIRECTIVES: tuple[Directive, ...] = ("restart", "resume", "stop")
FilterMode = Literal["repair-by-discard-old", "fail", "warn", "off"]
FILTER_MODES: tuple[FilterMode, ...] = ("repair-by-discard-old", "fail", "warn", "off")


class Act(msgspec.Struct, frozen=True):
    """One thing that an actor does: `persist a`, `persist_all a b (note c) then d`, `raise`, `delete ..3`.

    `names` are its events, or the value of what is deferred or noted; of a `goto`, the state and then its events.
    `handler` is what the handler of each event does after it has noted the event, and `then` the note of `on_complete`,
    or of what comes after a step of a machine. Such a step waits for so many seconds (`number`).
    """

    deed: Deed
    names: tuple[str, ...] = ()
    number: int = 0
    handler: tuple[Act, ...] = ()
    then: str = ""

    @property
    def target(self) -> str:
        """The state to which a step goes, if it goes to one."""
        return self.names[0] if self.deed == "goto" else ""

    @property
    def events(self) -> tuple[str, ...]:
        """What a step of a machine applies."""
        return self.names[1:] if self.deed == "goto" else self.names

    @property
    def qualifier(self) -> str:
        """Under which a message is confirmed: `store sent 1 a under q`, `store confirmed 1 under q`."""
        at = 1 if self.deed == "store sent" else 0
        return self.names[at] if len(self.names) > at else ""

    def __str__(self) -> str:
        if self.deed in ("goto", "stay"):
            return self._shown_step()
        if self.deed in ("store sent", "store confirmed"):
            message = f" {quoted(self.names[0])}" if self.deed == "store sent" else ""
            under = f" under {quoted(self.qualifier)}" if self.qualifier else ""
            return f"{self.deed} {self.number}{message}{under}"
        text = " ".join([self.deed, *map(quoted, self.names)])
        if self.deed in ("delete", "delete snapshots"):
            text += f" ..{shown_number(self.number)}"
        elif self.deed == "delete snapshot":
            text += f" {shown_number(self.number)}"
        if self.handler:
            text += f" ({shown_acts(self.handler)})"
        return text + (f" then {quoted(self.then)}" if self.then else "")

    def _shown_step(self) -> str:
        text = f"{self.deed} {self.target}".rstrip()
        text += f" applying {' '.join(map(quoted, self.events))}" if self.events else ""
        text += f" for {shown_number(self.number)}" if self.number else ""
        return text + (f" then {quoted(self.then)}" if self.then else "")


def shown_acts(acts: tuple[Act, ...]) -> str:
    return ", ".join(map(str, acts))


class Reaction(msgspec.Struct, frozen=True):
    """What an actor does in `receive_recover` with one event, with `snapshot`, or with `completed`."""

    to: str
    acts: tuple[Act, ...]

    def __str__(self) -> str:
        return f"on {self.to if self.to in ('snapshot', 'completed') else quoted(self.to)} ({shown_acts(self.acts)})"


class Selection(msgspec.Struct, frozen=True):
    """Which snapshot an actor wants: `snapshot seq 2..5 time 10..20`, or none of them."""

    max_sequence_nr: int = MAX_SEQUENCE_NR
    max_timestamp: int = MAX_TIMESTAMP
    min_sequence_nr: int = 0
    min_timestamp: int = 0

    def __str__(self) -> str:
        if self == NOTHING:
            return " without snapshot"
        numbers = shown_window(self.min_sequence_nr, self.max_sequence_nr, 0, MAX_SEQUENCE_NR)
        times = shown_window(self.min_timestamp, self.max_timestamp, 0, MAX_TIMESTAMP)
        shown = (f" seq{numbers}" if numbers else "") + (f" time{times}" if times else "")
        return f" snapshot{shown}" if shown else ""


NOTHING = Selection(0, 0)


class StartActor(Operation, frozen=True):
    """Start the actor of an id and let it recover: `start p to 3 limit 2 resume on b (raise)`.

    Nothing happens if it lives already. The directive is what its supervisor does when it fails. It may have room for
    no more than `capacity` commands that wait, handlers that are coroutines, or deliver events named `send...` at least
    once, until an event `confirm_1` confirms the delivery 1. All that name the same number of `permits` live in one
    system, in which so many may recover at a time. A `machine` is a PersistentFSM in one of `MACHINE_STATES`,
    a `queue` an EventSourcedProducerQueue.
    """

    kind = "start"
    persistence_id: str
    to_sequence_nr: int = MAX_SEQUENCE_NR
    replay_max: int = MAX_SEQUENCE_NR
    selection: Selection = Selection()
    optional_snapshot: bool = False
    directive: Directive = "restart"
    replay_filter: FilterMode = "repair-by-discard-old"
    capacity: int | None = None
    overflow: Overflow = "fails"
    coroutines: bool = False
    delivers: bool = False
    permits: int | None = None
    machine: bool = False
    queue: bool = False
    reactions: tuple[Reaction, ...] = ()

    def __str__(self) -> str:
        parts = [f"start {quoted(self.persistence_id)}"]
        if self.to_sequence_nr != MAX_SEQUENCE_NR:
            parts.append(f"to {self.to_sequence_nr}")
        if self.replay_max != MAX_SEQUENCE_NR:
            parts.append(f"limit {self.replay_max}")
        parts += [str(self.selection).strip()] if str(self.selection) else []
        parts += ["optional snapshot"] if self.optional_snapshot else []
        parts += [self.directive] if self.directive != "restart" else []
        parts += [f"filter {self.replay_filter}"] if self.replay_filter != "repair-by-discard-old" else []
        parts += [f"capacity {self.capacity} {self.overflow}"] if self.capacity is not None else []
        parts += ["coroutines"] if self.coroutines else []
        parts += ["delivers"] if self.delivers else []
        parts += ["machine"] if self.machine else []
        parts += ["queue"] if self.queue else []
        parts += [f"permits {self.permits}"] if self.permits is not None else []
        return " ".join([*parts, *map(str, self.reactions)])

    @property
    def system(self) -> tuple[int | None, FilterMode]:
        """What the systems of two actors have in common if they are one; without permits, they never are."""
        return self.permits, self.replay_filter

    @property
    def is_endless(self) -> bool:
        """Whether it raises at the end of each recovery, and recovers again."""
        return self.directive == "restart" and any(
            act.deed == "raise" for act in _with_handlers(self.reaction("completed"))
        )

    def reaction(self, to: str) -> tuple[Act, ...]:
        return next((one.acts for one in self.reactions if one.to == to), ())


class Tell(Operation, frozen=True):
    """Commands that an actor is told in one go, before it can handle any: `tell p persist a, note b; persist c`."""

    kind = "tell"
    persistence_id: str
    commands: tuple[tuple[Act, ...], ...]

    def __str__(self) -> str:
        return f"tell {quoted(self.persistence_id)} {'; '.join(map(shown_acts, self.commands))}"


class StopActor(Operation, frozen=True):
    """Stop an actor after what it is doing: `stop p`."""

    kind = "stop"
    persistence_id: str

    def __str__(self) -> str:
        return f"stop {quoted(self.persistence_id)}"


class Crash(Operation, frozen=True):
    """Take an actor away at once: nothing of it reaches the storage any more, and nobody hears of it: `crash p`."""

    kind = "crash"
    persistence_id: str

    def __str__(self) -> str:
        return f"crash {quoted(self.persistence_id)}"


class Disturb(Operation, frozen=True):
    """What becomes of the next call of one kind for an id: `next write p rejects 2`, `next replay p breaks 3`.

    `fails`: it is not done. `loses`: it is done, and its answer is lost. `waits`: it is kept until `release p`.
    `rejects`: the AtomicWrites, or those that hold the number, are refused. `unreadable`: the snapshot found is.
    `breaks`: the replay raises behind that number.
    """

    kind = "next"
    target: Target
    persistence_id: str
    trouble: Trouble
    number: int = 0

    def __str__(self) -> str:
        number = f" {self.number}" if self.number else ""
        return f"next {self.target} {quoted(self.persistence_id)} {self.trouble}{number}"


class Release(Operation, frozen=True):
    """Let the calls of an actor through that wait: `release p`."""

    kind = "release"
    persistence_id: str

    def __str__(self) -> str:
        return f"release {quoted(self.persistence_id)}"


class Wait(Operation, frozen=True):
    """Let so much time pass that every limit of every call of every actor is over: `wait`."""

    kind = "wait"

    def __str__(self) -> str:
        return "wait"


AnyActorOperation = StartActor | Tell | StopActor | Crash | Disturb | Release | Wait
ACTOR_OPERATIONS = (StartActor, Tell, StopActor, Crash, Disturb, Release, Wait)


def acts_of(operation: AnyActorOperation) -> tuple[Act, ...]:
    """Every act that an operation names, those of handlers included."""
    match operation:
        case Tell():
            outer = tuple(act for command in operation.commands for act in command)
        case StartActor():
            outer = tuple(act for reaction in operation.reactions for act in reaction.acts)
        case _:
            outer = ()
    return _with_handlers(outer)


def _with_handlers(acts: tuple[Act, ...]) -> tuple[Act, ...]:
    return acts + tuple(inner for act in acts for inner in _with_handlers(act.handler))


def asks_for_snapshots(operation: AnyActorOperation) -> bool:
    """Whether it means nothing without a snapshot store. An actor that merely recovers needs none."""
    if isinstance(operation, Disturb):
        return operation.target in ("load", "save", "delete snapshot", "delete snapshots")
    return any("snapshot" in act.deed for act in acts_of(operation))
