"""Objects become payloads and come back, through serialization and event adapters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import pytest
from perdure import NamedTypes, Payload, PersistentActor
from perdure.testing import Probe, virtual_time


class Opened(msgspec.Struct, frozen=True):
    owner: str


@dataclass(frozen=True)
class Paid:
    amount: int


@pytest.mark.parametrize("value", [Opened("ann"), Paid(3), "text", 7, 1.5, True, None, [1, "a"], {"a": 1}, b"\x00\xff"])
def test_what_is_registered_and_what_is_plain_comes_back_equal(value: object) -> None:
    types = NamedTypes(Opened, names={"payment/1": Paid})
    assert types.from_payload(types.to_payload(value)) == value


def test_the_name_of_a_type_is_its_manifest() -> None:
    types = NamedTypes(Opened, names={"payment/1": Paid})
    assert types.to_payload(Paid(3)) == Payload(NamedTypes.SERIALIZER_ID, "payment/1", b'{"amount":3}')


def test_what_is_not_registered_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"Paid has no name in this serialization; add it to NamedTypes\(\.\.\.\)"):
        NamedTypes(Opened).to_payload(Paid(3))
    with pytest.raises(ValueError, match="manifest 'Paid' is not known; registered: Opened"):
        NamedTypes(Opened).from_payload(Payload(NamedTypes.SERIALIZER_ID, "Paid", b"{}"))
    with pytest.raises(ValueError, match="serializer_id 99 is not known"):
        NamedTypes().from_payload(Payload(99, "", b""))


def test_two_types_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="have the same name"):
        NamedTypes(Paid, type("Paid", (), {}))


class Adapters:
    """Stores text in upper case, tagged; gives one event for each word of it; refuses the empty text."""

    def to_journal(self, event: object) -> tuple[object, str, frozenset[str]]:
        if not event:
            raise ValueError("nothing to store")
        return str(event).upper(), "words", frozenset({"tag"})

    def from_journal(self, event: object, manifest: str) -> Iterable[object]:
        assert manifest == "words"
        return [word for word in str(event).split() if word != "SKIP"]


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
    async with world.system(event_adapters=Adapters()) as system:
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
    async with world.system(event_adapters=Adapters()) as system:
        told = Probe()
        actor = system.spawn(lambda: Words(told))
        actor.tell("")
        actor.tell("after")
        assert "nothing to store" in str(await told.receive())
        await told.expect("after")
        assert world.written() == [[(2,)]]
