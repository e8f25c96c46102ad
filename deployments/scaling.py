"""How many replicas: by names in flight, since a frame may hold one name or a thousand.

Names in flight say when there are too few replicas: they pile up. They do not say how many could go: with enough
replicas next to nothing is in flight, however many names a second come. So a replica goes only where the others would
not be too busy without it; else a constant load would have one go and come back for ever.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `verdict serve` asks for `checked_target` before Ray may be imported
    from ray.serve.config import AutoscalingContext

METRIC, BUSY = "names_in_flight", "busy"  # what the replicas record
SLACK = 0.7  # of the target, or of their time: fewer replicas must have room to spare before one goes


class Busy:
    """The share of time that something worked, 0 to 1, since it was last asked. `worked` gives seconds so far."""

    def __init__(self, worked: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._worked, self._clock = worked, clock
        self._last = (worked(), clock())

    def share(self) -> float:
        former, self._last = self._last, (self._worked(), self._clock())
        passed = self._last[1] - former[1]
        return min(1.0, (self._last[0] - former[0]) / passed) if passed > 0 else 0.0


class NamesInFlight:
    """Ray Serve's custom policy: `target_names` in flight for each replica. Serve adds its delays and bounds.

    A class, since Serve gives `policy_kwargs` to a class alone; a function would never hear of them.
    """

    def __init__(self, target_names: int = 2048) -> None:
        self.target_names = checked_target(target_names)

    def __call__(self, ctx: "AutoscalingContext") -> tuple[int, dict[str, Any]]:
        recorded = ctx.aggregated_metrics or {}
        names = sum(recorded.get(METRIC, {}).values())
        running = max(ctx.total_running_requests, 1.0)
        waiting = ctx.total_queued_requests * names / running  # at the callers; as large as those that run
        busy = sum(recorded.get(BUSY, {}).values())
        return wanted(names + waiting, ctx.target_num_replicas, self.target_names, busy), {}


def checked_target(given: object) -> int:
    """`target_names` as it was given. Raises `ValueError` for what it cannot be."""
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ValueError(f"target_names {given!r}: expected a whole number, 1 or more")
    return given


def wanted(names: float, present: int, target_names: int, busy: float = 0.0) -> int:
    """Replicas for this many names in flight and this much work (replicas that it would keep busy all the time).

    More when the present ones are over target; fewer when those left have slack in both.
    """
    if names > present * target_names:
        return math.ceil(names / target_names)
    return max(1, min(present, max(math.ceil(names / (target_names * SLACK)), math.ceil(busy / SLACK))))
