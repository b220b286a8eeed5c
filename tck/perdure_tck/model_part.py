"""The model of the part that an actor plays: what it does in one step, until it and its storage rest.

Storage answers one call at a time, and only when the actor can do nothing more without it: writes first, then saves,
deletions, and what a recovery reads. So what a correct actor does is determined, and one order is all there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from perdure import (
    MAX_SEQUENCE_NR,
    AtomicWrite,
    Claims,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
)

from .actor_operations import (
    NOTHING,
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
from .cast import Actor, Answer, Command, Lane, Pending, StoreCall
from .model_permits import may_recover, next_turn
from .operation import quoted
from .outcomes import REPLAYED, Answers
from .state import State, Transition
from .stored_names import (
    QUEUE,
    STATE,
    event_of,
    is_unfit,
    name_of,
    names_of,
    shown_snapshot,
    snapshot_of,
    times_read,
)

FULL = "full"
"""What an actor without room answers, if it answers."""

SEND, CONFIRM = "send", "confirm_"
ENDLESS = 2_000
OLD_WRITERS = 10
LOADS_MAX = 3


class Stores(NamedTuple):
    """What the model knows of journals and snapshot stores, as functions of the state."""

    write: Callable[[State, list[AtomicWrite], Claims], tuple[Transition, ...]]
    delete: Callable[[State, str, int, Claims], State]
    delete_snapshots: Callable[[State, str, SnapshotSelectionCriteria, Claims], State]
    save: Callable[[State, SnapshotMetadata, Payload, Claims], State]


class _Failure(Exception):
    """The actor raised."""


class _Stop(Exception):
    """Recovery failed: why, as the actor notes it."""


def crash(actor: Actor) -> None:
    actor.forget()
    actor.phase, actor.stopping, actor.housed = "absent", False, False
    actor.lanes, actor.calls, actor.mailbox, actor.stashed = [], [], [], []


def _detach(actor: Actor) -> None:
    """The instance is gone; what it has persisted is still written, unheard."""
    calls = [_calls(batch, actor) for batch in (actor.under_way, actor.gathered)]
    if any(calls):
        actor.lanes.append(Lane([call for call in calls if call], actor.write_parked))
    actor.forget()


class Play:
    """One step of one actor."""

    def __init__(self, actor: Actor, state: State, claims: Claims, stores: Stores) -> None:
        self.actor, self.state, self.claims, self._stores = actor, state, claims, stores
        self.notes: list[str] = []
        self._command = Command()

    def begin(self, operation: AnyActorOperation, number: int) -> None:
        actor = self.actor
        match operation:
            case StartActor():
                if not actor.persistence_id:
                    actor.start, actor.housed = operation, True
                    self.notes.append("stopped")
                elif actor.phase == "absent":
                    if operation.system != actor.start.system:
                        crash(actor)
                    actor.start, actor.stopping, actor.housed = operation, False, True
                    self._incarnate()
            case Tell():
                for place, acts in enumerate(operation.commands):
                    self._enqueue(Command(acts, "", (number, place)))
            case StopActor():
                if actor.phase != "absent":
                    self._stop()
            case Crash():
                crash(actor)
            case Disturb():
                actor.troubles.append(operation)
            case Release():
                self._release()
            case Wait():
                self._time_out()

    def _enqueue(self, command: Command) -> None:
        """Into the mailbox, if there is room; only what waits takes room."""
        actor = self.actor
        if actor.phase == "absent":
            return
        most = actor.start.capacity
        if most is None or len(actor.mailbox) < most or not (actor.held or actor.phase != "alive"):
            actor.mailbox.append(command)
            return
        actor.overflowed = actor.overflowed or actor.start.overflow == "fails"
        if actor.start.overflow == "replies" and not command.note:
            self.notes.append(FULL)

    def _incarnate(self) -> None:
        actor = self.actor
        actor.incarnations += 1
        actor.phase, actor.turn = "queued", next_turn(self.state)
        actor.number = actor.last = actor.attempts = actor.first_expected = actor.snapshot_nr = 0
        actor.passed_over = False
        actor.criteria = _wanted(actor.start)
        self.actor.replayed = []

    def _stop(self) -> None:
        actor = self.actor
        _detach(actor)
        actor.phase, actor.stopping = "absent", False
        actor.mailbox, actor.stashed = [], []
        for call in actor.calls:
            call.deaf = True
        self.notes.append("stopped")

    def _release(self) -> None:
        actor = self.actor
        actor.write_parked = actor.recovery_parked = False
        for lane in actor.lanes:
            lane.parked = False
        for call in actor.calls:
            call.parked = False

    def _time_out(self) -> None:
        actor = self.actor
        for lane in actor.lanes:
            if lane.parked:
                del lane.calls[1:]  # nothing is written behind a write that is unknown
        late = [call for call in actor.calls if call.parked]
        actor.calls = [call for call in actor.calls if not call.parked]
        for call in late:
            self._told(call, False)
        if actor.write_parked:
            actor.write_parked = False
            actor.lanes.append(Lane([_calls(actor.under_way, actor)], True))
            self._written("failed")
        elif actor.phase == "load" and actor.recovery_parked and actor.start.optional_snapshot:
            actor.recovery_parked = False
            self._without_snapshot()
        elif actor.recovery_parked or (actor.phase == "quiet" and actor.lanes):
            self._recovery_failed("")
        elif actor.phase == "alive":
            self._send_again()

    # -- what happens next

    def settle(self) -> None:
        for _ in range(ENDLESS):
            if not self._goes_on() and not self._is_answered():
                return
        raise AssertionError(f"the model of {self.actor.persistence_id!r} does not come to rest")

    def _goes_on(self) -> bool:
        """One thing that the actor does by itself, if there is one."""
        actor = self.actor
        if actor.phase == "queued" and may_recover(self.state, actor):
            actor.phase = "quiet"
            return True
        if actor.phase == "quiet" and not actor.lanes:
            actor.phase = "load" if actor.criteria is not None else "highest"
            return True
        if actor.phase != "alive":
            return False
        if actor.overflowed:
            self._restart()
        elif actor.urgent:
            self._handle(actor.urgent.pop(0))
        elif actor.mailbox and not actor.held:
            self._receive(actor.mailbox.pop(0))
        else:
            return False
        return True

    def _is_answered(self) -> bool:
        """One call that the storage answers, if one is under way."""
        actor = self.actor
        lane = next((one for one in actor.lanes if not one.parked), None)
        if lane is not None:
            self._answer_lane(lane)
        elif actor.under_way and not actor.write_parked:
            self._answer_write()
        elif any(not call.parked for call in actor.calls):
            self._answer_call(min((one for one in actor.calls if not one.parked), key=lambda one: _ORDER[one.target]))
        elif actor.phase in ("load", "highest", "replay") and not actor.recovery_parked:
            self._answer_recovery()
        else:
            return False
        return True

    def _trouble(self, target: str) -> Disturb | None:
        troubles = self.actor.troubles
        found = next((one for one in troubles if one.target == target), None)
        if found is not None:
            troubles.remove(found)
        return found

    # -- commands and handlers

    def _receive(self, command: Command) -> None:
        self._command = command
        if command.note:
            self._perform_all((), command.note)
        elif self.actor.behaviour:
            self._perform_all((), self.actor.behaviour)
        else:
            self._perform_all(command.acts, "")

    def _handle(self, pending: Pending) -> None:
        actor = self.actor
        self._command = pending.command
        if pending.answer == "failed":
            self.notes.append(f"failed {quoted(pending.name)} {pending.number}")
            self._stop()
            return
        if pending.number:
            actor.last = pending.number
        if pending.answer == "rejected":
            self.notes.append(f"rejected {quoted(pending.name)} {pending.number}")
            self._after()
            return
        if not pending.number:
            self._perform_all((), quoted(pending.name))
            return
        self.notes.append(f"{quoted(pending.name)} {pending.number}")
        self._take_up(pending.name)
        self._perform_all(pending.acts, "")

    def _take_up(self, name: str) -> None:
        """The event becomes part of the state; a delivery of it is sent, unless the actor recovers."""
        actor = self.actor
        actor.names.append(name)
        if not actor.start.delivers:
            return
        if name.startswith(SEND):
            actor.delivery_id += 1
            actor.deliveries[actor.delivery_id] = name
            if actor.phase == "alive":
                self._send(actor.delivery_id)
        elif name.startswith(CONFIRM):
            actor.deliveries.pop(int(name.removeprefix(CONFIRM)), None)

    def _send_again(self) -> None:
        for delivery_id in self.actor.deliveries:
            self._send(delivery_id)

    def _send(self, delivery_id: int) -> None:
        self.notes.append(f"sent {quoted(self.actor.deliveries[delivery_id])} {delivery_id}")

    def _perform_all(self, acts: Sequence[Act], note: str) -> None:
        """Note something and perform acts; then what every command and every handler ends with."""
        if note:
            self.notes.append(note)
        failed = False
        try:
            for act in acts:
                if self._perform(act):
                    break
        except _Failure:
            failed = True
        self._after()
        if failed:
            self._fail()
        elif self.actor.stopping:
            self._stop()

    def _after(self) -> None:
        """Send what has gathered, unless a write is under way."""
        actor = self.actor
        actor.held = any(one.stashing for one in (*actor.urgent, *actor.gathered, *actor.under_way))
        if actor.under_way or not actor.gathered:
            return
        actor.under_way, actor.gathered = actor.gathered, []
        if not _writes(actor.under_way):
            actor.urgent += actor.under_way
            actor.under_way = []

    def _fail(self) -> None:
        actor = self.actor
        if actor.stopping:
            self._stop()
        elif actor.start.directive == "restart":
            self._restart()
        elif actor.start.directive == "stop":
            self._stop()

    def _restart(self) -> None:
        actor = self.actor
        _detach(actor)
        actor.mailbox = actor.stashed + actor.mailbox
        actor.stashed = []
        self._incarnate()

    def _perform(self, act: Act) -> bool:
        """Perform one act; whether the rest is passed over."""
        actor = self.actor
        match act.deed:
            case "note":
                self.notes.append(quoted(act.names[0]))
            case "raise":
                raise _Failure
            case "stop":
                actor.stopping = True
            case "become":
                actor.behaviour = quoted(act.names[0])
            case "stash":
                return self._stash()
            case "unstash":
                actor.mailbox = actor.stashed + actor.mailbox
                actor.stashed = []
            case "defer" | "defer_async":
                self._defer(act.names[0], act.deed == "defer")
            case "save snapshot":
                self._save()
            case "delete" | "delete snapshot" | "delete snapshots":
                self._delete(act)
            case _ if act.deed in PERSISTING:
                self._persist(act)
        return False

    def _stash(self) -> bool:
        place = self._command.place
        if place in self.actor.once_stashed:
            return False
        self.actor.once_stashed.add(place)
        self.actor.stashed.append(self._command)
        return True

    def _persist(self, act: Act) -> None:
        actor = self.actor
        if act.deed == "persist_broken":
            raise _Failure
        stashing = not act.deed.endswith("async")
        actor.groups += 1
        answer: Answer = "rejected" if any(map(is_unfit, act.names)) else "stored"
        for name in act.names:
            actor.number += 1
            actor.gathered.append(
                Pending(name, actor.number, act.handler, stashing, actor.groups, self._command, answer)
            )
        if act.then:
            self._defer(act.then, stashing)

    def _defer(self, name: str, stashing: bool) -> None:
        if self.actor.unanswered:
            self.actor.gathered.append(Pending(name, 0, (), stashing, 0, self._command))
        else:
            self.notes.append(quoted(name))

    def _save(self) -> None:
        actor = self.actor
        actor.calls.append(StoreCall("save", actor.last, tuple(actor.names)))

    def _delete(self, act: Act) -> None:
        actor = self.actor
        number = actor.last if act.deed == "delete" and act.number == MAX_SEQUENCE_NR else act.number
        if act.deed == "delete" and number > actor.last:
            self._enqueue(Command((), f"delete failed {number}"))
        else:
            actor.calls.append(StoreCall(act.deed, number))  # type: ignore[arg-type]  # a deletion is a target

    # -- what the storage answers

    def _write(self, writes: list[AtomicWrite]) -> list[Answer]:
        """One call of write_messages, disturbed or not."""
        trouble = self._trouble("write")
        word = trouble.trouble if trouble else ""
        if word == "fails":
            return ["failed"] * len(writes)
        refused = [word == "rejects" and _holds(one, trouble.number if trouble else 0) for one in writes]
        accepted = [one for one, no in zip(writes, refused, strict=True) if not no]
        transition = self._stores.write(self.state, accepted, self.claims)[0]
        self.state = transition.state
        if word == "loses" or not isinstance(transition.outcome, Answers):
            return ["failed"] * len(writes)
        given = iter(transition.outcome.rejected)
        return ["rejected" if no or next(given) else "stored" for no in refused]

    def _waits(self, target: str) -> bool:
        """Whether the next call of a kind is kept; the trouble is used up then."""
        first = next((one for one in self.actor.troubles if one.target == target), None)
        if first is None or first.trouble != "waits":
            return False
        self.actor.troubles.remove(first)
        return True

    def _answer_lane(self, lane: Lane) -> None:
        if self._waits("write"):
            lane.parked = True
            return
        failed = "failed" in self._write(lane.calls.pop(0))
        if failed or not lane.calls:
            self.actor.lanes.remove(lane)

    def _answer_write(self) -> None:
        actor = self.actor
        if self._waits("write"):
            actor.write_parked = True
            return
        answers = self._write(_calls(actor.under_way, actor))
        self._written(*answers)

    def _written(self, *answers: Answer) -> None:
        """Answers to the AtomicWrites under way; a failure ends all that follows the first event."""
        actor = self.actor
        batch, actor.under_way = actor.under_way, []
        if "failed" in answers:
            first = next(at for at, one in enumerate(batch) if one.number and one.answer == "stored")
            actor.urgent += [*batch[:first], msgspec.structs.replace(batch[first], answer="failed")]
            actor.gathered = []
            return
        groups = list(dict.fromkeys(one.group for one in batch if one.number and one.answer == "stored"))
        told = dict(zip(groups, answers, strict=True))
        actor.urgent += [msgspec.structs.replace(one, answer=told.get(one.group, one.answer)) for one in batch]
        self._after()

    def _answer_call(self, call: StoreCall) -> None:
        if self._waits(call.target):
            call.parked = True
            return
        self.actor.calls.remove(call)
        trouble = self._trouble(call.target)
        if trouble is None or trouble.trouble == "loses":
            self._carry_out(call)
        self._told(call, trouble is None)

    def _carry_out(self, call: StoreCall) -> None:
        owner, number = self.actor.persistence_id, call.number
        match call.target:
            case "save":
                metadata = SnapshotMetadata(owner, number, call.timestamp)
                snapshot = call.payload or snapshot_of(call.names)
                self.state = self._stores.save(self.state, metadata, snapshot, self.claims)
            case "delete":
                self.state = self._stores.delete(self.state, owner, number, self.claims)
            case "delete snapshot":
                only = SnapshotSelectionCriteria(number, min_sequence_nr=number)
                self.state = self._stores.delete_snapshots(self.state, owner, only, self.claims)
            case _:
                upto = SnapshotSelectionCriteria(number)
                self.state = self._stores.delete_snapshots(self.state, owner, upto, self.claims)

    def _told(self, call: StoreCall, well: bool) -> None:
        done, failed = _WORDS[call.target]
        if not call.deaf:
            self._enqueue(Command((), f"{done if well else failed} {call.number}"))

    # -- recovery

    def _answer_recovery(self) -> None:
        actor = self.actor
        phase = actor.phase
        if self._waits(phase):
            actor.recovery_parked = True
            return
        trouble = self._trouble(phase)
        try:
            if phase == "load":
                self._load(trouble)
            elif phase == "highest":
                self._read_highest(trouble)
            else:
                self._replay(trouble)
        except _Stop as stop:
            self._recovery_failed(str(stop))

    def _load(self, trouble: Disturb | None) -> None:
        actor = self.actor
        criteria = actor.criteria
        assert criteria is not None
        stored = self.state.snapshots.get(actor.persistence_id, {})
        found = max((number for number in stored if _matches(stored[number].metadata, criteria)), default=-1)
        word = trouble.trouble if trouble else ""
        if word == "unreadable" and found >= 0:
            actor.attempts += 1
            actor.passed_over = True
            if actor.attempts < LOADS_MAX and found > criteria.min_sequence_nr:
                actor.criteria = msgspec.structs.replace(criteria, max_sequence_nr=found - 1)
                return
            self._without_snapshot()
        elif word in ("fails", "loses") or (actor.passed_over and found < 0):
            self._without_snapshot()
        else:
            actor.phase = "highest"
            if found >= 0:
                self._offer(stored[found])

    def _without_snapshot(self) -> None:
        """No snapshot can be read: all events instead, if the actor allows that."""
        if not self.actor.start.optional_snapshot:
            raise _Stop
        self.actor.first_expected = 1
        self.actor.phase = "highest"

    def _offer(self, selected: SelectedSnapshot) -> None:
        actor = self.actor
        number, names = selected.metadata.sequence_nr, names_of(selected.snapshot)
        deeds = [act.deed for act in actor.start.reaction("snapshot")]
        self.actor.replayed.append(shown_snapshot(number, names))
        if "raise" in deeds:
            raise _Stop(" at snapshot")
        if "pass" in deeds:
            return
        actor.snapshot_nr = number
        for name in names:
            self._take_up(name)
        if actor.passed_over:
            actor.first_expected = number + 1

    def _read_highest(self, trouble: Disturb | None) -> None:
        actor = self.actor
        if trouble is not None:
            raise _Stop
        actor.highest = self.state.log(actor.persistence_id).highest_sequence_nr
        last = min(actor.highest, actor.start.to_sequence_nr)
        if last > actor.snapshot_nr and actor.start.replay_max > 0:
            actor.phase = "replay"
        else:
            self._recovered()

    def _replay(self, trouble: Disturb | None) -> None:
        actor = self.actor
        if trouble is not None and trouble.trouble != "breaks":
            raise _Stop
        last = min(actor.highest, actor.start.to_sequence_nr)
        stored = self.state.log(actor.persistence_id).events
        window = [event for event in stored if actor.snapshot_nr < event.sequence_nr <= last]
        window = window[: actor.start.replay_max]
        if trouble is not None and any(event.sequence_nr > trouble.number for event in window):
            raise _Stop
        if actor.first_expected and window and window[0].sequence_nr != actor.first_expected:
            raise _Stop
        for event in _filtered(window, actor.start.replay_filter):
            self._recover_event(event)
        self._recovered()

    def _recover_event(self, event: PersistentRepr) -> None:
        if event.payload.manifest in (STATE, QUEUE):
            return
        name = name_of(event.payload)
        for _ in range(times_read(name)):
            self._take_up(name)
            self.actor.replayed.append(f"{REPLAYED}{quoted(name)} {event.sequence_nr}")
            for act in self.actor.start.reaction(name):
                if act.deed == "raise":
                    raise _Stop(f" at {quoted(name)}")
                self.actor.replayed.append("refused" if act.deed != "note" else quoted(act.names[0]))

    def _recovered(self) -> None:
        actor = self.actor
        actor.phase = "alive"
        actor.number = actor.last = max(actor.highest, actor.snapshot_nr)
        self.notes += self._replayed_so_far()
        self._send_again()
        self._command = Command()
        self._perform_all(actor.start.reaction("completed"), "completed")

    def _replayed_so_far(self) -> list[str]:
        found, self.actor.replayed = self.actor.replayed, []
        return found

    def _recovery_failed(self, where: str) -> None:
        self.actor.replayed = []
        self.notes.append(f"recovery failed{where}")
        self._stop()


_ORDER = {"save": 0, "delete snapshot": 1, "delete snapshots": 1, "delete": 2}
_WORDS = {
    "save": ("saved", "save failed"),
    "delete": ("deleted", "delete failed"),
    "delete snapshot": ("snapshot deleted", "snapshot delete failed"),
    "delete snapshots": ("snapshots deleted", "snapshots delete failed"),
}


def _wanted(start: StartActor) -> SnapshotSelectionCriteria | None:
    """The snapshot that an actor asks for, within its upper bound; None if it wants none, or none can match."""
    one = start.selection
    most = min(one.max_sequence_nr, start.to_sequence_nr)
    if one == NOTHING or most < one.min_sequence_nr:
        return None
    return SnapshotSelectionCriteria(most, one.max_timestamp, one.min_sequence_nr, one.min_timestamp)


def _writes(batch: Sequence[Pending]) -> list[list[Pending]]:
    """The AtomicWrites of a call, as the events of each."""
    groups: dict[int, list[Pending]] = {}
    for one in batch:
        if one.number and one.answer == "stored":
            groups.setdefault(one.group, []).append(one)
    return list(groups.values())


def _calls(batch: Sequence[Pending], actor: Actor) -> list[AtomicWrite]:
    return [AtomicWrite(tuple(_repr(one, actor) for one in group)) for group in _writes(batch)]


def _repr(one: Pending, actor: Actor) -> PersistentRepr:
    payload = one.payload or event_of(one.name)
    return PersistentRepr(actor.persistence_id, one.number, payload, writer_uuid=actor.writer)


def _holds(write: AtomicWrite, number: int) -> bool:
    return not number or write.lowest_sequence_nr <= number <= write.highest_sequence_nr


def _matches(metadata: SnapshotMetadata, criteria: SnapshotSelectionCriteria) -> bool:
    return (
        criteria.min_sequence_nr <= metadata.sequence_nr <= criteria.max_sequence_nr
        and criteria.min_timestamp <= metadata.timestamp <= criteria.max_timestamp
    )


def _filtered(events: Sequence[PersistentRepr], mode: str) -> list[PersistentRepr]:
    """The events without those of a writer that was followed by another, or with them, or none at all."""
    kept: list[PersistentRepr] = []
    followed: deque[str] = deque(maxlen=OLD_WRITERS)
    writer = ""
    for event in events:
        if event.writer_uuid in followed and mode != "off":
            if mode == "fail":
                raise _Stop
            if mode == "warn":
                kept.append(event)
            continue
        if event.writer_uuid != writer:
            if writer:
                followed.append(writer)
            writer = event.writer_uuid
        kept.append(event)
    return kept
