"""The part that an actor of a program plays: it does as it is told, and its player notes what it is told in turn.

The same part is played by any runtime: it stands in front of the class under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec
from perdure import (
    ActorRef,
    ActorRuntime,
    AtLeastOnceDelivery,
    DeleteMessagesFailure,
    DeleteMessagesSuccess,
    DeleteSnapshotFailure,
    DeleteSnapshotsFailure,
    DeleteSnapshotsSuccess,
    DeleteSnapshotSuccess,
    DiscardToDeadLetters,
    PersistentActor,
    Recovery,
    RecoveryCompleted,
    ReplyToSender,
    SaveSnapshotFailure,
    SaveSnapshotSuccess,
    SnapshotOffer,
    SnapshotSelectionCriteria,
    ThrowOverflow,
)

from .actor_operations import (
    PERSISTING,
    Act,
    StartActor,
)
from .house import CALLS_MAX, ActRaised
from .model_part import CONFIRM, FULL, SEND
from .operation import quoted
from .outcomes import REPLAYED
from .stored_names import shown_snapshot

if TYPE_CHECKING:
    from .troupe import Player

REDELIVERY_S = 30.0


class Said(msgspec.Struct, frozen=True, eq=False):
    """One command, by its step and its place there."""

    acts: tuple[Act, ...]
    place: tuple[int, int]
    sender: ActorRef


class Part(PersistentActor):
    """What every actor of a program is: it does as it is told, and its player notes what it was told."""

    def __init__(self, player: Player) -> None:
        start = player.start
        self._player = player
        self._names: list[str] = []
        self.persistence_id = player.persistence_id
        self.recovery = recovery_of(start)
        self.snapshot_is_optional = start.optional_snapshot
        self.internal_stash_capacity = start.capacity
        self.stash_overflow_strategy = _STRATEGIES[start.overflow]  # type: ignore[misc]  # of one instance
        player.recovers()

    # -- commands

    def receive_command(self, message: object) -> object:
        if isinstance(message, Said):
            return self._maybe_later(lambda: self._perform_all(message.acts, message))
        self._player.note(told(message))
        return None

    def _maybe_later(self, work: Callable[[], object]) -> object:
        """At once, or in a coroutine that others may interrupt."""
        return _later(work) if self._player.start.coroutines else work()

    def _quiet(self, word: str, message: object) -> None:
        self._player.note(word if isinstance(message, Said) else told(message))

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
                raise ActRaised(self._player.start.directive)
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
                self.persist_all(_breaking(act.names, self._player.start.directive), handler, complete)
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
            raise ActRaised(self._player.start.directive)
        if "pass" in deeds:
            return self.unhandled(message)
        for name in names:
            self._take_up(name)
        return None

    def _react(self, acts: Sequence[Act]) -> None:
        """What is done while events are replayed: persisting is refused then."""
        for act in acts:
            if act.deed == "raise":
                raise ActRaised(self._player.start.directive)
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


def _breaking(names: Iterable[str], directive: str) -> Iterator[str]:
    yield from names
    raise ActRaised(directive)


_STRATEGIES: Mapping[str, ThrowOverflow | DiscardToDeadLetters | ReplyToSender] = {
    "fails": ThrowOverflow(),
    "drops": DiscardToDeadLetters(),
    "replies": ReplyToSender(FULL),
}


def recovery_of(start: StartActor) -> Recovery:
    one = start.selection
    wanted = SnapshotSelectionCriteria(one.max_sequence_nr, one.max_timestamp, one.min_sequence_nr, one.min_timestamp)
    return Recovery(wanted, start.to_sequence_nr, start.replay_max)


def told(message: object) -> str:
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
