"""The settings of the backend, and what they allow it to claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

Synchronous = Literal["on", "remote_apply", "remote_write", "local", "off"]
SYNCHRONOUS: tuple[str, ...] = get_args(Synchronous)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`synchronous_commit` is set for every connection, whatever the server's default is.

    `fsync` is what the server must say of itself: only who states `off` may open one that runs without. `pool_size` is
    how many connections of one open storage read at the same time; a long replay keeps one until it ends. Beside
    these there is one that writes, and one that listens while a live query waits. `timeout_s` bounds every statement.
    """

    synchronous_commit: str = "on"
    fsync: str = "on"
    pool_size: int = 10
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        _refuse_other("synchronous_commit", self.synchronous_commit, SYNCHRONOUS)
        _refuse_other("fsync", self.fsync, ("on", "off"))
        if self.pool_size < 1:
            raise ValueError(f"pool_size {self.pool_size} is out of range; 1 or more is allowed")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s {self.timeout_s} is out of range; above 0 is allowed")

    @property
    def power_durable(self) -> Literal["yes", "prefix", "no"]:
        """Without fsync a power cut may leave anything. Without waiting for it, the newest commits go, in order."""
        if self.fsync == "off":
            return "no"
        return "prefix" if self.synchronous_commit == "off" else "yes"

    def described(self) -> Mapping[str, str]:
        return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in self.asdict().items()}

    def asdict(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)


def parsed(given: Mapping[str, str]) -> Mapping[str, Any]:
    """Settings as a command line gives them. Raises `ValueError` for a name or a value that is not known."""
    types: Mapping[str, type] = {"synchronous_commit": str, "fsync": str, "pool_size": int, "timeout_s": float}
    unknown = given.keys() - types.keys()
    if unknown:
        raise ValueError(f"no setting named {sorted(unknown)[0]!r}; known: {', '.join(types)}")
    return {name: _value(name, text, types[name]) for name, text in given.items()}


def _value(name: str, text: str, wanted: type) -> Any:
    try:
        return wanted(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is not a number") from None


def _refuse_other(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is not known; one of {', '.join(allowed)}")
