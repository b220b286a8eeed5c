"""Whether the storages of a system answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from ._breaker import Breaker


class Health(msgspec.Struct, frozen=True):
    """`degraded`: a circuit breaker is not closed. `unhealthy`: it is, but the storage did not answer just now."""

    status: Literal["healthy", "degraded", "unhealthy"]
    description: str
    error: BaseException | None = None


def from_breaker(breaker: Breaker) -> Health | None:
    if breaker.state == "closed":
        return None
    return Health("degraded", f"the circuit breaker is {breaker.state}; last failure: {breaker.last!r}", breaker.last)
