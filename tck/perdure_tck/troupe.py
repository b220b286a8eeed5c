"""The troupe: the actors of one program, played by the runtime under test on the storage of the backend under test.

Each persistence id has a player, which holds the system of its actor, the wings in front of the storage, and what the
actor noted. A step is over when the actor and its storage have come to rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec
from perdure import (
    ActorRef,
    ActorRuntime,
    ActorSystem,
    AtLeastOnceDelivery,
    BreakerSettings,
    DeadLetter,
    DeleteMessagesFailure,
    DeleteMessagesSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotSuccess,
    Directive,
    DiscardToDeadLetters,
    EventAdapters,
    Payload,
    PersistenceSettings,
    PersistentActor,
    Recovery,
    RecoveryCompleted,
    ReplyToSender,
    SaveSnapshotFailure,
    SaveSnapshotSuccess,
    SnapshotOffer,
    SnapshotSelectionCriteria,
    Storage,
    SupervisorStrategy,
    ThrowOverflow,
)

from .actor_operations import (
    PERSISTING,
    Act,
    AnyActorOperation,
    Crash,
    Disturb,
    Release,
    StartActor,
    StopActor,
    Tell,
    Wait,
)
from .leaping import LeapingLoop, until_idle
from .model_actors import (
    CONFIRM,
    FULL,
    SEND,
    event_of,
    is_unfit,
    name_of,
    names_of,
    shown_snapshot,
    snapshot_of,
    times_read,
)
from .operation import quoted
from .outcomes import REPLAYED, Notes
from .program import Step
from .wings import Wings

CALL_LIMIT_S = 10.0
RECOVERY_LIMIT_S = 30.0
LEAP_S = 5.0
LEAPS = 10
REDELIVERY_S = 30.0
CALLS_MAX = 2_000
"""How many calls an actor may need to come to rest after one step."""

logging.getLogger("perdure").addHandler(logging.NullHandler())  # what actors complain of here was done to them


class Said(msgspec.Struct, frozen=True, eq=False):
    """One command, by its step and its place there."""

    acts: tuple[Act, ...]
    place: tuple[int, int]
    sender: ActorRef


class ActRaised(Exception):
    """An actor was told to raise."""


class Names:
    """Serialization of what actors keep: an event is a name, a snapshot the names of all events so far."""

    def to_payload(self, value: object) -> Payload:
        return event_of(value) if isinstance(value, str) else snapshot_of(cast("list[str]", value))

    def from_payload(self, payload: Payload) -> object:
        return names_of(payload) if payload.manifest == "names" else name_of(payload)


class Part(PersistentActor):
    """What every actor of a program is: it does as it is told, and its player notes what it was told."""

    def __init__(self, player: Player) -> None:
        start = player.start
        self._player = player
        self._names: list[str] = []
        self.persistence_id = player.persistence_id
        self.recovery = _recovery(start)
        self.snapshot_is_optional = start.optional_snapshot
        self.internal_stash_capacity = start.capacity
        self.stash_overflow_strategy = _STRATEGIES[start.overflow]  # type: ignore[misc]  # of one instance
        player.recovers()

    # -- commands

    def receive_command(self, message: object) -> object:
        if isinstance(message, Said):
            return self._maybe_later(lambda: self._perform_all(message.acts, message))
        self._player.note(_told(message))
        return None

    def _maybe_later(self, work: Callable[[], object]) -> object:
        """At once, or in a coroutine that others may interrupt."""
        return _later(work) if self._player.start.coroutines else work()

    def _quiet(self, word: str, message: object) -> None:
        self._player.note(word if isinstance(message, Said) else _told(message))

    def _perform_all(self, acts: Sequence[Act], said: Said | None) -> None:
        for act in acts:
            if self._perform(act, said):
                return

    def _perform(self, act: Act, said: Said | None) -> bool:
        """Perform one act; whether the rest is passed over."""
        match act.deed:
            case "note":
                self._player.note(quoted(act.names[0]))
            case "raise":
                raise ActRaised("it was told to raise")
            case "stop":
                self.context.stop(self.ref)
            case "become":
                self.context.become(partial(self._quiet, quoted(act.names[0])))
            case "stash":
                return self._stash(said)
            case "unstash":
                self.unstash_all()
            case "save snapshot":
                self.save_snapshot(list(self._names))
            case "delete":
                self.delete_messages(act.number)
            case "delete snapshot":
                self.delete_snapshot(act.number)
            case "delete snapshots":
                self.delete_snapshots(SnapshotSelectionCriteria(act.number))
            case "defer" | "defer_async":
                getattr(self, act.deed)(act.names[0], lambda value: self._note(quoted(value), said))
            case _ if act.deed in PERSISTING:
                self._persist(act, said)
        return False

    def _stash(self, said: Said | None) -> bool:
        if said is None or said.place in self._player.once_stashed:
            return False
        self._player.once_stashed.add(said.place)
        self.stash()
        return True

    def _persist(self, act: Act, said: Said | None) -> None:
        def handle(event: str) -> None:
            self._note(f"{quoted(event)} {self.last_sequence_nr}", said)
            self._take_up(event)
            self._perform_all(act.handler, said)

        def handler(event: str) -> object:
            return self._maybe_later(lambda: handle(event))

        complete = (lambda: self._note(quoted(act.then), said)) if act.then else None
        match act.deed:
            case "persist" | "persist_async":
                getattr(self, act.deed)(act.names[0], handler)
            case "persist_broken":
                self.persist_all(_breaking(act.names), handler, complete)
            case _:
                getattr(self, act.deed)(list(act.names), handler, complete)

    def _take_up(self, event: str) -> None:
        """The event becomes part of the state, and what it says is delivered or confirmed."""
        self._names.append(event)
        if isinstance(self, AtLeastOnceDelivery):
            if event.startswith(SEND):
                self.deliver("nobody", lambda delivery_id: f"{quoted(event)} {delivery_id}")
            elif event.startswith(CONFIRM):
                self.confirm_delivery(int(event.removeprefix(CONFIRM)))

    def _note(self, note: str, said: Said | None) -> None:
        """Note what comes of a command, and whether its sender is still there."""
        kept = said is None or self.sender is said.sender
        self._player.note(note if kept else f"{note} of another sender")

    # -- recovery

    def receive_recover(self, message: object) -> object:
        match message:
            case SnapshotOffer(metadata, snapshot):
                return self._offered(metadata.sequence_nr, snapshot, message)
            case RecoveryCompleted():
                self._player.recovered()
                self._player.note("completed")
                self._perform_all(self._player.start.reaction("completed"), None)
            case str():
                self._take_up(message)
                self._player.note(f"{REPLAYED}{quoted(message)} {self.last_sequence_nr}")
                self._react(self._player.start.reaction(message))
        return None

    def _offered(self, number: int, snapshot: object, message: object) -> object:
        names = [snapshot] if isinstance(snapshot, str) else cast("list[str]", snapshot)
        self._player.note(shown_snapshot(number, names))
        deeds = [act.deed for act in self._player.start.reaction("snapshot")]
        if "raise" in deeds:
            raise ActRaised("it was told to raise")
        if "pass" in deeds:
            return self.unhandled(message)
        for name in names:
            self._take_up(name)
        return None

    def _react(self, acts: Sequence[Act]) -> None:
        """What is done while events are replayed: persisting is refused then."""
        for act in acts:
            if act.deed == "raise":
                raise ActRaised("it was told to raise")
            if act.deed == "note":
                self._player.note(quoted(act.names[0]))
                continue
            try:
                self._perform(act, None)
            except RuntimeError:
                self._player.note("refused")

    # -- hooks

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self._player.note(f"rejected {quoted(str(event))} {sequence_nr}")

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self._player.note(f"failed {quoted(str(event))} {sequence_nr}")

    def on_recovery_failure(self, error: Exception, event: object | None) -> None:
        self._player.recovered(whole=False)
        where = "snapshot" if isinstance(event, SnapshotOffer) else quoted(str(event))
        self._player.note("recovery failed" if event is None else f"recovery failed at {where}")


class _Deliveries:
    """How an actor delivers here: again after a while, and without warnings."""

    redeliver_interval_s = REDELIVERY_S
    warn_after_attempts = CALLS_MAX


def part_of(runtime: ActorRuntime, start: StartActor) -> type[Part]:
    """The same part, played by the runtime under test."""
    if start.delivers:
        return type("Part", (Part, _Deliveries, runtime.at_least_once), {})
    return type("Part", (Part, runtime.persistent_actor), {})


async def _later(work: Callable[[], object]) -> None:
    await asyncio.sleep(0)
    work()


def _breaking(names: Iterable[str]) -> Iterator[str]:
    yield from names
    raise ActRaised("the events were made to raise")


_STRATEGIES: Mapping[str, ThrowOverflow | DiscardToDeadLetters | ReplyToSender] = {
    "fails": ThrowOverflow(),
    "drops": DiscardToDeadLetters(),
    "replies": ReplyToSender(FULL),
}


class _Adapter:
    """An event adapter that raises for some events, and makes none or two of others."""

    def manifest(self, event: object) -> str:
        return ""

    def to_journal(self, event: object) -> object:
        if is_unfit(str(event)):
            raise ValueError(f"{event} was made unfit")
        return event

    def from_journal(self, event: object, manifest: str) -> Iterable[object]:
        return [event] * times_read(str(event))


class _Teller(ActorRef):
    """Who tells a command; what it is answered, the player notes."""

    def __init__(self, path: str, player: Player) -> None:
        super().__init__(path)
        self._player = player

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        self._player.answered(str(message))


def _recovery(start: StartActor) -> Recovery:
    one = start.selection
    wanted = SnapshotSelectionCriteria(one.max_sequence_nr, one.max_timestamp, one.min_sequence_nr, one.min_timestamp)
    return Recovery(wanted, start.to_sequence_nr, start.replay_max)


def _told(message: object) -> str:
    match message:
        case SaveSnapshotSuccess(metadata):
            return f"saved {metadata.sequence_nr}"
        case SaveSnapshotFailure(metadata):
            return f"save failed {metadata.sequence_nr}"
        case DeleteMessagesSuccess(number):
            return f"deleted {number}"
        case DeleteMessagesFailure(number):
            return f"delete failed {number}"
        case DeleteSnapshotSuccess(metadata):
            return f"snapshot deleted {metadata.sequence_nr}"
        case DeleteSnapshotFailure(metadata):
            return f"snapshot delete failed {metadata.sequence_nr}"
        case DeleteSnapshotsSuccess(criteria):
            return f"snapshots deleted {criteria.max_sequence_nr}"
        case DeleteSnapshotsFailure(criteria):
            return f"snapshots delete failed {criteria.max_sequence_nr}"
        case _:
            return f"received {message!r}"


class _Supervision(SupervisorStrategy):
    """What the start of an actor says about its failures."""

    def __init__(self, player: Player) -> None:
        super().__init__()
        self._player = player

    def decide(self, error: Exception) -> Directive:
        return Directive(self._player.start.directive) if isinstance(error, ActRaised) else super().decide(error)


class Player:
    """The actor of one id, over all of its incarnations."""

    def __init__(self, persistence_id: str, runtime: ActorRuntime) -> None:
        self.persistence_id = persistence_id
        self.start = StartActor(persistence_id)
        self.once_stashed: set[tuple[int, int]] = set()
        self._runtime = runtime
        self._notes: list[str] = []
        self._troubles: list[Disturb] = []
        self._incarnations = 0
        self._wings: Wings | None = None
        self._system: ActorSystem | None = None
        self._ref: ActorRef | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._of_recovery: list[str] | None = None

    def note(self, text: str) -> None:
        (self._notes if self._of_recovery is None else self._of_recovery).append(text)

    def answered(self, text: str) -> None:
        self._notes.append(text)

    def recovers(self) -> None:
        """What is noted from now on counts only if the recovery becomes whole."""
        self._of_recovery = []

    def recovered(self, whole: bool = True) -> None:
        noted, self._of_recovery = self._of_recovery or [], None
        self._notes += noted if whole else []

    async def play(self, operation: AnyActorOperation, number: int, storage: Storage) -> Notes:
        """Do as a step says, and return what was noted until everything rests."""
        match operation:
            case StartActor():
                await self._begin(operation, storage)
            case Tell():
                self._tell(operation, number)
            case StopActor():
                if self._system is not None and self._ref is not None:
                    self._in_background(self._system.stop(self._ref))
            case Crash():
                await self.crash()
            case Disturb():
                self._troubles.append(operation)
            case Release():
                if self._wings is not None:
                    self._wings.release()
        await self.settle()
        return Notes(self._noted())

    async def _begin(self, start: StartActor, storage: Storage) -> None:
        if self._ref is not None:
            return
        if start.replay_filter != self.start.replay_filter:
            await self.crash()
        self.start = start
        if self._system is None:
            self._wings = Wings(storage, self._troubles)
            self._system = self._new_system(self._wings)
            self._system.on_dead_letter(self._undelivered)
            await self._system.__aenter__()
        part = part_of(self._runtime, start)
        self._ref = self._system.spawn(lambda: part(self))
        self._in_background(self._until_stopped(self._system, self._ref))

    def _new_system(self, wings: Wings) -> ActorSystem:
        breaker = BreakerSettings(failures_max=CALLS_MAX, call_timeout_s=CALL_LIMIT_S, reset_timeout_s=1.0)
        return self._runtime.system(
            wings.storage,
            serialization=cast("Any", Names()),
            event_adapters=EventAdapters({str: _Adapter()}),
            settings=PersistenceSettings(
                journal_breaker=breaker,
                snapshot_breaker=breaker,
                recovery_event_timeout_s=RECOVERY_LIMIT_S,
                replay_filter=self.start.replay_filter,
            ),
            supervisor_strategy=_Supervision(self),
            new_writer_uuid=self._new_writer_uuid,
        )

    def _undelivered(self, letter: DeadLetter) -> None:
        """Deliveries go to nobody: so each is heard of at once."""
        if isinstance(letter.message, str):
            self.note(f"sent {letter.message}")

    def _new_writer_uuid(self) -> str:
        self._incarnations += 1
        return f"{self.persistence_id}#{self._incarnations}"

    async def _until_stopped(self, system: ActorSystem, ref: ActorRef) -> None:
        await system.stopped(ref)
        if self._ref is ref:
            self._ref = None
            self.recovered(whole=False)
            self.note("stopped")

    def _tell(self, operation: Tell, number: int) -> None:
        if self._ref is None:
            return
        for place, acts in enumerate(operation.commands):
            sender = _Teller(f"teller/{number}.{place}", self)
            self._ref.tell(Said(acts, (number, place), sender), sender)

    async def crash(self) -> None:
        """Take the actor away: its storage is gone for it, and what it does while it ends is not heard."""
        system, wings, self._system, self._wings, self._ref = self._system, self._wings, None, None, None
        if system is None or wings is None:
            return
        noted = self._noted()
        wings.sever()
        with contextlib.suppress(Exception):  # it ends as it can: nobody is there to care
            await system.__aexit__(None, None, None)
        for task in self._background:
            task.cancel()
        self._notes = list(noted)

    async def rest(self) -> list[str]:
        """What was noted until everything rests; how often something was sent again meanwhile is left open."""
        await self.settle()
        noted = self._noted()
        return [note for at, note in enumerate(noted) if not note.startswith("sent ") or note not in noted[:at]]

    async def settle(self) -> None:
        """Let calls through one at a time, each when the actor can do nothing more without it."""
        for _ in range(CALLS_MAX):
            await until_idle()
            call = self._wings.next_call() if self._wings is not None else None
            if call is None or self._wings is None:
                return
            await self._wings.let_through(call)
        self.note(f"no rest after {CALLS_MAX} calls")

    def _noted(self) -> tuple[str, ...]:
        notes, self._notes = tuple(self._notes), []
        if self._wings is not None and self._wings.writes_at_once:
            self._wings.writes_at_once = False
            return (*notes, "two writes at once")
        return notes

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class Troupe:
    """The players of one program."""

    def __init__(self, runtime: ActorRuntime | None) -> None:
        self._runtime = runtime or ActorRuntime()
        self._players: dict[str, Player] = {}

    def __bool__(self) -> bool:
        return bool(self._players)

    async def play(self, step: Step, number: int, storage: Storage) -> Notes:
        operation = cast("AnyActorOperation", step.operation)
        if isinstance(operation, Wait):
            return await self._wait()
        owner = operation.persistence_id
        if owner not in self._players:
            self._players[owner] = Player(owner, self._runtime)
        return await self._players[owner].play(operation, number, storage)

    async def _wait(self) -> Notes:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, LeapingLoop)
        for _ in range(LEAPS):
            loop.leap(LEAP_S)
            for player in self._players.values():
                await player.settle()
        return Notes(tuple([note for player in self._players.values() for note in await player.rest()]))

    async def crash_all(self) -> None:
        """Take every actor away, before its storage is closed below it."""
        for player in self._players.values():
            await player.crash()
