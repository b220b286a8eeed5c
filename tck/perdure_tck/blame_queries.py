"""Blame for queries: which rule a take breaks in a program that names no rules itself. See `blame`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure import MAX_SEQUENCE_NR

from .operations import Query, SaveSnapshot, Take, Write
from .outcomes import NoAnswer, Raised, Taken, TakenIds
from .query_operations import FOREIGN
from .scene import Scene, conflicts, out_of_order, over_a_page_of_feed, part_of_a_batch, rejects

Line = tuple[Callable[[Scene], bool], str]


def asked(scene: Scene) -> Query:
    """The query that a take is of."""
    assert isinstance(scene.operation, Take)
    return next(one for one in reversed(scene.earlier) if isinstance(one, Query) and one.name == scene.operation.name)


def _subject(scene: Scene) -> str:
    return asked(scene).subject


def _is_live(scene: Scene) -> bool:
    return not asked(scene).current


def _ended(outcome: object) -> str:
    return outcome.ended if isinstance(outcome, Taken | TakenIds) else ""


def _refused(scene: Scene) -> bool:
    return _ended(scene.allowed) == "invalid"


def _raised(scene: Scene) -> bool:
    return isinstance(scene.observed, Raised) or _ended(scene.observed).startswith("raised")


def _written_since(scene: Scene) -> bool:
    """Whether something was written between the opening of the query and this take."""
    at = max(place for place, one in enumerate(scene.earlier) if one == asked(scene))
    return any(isinstance(one, Write) for one in scene.earlier[at:])


def _bounded(scene: Scene) -> bool:
    query = asked(scene)
    return (query.from_sequence_nr, query.to_sequence_nr) != (1, MAX_SEQUENCE_NR)


def _more_ids_than_a_page(scene: Scene) -> bool:
    return len(scene.before.logs) > scene.page_size


def _of_other_tags(scene: Scene) -> bool:
    """Whether an event came that does not have the tag, or one that has is missing where others look like it."""
    tag, seen = asked(scene).tag, scene.observed
    given = [one.event.tags for one in seen.envelopes] if isinstance(seen, Taken) else []
    return any(tag not in tags for tags in given)


def _several_tags(scene: Scene) -> bool:
    return any(len(batch.tags) > 1 for batch in scene.batches)


def _deleted(scene: Scene) -> bool:
    return bool(scene.before.deleted)


_IDS: Sequence[Line] = (
    (lambda scene: scene.had(SaveSnapshot, own=False) > 0, "Q-42"),
    (lambda scene: rejects(scene) or conflicts(scene), "Q-52"),
    (_deleted, "Q-32"),
    (_more_ids_than_a_page, "Q-44"),
    (_is_live, "Q-41"),
    (lambda _: True, "Q-40"),
)

_BY_ID: Sequence[Line] = (
    (lambda scene: _deleted(scene) and bool(scene.unwanted), "Q-33"),
    (_deleted, "Q-14"),
    (_bounded, "Q-11"),
    (over_a_page_of_feed, "Q-20"),
    (_is_live, "Q-19"),
    (lambda scene: not scene.before.log(asked(scene).persistence_id).events, "Q-13"),
    (lambda _: True, "Q-12"),
)

_FEED: Sequence[Line] = (
    (lambda scene: asked(scene).after is not None, "Q-06"),
    (lambda scene: _deleted(scene) and _subject(scene) == "events by tag", "Q-30"),
    (_deleted, "Q-31"),
    (part_of_a_batch, "Q-26"),
    (out_of_order, "Q-23"),
    (over_a_page_of_feed, "Q-24"),
    (lambda scene: _is_live(scene) and _written_since(scene) and _subject(scene) == "events by tag", "Q-25"),
    (lambda scene: _is_live(scene) and _written_since(scene), "Q-01"),
    (lambda scene: _subject(scene) == "events by tag", "Q-21"),
    (lambda _: True, "Q-28"),
)

_ANY: Sequence[Line] = (
    (lambda scene: _refused(scene) and asked(scene).after == FOREIGN, "Q-07"),
    (_refused, "Q-34"),
    (lambda scene: _ended(scene.allowed) == "closed", "Q-05"),
    (lambda scene: len({client.partition("@")[2] for client in scene.clients}) > 1, "Q-36"),
    (lambda scene: scene.reopened, "Q-37"),
    (lambda scene: len(scene.clients) > 1, "Q-35"),
    (lambda scene: isinstance(scene.observed, NoAnswer) and asked(scene).current, "Q-02"),
    (lambda scene: _ended(scene.observed) == "end" and _is_live(scene) and _ended(scene.allowed) != "end", "Q-01"),
    (lambda scene: (rejects(scene) or conflicts(scene)) and not _deleted(scene), "Q-52"),
    (lambda scene: _subject(scene) == "events by tag" and _of_other_tags(scene), "Q-22"),
    (lambda scene: asked(scene).current and _written_since(scene) and not _deleted(scene), "Q-03"),
)

_BY_SUBJECT = {"persistence ids": _IDS, "events by persistence id": _BY_ID}


def blamed_for_take(scene: Scene) -> str:
    """The rule that a take breaks."""
    lines = (*_ANY, *_BY_SUBJECT.get(_subject(scene), _FEED))
    return next(rule for fits, rule in lines if fits(scene))
