"""The model of a durable producer queue: which number comes next, and what nobody has confirmed yet."""

from __future__ import annotations

from perdure import PersistentRepr, SelectedSnapshot

from .actor_operations import Act
from .cast import Pending
from .model_part import Play
from .operation import quoted
from .outcomes import REPLAYED
from .stored_names import QUEUE, queue_payload, read_queue_payload


class QueuePlay(Play):
    """One step of one queue. What it is asked and does not answer, it does not do either."""

    def _perform(self, act: Act) -> bool:
        current = self.actor.queue.current
        match act.deed:
            case "store sent" if act.number == current:
                self._store(act)
            case "store sent" if 0 < act.number == current - 1:
                self.notes.append(f"stored {act.number}")
            case "store confirmed" if self.actor.queue.confirmed.get(act.qualifier, 0) < act.number < current:
                self._store(act)
            case "load state":
                self.notes.append(self._shown())
            case "raise":
                return super()._perform(act)
        return False

    def _store(self, act: Act) -> None:
        actor = self.actor
        actor.groups += 1
        actor.number += 1
        message = act.names[0] if act.deed == "store sent" else ""
        payload = queue_payload(act.number, message, act.qualifier)
        name = message or "confirmed"
        actor.gathered.append(Pending(name, actor.number, (act,), True, actor.groups, self._command, "stored", payload))

    def _handle(self, pending: Pending) -> None:
        act = pending.acts[0]
        if pending.answer != "stored":
            super()._handle(pending)
            if pending.answer == "rejected" and act.deed == "store sent":
                self.notes.append("failure")
            return
        self.actor.last = pending.number
        self._apply(act.number, act.names[0] if act.deed == "store sent" else "", act.qualifier)
        self._perform_all((), f"stored {act.number}" if act.deed == "store sent" else "")

    def _apply(self, number: int, message: str, qualifier: str) -> None:
        """A message that was sent waits; a confirmation takes all of its qualifier up to its number."""
        queue = self.actor.queue
        if message:
            queue.current = number + 1
            queue.unconfirmed = [*queue.unconfirmed, (number, message, qualifier)]
            return
        queue.highest = max(queue.highest, number)
        queue.confirmed = {**queue.confirmed, qualifier: number}
        queue.unconfirmed = [one for one in queue.unconfirmed if one[0] > number or one[2] != qualifier]

    def _shown(self) -> str:
        queue = self.actor.queue
        waiting = " ".join(f"{quoted(message)} {number}" for number, message, _ in queue.unconfirmed)
        return f"next {queue.current} confirmed {queue.highest} [{waiting}]"

    def _offer(self, selected: SelectedSnapshot) -> None:
        """No program saves one that a queue takes up."""

    def _recover_event(self, event: PersistentRepr) -> None:
        if event.payload.manifest != QUEUE:
            return
        number, message, qualifier = read_queue_payload(event.payload)
        self._apply(number, message, qualifier)
        self.actor.replayed.append(f"{REPLAYED}{quoted(message or 'confirmed')} {event.sequence_nr}")
