"""Faults that a recorder puts into single system calls, and when: values first, then who keeps count of them."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Literal

import msgspec

Kind = Literal["write", "sync", "create", "open", "truncate", "rename", "link", "remove", "make directory", "read"]
"""Kinds of calls. `open` is opening an existing file for writing, and changes nothing; nor does `read`. Neither is in a
trace."""

CHANGES: frozenset[Kind] = frozenset(
    {"write", "sync", "create", "truncate", "rename", "link", "remove", "make directory"}
)


class Fault(msgspec.Struct, frozen=True, tag=True):
    """What befalls a call."""


class Fail(Fault, frozen=True):
    """The call is not carried out and fails with this error: EIO, ENOSPC, EDQUOT, EINTR, EACCES, EROFS, ..."""

    error: str

    def __post_init__(self) -> None:
        if not hasattr(errno, self.error):
            raise ValueError(f"error {self.error!r} is not known; say EIO, ENOSPC or another name of the module errno")


class Short(Fault, frozen=True):
    """A write is carried out for its first bytes only, and says so. Strikes writes of more bytes than that."""

    size: int


class Lie(Fault, frozen=True):
    """A sync says that all is well, and nothing is synced. Strikes syncs."""


class Kill(Fault, frozen=True):
    """Every process of the backend is killed before the call, after it, or within: half of a write is then there."""

    when: Literal["before", "after", "within"]


AnyFault = Fail | Short | Lie | Kill


class Injection(msgspec.Struct, frozen=True):
    """A fault, and which calls it strikes: those of the kinds `on`, from call number `at`, `times` times.

    Calls are numbered from 1 as a trace without faults has them: number n is the attempt at what would become
    `trace.calls[n - 1]`. Reads are counted by themselves, as `Recording.reads` has them. `times=None` never heals. A
    call that would fail by itself is not struck.
    """

    at: int
    fault: AnyFault
    on: frozenset[Kind] = CHANGES
    times: int | None = 1

    def fits(self, kind: Kind, size: int) -> bool:
        match self.fault:
            case Short(size=least):
                return kind == "write" and kind in self.on and size > least
            case Kill(when="within"):
                return kind == "write" and kind in self.on and size > 1
            case Lie():
                return kind == "sync" and kind in self.on
            case _:
                return kind in self.on


class Capacity(msgspec.Struct, frozen=True):
    """The files of the directory may hold so many bytes. What goes beyond is cut short there, or fails with ENOSPC."""

    size: int


class Faults:
    """Decides for each call what befalls it, and counts how often something did."""

    def __init__(self, injections: Sequence[Injection] = (), capacity: Capacity | None = None) -> None:
        self._injections = injections
        self._times = [0] * len(injections)
        self._capacity = capacity
        self.struck = 0

    @property
    def reads(self) -> bool:
        """Whether reads may be struck, and so have to stop."""
        return any("read" in injection.on for injection in self._injections)

    @property
    def limits_size(self) -> bool:
        return self._capacity is not None

    def befalls(self, number: int, kind: Kind, size: int) -> AnyFault | None:
        """The fault of one call that is about to be made."""
        for place, injection in enumerate(self._injections):
            healed = injection.times is not None and self._times[place] >= injection.times
            if number >= injection.at and not healed and injection.fits(kind, size):
                self._times[place] += 1
                self.struck += 1
                return injection.fault
        return None

    def fullness(self, size: int, growth: int, used: int) -> AnyFault | None:
        """The fault of a call of so many bytes by which the directory would grow beyond its capacity."""
        if self._capacity is None or growth <= max(0, self._capacity.size - used):
            return None
        self.struck += 1
        fits = size - growth + max(0, self._capacity.size - used)
        return Short(fits) if fits > 0 else Fail("ENOSPC")
