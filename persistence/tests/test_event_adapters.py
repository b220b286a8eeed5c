"""Event adapters: what is stored instead of an event, what is replayed for a stored one, and what is rejected."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from perdure import (
    AtomicWrite,
    EventAdapters,
    Payload,
    PersistentRepr,
    Serialization,
    Tagged,
    WriteRejected,
    prepare_write,
    recover_event,
)
from perdure.errors import Unreadable, UnreadablePayload


class Event(msgspec.Struct, frozen=True):
    name: str


class Deposited(Event, frozen=True):
    amount: int


class Renamed(Event, frozen=True):
    pass


class Adapter:
    """Leaves its mark on what it is given."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def manifest(self, event: Any) -> str:
        return f"{self.mark}-manifest"

    def to_journal(self, event: Any) -> object:
        return f"{self.mark}:{event.name}"

    def from_journal(self, event: Any, manifest: str) -> Iterable[object]:
        return [f"{self.mark}:{event}:{manifest}"]


class Tagging:
    def manifest(self, event: Any) -> str:
        return ""

    def to_journal(self, event: Any) -> object:
        return Tagged(event, frozenset({"money", event.name}))


class Splitting:
    def __init__(self, times: int) -> None:
        self.times = times

    def from_journal(self, event: Any, manifest: str) -> Iterable[object]:
        return (f"{event} {number} of {self.times}" for number in range(1, self.times + 1))


class Failing:
    def manifest(self, event: Any) -> str:
        return ""

    def to_journal(self, event: Any) -> object:
        if event.name == "bad":
            raise KeyError("no rate for EUR")
        return event

    def from_journal(self, event: Any, manifest: str) -> Iterable[object]:
        yield event
        raise KeyError("half a conversion")


SERIALIZATION = Serialization(Event, Deposited, Renamed)


def test_an_event_that_is_not_bound_stays_as_it_is() -> None:
    adapters = EventAdapters({Deposited: Adapter("a")})
    assert adapters.to_journal(Renamed("n")) == (Renamed("n"), "", frozenset())
    assert adapters.from_journal(Renamed("n"), "m") == (Renamed("n"),)


def test_an_adapter_gives_what_is_stored_and_its_manifest_and_gets_both_back() -> None:
    adapters = EventAdapters({Event: Adapter("a"), str: Adapter("a")})
    assert adapters.to_journal(Renamed("n")) == ("a:n", "a-manifest", frozenset())
    assert adapters.from_journal("a:n", "a-manifest") == ["a:a:n:a-manifest"]


@pytest.mark.parametrize("order", [(Event, Deposited, object), (object, Deposited, Event), (Deposited, object, Event)])
def test_the_binding_of_the_most_specific_type_counts_whatever_the_order(order: tuple[type, ...]) -> None:
    adapters = EventAdapters({kind: Adapter(kind.__name__) for kind in order})
    assert adapters.to_journal(Deposited("n", 1)).manifest == "Deposited-manifest"
    assert adapters.to_journal(Renamed("n")).manifest == "Event-manifest"
    assert adapters.from_journal(3, "m") == ["object:3:m"]


def test_of_types_that_are_not_related_the_first_binding_counts() -> None:
    class One(ABC):  # noqa: B024
        pass

    class Two(ABC):  # noqa: B024
        pass

    class Both(One, Two):
        name = "n"

    assert EventAdapters({One: Adapter("1"), Two: Adapter("2")}).to_journal(Both()).manifest == "1-manifest"
    assert EventAdapters({Two: Adapter("2"), One: Adapter("1")}).to_journal(Both()).manifest == "2-manifest"


def test_an_abstract_base_class_binds_what_is_registered_with_it() -> None:
    class Money(ABC):  # noqa: B024
        pass

    Money.register(Deposited)
    assert EventAdapters({Money: Adapter("a")}).to_journal(Deposited("n", 1)).manifest == "a-manifest"


def test_tags_leave_the_envelope() -> None:
    adapters = EventAdapters({Event: Tagging()})
    assert adapters.to_journal(Renamed("n")) == (Renamed("n"), "", frozenset({"money", "n"}))


def test_an_actor_may_persist_tagged_events_by_itself() -> None:
    assert EventAdapters({}).to_journal(Tagged(Renamed("n"), frozenset({"t"}))) == (
        Renamed("n"),
        "",
        frozenset({"t"}),
    )


