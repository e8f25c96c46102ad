"""How much work an ingress replica lets in: as many names as come back well within their callers' budgets.

Additive increase, multiplicative decrease on the names in flight. Past saturation the queue behind the ingress so
stays short, and what is done is done in time; the rest is told at once to come back later.

To tell it costs a replica a good part of what a frame costs. So each answer to a frame says how many requests the
replica takes at present, and HAProxy refuses those beyond by itself, for a twentieth of that.
"""

import math

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.haproxy import FRAMES, TAKES
from serve_app.wire import WireError

FRAME_NAMES = 100  # a frame is as much work as so many names, beside its own
GOOD_SHARE = 0.5  # of its budget a frame may take before the limit falls
DECREASE = 0.8
EXPIRED = 0.5  # the step when a frame took all of its budget: most of what waits is lost already
LEAST_BUDGET_S = 0.02  # one of less may be over where nothing waits: it says nothing of how full it is
RETRY_AFTER_S = 1
# Times the limit is let in: HAProxy meets the limit of all replicas together, by what they said some answers ago. What
# they refuse themselves costs fifty times as much, and of their budgets so many frames take three quarters.
SPARE = 1.5
RECENT = 1 / 16  # weight of a frame in the mean of the recent ones


class Admission:
    """Counts names in flight, `frame_names` more for each frame, against a limit that moves between `floor` and
    `ceiling`; up to `SPARE` times as many are let in."""

    def __init__(self, floor: int, ceiling: int, frame_names: int = FRAME_NAMES) -> None:
        self.floor = floor
        self.ceiling = max(floor, ceiling)
        self.limit = float(self.ceiling)
        self.in_flight = 0
        self._frame_names = frame_names
        self._mean = 0.0  # of recent frames, let in or not; 0 before the first
        self._lowered = float("-inf")  # when, in seconds of the caller's clock

    @property
    def frames(self) -> int | None:
        """How many frames like the recent ones may be in flight; None before the first."""
        return math.ceil(self.limit / self._mean) if self._mean else None

    def enter(self, names: int) -> None:
        """Let a frame in, or raise `WireError`; a lone frame always enters."""
        work = names + self._frame_names
        self._mean += (work - self._mean) * (RECENT if self._mean else 1.0)
        if self.in_flight and self.in_flight + work > self.limit * SPARE:
            raise WireError("unavailable", "the cluster is full: come back later", RETRY_AFTER_S)
        self.in_flight += work

    def leave(self, names: int, began: float, budget: float, now: float) -> None:
        """A frame that entered at `began` with so much of its budget left is over. All in seconds of one clock."""
        budget = max(budget, LEAST_BUDGET_S)
        work = names + self._frame_names
        crowded = self.in_flight > self.limit / 2
        self.in_flight -= work
        if now - began > budget * GOOD_SHARE:
            if began > self._lowered:  # frames from before the last step say nothing of it
                step = DECREASE if now - began < budget else EXPIRED
                self.limit = max(self.floor, self.limit * step)
                self._lowered = now
        elif crowded:
            self.limit = min(self.ceiling, self.limit + work * work / self.limit)


class TellTakes:
    """ASGI middleware: each answer to a frame says how many requests this replica takes at present.

    Requests of other kinds that are at work stand in that number: HAProxy counts all, and they are refused no frame.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission
        self._others = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == FRAMES:
            await self._frame(scope, receive, send)
        else:
            self._others += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._others -= 1

    async def _frame(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            frames = self._admission.frames
            if message["type"] == "http.response.start" and frames is not None:
                takes = (TAKES.encode(), b"%d" % (frames + self._others))
                message = {**message, "headers": [*message.get("headers", ()), takes]}
            await send(message)

        await self._app(scope, receive, told)
