"""State machines whose states and data survive: what a message leads to is a value, and is done once it is stored.

A state function answers with a `Step`: to which state, applying which events, with which timeout. Its events and the
change of state are one AtomicWrite; when they are stored, the machine enters the state. That is written down once, in
`_enter`, as a generator; whether a hook on the way is a coroutine does not change the order.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, Generic, cast

from .._events import SnapshotMetadata
from ..actors import ActorRef
from ..actors._actor import resolve
from ..actors._ref import LocalRef
from ..errors import InitializationFailed
from ..serialization import TIMEOUT_NEVER_MS, PersistentFSMSnapshot, StateChangeEvent
from ._fsm_step import (
    CurrentState,
    Data,
    Event,
    State,
    StateFunction,
    StateTimeout,
    Step,
    StopReason,
    SubscribeTransitions,
    Transition,
    UnsubscribeTransitions,
    seconds,
    whole_ms,
)
from ._persistent_actor import PersistentActor
from ._protocol import RecoveryCompleted, SaveSnapshotFailure, SnapshotOffer
from ._retention import ANSWERS, Retention, clean_up

if TYPE_CHECKING:
    from ..actors._cell import Cell

log = logging.getLogger("perdure.persistent")

_TIMER = "perdure state timeout"


class PersistentFSM(PersistentActor, Generic[State, Data, Event]):
    """A persistent actor that is always in one state. Derive from it; in `__init__`, call `start_with` and `when`.

    States are text, best the members of a `StrEnum`: their values are what is stored. Every state function, hook and
    action may be `async`; the next message waits until it is done.

    A change of state is stored as a `StateChangeEvent` behind the events of its step, in the form of Akka.NET. `stay`
    stores none, except with a timeout. Recovery applies the events, goes to the state that was stored last, and starts
    its timeout. (F-56)
    """

    retention: Retention | None = None
    """When to save snapshots by itself, and what to delete then. State changes count as events."""

    _state: State
    _data: Data
    _timeout_ms: int | None = None
    _stored_timeout_ms: int | None = None
    _stopped = False

    # -- what a subclass says

    def start_with(self, state: State, data: Data, timeout_s: float | None = None) -> None:
        """Where a machine without history begins; its timeout counts instead of the state's default."""
        self._state, self._data = state, data
        self._timeout_ms = None if timeout_s is None else whole_ms(timeout_s)

    def when(self, state: State, function: StateFunction[Data, State, Event], timeout_s: float | None = None) -> None:
        """In this state, ask `function(message, data)`; `timeout_s` is the state's default timeout."""
        if state in self._functions:
            raise ValueError(f"state {state!r} has its function already")
        default = None if timeout_s is None else whole_ms(timeout_s)
        self._functions[state] = (state, function, default)

    def apply_event(self, event: Event, data: Data) -> Data:
        """The data after an event. Called for new events and in recovery alike: changes nothing, asks nobody.

        It must not raise: the event is stored by then, and no incarnation could recover.
        """
        raise NotImplementedError(f"{type(self).__name__} has events and no apply_event")

    # -- what a state function answers

    def goto(self, state: State) -> Step[State, Data, Event]:
        """Go to a state. The one in which the machine is counts as a change too: it is stored and told."""
        if state not in self._functions:
            raise ValueError(f"{self._pid!r} has no state {state!r}; there are: {', '.join(self._functions)}")
        return Step(state, True)

    def stay(self) -> Step[State, Data, Event]:
        """Stay, and tell nobody."""
        return Step(self._state, False)

    def stop(self, reason: StopReason = "normal") -> Step[State, Data, Event]:
        """Stop the actor, once everything else of this step is done. The next incarnation is in the present state."""
        return Step(self._state, False, reason)

    # -- hooks

    def on_transition(self, source: State, target: State) -> object:
        """After a `goto`; `state` and `data` are the new ones. Also once after recovery, from the state to itself."""

    def on_termination(self, reason: StopReason) -> object:
        """The machine has stopped; `state` and `data` are the last ones. Not called if it never recovered."""

    def on_recovery_completed(self) -> object:
        """State and data are recovered, and the timeout has been started. Persisting is allowed."""

    def when_unhandled(
        self, message: object, data: Data
    ) -> Step[State, Data, Event] | Awaitable[Step[State, Data, Event]]:
        """For messages that the state has no use for. Unless overridden: log a warning and stay."""
        log.warning("%r: state %r does not handle %r", self._pid, str(self._state), message)
        return self.stay()

    def on_storage_answer(self, answer: object) -> object:
        """What became of a snapshot or a deletion. It is no message to a state, and leaves the timeout alone.

        Unless overridden: follow the `retention`, and log failures.
        """
        return clean_up(self, self.retention, answer)

    # -- where it stands

    @property
    def state(self) -> State:
        return self._state

    @property
    def data(self) -> Data:
        return self._data

    def save_state_snapshot(self) -> None:
        """Save state, data, and the timeout that was stored last. Answered to `on_storage_answer`."""
        identifier = str.__str__(self._state)
        try:
            data = self._persistence.codec.serialization.to_payload(self._data)
        except Exception as error:
            metadata = SnapshotMetadata(self._pid, self.last_sequence_nr)
            self.ref.tell(SaveSnapshotFailure(metadata, error), self.ref)
            return
        self.save_snapshot(PersistentFSMSnapshot(identifier, data, self._stored_timeout_ms))

    # -- how it works

    @property
    def _functions(self) -> dict[str, tuple[State, StateFunction[Data, State, Event], int | None]]:
        """Made when it is first used, so that subclasses need not call our `__init__`. `_subscribers` likewise."""
        functions: dict[str, tuple[State, StateFunction[Data, State, Event], int | None]]
        functions = self.__dict__.setdefault("_functions_by_state", {})
        return functions

    @property
    def _subscribers(self) -> list[ActorRef]:
        subscribers: list[ActorRef] = self.__dict__.setdefault("_subscribed", [])
        return subscribers

    def _attach(self, cell: Cell) -> None:
        super()._attach(cell)
        if not hasattr(self, "_state") or self._state not in self._functions:
            raise InitializationFailed(f"{cell.ref.path}: call start_with(), and when() for that state, in __init__")

    def receive_recover(self, message: object) -> object:
        match message:
            case StateChangeEvent(identifier, timeout_ms):
                self._recover_state(identifier, timeout_ms)
            case SnapshotOffer(_, PersistentFSMSnapshot(identifier, data, timeout_ms)):
                self._recover_state(identifier, timeout_ms)
                self._data = self._persistence.codec.serialization.from_payload(data)
            case SnapshotOffer():
                return self.unhandled(message)
            case RecoveryCompleted():
                return _drive(self._begin())
            case _:
                self._timeout_ms = self._stored_timeout_ms = None
                self._data = self.apply_event(cast(Event, message), self._data)
        return None

    def _recover_state(self, identifier: str, timeout_ms: int | None) -> None:
        if identifier not in self._functions:
            raise ValueError(f"{self._pid!r} has no state {identifier!r} any more; there are: {list(self._functions)}")
        self._state = self._functions[identifier][0]
        self._timeout_ms = self._stored_timeout_ms = timeout_ms

    def _begin(self) -> Generator[object, Any, None]:
        self._start_timer()
        yield self.on_transition(self._state, self._state)
        yield self.on_recovery_completed()

    def receive_command(self, message: object) -> object:
        match message:
            case SubscribeTransitions(subscriber):
                if subscriber not in self._subscribers:
                    self._subscribers.append(subscriber)
                subscriber.tell(CurrentState(self.ref, self._state, seconds(self._timeout_ms)), self.ref)
            case UnsubscribeTransitions(subscriber):
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)
            case _ if isinstance(message, ANSWERS):
                return self.on_storage_answer(message)
            case _:
                return _drive(self._handle(message))
        return None

    def _handle(self, message: object) -> Generator[object, Any, None]:
        step = yield self._functions[self._state][1](message, self._data)
        if step is None:
            step = yield self.when_unhandled(message, self._data)
        events: list[Event | StateChangeEvent] = [*step.events]
        if step.notifies or step.timeout_ms is not None:
            events.append(StateChangeEvent(str.__str__(step.target), step.timeout_ms))
        if events:
            self._persist_step(step, events)
        else:
            yield from self._enter(step, self._data)

    def _persist_step(self, step: Step[State, Data, Event], events: list[Event | StateChangeEvent]) -> None:
        """All handlers have been called when `completed` is, or none: then the step was rejected."""
        before, data, stored = self.last_sequence_nr, self._data, 0

        def handler(event: Event | StateChangeEvent) -> None:
            nonlocal data, stored
            if not isinstance(event, StateChangeEvent):
                data = self.apply_event(event, data)
            stored += 1

        def completed() -> object:
            if stored < len(events):
                self._stay_as_it_is()
                return None
            self._stored_timeout_ms = step.timeout_ms
            return _drive(self._enter(step, data, before))

        self.persist_all(events, handler, completed)

    def _enter(
        self, step: Step[State, Data, Event], data: Data, before: int | None = None
    ) -> Generator[object, Any, None]:
        """The state is changed first: whatever a hook raises, it agrees with what is stored."""
        source, self._state, self._data = self._state, step.target, data
        self._timeout_ms = step.timeout_ms
        if step.stop_reason is None:
            self._start_timer()
        for answer in step.replies:
            self.reply(answer)
        if step.notifies:
            yield self.on_transition(source, step.target)
            self._tell_subscribers(source)
        if step.stop_reason is not None:
            yield self._terminated(step.stop_reason)
        for action in step.actions:
            yield action(self._data)
        if before is not None and self.retention is not None and self.retention.due(before, self.last_sequence_nr):
            self.save_state_snapshot()
        if step.stop_reason is not None:
            self.context.stop(self.ref)

    def _tell_subscribers(self, source: State) -> None:
        self._subscribers[:] = [one for one in self._subscribers if not isinstance(one, LocalRef) or not one.cell.ended]
        transition = Transition(self.ref, source, self._state, seconds(self._timeout_ms))
        for subscriber in self._subscribers:
            subscriber.tell(transition, self.ref)

    def _start_timer(self) -> None:
        """A message that was handled ends the timeout that it met, also that of another state."""
        explicit, default = self._timeout_ms, self._functions[self._state][2]
        timeout_ms = default if explicit is None else explicit
        if timeout_ms is None or timeout_ms >= TIMEOUT_NEVER_MS:
            self.timers.cancel(_TIMER)
        else:
            self.timers.start_single(_TIMER, StateTimeout(), timeout_ms / 1000)

    def _stay_as_it_is(self) -> None:
        """The step was rejected. If it was the timeout that led to it, the time begins again."""
        if not self.timers.is_active(_TIMER):
            self._start_timer()

    def _terminated(self, reason: StopReason) -> object:
        if self._stopped:
            return None
        self._stopped = True
        self.timers.cancel(_TIMER)
        if isinstance(reason, Exception):
            log.error("%r stops: %r", self._pid, reason, exc_info=reason)
        return self.on_termination(reason)

    def post_stop(self) -> object:
        """Calls `on_termination`, if that has not been done; a subclass that overrides it returns what this does."""
        return None if self.is_recovering else self._terminated("shutdown")


def _drive(steps: Generator[object, Any, None]) -> object:
    """Run a generator to its end; it gets back what it yields, awaited if need be. Then the rest is a coroutine."""
    result: object = None
    try:
        while True:
            result = steps.send(result)
            if hasattr(result, "__await__"):
                return _drive_on(steps, result)
    except StopIteration:
        return None


async def _drive_on(steps: Generator[object, Any, None], waiting: object) -> None:
    try:
        while True:
            waiting = steps.send(await resolve(waiting))
    except StopIteration:
        return
