"""State machines that are somewhere else after a restart, or go on before they are stored."""

from __future__ import annotations

from typing import Any

from perdure import PersistentFSM
from perdure.persistent._fsm_step import Step
from perdure.serialization import StateChangeEvent

from ._troupe import ActorFamily

family = ActorFamily()

AnyMachine = PersistentFSM[Any, Any, Any]
AnyStep = Step[Any, Any, Any]


@family.animal(
    bug="SEEN-154",
    system="none reported: only what was applied is stored",
    source="https://github.com/akka/akka-core/pull/17974",
    cause="a change of state without a timeout is not stored",
    killed_by="A-37",
)
class ForgetsItsState(AnyMachine):
    """The data are recovered, and the machine begins at its start."""

    def _persist_step(self, step: AnyStep, events: list[Any]) -> None:
        super()._persist_step(step, [one for one in events if one != StateChangeEvent(step.target, None)] or events)


@family.animal(
    bug="SEEN-154b",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/17974",
    cause="staying is stored as a change of state",
    killed_by="A-37",
)
class StoresThatItStays(AnyMachine):
    """Each question that changes nothing leaves an event, and those who follow the machine are told of it."""

    def stay(self) -> AnyStep:
        return self.goto(self.state)


@family.animal(
    bug="SEEN-155",
    system="none reported: the timeout of a change of state is passed over",
    source="https://github.com/akka/akka-core/issues/23691",
    cause="a timeout that was stored is not started again behind a recovery",
    killed_by="A-37",
)
class WaitsForEverAfterARecovery(AnyMachine):
    """Whoever restarts the machine stops its clock."""

    def _recover_state(self, identifier: str, timeout_ms: int | None) -> None:
        super()._recover_state(identifier, None)


@family.animal(
    bug="SEEN-155b",
    system="Akka",
    source="https://github.com/akka/akka-core/issues/19688",
    cause="a recovered machine has a timeout that an event behind it had ended",
    killed_by="A-37",
)
class TimeoutOutlivesTheEventsBehindIt(AnyMachine):
    """The last timeout that was ever stored begins again."""

    def receive_recover(self, message: object) -> object:
        timeouts = self._timeout_ms, self._stored_timeout_ms
        result = super().receive_recover(message)
        if isinstance(message, str):
            self._timeout_ms, self._stored_timeout_ms = timeouts
        return result


@family.animal(
    bug="SEEN-155c",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/22185",
    cause="a timeout that was turned off is the default of its state after a recovery",
    killed_by="A-37",
)
class TakesNeverForTheDefault(AnyMachine):
    """Never, when it was written down, looks like nothing said."""

    def _recover_state(self, identifier: str, timeout_ms: int | None) -> None:
        super()._recover_state(identifier, timeout_ms if timeout_ms and timeout_ms < 1_000_000_000 else None)


@family.animal(
    bug="SEEN-156",
    system="none reported: the step is done while it is written",
    source="https://github.com/akka/akka-core/pull/17974",
    cause="the state is entered before its events are stored",
    killed_by="A-37",
)
class EntersBeforeItIsStored(AnyMachine):
    """Others are told of a state that a crash takes back."""

    def _persist_step(self, step: AnyStep, events: list[Any]) -> None:
        for _ in self._enter(step, self._data):
            pass
        self.persist_all(events, self._apply)

    def _apply(self, event: object) -> None:
        if not isinstance(event, StateChangeEvent):
            self._data = self.apply_event(event, self._data)


@family.animal(
    bug="SEEN-157",
    system="none reported: a snapshot of the data alone",
    source="https://github.com/akka/akka-core/issues/18207",
    cause="the timeout is not part of the snapshot",
    killed_by="A-37",
)
class SnapshotWithoutItsTimeout(AnyMachine):
    """A machine that was recovered from its snapshot waits for ever."""

    def save_state_snapshot(self) -> None:
        stored, self._stored_timeout_ms = self._stored_timeout_ms, None
        super().save_state_snapshot()
        self._stored_timeout_ms = stored


@family.animal(
    bug="SEEN-158",
    system="none reported: a rejected step counts as done",
    source="https://github.com/akka/akka-core/pull/17974",
    cause="a step that was rejected changes the state",
    killed_by="A-37",
)
class EntersWhatWasRejected(AnyMachine):
    """The machine is in a state of which the journal knows nothing."""

    def _persist_step(self, step: AnyStep, events: list[Any]) -> None:
        self._asked_for = step
        super()._persist_step(step, events)

    def _stay_as_it_is(self) -> None:
        for _ in self._enter(self._asked_for, self._data):
            pass
