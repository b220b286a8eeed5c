"""What the model remembers of one actor between two steps: copied before each step, and changed in it alone."""

from __future__ import annotations

import copy
from typing import Literal

import msgspec
from perdure import AtomicWrite, Payload, SnapshotSelectionCriteria

from .actor_operations import Act, Disturb, StartActor, Target

Phase = Literal["absent", "queued", "quiet", "load", "highest", "replay", "alive"]
Answer = Literal["stored", "rejected", "failed"]


class Command(msgspec.Struct, frozen=True):
    """A message in the mailbox: a command of a step, or (`note`) what came of a save or a deletion."""

    acts: tuple[Act, ...] = ()
    note: str = ""
    place: tuple[int, int] = (0, 0)


class Pending(msgspec.Struct, frozen=True):
    """An event whose handler has not run, or something deferred (number 0). `group` is its AtomicWrite."""

    name: str
    number: int
    acts: tuple[Act, ...]
    stashing: bool
    group: int
    command: Command
    answer: Answer = "stored"
    payload: Payload | None = None
    """What is stored, if it is not the name: a change of state."""


class Lane(msgspec.Struct):
    """Writes that an earlier incarnation has left behind, one call after the other."""

    calls: list[list[AtomicWrite]]
    parked: bool = False


class StoreCall(msgspec.Struct):
    """A save or a deletion under way. Nobody hears of one that is `deaf`."""

    target: Target
    number: int
    names: tuple[str, ...] = ()
    timestamp: int = 0
    payload: Payload | None = None
    deaf: bool = False
    parked: bool = False


class Machine(msgspec.Struct):
    """Where a state machine stands: `timer_s` is how long it waits, `stored_ms` what a snapshot would say of that."""

    state: str = "idle"
    timeout_ms: int | None = None
    stored_ms: int | None = None
    timer_s: float | None = None
    step: Act | None = None
    rejected: bool = False


class Queue(msgspec.Struct):
    """What a producer queue remembers: `unconfirmed` has number, message and qualifier of each. Replaced whole."""

    current: int = 1
    highest: int = 0
    confirmed: dict[str, int] = {}
    unconfirmed: list[tuple[int, str, str]] = []


class Actor(msgspec.Struct):
    """One actor. `number` is the last that it has given to an event, `last` that of the last event it has handled."""

    persistence_id: str
    start: StartActor
    phase: Phase = "absent"
    housed: bool = False
    """Whether it was started in a system that is still there."""

    turn: int = 0
    """Whoever waits for a permit to recover with a lower one comes first."""

    incarnations: int = 0
    number: int = 0
    last: int = 0
    names: list[str] = []
    urgent: list[Pending] = []
    gathered: list[Pending] = []
    under_way: list[Pending] = []
    write_parked: bool = False
    lanes: list[Lane] = []
    calls: list[StoreCall] = []
    mailbox: list[Command] = []
    stashed: list[Command] = []
    once_stashed: set[tuple[int, int]] = set()
    behaviour: str = ""
    groups: int = 0
    stopping: bool = False
    held: bool = False
    """Whether commands wait for what was persisted: as it was after the last command or handler."""

    overflowed: bool = False
    deliveries: dict[int, str] = {}
    delivery_id: int = 0
    machine: Machine = msgspec.field(default_factory=Machine)
    queue: Queue = msgspec.field(default_factory=Queue)

    troubles: list[Disturb] = []
    criteria: SnapshotSelectionCriteria | None = None
    attempts: int = 0
    passed_over: bool = False
    first_expected: int = 0
    replayed: list[str] = []
    """What a recovery that is under way has noted."""

    snapshot_nr: int = 0
    highest: int = 0
    recovery_parked: bool = False

    @property
    def writer(self) -> str:
        return f"{self.persistence_id}#{self.incarnations}"

    @property
    def unanswered(self) -> bool:
        return bool(self.urgent or self.gathered or self.under_way)

    @property
    def is_parked(self) -> bool:
        """Whether a call of it is kept, so that it may take too long."""
        lanes, calls = any(one.parked for one in self.lanes), any(one.parked for one in self.calls)
        return self.write_parked or self.recovery_parked or lanes or calls

    def copied(self) -> Actor:
        """The same, so that nothing of it changes with the copy. `copy.deepcopy` takes twenty times as long."""
        one = copy.copy(self)
        for name in _MUTABLE:
            setattr(one, name, getattr(self, name).copy())
        one.machine, one.queue = copy.copy(self.machine), copy.copy(self.queue)
        one.lanes = [Lane(list(lane.calls), lane.parked) for lane in self.lanes]
        one.calls = [copy.copy(call) for call in self.calls]
        return one

    def forget(self) -> None:
        """All that an instance holds is gone."""
        self.urgent, self.gathered, self.under_way = [], [], []
        self.write_parked = self.recovery_parked = False
        self.behaviour = ""
        self.names = []
        self.overflowed = self.held = False
        self.deliveries, self.delivery_id = {}, 0
        self.machine, self.queue = Machine(), Queue()


_MUTABLE = (
    "names",
    "urgent",
    "gathered",
    "under_way",
    "mailbox",
    "stashed",
    "once_stashed",
    "troubles",
    "replayed",
    "deliveries",
)
