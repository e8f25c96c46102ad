"""How much work an ingress replica lets in: as many names as come back well within their callers' budgets.

Additive increase, multiplicative decrease on the names in flight. Past saturation the queue behind the ingress so
stays short, and what is done is done in time; the rest is told at once to come back later.
"""

from serve_app.wire import WireError

GOOD_SHARE = 0.5  # of its budget a frame may take before the limit falls
DECREASE = 0.8
EXPIRED = 0.5  # the step when a frame took all of its budget: most of what waits is lost already
RETRY_AFTER_S = 1


class Admission:
    """Counts names in flight against a limit that moves between `floor` and `ceiling`."""

    def __init__(self, floor: int, ceiling: int) -> None:
        self.floor = floor
        self.ceiling = max(floor, ceiling)
        self.limit = float(self.ceiling)
        self.in_flight = 0
        self._lowered = float("-inf")  # when, in seconds of the caller's clock

    def enter(self, names: int) -> None:
        """Let a frame in, or raise `WireError`; a lone frame always enters."""
        if self.in_flight and self.in_flight + names > self.limit:
            raise WireError("unavailable", "the cluster is full: come back later", RETRY_AFTER_S)
        self.in_flight += names

    def leave(self, names: int, began: float, budget: float, now: float) -> None:
        """A frame that entered at `began` is over. All in seconds of one clock."""
        crowded = self.in_flight > self.limit / 2
        self.in_flight -= names
        if now - began > budget * GOOD_SHARE:
            if began > self._lowered:  # frames from before the last step say nothing of it
                step = DECREASE if now - began < budget else EXPIRED
                self.limit = max(self.floor, self.limit * step)
                self._lowered = now
        elif crowded:
            self.limit = min(self.ceiling, self.limit + names * names / self.limit)
