"""What the routes of one ingress replica share: settings, the decisions followed, the graph behind, the counts."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from deployments.messages import Scored
from serve_app.admission import Admission
from serve_app.metrics import IngressMetrics
from serve_app.own_records import OwnRecords
from serve_app.replies import ReplyWriter
from serve_app.settings import Settings
from serve_app.wire import WireError
from verdicts.follower import NOTHING, Follower, View
from verdicts.policy import Policy, Thresholds
from verdicts.tokens import Forbidden, Identity, Tokens, Unauthorised

log = logging.getLogger("ray.serve")

STATUS_POLL_S = 2.0
SNAPSHOT_S = 1.0  # between two snapshots
SNAPSHOT_REST = 5  # times as long as the last one took: a million entries are a third of a second's work
KEPT_WRITERS = 4  # versions whose replies may be written at one time: a promotion has two
PASSING_S = 300.0  # after a promotion, for classifiers to follow; one whose pointer was moved by hand never agrees
PASSING_TTL_S = 60  # what a resolver may keep a verdict that the promotion is about to change: as long as it refreshes


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
        self._met: set[str] = set()  # ids of tokens that asked here; as many as were issued, at most
        self._writers: dict[tuple[int, Thresholds, bool], tuple[Policy, ReplyWriter]] = {}
        # Threads of their own: calls of the control API that wait for a store or a training take up all of asyncio's.
        self._follow_thread = ThreadPoolExecutor(1, "follow")
        self._save_thread = ThreadPoolExecutor(1, "save")

    def identify(self, authorization: str | None, *roles: str) -> Identity:
        """Who asks, if one of the roles suits; raises `Unauthorised`, `Forbidden`, or `WireError` before any is known.

        The log names a token at its first question here, and at each that is refused.
        """
        if self.settings.auth == "off":
            return Identity("-", "admin", "")
        view = self.follower.view
        if view is NOTHING:  # 401 would have operators look for what is wrong with their tokens
            raise WireError("unavailable", f"no decisions yet: {self.follower.error}", retry_after=1)
        if self._tokens[0] is not view:
            self._tokens = (view, Tokens(view.of_kind("token").values()))
        try:
            found = self._tokens[1].check(authorization, *roles)
        except (Forbidden, Unauthorised) as error:
            log.warning("refused: %s", error)
            raise
        if found.id not in self._met:
            self._met.add(found.id)
            log.info("token %s, %s %s, asks here", *found)
        return found

    def writer(self, view: View, thresholds: Thresholds, version: str = "") -> ReplyWriter:
        """The writer of replies under this view's policy to what this version scored ("": the model had no part); the
        policy's own thresholds go before the artifact's."""
        passing = version != "" and self._passes(view, version)
        key = (id(view.policy), thresholds, passing)
        policy, writer = self._writers.get(key, (None, None))
        if writer is None or policy is not view.policy:
            if len(self._writers) >= KEPT_WRITERS:
                self._writers.clear()
            writer = ReplyWriter(
                _passing(view.policy) if passing else view.policy, view.policy.thresholds or thresholds
            )
            self._writers[key] = view.policy, writer
        return writer

    def _passes(self, view: View, version: str) -> bool:
        """Whether another version was promoted lately. The epoch has moved with that decision, so that a resolver would
        keep what the former version says as long as what the new one says."""
        decided = view.documents.get(("model", "serving"))
        return (
            decided is not None
            and decided.body is not None
            and decided.body.get("version") != version
            and time.time() - decided.time / 1000 < PASSING_S
        )

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
        await asyncio.get_running_loop().run_in_executor(self._follow_thread, self.follower.poll)

    async def _save(self) -> None:
        began = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(self._save_thread, self.follower.save)
        await asyncio.sleep(SNAPSHOT_REST * (time.monotonic() - began))

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
                "away": _away(self.log_state),
                "spool": float(self.log_state.get("spool_bytes", 0)),
            }
        )


def _passing(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, cache_ttl=min(policy.cache_ttl, PASSING_TTL_S))


def _away(log_state: dict[str, Any]) -> float:
    """Seconds since when the store takes nothing of the verdict log, whose `status()` this is; 0: it does."""
    refuses = log_state.get("store", "healthy") != "healthy"
    return max(0.0, time.time() - float(log_state["since"])) if refuses else 0.0


def called_off() -> bool:
    """Whether this task itself was cancelled: what it waits for, such as a replica that ends, may be so alone."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _each(period_s: float, act: Callable[[], Any]) -> None:
    """Call `act` every so often; one failure is logged and changes nothing for the next."""
    while True:
        try:
            await act()
        except asyncio.CancelledError:
            if called_off():
                raise
            log.warning("periodic work was given up by whom it asked")
        except Exception:
            log.exception("periodic work failed")
        await asyncio.sleep(period_s)
