"""The part of a state machine: each command says the step that the function of its state is to answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from perdure import MAX_SEQUENCE_NR, ActorRuntime, PersistentFSM, StateTimeout
from perdure.serialization import StateChangeEvent

from .actor_operations import MACHINE_STATES, Act
from .house import ActRaised
from .operation import quoted
from .outcomes import REPLAYED
from .part import Said, recovery_of, told

if TYPE_CHECKING:
    from perdure import Step

    from .troupe import Player

    AnyStep = Step[str, list[str], str]


class Machine(PersistentFSM[str, list[str], str]):
    """Its data are the names of all events that it has applied."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self.persistence_id = player.persistence_id
        self.recovery = recovery_of(player.start)
        self.snapshot_is_optional = player.start.optional_snapshot
        self.start_with("idle", [])
        for state, timeout_s in MACHINE_STATES.items():
            self.when(state, self._asked, timeout_s)
        player.recovers()

    def _asked(self, message: object, data: list[str]) -> AnyStep:
        if isinstance(message, StateTimeout):
            self._player.note(f"timeout in {self.state}")
            return self.goto("idle")
        step = self.stay()
        for act in cast("Said", message).acts:
            step = self._performed(act) or step
        return step

    def _performed(self, act: Act) -> AnyStep | None:
        match act.deed:
            case "goto" | "stay":
                return self._step(act)
            case "stop":
                return self.stop()
            case "note":
                self._player.note(quoted(act.names[0]))
            case "raise":
                raise ActRaised(self._player.start.directive)
            case "save snapshot":
                self.save_state_snapshot()
        return None

    def _step(self, act: Act) -> AnyStep:
        step = self.goto(act.target) if act.target else self.stay()
        step = step.applying(*act.events)
        if act.number:
            step = step.for_max(None if act.number == MAX_SEQUENCE_NR else act.number)
        if act.then:
            step = step.and_then(lambda data: self._player.note(f"{quoted(act.then)} {_shown(data)}"))
        return step

    def apply_event(self, event: str, data: list[str]) -> list[str]:
        self._player.note(f"{REPLAYED if self.is_recovering else ''}{quoted(event)} {self.last_sequence_nr}")
        return [*data, event]

    def on_transition(self, source: str, target: str) -> None:
        self._player.note(f"{source} to {target}")

    def on_recovery_completed(self) -> None:
        self._player.recovered()
        self._player.note(f"in {self.state} {_shown(self.data)}")
        self._player.note("completed")

    def on_storage_answer(self, answer: object) -> None:
        self._player.note(told(answer))

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self._player.note(f"rejected {_named(event)} {sequence_nr}")

    def on_persist_failure(self, error: BaseException, event: object, sequence_nr: int) -> None:
        self._player.note(f"failed {_named(event)} {sequence_nr}")

    def on_recovery_failure(self, error: Exception, event: object | None) -> None:
        self._player.recovered(whole=False)
        self._player.note("recovery failed")


def machine_of(runtime: ActorRuntime) -> type[Machine]:
    return type("Machine", (Machine, runtime.fsm), {})


def _named(event: object) -> str:
    return quoted(event.state_identifier if isinstance(event, StateChangeEvent) else str(event))


def _shown(data: list[str]) -> str:
    return f"[{' '.join(map(quoted, data))}]"
