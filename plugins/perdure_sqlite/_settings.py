"""How a SQLite backend is set up, and what it may claim because of that. Nothing here touches a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

LAYOUTS = ("perdure", "akka-net")
JOURNAL_MODES = ("WAL", "DELETE", "TRUNCATE", "PERSIST", "KEEP")
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
BUSY_TIMEOUT_S_MAX = 3600.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may be chosen, resolved: no value is left to a default of SQLite.

    `journal_mode` KEEP leaves a file in the mode in which it is. It is what the layout `akka-net` begins with: such a
    file belongs to another program, and turning it to WAL would outlast this one. With `synchronous` EXTRA it is power
    durable in every mode that a file can be in; DELETE with FULL would lose the last commit (the unlinking of the
    rollback journal is not synced).
    """

    layout: str
    journal_mode: str
    synchronous: str
    busy_timeout_s: float

    def described(self) -> dict[str, str]:
        return {
            "layout": self.layout,
            "journal_mode": self.journal_mode,
            "synchronous": self.synchronous,
            "busy_timeout_s": format(self.busy_timeout_s, "g"),
        }


def settings_of(layout: str, journal_mode: str | None, synchronous: str | None, busy_timeout_s: float) -> Settings:
    """Check each value, and fill in what the layout implies. Raises `ValueError`."""
    _check("layout", layout, LAYOUTS)
    foreign = layout == "akka-net"
    chosen = Settings(
        layout=layout,
        journal_mode=(journal_mode or ("KEEP" if foreign else "WAL")).upper(),
        synchronous=(synchronous or ("EXTRA" if foreign else "FULL")).upper(),
        busy_timeout_s=busy_timeout_s,
    )
    _check("journal_mode", chosen.journal_mode, JOURNAL_MODES)
    _check("synchronous", chosen.synchronous, SYNCHRONOUS)
    if not 0 <= busy_timeout_s <= BUSY_TIMEOUT_S_MAX:
        raise ValueError(f"busy_timeout_s {busy_timeout_s:g} is out of range; 0 to {BUSY_TIMEOUT_S_MAX:g} is allowed")
    return chosen


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is unknown; allowed: {', '.join(allowed)}")


def parsed(settings: Mapping[str, str]) -> dict[str, str | float]:
    """Settings as text, as they come from a command line, as arguments of `sqlite_backend`."""
    unknown = sorted(settings.keys() - {"layout", "journal_mode", "synchronous", "busy_timeout_s"})
    if unknown:
        raise ValueError(
            f"sqlite has no setting {', '.join(unknown)}; it has: layout, journal_mode, synchronous, busy_timeout_s"
        )
    arguments: dict[str, str | float] = dict(settings)
    if "busy_timeout_s" in settings:
        arguments["busy_timeout_s"] = _seconds(settings["busy_timeout_s"])
    return arguments


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"busy_timeout_s {text!r} is not a number of seconds") from None


def power_durable(settings: Settings) -> Literal["yes", "prefix", "no"]:
    """What is left of acknowledged writes when the power goes.

    Measured with recorded system calls, a lossy file system and shut-down real ones. With KEEP the file may be in WAL
    or in DELETE mode, so the lesser of the two holds.
    """
    mode, synchronous = settings.journal_mode, settings.synchronous
    if synchronous == "EXTRA" or (synchronous == "FULL" and mode in ("WAL", "TRUNCATE")):
        return "yes"
    if synchronous == "FULL" or (synchronous == "NORMAL" and mode == "WAL"):
        return "prefix"
    return "no"  # rollback journals with NORMAL can even tear a page on some file systems
