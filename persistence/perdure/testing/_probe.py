"""A reference whose messages the test reads."""

from __future__ import annotations

import asyncio

from ..actors import ActorRef


class Probe(ActorRef):
    """Give it as `sender`, or wherever a reference is wanted, and wait for what it is told."""

    def __init__(self, name: str = "probe") -> None:
        super().__init__(name)
        self._received: asyncio.Queue[object] = asyncio.Queue()

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        self._received.put_nowait(message)

    async def receive(self) -> object:
        """The next message, once it is there."""
        return await self._received.get()

    async def expect(self, *messages: object) -> None:
        """The next messages are equal to these, in this order."""
        for expected in messages:
            found = await self.receive()
            assert found == expected, f"{self.path} expected {expected!r} and was told {found!r}"

    def rest(self) -> list[object]:
        """What it was told and nobody has read, without waiting."""
        return [self._received.get_nowait() for _ in range(self._received.qsize())]
