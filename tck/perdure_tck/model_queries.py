"""The model of the read side: what each take of a query may give.

Everything is told by places in the feed, which is the order of writes. A query owes what it must give, may give what is
loose, and never gives what is gone; it goes forward only. Offsets are opaque, so here they are places too; that those
of a backend are in the same order is looked at by the judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from perdure import MAX_SEQUENCE_NR, Claims, EventEnvelope, Offset, PersistentRepr

from .operations import Delete
from .outcomes import AnyOutcome, Done, Taken, TakenIds
from .query_operations import FOREIGN, Query, Resume, Take
from .state import NeedsClaim, OpenQuery, State, Transition
from .validity import is_unicode, valid_id, valid_number

ORIGIN = "model"


def opened(state: State, query: Query, claims: Claims) -> State:
    """The state with a query that begins here."""
    if not query.current and not claims.live_queries:
        raise NeedsClaim("live_queries")
    if query.subject == "events by tag" and not claims.tags:
        raise NeedsClaim("tags")
    foreign = _is_foreign(state, query.after)
    begun = OpenQuery(
        query,
        behind=_start(state, query.after),
        begun=len(state.feed),
        begun_ids=frozenset(state.logs),
        gone=frozenset() if _keeps_deleted(query, claims) else state.deleted,
        foreign=foreign,
        invalid=foreign or not _valid(query, claims),
    )
    return state.with_query(query.name, begun)


def closed(state: State, name: str) -> State:
    one = state.queries.get(name)
    return state if one is None else state.with_query(name, msgspec.structs.replace(one, closed=True))


def cut_off(state: State) -> State:
    """The state after every handle was closed: whoever asks a query from before is told so."""
    if not state.queries:
        return state
    queries = {name: msgspec.structs.replace(one, cut_off=True) for name, one in state.queries.items()}
    return msgspec.structs.replace(state, queries=queries)


def without(state: State, deletion: Delete, claims: Claims) -> State:
    """The state in which a deletion has reached the feed and the queries.

    A live query may have fetched a page by then, and the one event more that it was asked for, of what was there until
    now. What it cannot have fetched it does not give. A current query may read everything as it was when it began.
    """
    deleted = state.deleted | {
        place
        for place, event in enumerate(state.feed)
        if event.persistence_id == deletion.persistence_id and event.sequence_nr <= deletion.to_sequence_nr
    }
    queries = {}
    for name, one in state.queries.items():
        queries[name] = one
        if not _keeps_deleted(one.query, claims):
            ahead = list(_ahead(state, one))
            there = [place for place in ahead if place not in state.deleted]
            fetched = ahead if one.query.current else there[: state.page_size + 1] if one.asked else []
            loose = one.loose | (deleted & set(fetched))
            queries[name] = msgspec.structs.replace(one, loose=loose, gone=one.gone | (deleted - loose))
    return msgspec.structs.replace(state, deleted=deleted, queries=queries)


def taken(state: State, take: Take, observed: AnyOutcome | None) -> Transition:
    """What a take ends in: as it was observed if that is allowed, else in the plainest way."""
    one = state.queries.get(take.name)
    if one is None or one.closed:  # nothing is open under this name: nothing happens
        return Transition(Done(), state)
    if one.query.subject == "persistence ids":
        return _ids_taken(state, one, take, observed)
    places, ended = _plainest(state, one, take)
    if isinstance(observed, Taken):
        seen = _places(state, observed.envelopes)
        if seen is not None and _allowed(state, one, take, seen, observed.ended):
            places, ended = seen, observed.ended
    given = tuple(EventEnvelope(Offset(ORIGIN, place), state.feed[place]) for place in places)
    after = msgspec.structs.replace(
        one,
        taken=one.taken + tuple(places),
        behind=places[-1] if places else one.behind,
        asked=True,
        ended=_final(ended),
    )
    return Transition(Taken(given, ended), state.with_query(take.name, after))


def optional(state: State, name: str) -> Taken | None:
    """The next event that a current query may give though it was written after the query began; None if none is."""
    one = state.queries.get(name)
    if one is None or not one.query.current or one.query.subject == "persistence ids":
        return None
    place = next(_ahead(state, one), None)
    if place is None or place < one.begun:
        return None
    return Taken((EventEnvelope(Offset(ORIGIN, place), state.feed[place]),))


def due(state: State, take: Take) -> int:
    """How many items a take of a live query has to wait for, its end counted as one."""
    one = state.queries.get(take.name)
    if one is None or one.closed or one.query.current or one.cut_off:
        return take.count
    items, ended = _plainest(state, one, take) if one.query.subject != "persistence ids" else _plainest_ids(one, state)
    return min(take.count, len(items) + (ended == "end"))


def given(state: State, name: str) -> int:
    """How many items a query has given."""
    one = state.queries.get(name)
    return len(one.taken) + len(one.taken_ids) if one else 0


# -------------------------------------------------------------------------------------------------------------- events


def _start(state: State, after: Resume | None) -> int:
    source = state.queries.get(after.name) if after else None
    if after is None or source is None:
        return -1
    if after.number:
        return source.taken[after.number - 1] if after.number <= len(source.taken) else -1
    return source.behind


def _is_foreign(state: State, after: Resume | None) -> bool:
    """Whether a query begins behind a foreign offset, or where one does that began there."""
    source = state.queries.get(after.name) if after and not after.number else None
    return after == FOREIGN or (source is not None and source.foreign)


def _valid(query: Query, claims: Claims) -> bool:
    if query.by_persistence_id:
        numbers = query.from_sequence_nr, query.to_sequence_nr
        return valid_id(query.persistence_id, claims) and all(map(valid_number, numbers))
    return is_unicode(query.tag)


def _keeps_deleted(query: Query, claims: Claims) -> bool:
    return not query.by_persistence_id and claims.deleted_events_in_feeds == "kept"


def _ahead(state: State, one: OpenQuery) -> Iterator[int]:
    """The places that a query has still before it, gone ones left out."""
    for place in range(one.behind + 1, len(state.feed)):
        if place not in one.gone and _matches(state.feed[place], one.query):
            yield place


def _matches(event: PersistentRepr, query: Query) -> bool:
    if query.by_persistence_id:
        within = query.from_sequence_nr <= event.sequence_nr <= query.to_sequence_nr
        return within and event.persistence_id == query.persistence_id
    return query.subject == "all events" or query.tag in event.tags


def _owed(state: State, one: OpenQuery) -> Iterator[int]:
    """The places that a query has to give."""
    for place in _ahead(state, one):
        if place not in one.loose and (not one.query.current or place < one.begun):
            yield place


def _end_is_due(state: State, one: OpenQuery) -> bool:
    """Whether a query ends once it has given what it owes."""
    query = one.query
    if query.current:
        return True
    bounded = query.by_persistence_id and query.to_sequence_nr < MAX_SEQUENCE_NR
    return bounded and state.log(query.persistence_id).highest_sequence_nr >= query.to_sequence_nr


def _plainest(state: State, one: OpenQuery, take: Take) -> tuple[list[int], str]:
    """What a take ends in where everything loose is left out."""
    if one.invalid or one.ended or one.cut_off:
        return [], "invalid" if one.invalid else one.ended or "closed"
    places = list(_owed(state, one))
    if len(places) >= take.count:
        return places[: take.count], ""
    return places, "end" if _end_is_due(state, one) else "pending"


def _allowed(state: State, one: OpenQuery, take: Take, places: list[int], ended: str) -> bool:
    if one.invalid or one.ended:
        return not places and (ended == (one.ended or "invalid") or (one.cut_off and ended == "closed"))
    if not set(places) <= set(_ahead(state, one)) or sorted(set(places)) != places:
        return False
    last = places[-1] if places else one.behind
    owed = list(_owed(state, one))
    if any(place < last for place in owed if place not in places):
        return False  # it was passed by
    if not ended:
        return len(places) == take.count
    if one.cut_off and ended == "closed":
        return True
    if one.cut_off and not (one.query.current and one.asked):
        return False  # the end may have been known before, but only to a query that had begun
    if ended == "pending" and not one.query.current and len(places) >= due(state, take) and one.loose:
        return True  # the runner waits for as many as are owed, whichever come
    return all(place <= last for place in owed) and ended == ("end" if _end_is_due(state, one) else "pending")


def _final(ended: str) -> str:
    """What a query says from now on: a live one that waits may go on."""
    return "" if ended == "pending" else ended


def _places(state: State, envelopes: Iterable[EventEnvelope]) -> list[int] | None:
    """Where the events of some envelopes stand in the feed, or None if one of them never was there."""
    known = {(event.persistence_id, event.sequence_nr): place for place, event in enumerate(state.feed)}
    found = [known.get((one.persistence_id, one.sequence_nr)) for one in envelopes]
    return [place for place in found if place is not None] if None not in found else None


# ---------------------------------------------------------------------------------------------------- persistence ids


def _ids_taken(state: State, one: OpenQuery, take: Take, observed: AnyOutcome | None) -> Transition:
    owed, ended = _plainest_ids(one, state)
    ids = owed[: take.count]
    ended = "" if len(owed) >= take.count else ended
    if isinstance(observed, TakenIds) and _ids_allowed(state, one, take, observed):
        ids, ended = list(observed.ids), observed.ended
    after = msgspec.structs.replace(one, taken_ids=one.taken_ids | set(ids), asked=True, ended=_final(ended))
    return Transition(TakenIds(tuple(ids), ended), state.with_query(take.name, after))


def _plainest_ids(one: OpenQuery, state: State) -> tuple[list[str], str]:
    if one.ended or one.cut_off:
        return [], one.ended or "closed"
    owed = (one.begun_ids if one.query.current else state.logs.keys()) - one.taken_ids
    return sorted(owed), "end" if one.query.current else "pending"


def _ids_allowed(state: State, one: OpenQuery, take: Take, observed: TakenIds) -> bool:
    seen, ended = set(observed.ids), observed.ended
    if len(seen) < len(observed.ids) or not seen <= state.logs.keys() - one.taken_ids:
        return False
    owed, word = _plainest_ids(one, state)
    if not ended:
        return len(seen) == take.count and not one.ended
    return ended == word and (one.cut_off or set(owed) <= seen)
