"""Actors that persist in the wrong order: handlers too early, too late, too often, or by the wrong sender."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from perdure import ActorSystem, EventAdapters, PersistentActor, Storage
from perdure.actors._cell import Cell
from perdure.persistent._persistent_actor import Handler
from perdure.persistent._writer import Invocation, Writer

from ._troupe import ActorFamily

family = ActorFamily()


@family.animal(
    bug="SEEN-116",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/24239",
    cause="an empty persistence id is made up for instead of refused",
    killed_by="A-01",
)
class EmptyIdBecomesAName(PersistentActor):
    """Two actors without an id are of one class, and so one stream of events."""

    def _attach(self, cell: Cell) -> None:
        self.persistence_id = self.persistence_id or "PersistentActor"
        super()._attach(cell)


@family.animal(
    bug="SEEN-117",
    system="none reported: Akka counts since handlers may persist themselves",
    source="https://github.com/akka/akka-core/pull/17828",
    cause="a flag says that commands are held back, where events that wait for their handler should be counted",
    killed_by="A-03 A-10",
)
class HeldBackByAFlag(PersistentActor):
    """The end of any handler lets the next command in, also that of a handler which has persisted."""

    def _answered(self, invocation: Invocation) -> object:
        try:
            return super()._answered(invocation)
        finally:
            self._stashing = 0


@family.animal(
    bug="SEEN-118",
    system="none reported: one answer for a batch where its author means one for each event",
    source="https://github.com/akka/akka-core/pull/17818",
    cause="the handler of persist_all is called for the last event only",
    killed_by="A-04",
)
class OneHandlerForTheBatch(PersistentActor):
    """The events are stored and the state is not changed by them, until a recovery changes it by all of them."""

    def _persist_all(self, operation: str, events: list[Any], handler: Handler[Any] | None, stashing: bool) -> None:
        left = len(events)

        def only_last(event: object) -> object:
            nonlocal left
            left -= 1
            return None if left or handler is None else handler(event)

        super()._persist_all(operation, events, only_last, stashing)


@family.animal(
    bug="SEEN-119",
    system="Akka.NET (BatchingSqlJournal)",
    source="https://github.com/akkadotnet/akka.net/issues/3105",
    cause="handlers are called with whatever sender there is at the moment",
    killed_by="A-05",
)
class AnswersGoToTheLatestSender(PersistentActor):
    """Two ask, and one of them gets both answers."""

    def _answered(self, invocation: Invocation) -> object:
        invocation.sender = self._cell.sender
        return super()._answered(invocation)


@family.animal(
    bug="SEEN-120",
    system="none reported: pending events looked up by themselves",
    source="https://github.com/akkadotnet/akka.net/pull/7375",
    cause="an event that is being persisted is not persisted again",
    killed_by="A-06",
)
class PersistsAnObjectOnce(PersistentActor):
    """Events that have no content of their own are often one constant. Three of them are stored as one."""

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        pending: set[int] = self.__dict__.setdefault("_pending", set())

        def handled(event: Any) -> object:
            pending.discard(id(event))
            return handler(event) if handler is not None else None

        if id(event) not in pending:
            pending.add(id(event))
            super()._persist_one(operation, event, handled, stashing)


@family.animal(
    bug="SEEN-121",
    system="Akka, Akka.NET (PersistAllAsync)",
    source="https://github.com/akka/akka-core/issues/18728",
    cause="a list without events is no case of its own",
    killed_by="A-07",
)
class NothingToPersistRaises(PersistentActor):
    """A command that changes nothing makes the actor fail: tail of empty list."""

    def _persist_all(self, operation: str, events: list[Any], handler: Handler[Any] | None, stashing: bool) -> None:
        if not events:
            raise ValueError("tail of empty list")
        super()._persist_all(operation, events, handler, stashing)


@family.animal(
    bug="SEEN-121b",
    system="Akka.NET (EventSourcedRememberEntitiesShardStore)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/contrib/cluster/Akka.Cluster.Sharding/Internal/EventSourcedRememberEntitiesShardStore.cs",
    cause="what is to be done at the end is done in the handler of the last event, and there is none",
    killed_by="A-07",
)
class NothingToPersistNeverCompletes(PersistentActor):
    """Whoever asked for nothing waits for the answer for ever."""

    def persist_all(
        self,
        events: Iterable[Any],
        handler: Handler[Any] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> None:
        if listed := list(events):
            super().persist_all(listed, handler, on_complete)


@family.animal(
    bug="SEEN-122",
    system="none reported: a queue for each kind of handler",
    source="https://github.com/akka/akka-core/pull/15458",
    cause="handlers of persist_async come after those of persist, whatever the order of the calls",
    killed_by="A-08",
)
class AsyncHandlersComeLast(Writer):
    """The events are stored in one order and change the state in another."""

    def _hand_over(self, batch: list[Invocation]) -> None:
        super()._hand_over(sorted(batch, key=lambda invocation: not invocation.stashing))


@family.animal(
    bug="SEEN-123",
    system="none reported: defer as its name sounds",
    source="https://github.com/akka/akka-core/issues/16797",
    cause="what is deferred is called at once",
    killed_by="A-09",
)
class DefersNothing(PersistentActor):
    """The answer is given before what it speaks of is stored."""

    def _defer(self, operation: str, value: Any, handler: Handler[Any], stashing: bool) -> None:
        pending, self._unanswered = self._unanswered, 0
        try:
            super()._defer(operation, value, handler, stashing)
        finally:
            self._unanswered += pending


@family.animal(
    bug="SEEN-123b",
    system="none reported: a flush that the next persist causes",
    source="https://github.com/akka/akka-core/issues/21689",
    cause="what is deferred waits for a write also when none is under way",
    killed_by="A-09",
)
class DefersUntilTheNextPersist(PersistentActor):
    """A command without events is answered when another one persists."""

    def _defer(self, operation: str, value: Any, handler: Handler[Any], stashing: bool) -> None:
        if self._unanswered:
            super()._defer(operation, value, handler, stashing)
        else:
            self.__dict__.setdefault("_deferred", []).append((value, handler, stashing))

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        super()._persist_one(operation, event, handler, stashing)
        deferred = self.__dict__.pop("_deferred", [])
        for value, late_handler, late_stashing in deferred:
            super()._defer("defer", value, late_handler, late_stashing)


@family.animal(
    bug="SEEN-123c",
    system="Akka, Akka.NET (there is deferAsync alone)",
    source="https://github.com/akka/akka-core/pull/24508",
    cause="commands are not held back until what is deferred was called",
    killed_by="A-09",
)
class DeferHoldsNothingBack(PersistentActor):
    """The next command comes before the end of the one before it."""

    def defer(self, value: Any, handler: Handler[Any]) -> None:
        self.defer_async(value, handler)


@family.animal(
    bug="SEEN-124",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/17828",
    cause="what a handler persists is handled before what was persisted earlier",
    killed_by="A-10",
)
class NestedComesFirst(PersistentActor):
    """Events of the outer call wait for those of the inner one: the state has another order than the journal."""

    def _answered(self, invocation: Invocation) -> object:
        aside: list[list[Invocation]] = self.__dict__.setdefault("_aside", [])
        before = self._unanswered
        try:
            return super()._answered(invocation)
        finally:
            if self._unanswered >= before and self._cell.urgent:
                aside.append(list(self._cell.urgent))
                self._cell.urgent.clear()
            elif aside and not self._cell.urgent:
                self._cell.urgent.extend(aside.pop())


@family.animal(
    bug="SEEN-124b",
    system="Akka",
    source="https://github.com/akka/akka-core/pull/17828",
    cause="persist in the handler of persist_async does not hold commands back",
    killed_by="A-10",
)
class NestedPersistHoldsNothingBack(PersistentActor):
    """Whether commands wait was decided when the outer call was made."""

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        def within(event: object) -> object:
            self.__dict__["_within_async"] = True
            try:
                return handler(event) if handler is not None else None
            finally:
                self.__dict__["_within_async"] = False

        holding = stashing and not self.__dict__.get("_within_async", False)
        super()._persist_one(operation, event, handler if stashing else within, holding)


@family.animal(
    bug="SEEN-125",
    system="none reported: the behaviour restored after what held it back",
    source="https://github.com/akka/akka-core/issues/25717",
    cause="the behaviour from before the handler is put back behind it",
    killed_by="A-11",
)
class BehaviourIsPutBack(PersistentActor):
    """A handler that changes the behaviour changes nothing."""

    def _answered(self, invocation: Invocation) -> object:
        behaviour = self._cell._receive
        try:
            return super()._answered(invocation)
        finally:
            self._cell._receive = behaviour


@family.animal(
    bug="SEEN-126",
    system="none reported: a flag that says no where an error would say why",
    source="https://github.com/akkadotnet/akka.net/pull/3366",
    cause="what is persisted during recovery is dropped without a word",
    killed_by="A-15",
)
class PersistsNothingInRecovery(PersistentActor):
    """The author of a handler that persists finds out when the event is missed."""

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        if not self._recovering:
            super()._persist_one(operation, event, handler, stashing)


@family.animal(
    bug="SEEN-127",
    system="none reported: the first form of the callback that Akka.NET 1.5.57 built on Defer",
    source="https://github.com/akkadotnet/akka.net/pull/7954",
    cause="on_complete is called when all is sent, not when all is handled",
    killed_by="A-39",
)
class CompletesBeforeItsHandlers(PersistentActor):
    """Whoever is told that all is done asks, and sees the state from before it."""

    def persist_all(
        self,
        events: Iterable[Any],
        handler: Handler[Any] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> None:
        super().persist_all(events, handler)
        if on_complete is not None:
            on_complete()


@family.animal(
    bug="SEEN-128",
    system="Akka.NET (Eventsourced.PersistAll)",
    source="https://github.com/akkadotnet/akka.net/blob/dev/src/core/Akka.Persistence/Eventsourced.cs",
    cause="events are counted while they are listed, and one of them raises",
    killed_by="A-41",
)
class CountsEventsAsItListsThem(PersistentActor):
    """After a resume the actor waits for handlers of events that were never written."""

    def persist_all(
        self,
        events: Iterable[Any],
        handler: Handler[Any] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> None:
        listed = list(self._counted(events))
        self._stashing -= len(listed)
        super().persist_all(listed, handler, on_complete)

    def _counted(self, events: Iterable[Any]) -> Iterator[Any]:
        for event in events:
            self._stashing += 1
            yield event


COLOURS = ("green", "black", "blue")


class _Colours:
    """The event adapter of an application, behind others: events that are colours are stored under another name."""

    def __init__(self, others: EventAdapters) -> None:
        self._others = others

    def manifest(self, event: str) -> str:
        return ""

    def to_journal(self, event: str) -> object:
        adapted = self._others.to_journal(event)
        return f"colour {event}" if event in COLOURS else adapted.event

    def from_journal(self, event: str, manifest: str) -> Iterable[object]:
        return self._others.from_journal(event.removeprefix("colour "), manifest)


class _Adapting(ActorSystem):
    def __init__(self, storage: Storage | None = None, **settings: Any) -> None:
        others = settings.pop("event_adapters", None) or EventAdapters({})
        super().__init__(storage, event_adapters=EventAdapters({str: _Colours(others)}), **settings)


@family.animal(
    bug="BUG-050",
    system="Akka.NET BatchingSqlJournal",
    source="https://github.com/akkadotnet/akka.net/pull/2951",
    cause="the handler is given the event as the journal has it",
    killed_by="A-04",
    system_type=_Adapting,
)
class HandlesWhatIsStored(PersistentActor):
    """With an event adapter the handler gets what only the journal should know; a recovery gets the event."""

    def _persist_one(self, operation: str, event: Any, handler: Handler[Any] | None, stashing: bool) -> None:
        super()._persist_one(operation, event, self._of_stored(handler), stashing)

    def _persist_all(self, operation: str, events: list[Any], handler: Handler[Any] | None, stashing: bool) -> None:
        super()._persist_all(operation, events, self._of_stored(handler), stashing)

    def _of_stored(self, handler: Handler[Any] | None) -> Handler[Any] | None:
        adapters = self._persistence.codec.adapters
        return handler and (lambda event: handler(adapters.to_journal(event)[0]))
