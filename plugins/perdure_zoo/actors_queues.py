"""Producer queues that give back something else than what was stored and not confirmed."""

from __future__ import annotations

import msgspec
from perdure import EventSourcedProducerQueue, MessageSent, StoreMessageSent, StoreMessageSentAck
from perdure.serialization import Confirmed

from ._troupe import ActorFamily

family = ActorFamily()

SPEC = "https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Delivery/EventSourcedProducerQueue.cs"


@family.animal(
    bug="SEEN-159",
    system="none reported: confirmations kept in memory",
    source=SPEC,
    cause="confirmations are passed over in recovery",
    killed_by="A-38",
)
class SendsAgainWhatWasConfirmed(EventSourcedProducerQueue):
    """Behind each restart everything is sent again that was ever sent."""

    def receive_recover(self, message: object) -> object:
        return None if isinstance(message, Confirmed) else super().receive_recover(message)


@family.animal(
    bug="SEEN-160",
    system="none reported: one count for all consumers",
    source=SPEC,
    cause="a confirmation counts for every qualifier",
    killed_by="A-38",
)
class ConfirmsForOthersToo(EventSourcedProducerQueue):
    """What one consumer has processed is taken from the others."""

    def _store_sent(self, sent: MessageSent) -> None:
        super()._store_sent(msgspec.structs.replace(sent, qualifier=""))

    def _store_confirmed(self, confirmed: Confirmed) -> None:
        super()._store_confirmed(msgspec.structs.replace(confirmed, qualifier=""))


@family.animal(
    bug="SEEN-161",
    system="Akka.NET (its test is skipped)",
    source=SPEC,
    cause="a confirmation that says nothing new is stored",
    killed_by="A-38",
)
class StoresEachConfirmation(EventSourcedProducerQueue):
    """A lower number that comes late takes the place of a higher one."""

    def _store_confirmed(self, confirmed: Confirmed) -> None:
        self._persist_event(confirmed)


@family.animal(
    bug="SEEN-162",
    system="none reported: the answer does not wait for the journal",
    source=SPEC,
    cause="a message is acknowledged before it is stored",
    killed_by="A-38",
)
class AcknowledgesTooEarly(EventSourcedProducerQueue):
    """The producer forgets a message that a crash then takes."""

    def _store_sent(self, sent: MessageSent) -> None:
        self.reply(StoreMessageSentAck(sent.seq_nr))
        stored = msgspec.structs.replace(sent, message=self._to_stored(sent.message))
        self._persist_event(stored)


@family.animal(
    bug="SEEN-163",
    system="Apache Pekko",
    source="https://github.com/apache/pekko/issues/2760",
    cause="without unconfirmed messages, numbers begin at 1 again behind a restart",
    killed_by="A-38",
)
class NumbersBeginAgain(EventSourcedProducerQueue):
    """A consumer takes the new messages for old ones."""

    def _begin(self) -> None:
        if not self._state.unconfirmed:
            self._state = msgspec.structs.replace(self._state, current_seq_nr=1)
        super()._begin()


@family.animal(
    bug="SEEN-164",
    system="none reported: whatever is not next is passed over",
    source=SPEC,
    cause="a message that is sent again is not acknowledged again",
    killed_by="A-38",
)
class AcknowledgesOnce(EventSourcedProducerQueue):
    """A producer whose answer was lost asks for ever."""

    def receive_command(self, message: object) -> object:
        if isinstance(message, StoreMessageSent) and message.sent.seq_nr < self._state.current_seq_nr:
            return None
        return super().receive_command(message)


@family.animal(
    bug="SEEN-165",
    system="none reported: messages in the order of a stack",
    source=SPEC,
    cause="what was not confirmed comes back last first",
    killed_by="A-38",
)
class GivesBackTheLastFirst(EventSourcedProducerQueue):
    """Messages overtake those that they answer."""

    def _begin(self) -> None:
        self._state = msgspec.structs.replace(self._state, unconfirmed=self._state.unconfirmed[::-1])
        super()._begin()
