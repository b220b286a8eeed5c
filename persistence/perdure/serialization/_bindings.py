"""Which of several things bound to types is meant for a value: the one of the most specific type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class TypeBindings(Generic[T]):
    """Bindings in the order in which they are asked: a subclass before its bases, otherwise as they were given. (F-45)

    Abstract base classes count as bases of what is registered with them. The answer for a type is remembered.
    """

    def __init__(self, bindings: Iterable[tuple[type, T]]) -> None:
        self._ordered: list[tuple[type, T]] = []
        for kind, bound in bindings:
            self._insert(kind, bound)
        self._found: dict[type, T | None] = {}

    def _insert(self, kind: type, bound: T) -> None:
        if any(kind is other for other, _ in self._ordered):
            raise ValueError(f"{kind.__qualname__} is bound twice; a type has one binding")
        place = next((place for place, (other, _) in enumerate(self._ordered) if issubclass(kind, other)), None)
        self._ordered.insert(len(self._ordered) if place is None else place, (kind, bound))

    def find(self, kind: type) -> T | None:
        try:
            return self._found[kind]
        except KeyError:
            found = next((bound for other, bound in self._ordered if issubclass(kind, other)), None)
            self._found[kind] = found
            return found
