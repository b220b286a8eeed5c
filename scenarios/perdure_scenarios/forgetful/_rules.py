"""What goes wrong on a forgetful disk besides the power: rules, and counters that prove that they struck."""

from __future__ import annotations

import errno
from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

Operation = Literal[
    "any", "create", "fsync", "fsyncdir", "getattr", "link", "mkdir", "open", "read", "readdir", "rename", "rmdir",
    "symlink", "truncate", "unlink", "write",
]  # fmt: skip
_GROW = ("any", "write", "truncate")
_SYNC = ("fsync", "fsyncdir")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: which operations it strikes, and what becomes of them.

    `path` is a pattern of paths from the mount on, as of a shell, in which `*` also stands for `/`. Of the operations
    that match, those from the `first` on are struck, `times` of them (None: all that follow).

    Effects: `delay_s` waits, `errno` (a name such as `EIO`) fails, `lying` answers a sync without syncing. With
    `capacity` only operations that would make all files together larger than so many bytes are struck, and fail with
    ENOSPC. A sync that fails drops what it should have written, as on Linux: the next one succeeds and proves nothing.
    """

    operation: Operation = "any"
    path: str = "*"
    errno: str = ""
    delay_s: float = 0.0
    capacity: int | None = None
    lying: bool = False
    first: int = 1
    times: int | None = None

    def __post_init__(self) -> None:
        if self.operation not in get_args(Operation):
            raise ValueError(f"operation {self.operation!r} is unknown; allowed: {', '.join(get_args(Operation))}")
        if self.errno and not isinstance(getattr(errno, self.errno, None), int):
            raise ValueError(f"errno {self.errno!r} is no name of an error; for example EIO or ENOSPC")
        if self.lying and self.operation not in _SYNC:
            raise ValueError(f"operation {self.operation!r} cannot lie; fsync and fsyncdir can")
        if self.capacity is not None and self.operation not in _GROW:
            raise ValueError(f"operation {self.operation!r} needs no room; allowed with a capacity: {', '.join(_GROW)}")
        if not (self.errno or self.delay_s > 0 or self.lying or self.capacity is not None):
            raise ValueError("a rule without effect: give it errno, delay_s, capacity or lying")
        if self.first < 1 or (self.times is not None and self.times < 1):
            raise ValueError(f"first {self.first} or times {self.times} is out of range; 1 or more is allowed")

    @property
    def error(self) -> int:
        name = self.errno or ("ENOSPC" if self.capacity is not None else "")
        return int(getattr(errno, name)) if name else 0


class Struck(msgspec.Struct, frozen=True):
    """What an operation must suffer: wait, then fail with an error, or lie."""

    delay_s: float = 0.0
    error: int = 0
    lying: bool = False


class Rules:
    """Rules at work, with how often each of them matched and struck."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self.rules = rules
        self.matched = [0] * len(rules)
        self.struck = [0] * len(rules)

    def strike(self, operation: str, path: str, size: int = 0) -> Struck:
        """`size` is that of all files together if the operation is let through. The first rule that ends it decides."""
        delay_s = 0.0
        for place, rule in enumerate(self.rules):
            if not self._strikes(place, rule, operation, path, size):
                continue
            self.struck[place] += 1
            delay_s += rule.delay_s
            if rule.error or rule.lying:
                return Struck(delay_s, rule.error, rule.lying)
        return Struck(delay_s)

    def _strikes(self, place: int, rule: Rule, operation: str, path: str, size: int) -> bool:
        if rule.operation not in ("any", operation) or not fnmatchcase(path.lstrip("/"), rule.path):
            return False
        if rule.capacity is not None and size <= rule.capacity:
            return False
        self.matched[place] += 1
        past = self.matched[place] - rule.first
        return past >= 0 and (rule.times is None or past < rule.times)


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one forgetful disk since it was made. `struck` has a count for each of its present rules.

    `bytes_lost`, `writes_lost` and `names_lost` are what power cuts took; `bytes_abandoned` what failed syncs dropped.
    """

    operations: dict[str, int] = {}
    syncs: int = 0
    lies: int = 0
    struck: tuple[int, ...] = ()
    power_cuts: int = 0
    bytes_lost: int = 0
    writes_lost: int = 0
    names_lost: int = 0
    bytes_abandoned: int = 0
