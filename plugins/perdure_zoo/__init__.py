"""The zoo: broken backends, one real bug each. What the kit must catch, and by a rule that names the cause.

An animal is the backend in memory with one mistake, a few lines long, that was made in a real system and is named with
its issue. The modules are the families: numbers and deletion, writing, reading, ids, contents, snapshots, queries, and
races of each; then actors, whose storage is right and whose runtime is not. Backends that do nothing right are in
`degenerate`; bugs that have no animal yet, in `catalogue`.
"""

from __future__ import annotations

from . import (
    actors_delivering,
    actors_failing,
    actors_machines,
    actors_permits,
    actors_persisting,
    actors_queues,
    actors_recovering,
    actors_snapshots,
    contents,
    ids,
    numbers,
    query_feeds,
    query_ids,
    query_races,
    query_streams,
    query_tags,
    races,
    races_of_feeds,
    replays,
    snapshots,
    writes,
)
from ._animal import Animal as Animal
from .catalogue import CATALOGUE as CATALOGUE
from .catalogue import Bug as Bug
from .degenerate import DEGENERATES as DEGENERATES
from .degenerate import UNOPENABLE as UNOPENABLE

ANIMALS: tuple[Animal, ...] = (
    *numbers.family.animals,
    *writes.family.animals,
    *replays.family.animals,
    *ids.family.animals,
    *contents.family.animals,
    *snapshots.family.animals,
    *races.family.animals,
    *query_feeds.family.animals,
    *query_streams.family.animals,
    *query_tags.family.animals,
    *query_ids.family.animals,
    *query_races.family.animals,
    *actors_persisting.family.animals,
    *actors_failing.family.animals,
    *actors_recovering.family.animals,
    *actors_snapshots.family.animals,
    *actors_delivering.family.animals,
    *actors_permits.family.animals,
    *actors_machines.family.animals,
    *actors_queues.family.animals,
    *races_of_feeds.family.animals,
)
"""Every animal, by family."""


def animal(name: str) -> Animal:
    """One animal by its name. Raises `LookupError` with the names that there are."""
    found = next((one for one in ANIMALS if one.name == name), None)
    if found is None:
        raise LookupError(f"no animal named {name!r}; there are: {', '.join(one.name for one in ANIMALS)}")
    return found