@pytest.mark.parametrize(
    ("payload", "tags", "message"),
    [
        (Tagged(1, frozenset()), frozenset({"t"}), "has tags already"),
        (1, "money", "not the string 'money'"),
        (1, frozenset({"\ud83d"}), "not valid Unicode"),
    ],
)
def test_tags_that_no_journal_takes_are_refused(payload: object, tags: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tagged(payload, tags)


def test_what_several_read_adapters_give_is_put_together_in_their_order() -> None:
    adapters = EventAdapters({str: [Splitting(2), Splitting(0), Splitting(1), Tagging()]})
    assert adapters.from_journal("e", "") == ["e 1 of 2", "e 2 of 2", "e 1 of 1"]


def test_an_event_may_be_left_out_of_the_replay() -> None:
    assert EventAdapters({str: Splitting(0)}).from_journal("e", "") == []


def test_an_adapter_that_only_writes_leaves_reading_alone_and_the_other_way_round() -> None:
    adapters = EventAdapters({Event: Tagging(), str: Splitting(1)})
    assert adapters.from_journal(Renamed("n"), "m") == (Renamed("n"),)
    assert adapters.to_journal("e") == ("e", "", frozenset())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Tagging(), Splitting(1), Adapter("a")], "2 of the adapters bound to str write"),
        ([], "nothing bound to str"),
        (object(), "bound to str: an event adapter has to_journal or from_journal"),
        ([Tagging(), object()], "bound to str: an event adapter has"),
    ],
)
def test_bindings_that_cannot_work_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EventAdapters({str: given})


# --- with serialization ----------------------------------------------------------------------------------------------


def test_a_write_is_adapted_and_serialized_and_numbered() -> None:
    adapters = EventAdapters({Renamed: Adapter("a"), Deposited: Tagging()})
    write = prepare_write([Renamed("n"), Deposited("d", 7)], "p", 5, SERIALIZATION, adapters, writer_uuid="w")
    assert isinstance(write, AtomicWrite)
    first, second = write.events
    assert first == PersistentRepr(
        "p", 5, Payload(17, "System.String, System.Private.CoreLib", b"a:n"), "a-manifest", "w"
    )
    assert second == PersistentRepr(
        "p",
        6,
        Payload(1001, "Deposited", b'{"name":"d","amount":7}'),
        writer_uuid="w",
        tags=frozenset({"money", "d"}),
    )


class Unregistered:
    pass


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Renamed("bad"), "event 6: KeyError: 'no rate for EUR'"),
        (Unregistered(), "event 6: a value of type .*Unregistered cannot be serialized: its type is not registered"),
        (Deposited("n", 1.5), "event 6: .*Expected `int`, got `float`"),  # type: ignore[arg-type]  # the point
    ],
)
def test_what_an_adapter_or_a_serializer_raises_rejects_the_whole_write(event: object, message: str) -> None:
    adapters = EventAdapters({Event: Failing()})
    rejected = prepare_write([Renamed("good"), event, Renamed("good")], "p", 5, SERIALIZATION, adapters)
    assert isinstance(rejected, WriteRejected)
    assert re.match(message, rejected.reason)


def test_a_manifest_that_is_no_text_rejects_the_write() -> None:
    class Forgetful(Adapter):
        def manifest(self, event: Any) -> Any:
            return None

    rejected = prepare_write([Renamed("n")], "p", 1, SERIALIZATION, EventAdapters({Event: Forgetful("a")}))
    assert rejected == WriteRejected("event 1: TypeError: the manifest of an event is text, not None")


@pytest.mark.parametrize(("persistence_id", "number"), [("", 1), ("p", 0), ("p", 2**63 - 1)])
def test_an_id_or_number_that_no_journal_takes_is_no_rejection(persistence_id: str, number: int) -> None:
    with pytest.raises(ValueError, match=r"persistence_id is empty|sequence_nr \d+ is out of range"):
        prepare_write([Renamed("n"), Renamed("m")], persistence_id, number, SERIALIZATION)


def test_what_was_prepared_is_recovered() -> None:
    adapters = EventAdapters({Event: Tagging(), Deposited: [Tagging(), Splitting(2)]})
    write = prepare_write([Renamed("n"), Deposited("d", 7)], "p", 1, SERIALIZATION, adapters)
    assert isinstance(write, AtomicWrite)
    first, second = (recover_event(event, SERIALIZATION, adapters) for event in write.events)
    assert list(first) == [Renamed("n")]
    assert list(second) == [f"{Deposited('d', 7)!r} 1 of 2", f"{Deposited('d', 7)!r} 2 of 2"]


def test_a_payload_that_cannot_be_read_is_named_with_its_event() -> None:
    event = PersistentRepr("p", 7, Payload(1001, "Forgotten", b"{}"))
    with pytest.raises(
        Unreadable, match=r"event 7 of 'p' cannot be read: .* serializer 1001, manifest 'Forgotten'"
    ) as it:
        recover_event(event, SERIALIZATION)
    assert isinstance(it.value.__cause__, UnreadablePayload)


def test_a_read_adapter_that_fails_in_the_middle_yields_nothing() -> None:
    write = prepare_write([Renamed("n")], "p", 7, SERIALIZATION)
    assert isinstance(write, AtomicWrite)
    with pytest.raises(Unreadable, match="event 7 of 'p' cannot be read: KeyError: 'half a conversion'"):
        recover_event(write.events[0], SERIALIZATION, EventAdapters({Event: Failing()}))
