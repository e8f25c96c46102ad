"""What the plugin does when the cluster has to be asked, is gone, or is asked the same again.

    python -m loadtest.plugin_waits_bench [--quick] [--out FILE]

Unique names, with and without the plugin in ABBA order: the cluster takes 5 ms, the upstream 20 ms, so a verdict
that is fetched beside the look-up should cost nothing. Then the cluster is killed under load and brought back; then
one new name is asked by a thousand clients while its verdict is on the way; then names as people ask them (Zipf) by
dnsperf, once with the plugin and once with the default *cache*: what each asks behind it, from empty and warmed up.
A name's first sighting is a question whatever a cache does, and of these queries 28 in a thousand are first sightings
even after 150,000 others: sum over the names of (1 - p)^150000 - (1 - p)^200000, with p a name's share of the queries.
So the goal of 20 is one of the steady state, last, when verdicts are asked again because their life has ended: days of
traffic through the plugin's cache alone, on a clock of its own (BenchmarkSteadyState).
"""

import asyncio
import itertools
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from loadtest.arguments import report_parser
from loadtest.compare import command_of, running
from loadtest.dnsperf import CannotCompare, ask_once
from loadtest.plugin_stub import Client, StubCluster, Upstream
from loadtest.processes import program
from loadtest.stats import Report, Result, abba, command_line, describe_machine, quantiles
from serve_app import golang
from serve_app.local.ports import free_port

CLUSTER_S, UPSTREAM_S = 0.005, 0.020
RATE = 200.0  # queries a second
POPULATION = 20_000  # names of the Zipf traffic, exponent 1: twice what the default *cache* holds
WARM_UP = 3  # times as many queries as are counted
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
SLOW_STANZA = STANZA.replace("mode enforce", "mode enforce\n        timeout 4s")
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
        metrics = free_port()
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
        sides = [[turn[index] for turn in side] for side in (bare, ours)]
        found.append(Result(f"unique names, bare, {what}", "ms", sides[0]))
        found.append(Result(f"unique names, with the plugin, {what}", "ms", sides[1], "bare", sides[0]))
        found.append(Result(f"unique names, added by the plugin, {what}", "ms", added, goal=goal))
    return found


async def killed(bench: Bench, times: int, seconds: float) -> list[Result]:
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

    turns = [await bench.with_server(STANZA, turn) for _ in range(times)]
    failed, opened, closed = ([turn[index] for turn in turns] for index in range(3))
    return [
        Result("cluster killed under load, failed queries", "queries", failed, goal="0"),
        Result("cluster killed under load, breaker open after", "ms", [1000 * t for t in opened], goal="250 ms"),
        Result("cluster back, breaker closed after", "ms", [1000 * t for t in closed], goal="1 s"),
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


def steady() -> list[Result]:
    """Questions a thousand queries when verdicts end as fast as they come, the cluster being heard or not."""
    command = [str(golang.find()), "test", "-run", "^$", "-bench", "SteadyState", "-benchtime", "1x", "./verdict"]
    done = subprocess.run(command, cwd=golang.PLUGIN, capture_output=True, text=True)
    found = re.findall(r"^BenchmarkSteadyState/(\S+?)(?:-\d+)?\s.*?([\d.]+) questions/1000", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        raise CannotCompare(f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    what = f"Zipf over {POPULATION:,} names, steady state"
    return [
        Result(f"{what}: {name}", "a thousand", [float(asked)], goal="" if " not heard" in name else "20")
        for name, asked in ((name.replace("_", " "), asked) for name, asked in found)
    ]


async def zipf(bench: Bench, count: int) -> list[Result]:
    """Questions to the cluster a thousand queries, and what the default *cache* asks its upstream for the same."""
    draw = random.Random(7)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, POPULATION + 1)))
    files: list[Path] = []
    seen: list[set[int]] = [set()]
    for number, factor in enumerate((1, WARM_UP - 1, 1)):  # drawn anew each time: a rare name may come up in the last
        chosen = draw.choices(range(POPULATION), cum_weights=weights, k=factor * count)
        seen.append(seen[-1] | set(chosen))
        files.append(bench.folder / f"zipf-{number}.txt")
        files[-1].write_text("".join(f"z{index}.example.net A\n" for index in chosen))

    async def turn(port: int, metrics: int) -> list[float]:
        found = []
        for file in files:
            asked, missed, known = bench.cluster.asked.total(), bench.upstream.asked, len(bench.cluster.asked)
            await asyncio.to_thread(ask_once, port, file)
            asked = bench.cluster.asked.total() - asked
            again = asked - (len(bench.cluster.asked) - known)
            found += [asked, bench.upstream.asked - missed, again]
        return [1000 * value / count for value in found]

    ours = await bench.with_server(STANZA, turn)
    cache = await bench.with_server("    cache\n", turn)
    first = 1000 * len(seen[-1] - seen[-2]) / count
    what, rest = f"Zipf over {POPULATION:,} names, {count:,} queries", "default cache's misses"
    return [
        Result(f"{what} from an empty cache: asked of the cluster", "a thousand", [ours[0]], rest, [cache[1]]),
        Result(f"{what} from an empty cache: {rest}", "a thousand", [cache[1]]),
        Result(
            f"{what} after {WARM_UP * count:,}: asked of the cluster", "a thousand", [ours[6]], rest, [cache[7]],
            goal="0.25 of the misses",
        ),
        Result(f"{what} after {WARM_UP * count:,}: of these, asked before", "a thousand", [ours[8]]),
        Result(
            f"{what} after {WARM_UP * count:,}: names never seen before", "a thousand", [first],
            note="the least that any cache of verdicts can ask",
        ),
        Result(f"{what} after {WARM_UP * count:,}: {rest}", "a thousand", [cache[7]]),
    ]  # fmt: skip


async def equal(bench: Bench) -> list[Result]:
    """Questions for one new name that a thousand clients ask while its verdict is on the way."""

    async def turn(port: int, _: int) -> list[float]:
        (name,) = bench.fresh(1)
        clients = [Client() for _ in range(10)]
        for client in clients:
            await client.connect(port)
        asked, began = [], time.perf_counter()
        for number in range(100):  # not in one burst: a socket's buffer holds about 250
            asked += [asyncio.create_task(client.ask(number, name)) for client in clients]
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
        taken = await asyncio.gather(*asked)
        for client in clients:
            client.close()
        if None in taken:
            raise CannotCompare(f"{sum(t is None for t in taken)} of 1000 equal queries failed")
        if took >= bench.cluster.delay:
            raise CannotCompare(f"1000 queries took {took:.2f} s to send: the verdict came before the last")
        return [float(bench.cluster.asked[name])]

    asked = await bench.with_server(SLOW_STANZA, turn)
    return [Result("1,000 equal names at once", "questions", asked, goal="1")]


async def everything(folder: Path, quick: bool) -> list[Result]:
    cluster, upstream = StubCluster(CLUSTER_S), Upstream(UPSTREAM_S)
    await cluster.start()
    await upstream.start()
    bench = Bench(folder, cluster, upstream)
    try:
        found = await unique(bench, 1 if quick else 7, 2.0 if quick else 5.0)
        found += await killed(bench, 1 if quick else 3, 4.0 if quick else 6.0)
        upstream.delay = 0.0  # from here on queries are counted, not timed
        cluster.delay = 3.0  # below the deadline of SLOW_STANZA
        found += await equal(bench)
        cluster.delay = CLUSTER_S
        found += await zipf(bench, 5_000 if quick else 50_000)
        return found + steady()
    finally:
        cluster.kill()
        upstream.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("plugin_waits_bench", __doc__, quick="one short pair")
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
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
