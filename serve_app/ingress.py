"""The ingress deployment: the HTTP routes on one side, the handles of the graph on the other."""

import asyncio
import logging
import time
from collections.abc import Sequence
from statistics import median_high
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.applications import Starlette

from deployments.batching import CALLS, NameBatcher
from deployments.logs import keep_written
from deployments.messages import Asked, Scored, pack
from deployments.preprocessor import BY_VALUE, CALL_NAMES, HOLD_S
from deployments.second_ask import Abandoned, SecondAsk
from serve_app.context import Context, called_off
from serve_app.routes import application
from serve_app.settings import Settings
from serve_app.wire import WireError
from verdicts.follower import Follower
from verdicts.policy import Thresholds
from verdicts.store import Document

PATIENCE = 0.6  # of the time that is left, before another preprocessor is asked
TURNS = 3  # a question is asked again when the replica that had it died; to judge has no effect, so this is safe


class HandleGraph:
    """The graph behind the ingress, called through Serve's handles."""

    def __init__(self, preprocessor: Any, verdict_log: Any) -> None:
        self._preprocessor = preprocessor.options(**BY_VALUE)
        self._log = verdict_log.options(**BY_VALUE)
        self._judge = self._preprocessor.judge  # each look-up of a method would make another handle
        self._second = SecondAsk(PATIENCE)
        self._calls: NameBatcher[Asked, Scored] = NameBatcher(
            self._ask, CALL_NAMES, lanes=CALLS, lane_names=CALL_NAMES, hold_s=HOLD_S
        )

    async def judge(self, names: bytes, deadline: float) -> Scored | None:
        asked = Asked(names, deadline)
        return await self._calls.submit(asked, asked.size, deadline)

    async def _ask(self, frames: Sequence[Asked]) -> Sequence[Scored | None]:
        middle, last = median_high(frame.deadline for frame in frames), max(frame.deadline for frame in frames)
        packed = [tuple(frame) for frame in frames]
        for turn in range(TURNS):
            try:
                answer = await self._second.ask(self._judge.remote, packed, deadline=middle)
                return [scored and Scored.unpacked(scored) for scored in answer]
            except BackPressureError:
                raise WireError("unavailable", "the cluster is full: come back later", retry_after=1) from None
            except (RayActorError, DeploymentUnavailableError, Abandoned) as error:
                if turn + 1 == TURNS or time.time() >= last:
                    raise WireError("unavailable", f"the model cannot be reached: {error}", retry_after=1) from None
                await asyncio.sleep(0.01 * (turn + 1))
        raise AssertionError("unreachable")

    async def append(self, batch: bytes) -> None:
        await _guarded(self._log.append.remote(batch), "the verdict log")

    async def commit(self, documents: list[Document], *more: Any) -> Any:
        packed = await asyncio.to_thread(pack, documents)
        return await _guarded(self._log.commit.remote(packed, *more), "the verdict log")

    async def explain(self, name: str, thresholds: Thresholds | None) -> dict[str, Any]:
        return await _guarded(self._preprocessor.explain.remote(name, thresholds), "the model")  # type: ignore[no-any-return]

    async def model_status(self) -> dict[str, Any]:
        return await _guarded(self._preprocessor.status.remote(), "the model")  # type: ignore[no-any-return]

    async def log_status(self) -> dict[str, Any]:
        return await _guarded(self._log.status.remote(), "the verdict log")  # type: ignore[no-any-return]


async def _guarded(response: Any, what: str) -> Any:
    try:
        return await response
    except BackPressureError:
        raise WireError("unavailable", f"{what} is full: come back later", retry_after=1) from None
    except (RayActorError, DeploymentUnavailableError) as error:
        raise WireError("unavailable", f"{what} cannot be reached: {error}", retry_after=1) from None
    except asyncio.CancelledError:
        if called_off():
            raise
        raise WireError("unavailable", f"{what} gave up what it was asked: ask again", retry_after=1) from None


@serve.ingress()
class Ingress:
    """Authenticates, limits, matches with the lists, asks the model, decides."""

    def __init__(self, settings: Settings, preprocessor: Any, verdict_log: Any) -> None:
        # Lines of the access log are written a thousand at a time. On a full disk each would print a trace of its own
        # to standard error, which holds up every answer for seconds.
        logging.raiseExceptions = False
        keep_written()
        replica = serve.get_replica_context().replica_id.unique_id
        snapshot = settings.snapshot or f"{settings.spool_dir}/snapshot.json"
        follower = Follower(settings.store_url, snapshot)
        follower.poll()
        self.context = Context(settings, follower, HandleGraph(preprocessor, verdict_log), replica)
        self._periodic: asyncio.Task[None] | None = None

    def __serve_build_asgi_app__(self) -> Starlette:
        self._periodic = asyncio.get_running_loop().create_task(self.context.run())
        return application(self.context)
