"""What actors persist goes through event adapters and serialization, and comes back through both."""

from __future__ import annotations

from collections.abc import Iterable

from perdure import EventAdapters, PersistentActor, Tagged
from perdure.testing import Probe, virtual_time


class UpperCase:
    """Stores text in upper case, tagged; gives one event for each word of it; refuses the empty text."""

    def manifest(self, event: object) -> str:
        return "words"

    def to_journal(self, event: object) -> object:
        if not event:
            raise ValueError("nothing to store")
        return Tagged(str(event).upper(), frozenset({"tag"}))

    def from_journal(self, event: object, manifest: str) -> Iterable[object]:
        assert manifest == "words"
        return [word for word in str(event).split() if word != "SKIP"]


ADAPTERS = EventAdapters({str: UpperCase()})


class Words(PersistentActor):
    persistence_id = "p"

    def __init__(self, told: Probe) -> None:
        self.told = told
        self.state: list[object] = []

    def receive_recover(self, message: object) -> None:
        if isinstance(message, str):
            self.state.append((self.last_sequence_nr, message))

    def receive_command(self, message: object) -> None:
        if message == "get":
            self.reply(list(self.state))
        else:
            self.persist(message, self.told.tell)

    def on_persist_rejected(self, reason: str, event: object, sequence_nr: int) -> None:
        self.told.tell(reason)


@virtual_time
async def test_adapters_change_what_is_stored_and_give_none_or_several_events_back(world) -> None:  # F-45, F-46
    async with world.system(event_adapters=ADAPTERS) as system:
        told = Probe()
        actor = system.spawn(lambda: Words(told))
        for text in ("one two", "skip", "three"):
            actor.tell(text)
        await told.expect("one two", "skip", "three")  # handlers get the event itself
        await system.stop(actor)
        stored = [event async for event in world.faults.storage.journal.replay_messages("p")]
        assert [(event.manifest, event.tags) for event in stored] == [("words", {"tag"})] * 3
        again = await system.spawn(lambda: Words(told)).ask("get")
        assert again == [(1, "ONE"), (1, "TWO"), (3, "THREE")]


@virtual_time
async def test_an_adapter_that_raises_rejects_the_event(world) -> None:  # F-42
    async with world.system(event_adapters=ADAPTERS) as system:
        told = Probe()
        actor = system.spawn(lambda: Words(told))
        actor.tell("")
        actor.tell("after")
        assert "nothing to store" in str(await told.receive())
        await told.expect("after")
        assert world.written() == [[(2,)]]
