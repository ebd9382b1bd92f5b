"""How long a change takes to reach the gateway's data plane, and what waits for it (pure).

`throttle` is the time for which a gateway collects changes before its data plane gets them: the chart's
gateway.throttle. A new pod's address, a weight and a pod's end all take that way.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil

THROTTLE = timedelta(seconds=2)  # Traefik's own default; up to 1.9 s were seen


def apply_grace(throttle: timedelta) -> timedelta:
    """When a weight that the route has is that of the requests, too."""
    return max(2 * throttle, timedelta(seconds=4))


def settle_time(throttle: timedelta) -> timedelta:
    """When a pod that has become ready is known."""
    return max(throttle, timedelta(seconds=2))


def drain_seconds(throttle: timedelta) -> int:
    """When no new request comes any more to a pod that is going: well above the grace."""
    return ceil(apply_grace(throttle).total_seconds()) + 4
