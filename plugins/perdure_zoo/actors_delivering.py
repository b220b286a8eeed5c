"""Actors that deliver at least once, or say so: messages lost, confirmed by nobody, or under another id."""

from __future__ import annotations

from perdure import AtLeastOnceDelivery

from ._troupe import ActorFamily

family = ActorFamily()


@family.animal(
    bug="SEEN-136",
    system="Akkling",
    source="https://github.com/Horusiath/Akkling/issues/48",
    cause="the timer of redelivery is not started by a delivery",
    killed_by="A-36",
)
class RedeliversAfterARecoveryOnly(AtLeastOnceDelivery):
    """What was lost is lost until the actor starts again."""

    def _arm(self, delay_s: float) -> None:
        pass


@family.animal(
    bug="SEEN-136b",
    system="none reported: redelivery left to the timer",
    source="https://github.com/akka/akka-core/issues/18415",
    cause="nothing is sent again at the end of a recovery",
    killed_by="A-36",
)
class FreshComesBeforeTheUnconfirmed(AtLeastOnceDelivery):
    """New messages overtake those that have waited since before the restart."""

    def _recovered(self) -> None:
        if self._unconfirmed:
            self._arm(self.redeliver_interval_s)


@family.animal(
    bug="SEEN-136c",
    system="none reported: ids counted by the instance",
    source="https://github.com/akka/akka-core/issues/27786",
    cause="ids begin at 1 again behind a recovery",
    killed_by="A-36",
)
class IdsBeginAgain(AtLeastOnceDelivery):
    """A new delivery takes the place of one that waits, and the confirmation of the one is taken for the other's."""

    def _recovered(self) -> None:
        super()._recovered()
        self._delivery_id = 0


@family.animal(
    bug="SEEN-136d",
    system="none reported: what is sent by nobody need not be confirmed",
    source="https://github.com/akka/akka-core/issues/18415",
    cause="confirmations are passed over in recovery",
    killed_by="A-36",
)
class ForgetsWhatWasConfirmed(AtLeastOnceDelivery):
    """After each restart everything is sent again that was ever sent."""

    def confirm_delivery(self, delivery_id: int) -> bool:
        return not self.is_recovering and super().confirm_delivery(delivery_id)
