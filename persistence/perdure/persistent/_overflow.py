"""What becomes of messages for which there is no more room while a persistent actor persists or recovers."""

from __future__ import annotations

import msgspec


class ThrowOverflow(msgspec.Struct, frozen=True):
    """The actor fails with `StashOverflow`, and its supervisor decides. The message is a dead letter."""


class DiscardToDeadLetters(msgspec.Struct, frozen=True):
    """The message is a dead letter, and the actor goes on."""


class ReplyToSender(msgspec.Struct, frozen=True):
    """The sender is told `response`; the message is dropped."""

    response: object


StashOverflowStrategy = ThrowOverflow | DiscardToDeadLetters | ReplyToSender
