"""What the plugin does when the cluster has to be asked, is gone, or is asked the same again.

    python -m loadtest.plugin_waits_bench [--quick] [--out FILE]

Unique names, with and without the plugin in ABBA order: the cluster takes 5 ms, the upstream 20 ms, so a verdict
that is fetched beside the look-up should cost nothing. Then the cluster is killed under load and brought back; then
popular names are asked as often as people do; then one new name by a thousand clients at once.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from loadtest.compare import CannotCompare, command_of, running
from loadtest.plugin_stub import Client, StubCluster, Upstream
from loadtest.rig import free_port
from loadtest.stats import Report, Result, abba, command_line, describe_machine, quantiles
from serve_app import golang

CLUSTER_S, UPSTREAM_S = 0.005, 0.020
RATE = 200.0  # queries a second
POPULATION = 20_000  # names of the Zipf traffic, exponent 1
COREFILE = """. {{
    bind 127.0.0.1
{plugin}    forward . 127.0.0.1:{upstream}
}}
"""
STANZA = """    prometheus 127.0.0.1:{metrics}
    verdict http://127.0.0.1:{port} {{
        token {folder}/token
        resolver bench
        mode enforce
    }}
"""
Measured = Callable[[int, int], Awaitable[list[float]]]


class Bench:
    """The stubs, the scratch folder and the CoreDNS between them."""

    def __init__(self, folder: Path, cluster: StubCluster, upstream: Upstream) -> None:
        self.folder, self.cluster, self.upstream = folder, cluster, upstream
        self.coredns = str(golang.build())
        (folder / "token").write_text("a-token\n")
        self._names = itertools.count()

    def fresh(self, count: int) -> list[str]:
        """Names that were never asked."""
        return [f"n{number}.example.com" for number in itertools.islice(self._names, count)]

    async def with_server(self, plugin: str, measured: Measured) -> list[float]:
        """Run a CoreDNS with this part of a Corefile and measure: `measured(DNS port, metrics port)`."""
        metrics = free_port(1)
        filled = plugin.format(port=self.cluster.port, folder=self.folder, metrics=metrics)
        corefile = self.folder / "Corefile"
        corefile.write_text(COREFILE.format(plugin=filled, upstream=self.upstream.port))
        server = running(command_of(str(corefile), self.coredns))
        port, _ = await asyncio.to_thread(server.__enter__)
        try:
            return await measured(port, metrics)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


async def unique(bench: Bench, pairs: int, seconds: float) -> list[Result]:
    """Latency of names never asked before, bare and with the plugin."""

    async def turn(port: int, _: int) -> list[float]:
        client = Client()
        await client.connect(port)
        await client.at_rate(bench.fresh(50), RATE)
        taken = await client.at_rate(bench.fresh(int(RATE * seconds)), RATE)
        client.close()
        answered = [t for t in taken if t is not None]
        if len(answered) < len(taken):
            raise CannotCompare(f"{len(taken) - len(answered)} of {len(taken)} queries failed")
        found = quantiles(answered, (0.5, 0.99))
        return [1000 * value for value in found.values()]

    bare: list[list[float]] = []
    ours: list[list[float]] = []
    for side in abba(pairs):
        (bare if side == "A" else ours).append(await bench.with_server("" if side == "A" else STANZA, turn))
    found = []
    for index, (what, goal) in enumerate((("p50", "0.1 ms"), ("p99", "1 ms"))):
        added = [o[index] - b[index] for o, b in zip(ours, bare, strict=True)]
        found.append(Result(f"unique names, bare, {what}", "ms", [b[index] for b in bare]))
        found.append(Result(f"unique names, added by the plugin, {what}", "ms", added, goal=goal))
    return found


async def killed(bench: Bench, seconds: float) -> list[Result]:
    """Failed queries, and the times to open and to close, when the cluster dies under load and comes back."""

    async def turn(port: int, metrics: int) -> list[float]:
        client = Client()
        await client.connect(port)
        await client.at_rate(bench.fresh(50), RATE)
        load = asyncio.create_task(client.at_rate(bench.fresh(int(RATE * seconds)), RATE))
        await asyncio.sleep(seconds / 4)
        bench.cluster.kill()
        opened = await _until(metrics, 1)
        await asyncio.sleep(seconds / 4)
        await bench.cluster.start()
        closed = await _until(metrics, 0)
        taken = await load
        client.close()
        return [float(sum(t is None for t in taken)), opened, closed]

    failed, opened, closed = await bench.with_server(STANZA, turn)
    return [
        Result("cluster killed under load, failed queries", "queries", [failed], goal="0"),
        Result("cluster killed under load, breaker open after", "ms", [1000 * opened], goal="250 ms"),
        Result("cluster back, breaker closed after", "ms", [1000 * closed], goal="1 s"),
    ]


async def _until(metrics: int, value: int) -> float:
    """Seconds until the breaker's gauge has this value."""
    began = time.perf_counter()
    while time.perf_counter() - began < 30:
        if f"}} {value}\n" in await asyncio.to_thread(_gauge, metrics):
            return time.perf_counter() - began
        await asyncio.sleep(0.01)
    raise CannotCompare(f"coredns_verdict_breaker_open did not become {value} within 30 s")


