"""The CNN: one replica a device, batches of names, following the registry's serving pointer."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ray.serve.metrics import Counter, Histogram

from deployments.batching import NameBatcher
from deployments.devices import Device, claim
from deployments.health import Health
from deployments.logs import keep_written
from deployments.messages import PackedScored, Recode, Scored
from deployments.scaling import BUSY, METRIC, Busy
from deployments.serving import Loaded, Serving
from model.encoding import joined
from verdicts.policy import Thresholds

log = logging.getLogger("ray.serve")

Rows = NDArray[np.uint8]

AFTER_S = 0.01  # until a batch is counted: its answers are on their way then
# A batch as short as this is over soon after another thread would have begun with it, and costs a fifth less (256 names
# of the seed network). Until it is known how long a name takes, so few names count as short. It is known of what LiteRT
# computes: TensorFlow does it in threads of its own, and the event loop would stand still for a long batch of its.
HERE_S = 0.001
HERE_NAMES = 16
PACE = 0.2  # weight of the last batch in what a name takes


class BatchMetrics:
    """What one replica counts: a call or two of Ray's metrics a batch."""

    def __init__(self) -> None:
        sizes, times = [1, 4, 16, 64, 256, 1024, 4096, 16_384], [0.5, 1, 2, 5, 10, 20, 50, 100, 500]
        self._names = Histogram("verdict_batch_names", description="Names in a batch.", boundaries=sizes)
        self._time = Histogram("verdict_batch_ms", description="Milliseconds of a batch.", boundaries=times)
        self._expired = Counter("verdict_expired_frames", description="Frames dropped before any work was done.")
        self._told = 0  # expired frames already handed over

    def batch(self, names: int, seconds: float, expired: int) -> None:
        """One batch was scored; `expired` frames were dropped since the start."""
        self._names.observe(names)
        self._time.observe(seconds * 1000)
        if expired > self._told:
            self._expired.inc(expired - self._told)
            self._told = expired


class Options(NamedTuple):
    """What a classifier is told; the fields are `Settings`'s."""

    registry: str
    model: str
    batch_sizes: tuple[int, ...]
    max_batch_names: int
    tf_threads: int
    device: str
    model_poll_ms: int


class Classifier:
    """Scores frames of encoded names. Ready once its model has run on every batch size."""

    def __init__(self, options: Options, claim_device: Callable[[str, int], Device] = claim) -> None:
        keep_written()
        self.device = claim_device(options.device, 1)
        self._serving = Serving(options.registry, options.model, options.batch_sizes)
        # TensorFlow computes here and not on the event loop, which meanwhile takes in the next batch. On a CPU each
        # batch has one thread: two batches on a thread each cost less than two threads that wait for each other.
        lanes = options.tf_threads if self.device.kind == "cpu" else 1
        self._compute = ThreadPoolExecutor(lanes, "tensorflow")
        self._name_s = HERE_S / HERE_NAMES  # what a name took lately
        self._batcher: NameBatcher[tuple[Loaded, Rows], Scored] = NameBatcher(
            self._score, options.max_batch_names, lanes=lanes
        )
        self._worked_s = 0.0  # of all lanes together
        self._busy = Busy(lambda: self._worked_s / lanes)
        self._poll_s = options.model_poll_ms / 1000
        self._follower: asyncio.Task[None] | None = None
        self._metrics = BatchMetrics()
        self._health = Health()
        log.info("classifier ready: model %s, device %s", self._serving.current.version, self.device)

    async def predict(
        self, octets: bytes | None, encoding: str, shares: Sequence[tuple[int, float]]
    ) -> list[PackedScored | None] | Recode:
        """Score rows of this encoding, the octets of uint8 (N, w) without columns that are zero in all, which belong in
        turn to frames: `shares` are each one's number of names and deadline (Unix seconds). None for a frame whose
        deadline passed before its turn.

        `Recode` when no model in memory takes the encoding; `octets` None asks for the encoding alone.
        """
        self._start_following()
        loaded = self._serving.for_encoding(encoding)
        if loaded is None or octets is None:
            return Recode(self._serving.current.encoding)
        rows = np.frombuffer(octets, np.uint8).reshape(sum(names for names, _ in shares), -1)
        asked, start = [], 0
        for names, deadline in shares:
            asked.append(((loaded, rows[start : start + names]), names, deadline))
            start += names
        return [scored and scored.packed() for scored in await self._batcher.submit_all(asked)]

    async def explain(self, name: str, thresholds: Thresholds | None) -> dict[str, Any]:
        """Which characters of a normalised name moved its score, by `thresholds` or else the model's own."""
        from model.explain import explain

        scorer: Any = self._serving.current.score
        return await asyncio.get_running_loop().run_in_executor(self._compute, explain, scorer, name, thresholds)

    async def status(self) -> dict[str, object]:
        """What this replica serves and where."""
        self._start_following()
        return {
            "model": self._serving.current.version,
            "device": self.device,
            "stale": self._serving.trouble,
            "expired": self._batcher.expired,
        }

    async def check_health(self) -> None:
        """Serve asks this, and exchanges a replica that raises."""
        self._health.check()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return {METRIC: float(self._batcher.names_in_flight), BUSY: self._busy.share()}

    async def _score(self, batch: Sequence[tuple[Loaded, Rows]]) -> list[Scored]:
        loop, began, names = asyncio.get_running_loop(), time.perf_counter(), sum(len(rows) for _, rows in batch)
        with self._health.batch():
            by_lite = self.device.kind == "cpu" and names <= min(loaded.alone for loaded, _ in batch)
            if by_lite and names * self._name_s <= HERE_S:
                scored, computed = timed(batch)
            else:
                scored, computed = await loop.run_in_executor(self._compute, timed, batch)
        seconds = time.perf_counter() - began
        self._worked_s += seconds
        if by_lite and names >= HERE_NAMES:  # of fewer most is what a run costs by itself
            self._name_s += PACE * (computed / names - self._name_s)
        loop.call_later(AFTER_S, self._metrics.batch, names, seconds, self._batcher.expired)
        return scored

    def _start_following(self) -> None:
        if self._follower is None:  # the constructor runs outside the replica's event loop
            self._follower = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await asyncio.to_thread(self._serving.follow)


def timed(batch: Sequence[tuple[Loaded, Rows]]) -> tuple[list[Scored], float]:
    """`score_batch`, and the seconds of its thread that it took, without those that it waited for a processor."""
    began = time.thread_time()
    return score_batch(batch), time.thread_time() - began


def score_batch(batch: Sequence[tuple[Loaded, Rows]]) -> list[Scored]:
    """Score each frame with its own model, frames of one model joined into one call."""
    results: dict[int, Scored] = {}
    for loaded in {id(loaded): loaded for loaded, _ in batch}.values():
        mine = [number for number, (owner, _) in enumerate(batch) if owner is loaded]
        frames = [batch[number][1] for number in mine]
        scores = loaded.score(joined(frames))
        if not np.isfinite(scores).all():
            raise ArithmeticError(f"model {loaded.version} gave scores that are no numbers")
        start = 0
        for number, frame in zip(mine, frames, strict=True):
            results[number] = Scored(loaded.version, loaded.thresholds, scores[start : start + len(frame)])
            start += len(frame)
    return [results[number] for number in range(len(batch))]
