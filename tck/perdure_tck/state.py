"""What the model remembers of a location: logs, snapshots, the feed of all events, and the queries that are open."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from perdure import PersistentRepr, SelectedSnapshot

from .cast import Actor
from .outcomes import AnyOutcome
from .query_operations import Query

START_OF_CLOCK = 1_700_000_000_000_000_000
"""What the clock of a location says when a program begins, in nanoseconds since the Unix epoch."""

PAGE_SIZE = 500


class NeedsClaim(Exception):
    """The program asks something of which the contracts promise nothing unless the backend makes this claim."""

    def __init__(self, claim: str) -> None:
        super().__init__(f"needs the claim {claim}")
        self.claim = claim


class Log(msgspec.Struct, frozen=True):
    """One persistence id: its events that are not deleted, ascending, and the highest number that it ever had."""

    events: tuple[PersistentRepr, ...] = ()
    highest_sequence_nr: int = 0


class OpenQuery(msgspec.Struct, frozen=True):
    """A query that is open, and how far it has come. Places are those of the feed, from 0."""

    query: Query
    behind: int
    """The place behind which it goes on; -1 before the first event."""

    begun: int
    """How many events the feed had when it was opened: a current query owes these, and may give later ones."""

    begun_ids: frozenset[str]
    gone: frozenset[int]
    """What it must not give any more: deleted before it began, or before it can have been fetched."""

    loose: frozenset[int] = frozenset()
    """What it may give or leave out: deleted since, and perhaps fetched before."""

    taken: tuple[int, ...] = ()
    taken_ids: frozenset[str] = frozenset()
    asked: bool = False
    ended: str = ""
    """The word that ended it, and ends every further take; "" while it goes on."""

    cut_off: bool = False
    """Whether its storage was closed under it."""

    foreign: bool = False
    """Whether it begins behind a foreign offset."""

    invalid: bool = False
    closed: bool = False
    """Whether the program closed it. What it gave is remembered, so that others can resume behind it."""


class State(msgspec.Struct, frozen=True):
    """All that one namespace of a location holds, and what its clock says. Never changed, only replaced.

    `feed` are all events that were ever stored, in the order of their writes; `deleted` the places of those that are
    deleted. `page_size` bounds how far ahead a query may have fetched.
    """

    logs: Mapping[str, Log] = {}
    snapshots: Mapping[str, Mapping[int, SelectedSnapshot]] = {}
    now: int = START_OF_CLOCK
    feed: tuple[PersistentRepr, ...] = ()
    deleted: frozenset[int] = frozenset()
    queries: Mapping[str, OpenQuery] = {}
    page_size: int = PAGE_SIZE
    actors: Mapping[str, Actor] = {}

    def log(self, persistence_id: str) -> Log:
        return self.logs.get(persistence_id, Log())

    def with_log(self, persistence_id: str, log: Log, written: tuple[PersistentRepr, ...] = ()) -> State:
        logs = {**self.logs, persistence_id: log}
        feed = self.feed + written if written else self.feed
        return State(logs, self.snapshots, self.now, feed, self.deleted, self.queries, self.page_size, self.actors)

    def with_snapshots(self, persistence_id: str, snapshots: Mapping[int, SelectedSnapshot]) -> State:
        return msgspec.structs.replace(self, snapshots={**self.snapshots, persistence_id: snapshots})

    def with_query(self, name: str, query: OpenQuery) -> State:
        return msgspec.structs.replace(self, queries={**self.queries, name: query})


class Transition(msgspec.Struct, frozen=True):
    """One allowed outcome of an operation, and the state that it leaves."""

    outcome: AnyOutcome
    state: State