def _gauge(metrics: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("coredns_verdict_breaker_open{"))


async def zipf(bench: Bench, count: int) -> list[Result]:
    """Questions to the cluster a thousand queries, and what the default *cache* asks its upstream for the same."""
    draw = random.Random(7)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, POPULATION + 1)))
    names = [f"z{index}.example.net" for index in draw.choices(range(POPULATION), cum_weights=weights, k=count)]

    async def turn(port: int, _: int) -> list[float]:
        client = Client()
        await client.connect(port)
        found = []
        for _ in range(2):  # from empty caches, then warm
            asked, missed = bench.cluster.asked.total(), bench.upstream.asked
            for at in range(0, count, 100):
                await asyncio.gather(*(client.ask(at + i, name) for i, name in enumerate(names[at : at + 100])))
            found += [bench.cluster.asked.total() - asked, bench.upstream.asked - missed]
        client.close()
        return [1000 * value / count for value in found]

    ours = await bench.with_server(STANZA, turn)
    cache = await bench.with_server("    cache\n", turn)
    what = f"Zipf over {POPULATION:,} names, {count:,} queries"
    return [
        Result(f"{what}, from an empty cache", "questions/1000", [ours[0]], "default cache's misses", [cache[1]]),
        Result(f"{what}, again", "questions/1000", [ours[2]], goal="20; a quarter of the default cache's misses"),
        Result(f"{what}, again, misses of the default cache", "misses/1000", [cache[3]]),
    ]


async def equal(bench: Bench) -> list[Result]:
    """Questions for one new name that a thousand clients ask at once."""

    async def turn(port: int, _: int) -> list[float]:
        (name,) = bench.fresh(1)
        clients = [Client() for _ in range(10)]
        for client in clients:
            await client.connect(port)
        asked = []
        for number in range(100):  # all within one flight, but not in one burst: a socket's buffer holds about 250
            asked += [asyncio.create_task(client.ask(number, name)) for client in clients]
            await asyncio.sleep(0.001)
        taken = await asyncio.gather(*asked)
        for client in clients:
            client.close()
        if None in taken:
            raise CannotCompare(f"{sum(t is None for t in taken)} of 1000 equal queries failed")
        return [float(bench.cluster.asked[name])]

    return [Result("1,000 equal names at once", "questions", await bench.with_server(STANZA, turn), goal="1")]


async def everything(folder: Path, quick: bool) -> list[Result]:
    cluster, upstream = StubCluster(CLUSTER_S), Upstream(UPSTREAM_S)
    await cluster.start()
    await upstream.start()
    bench = Bench(folder, cluster, upstream)
    try:
        found = await unique(bench, 1 if quick else 7, 2.0 if quick else 8.0)
        found += await killed(bench, 4.0 if quick else 12.0)
        upstream.delay = 0.0  # from here on queries are counted, not timed
        cluster.delay = 0.08  # below the plugin's deadline
        found += await equal(bench)
        cluster.delay = CLUSTER_S
        return found + await zipf(bench, 5_000 if quick else 100_000)
    finally:
        cluster.kill()
        upstream.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.plugin_waits_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short pair")
    parser.add_argument("--out", metavar="FILE", help="where the report goes, as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = asyncio.run(everything(Path(scratch), options.quick))
        except CannotCompare as error:
            print(error, file=sys.stderr)
            return 1
    report = Report(
        "The plugin when the cluster is asked, gone, or asked again", command_line(), found, describe_machine()
    )
    report.save(options.out)
    print(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
