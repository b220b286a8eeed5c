"""The model of a state machine: which state it is in, what it has applied, and when it has waited long enough."""

from __future__ import annotations

from perdure import MAX_SEQUENCE_NR, PersistentRepr, SelectedSnapshot
from perdure.serialization import TIMEOUT_NEVER_MS

from .actor_operations import MACHINE_STATES, Act
from .cast import Command, Pending, StoreCall
from .model_part import Play
from .operation import quoted
from .stored_names import MACHINE, STATE, is_unfit, machine_of, state_of, state_payload

WAITED_S = 50.0
"""How much time passes in a step `wait`."""

CALL_LIMIT_S = 10.0
AT_THE_END = Act("stay")
"""Behind the acts of a command: take the step that they say."""

TIMEOUT = Command(note="timeout")


class MachinePlay(Play):
    """One step of one machine. It stays unless its state function says otherwise."""

    def _receive(self, command: Command) -> None:
        self._command = command
        self.actor.machine.step = None  # of a command that raised
        if command is TIMEOUT:
            acts: tuple[Act, ...] = (Act("goto", ("idle",)), AT_THE_END)
            self._perform_all(acts, f"timeout in {self.actor.machine.state}")
        elif command.note:
            self._perform_all((), command.note)
        else:
            self._perform_all((*command.acts, AT_THE_END), "")

    def _perform(self, act: Act) -> bool:
        machine = self.actor.machine
        if act is AT_THE_END:
            self._decide(machine.step or Act("stay"))
        elif act.deed in ("goto", "stay", "stop"):
            machine.step = act
        elif act.deed in ("note", "raise", "save snapshot"):
            return super()._perform(act)
        return False

    def _decide(self, step: Act) -> None:
        """Events and the change of state are one AtomicWrite; it is entered when they are stored."""
        actor = self.actor
        changes = step.deed == "goto" or bool(step.number)
        if not step.events and not changes:
            self._enter(step)
            return
        actor.groups += 1
        answer = "rejected" if any(map(is_unfit, step.events)) else "stored"
        stored = [(name, None) for name in step.events]
        if changes:
            state = step.target or actor.machine.state
            stored.append((state, state_payload(state, _timeout_ms(step))))  # type: ignore[arg-type]  # None before
        for name, payload in stored:
            actor.number += 1
            pending = Pending(name, actor.number, (), True, actor.groups, self._command, answer, payload)  # type: ignore[arg-type]  # a word of both
            actor.gathered.append(pending)
        actor.gathered.append(Pending("", 0, (step,), True, 0, self._command))

    def _handle(self, pending: Pending) -> None:
        actor = self.actor
        if pending.answer != "stored":
            actor.machine.rejected = pending.answer == "rejected"
            super()._handle(pending)
            return
        if pending.number:
            actor.last = pending.number
            self._perform_all((), "" if pending.payload else f"{quoted(pending.name)} {pending.number}")
            return
        self._completed(pending.acts[0])
        self._perform_all((), "")

    def _completed(self, step: Act) -> None:
        """The step is done, or it was rejected: then the machine stays as it is, and waits again if it had waited."""
        machine = self.actor.machine
        if machine.rejected:
            machine.rejected = False
            if machine.timer_s is None:
                self._start_timer()
        else:
            machine.stored_ms = _timeout_ms(step)
            self._enter(step)

    def _enter(self, step: Act) -> None:
        actor, machine = self.actor, self.actor.machine
        source, machine.state = machine.state, step.target or machine.state
        machine.timeout_ms = _timeout_ms(step)
        actor.names += step.events
        self._start_timer()
        if step.deed == "goto":
            self.notes.append(f"{source} to {machine.state}")
        if step.then:
            self.notes.append(f"{quoted(step.then)} {_shown(actor.names)}")
        actor.stopping = actor.stopping or step.deed == "stop"

    def _start_timer(self) -> None:
        machine = self.actor.machine
        default_s = MACHINE_STATES[machine.state]
        machine.timer_s = default_s if machine.timeout_ms is None else machine.timeout_ms / 1000
        if machine.timeout_ms == TIMEOUT_NEVER_MS:
            machine.timer_s = None

    def _time_out(self) -> None:
        """What waits less long than a call comes first."""
        left_s = self._wait_for_timers(WAITED_S, WAITED_S - CALL_LIMIT_S)
        super()._time_out()
        self.settle()
        self._wait_for_timers(left_s, 0)

    def _wait_for_timers(self, left_s: float, least_s: float) -> float:
        actor, machine = self.actor, self.actor.machine
        while actor.phase == "alive" and machine.timer_s is not None and left_s - machine.timer_s >= least_s:
            left_s -= machine.timer_s
            machine.timer_s = None
            actor.mailbox.append(TIMEOUT)
            self.settle()
        return left_s

    def _save(self) -> None:
        actor, machine = self.actor, self.actor.machine
        payload = machine_of(machine.state, machine.stored_ms, actor.names)
        actor.calls.append(StoreCall("save", actor.last, payload=payload))

    # -- recovery

    def _offer(self, selected: SelectedSnapshot) -> None:
        """A snapshot of something else is not taken up."""
        actor, machine = self.actor, self.actor.machine
        if selected.snapshot.manifest != MACHINE:
            return
        machine.state, machine.timeout_ms, actor.names = state_of(selected.snapshot)
        machine.stored_ms = machine.timeout_ms
        actor.snapshot_nr = selected.metadata.sequence_nr
        if actor.passed_over:
            actor.first_expected = actor.snapshot_nr + 1

    def _recover_event(self, event: PersistentRepr) -> None:
        machine = self.actor.machine
        if event.payload.manifest == STATE:
            machine.state, machine.timeout_ms, _ = state_of(event.payload)
            machine.stored_ms = machine.timeout_ms
        else:
            super()._recover_event(event)

    def _take_up(self, name: str) -> None:
        self.actor.names.append(name)
        self.actor.machine.timeout_ms = self.actor.machine.stored_ms = None

    def _recovered(self) -> None:
        actor, state = self.actor, self.actor.machine.state
        actor.replayed += [f"{state} to {state}", f"in {state} {_shown(actor.names)}"]
        self._start_timer()
        super()._recovered()


def _shown(names: list[str]) -> str:
    return f"[{' '.join(map(quoted, names))}]"


def _timeout_ms(step: Act) -> int | None:
    if not step.number:
        return None
    return TIMEOUT_NEVER_MS if step.number == MAX_SEQUENCE_NR else step.number * 1000
