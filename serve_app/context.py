"""What the routes of one ingress replica share: settings, the decisions followed, the graph behind, the counts."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from deployments.messages import Scored
from serve_app.admission import Admission
from serve_app.metrics import IngressMetrics
from serve_app.own_records import OwnRecords
from serve_app.replies import ReplyWriter
from serve_app.settings import Settings
from verdicts.follower import Follower, View
from verdicts.policy import Thresholds
from verdicts.tokens import Identity, Tokens

log = logging.getLogger("ray.serve")

STATUS_POLL_S = 2.0
SNAPSHOT_S = 1.0  # between two snapshots: a million entries are a third of a second's work
KEPT_WRITERS = 4  # versions whose replies may be written at one time: a promotion has two


class Graph(Protocol):
    """What lies behind the ingress, as plain coroutines, so that tests need no cluster."""

    async def judge(self, names: bytes, deadline: float) -> Scored | None: ...

    async def append(self, batch: bytes) -> None: ...

    async def commit(self, *arguments: Any) -> Any: ...

    async def explain(self, name: str, thresholds: Thresholds | None) -> dict[str, Any]: ...

    async def model_status(self) -> dict[str, Any]: ...

    async def log_status(self) -> dict[str, Any]: ...


class Context:
    """One a replica. Its `run` follows the store and flushes the metrics until it is cancelled."""

    def __init__(self, settings: Settings, follower: Follower, graph: Graph, replica: str = "ingress") -> None:
        self.settings = settings
        self.follower = follower
        self.graph = graph
        self.metrics = IngressMetrics()
        self.admission = Admission(settings.max_names, settings.max_names_in_flight)
        self.records = OwnRecords(graph.append, f"cluster-{replica}")
        self.model: dict[str, Any] = {"unreachable": "the classifier has not answered yet"}
        self.log_state: dict[str, Any] = {"unreachable": "the verdict log has not answered yet"}
        self._tokens: tuple[View | None, Tokens] = (None, Tokens())
        self._writers: dict[tuple[int, Thresholds], ReplyWriter] = {}

    def identify(self, authorization: str | None, *roles: str) -> Identity:
        """Who asks, if one of the roles suits; raises `Unauthorised` or `Forbidden`."""
        if self.settings.auth == "off":
            return Identity("-", "admin", "")
        view = self.follower.view
        if self._tokens[0] is not view:
            self._tokens = (view, Tokens(view.of_kind("token").values()))
        return self._tokens[1].check(authorization, *roles)

    def writer(self, view: View, thresholds: Thresholds) -> ReplyWriter:
        """The writer of replies under this view's policy; its own thresholds go before the artifact's."""
        key = (id(view.policy), thresholds)
        writer = self._writers.get(key)
        if writer is None or writer.policy is not view.policy:
            if len(self._writers) >= KEPT_WRITERS:
                self._writers.clear()
            writer = self._writers[key] = ReplyWriter(view.policy, view.policy.thresholds or thresholds)
        return writer

    async def run(self) -> None:
        """Everything periodic."""
        await asyncio.gather(
            _each(self.settings.epoch_poll_ms / 1000, self._follow),
            _each(SNAPSHOT_S, self._save),
            _each(STATUS_POLL_S, self._ask_status),
            _each(1.0, self._flush),
            _each(0.5, self.records.flush),
        )

    async def _follow(self) -> None:
        await asyncio.to_thread(self.follower.poll)

    async def _save(self) -> None:
        await asyncio.to_thread(self.follower.save)

    async def _ask_status(self) -> None:
        for name, ask in (("model", self.graph.model_status), ("log_state", self.graph.log_status)):
            try:
                setattr(self, name, await asyncio.wait_for(ask(), STATUS_POLL_S))
            except Exception as error:
                former, now = getattr(self, name), int(time.time() * 1000)
                since = former.get("since", now) if "unreachable" in former else now
                setattr(self, name, {"unreachable": str(error) or type(error).__name__, "since": since})

    async def _flush(self) -> None:
        stale = self.follower.stale_since
        self.metrics.rows("own-discarded", self.records.take_discarded())
        self.metrics.flush(
            {
                "in_flight": self.admission.in_flight,
                "limit": self.admission.limit,
                "epoch": self.follower.epoch.number,
                "stale": 0.0 if stale is None else time.time() - stale,
                "spool": float(self.log_state.get("spool_bytes", 0)),
            }
        )


async def _each(period_s: float, act: Callable[[], Any]) -> None:
    """Call `act` every so often; one failure is logged and changes nothing for the next."""
    while True:
        try:
            await act()
        except Exception:
            log.exception("periodic work failed")
        await asyncio.sleep(period_s)
