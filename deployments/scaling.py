"""How many replicas: by names in flight, since a frame may hold one name or a thousand."""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

METRIC = "names_in_flight"  # what the replicas record
SLACK = 0.7  # a smaller number of replicas must have room to spare before one goes, or it would come back at once


def names_in_flight(ctx: AutoscalingContext, target_names: int = 2048) -> tuple[int, dict[str, Any]]:
    """Ray Serve's custom policy: `target_names` in flight for each replica. Serve adds its delays and bounds."""
    recorded = (ctx.aggregated_metrics or {}).get(METRIC, {})
    names = sum(recorded.values())
    running = max(ctx.total_running_requests, 1.0)
    waiting = ctx.total_queued_requests * names / running  # at the callers; as large as those that run
    return wanted(names + waiting, ctx.target_num_replicas, target_names), {}


def wanted(names: float, present: int, target_names: int) -> int:
    """Replicas for this many names in flight: more when the present ones are over target, fewer with slack."""
    if names > present * target_names:
        return math.ceil(names / target_names)
    return max(1, min(present, math.ceil(names / (target_names * SLACK))))
