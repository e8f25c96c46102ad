"""`GET /metrics`: what the Prometheus servers of all nodes say, in one answer, to who has a token.

Ray's own servers (`--metrics-port`, `ray start --metrics-export-port`) ask for no credential, so they are bound to
loopback or kept behind a network's rules; Prometheus comes here, with a viewer's token and over TLS where that is set.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx

from verdicts.arguments import in_url

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATIENCE_S = 5.0
COLLECTED = "RAY_enable_metrics_collection"  # "0": a node's port is only the one that it would have


# For what asks Ray, which waits for as long as its head is silent: scrapes that gave up meanwhile would take up the
# threads of asyncio, which changes and other answers need.
_asking = ThreadPoolExecutor(1, "metrics")


class NoAnswer(RuntimeError):
    """No node's Prometheus server answered, or Ray did not say where they are."""


class Source(NamedTuple):
    """One node's Prometheus server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{in_url(self.host)}:{self.port}/metrics"


async def asked() -> list[Source]:
    """`sources`, off the event loop. Raises `NoAnswer` where Ray gives none in time."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.get_running_loop().run_in_executor(_asking, sources)
    except TimeoutError:
        raise NoAnswer(f"metrics: Ray did not name its nodes within {PATIENCE_S:g} s") from None


def sources() -> list[Source]:
    """The Prometheus servers of the living nodes. Asks Ray: not for an event loop."""
    import ray

    if not ray.is_initialized() or os.environ.get(COLLECTED) == "0":
        return []
    nodes = [node for node in ray.nodes() if node["Alive"] and node.get("MetricsExportPort", 0) > 0]
    return [Source(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in nodes]


async def gather(nodes: Sequence[Source]) -> bytes:
    """The metrics of these nodes (one at least), in Prometheus's text form. Raises `NoAnswer` where none answers."""
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
        answers = await asyncio.gather(*(client.get(node.url) for node in nodes), return_exceptions=True)
    texts = [answer.text for answer in answers if isinstance(answer, httpx.Response) and answer.status_code == 200]
    if not texts:
        raise NoAnswer(f"metrics: none of {len(nodes)} nodes answered, the first {answers[0]!r:.200}")
    # On a thread: some mebibytes of many nodes would hold up frames.
    return (await asyncio.to_thread(merged, texts)).encode()


def merged(texts: Iterable[str]) -> str:
    """Several expositions as one: each family's head once, its samples together, as the text form wants it."""
    families: dict[str, tuple[dict[str, str], list[str]]] = {}
    for text in texts:
        name = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, kind, name = line.split(" ", 3)[:3]
                families.setdefault(name, ({}, []))[0].setdefault(kind, line)
            elif line and not line.startswith("#"):
                families.setdefault(name, ({}, []))[1].append(line)
    lines = [line for heads, samples in families.values() for line in (*heads.values(), *samples)]
    return "\n".join([*lines, ""])
