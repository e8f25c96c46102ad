"""How long questions take while Elasticsearch is frozen (SIGSTOP), beside the same while it is well.

    python -m loadtest.frozen_bench --turns 4

One process holds an ingress replica that follows the store and a verdict log that writes to it, as a cluster has them;
the model costs nothing. Frames and reports go in turns of healthy, frozen, frozen, healthy. Exits 1 when the p99 of
frames is more than 1.2 of healthy.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from deployments.messages import Scored
from loadtest.arguments import count
from loadtest.log_bench import batch_of
from loadtest.processes import program
from serve_app.context import Context
from serve_app.routes import application
from serve_app.settings import settings_of
from verdicts import tokens
from verdicts.follower import Follower
from verdicts.keeper import Keeper
from verdicts.policy import Thresholds
from verdicts.store import open_store

GOAL = 1.2
FRAMES = 600  # a turn
NAMES = 64  # a frame
REPORT_EVERY = 20  # frames
SPOOL_BYTES = 1 << 30


class Graph:
    """Behind the ingress: a model that costs nothing, and a verdict log that writes to the store."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def judge(self, names: bytes, deadline: float) -> Scored | None:
        count = names.count(b"\n") + 1
        return Scored("none", Thresholds(), np.zeros((count, 2), np.float32))

    async def append(self, batch: bytes) -> None:
        await asyncio.to_thread(self._keeper.keep, batch)

    async def commit(self, *arguments: Any) -> Any:
        return await asyncio.to_thread(self._keeper.commit, *arguments)

    async def explain(self, name: str, thresholds: Thresholds | None) -> dict[str, Any]:
        return {}

    async def model_status(self) -> dict[str, Any]:
        return {"model": "none"}

    async def log_status(self) -> dict[str, Any]:
        return self._keeper.status()


async def turn(client: httpx.AsyncClient, headers: dict[str, str], number: int) -> tuple[list[float], list[float]]:
    """Seconds of each frame and of each report of one turn."""
    frames: list[float] = []
    reports: list[float] = []
    for index in range(FRAMES):
        names = [f"h{index}.site{number * FRAMES + place}.com" for place in range(NAMES)]
        body = msgspec.json.encode({"names": names})
        began = time.perf_counter()
        answer = await client.post("/v1/verdicts", content=body, headers=headers)
        frames.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
        if index % REPORT_EVERY == 0:
            batch = batch_of(number * FRAMES + index + 1, int(time.time() * 1000) - 60_000)
            report = msgspec.json.encode(batch)
            began = time.perf_counter()
            answer = await client.post("/v1/observations", content=report, headers=headers)
            reports.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
    return frames, reports


async def measure(turns: int) -> float:
    """The median ratio of p99, frozen against healthy, over pairs of turns."""
    from tests.elastic import OPERATED, own_server

    server = own_server(java_options=OPERATED)
    server.start()
    url = f"{server.url}/?prefix=frozen&replicas=0"
    store = open_store(url)
    store.initialise()
    issued = tokens.issue("resolver", "edge-1", 1)
    store.commit([issued.document], "bench")
    store.close()
    # A second is the default budget; a stall of the machine is to be measured, not refused.
    headers = {"Authorization": f"Bearer {issued.text}", "Verdict-Budget-Ms": "30000"}
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        keeper = Keeper(url, Path(folder) / "spool", SPOOL_BYTES)
        follower = Follower(url)
        follower.poll()
        args = {"store_url": url, "registry": folder, "spool_dir": folder}
        context = Context(settings_of(args), follower, Graph(keeper))
        periodic = asyncio.create_task(context.run())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application(context)), base_url="http://v"
        ) as client:
            await turn(client, headers, 0)  # warm
            pair: dict[str, float] = {}
            for number in range(1, 2 * turns + 1):
                state = "frozen" if number % 4 in (2, 3) else "healthy"
                if state == "frozen":
                    server.freeze()
                await asyncio.sleep(1.0)  # polls and bulks are now where they will stay
                frames, reports = await turn(client, headers, number)
                server.thaw()
                p50, p99 = statistics.median(frames) * 1e3, statistics.quantiles(frames, n=100)[98] * 1e3
                worst = max(reports) * 1e3
                print(
                    f"{state:8} frame p50 {p50:6.2f} ms p99 {p99:6.2f} ms, report at most {worst:7.1f} ms", flush=True
                )
                pair[state] = p99
                if number % 2 == 0:
                    ratios.append(pair["frozen"] / pair["healthy"])
        periodic.cancel()
        await asyncio.to_thread(keeper.close)
        follower.close()
    server.kill()
    print(f"p99 frozen / healthy: median {statistics.median(ratios):.2f}, all {[round(ratio, 2) for ratio in ratios]}")
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=count, default=4, help="pairs of a healthy and a frozen turn")
    sys.exit(0 if asyncio.run(measure(parser.parse_args().turns)) <= GOAL else 1)


if __name__ == "__main__":
    program(main)
