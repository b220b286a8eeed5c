"""What can be set about persistence in a system. The defaults are those of Akka."""

from __future__ import annotations

from typing import Literal

import msgspec

ReplayFilterMode = Literal["repair-by-discard-old", "fail", "warn", "off"]


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """After `failures_max` failures in a row nothing is tried for `reset_timeout_s`; each call may take
    `call_timeout_s`."""

    failures_max: int
    call_timeout_s: float
    reset_timeout_s: float


class PersistenceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """For every journal and snapshot store of a system."""

    journal_breaker: BreakerSettings = BreakerSettings(failures_max=10, call_timeout_s=10.0, reset_timeout_s=30.0)
    snapshot_breaker: BreakerSettings = BreakerSettings(failures_max=5, call_timeout_s=20.0, reset_timeout_s=60.0)

    concurrent_recoveries_max: int = 50
    """How many actors recover from one journal at a time; the others wait in the order in which they came."""

    recovery_event_timeout_s: float = 30.0
    """Recovery fails when for so long neither the snapshot nor another event arrived."""

    snapshot_load_attempts_max: int = 3
    """How many snapshots are tried, from the newest back, when some cannot be read."""

    replay_filter: ReplayFilterMode = "repair-by-discard-old"
    replay_filter_window: int = 100
    replay_filter_old_writers_max: int = 10
