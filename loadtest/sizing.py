"""From clients to replicas: how many names a second a network asks the cluster for, and what that takes.

    verdict bench size --clients 1000000
    verdict bench size --queries-per-second 22000000 --new 0.02 --resolvers 3000
    python -m loadtest.sizing --write          the table of docs/sizing.md anew, from the present benchmarks

Every cost comes from the reports in docs/benchmarks/, measured on the machine that they name; where yours differs,
measure there (`make bench ARGS="--only cluster,plugin,model,log"`) and ask again. docs/sizing.md has the other sources.
"""

import argparse
import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import count, positive, share
from loadtest.processes import program
from loadtest.profiles import HOURLY
from loadtest.stats import Report, number, table

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "sizing.md"
BEGIN, END = "<!-- from loadtest/sizing.py: begin -->\n", "<!-- from loadtest/sizing.py: end -->\n"

DAY_S = 86_400
QUERIES_A_DAY = 3000.0  # of one client
NEW = 0.05  # share of queries whose name is in no verdict cache because nobody asked it lately
REPEATED = (
    0.0026  # share of the others that a warm cache still asks for, at 100 queries a second (BenchmarkSteadyState)
)
BURST = 1.5  # seconds above the busiest hour's mean
BUSY = 0.6  # of a core or a GPU that may be used at the peak; the rest is for the loss of a part
MODEL, MEASURED = "segments-2026-11h", "seed-2020"  # what serves, and what the cluster's benchmark ran
TRAFFIC = "5 % new"  # of the plugin's benchmark: as many new names as NEW
FRESH, FRESH_SHARE = "new names", 0.95  # the same of nearly all of them
SIZES = (1, 64, 256)  # names in a frame; the plugin's default holds no more than the last
NEEDED = ("cluster", "plugin", "model", "log")  # reports
WAIT_S = 0.005  # that a frame waits for names while another is on its way, the plugin's default
RESOLVER_CORES = 8  # of one CoreDNS, whose frames hold its own names alone
SPARE = 1  # replicas more than the load needs, so that one may die


class Load(NamedTuple):
    """What a network asks."""

    queries: float  # a second, mean
    peak: float  # queries a second in the busiest seconds
    names: float  # a second at the peak that reach the cluster


class Costs(NamedTuple):
    """Core seconds of one query in CoreDNS, of a frame on its way through the cluster by its number of names, and of a
    name in the network; octets of a record in Elasticsearch. `fresh`: what a query takes more where all are for new
    names, by the share above NEW."""

    query: float
    frames: dict[int, float]
    network: float
    record: float
    fresh: float = 0.0

    def path(self, names: float) -> float:
        """Of one name in a frame of so many."""
        sizes = sorted(self.frames)
        names = min(max(names, sizes[0]), sizes[-1])
        low, high = next(pair for pair in itertools.pairwise(sizes) if names <= pair[1])
        part = (names - low) / (high - low)
        return (self.frames[low] + part * (self.frames[high] - self.frames[low])) / names


class Need(NamedTuple):
    """What it takes. With GPUs the network's work is theirs and `cores` are those of the path."""

    load: Load
    frame: float  # names
    resolver_cores: int
    cores: int
    gpus: int
    rows_a_day: float
    octets_a_day: float  # of one copy

    def row(self, name: str) -> dict[str, str]:
        return {
            "network": name,
            "queries/s, mean": number(self.load.queries),
            "queries/s, peak": number(self.load.peak),
            "names/s asked, peak": number(self.load.names),
            "names a frame": number(self.frame),
            "cores of resolvers": f"{self.resolver_cores:,}",
            "cores of the cluster": f"{self.cores:,}",
            "GPUs": f"{self.gpus:,}" if self.gpus else "none",
            "log a day of queries, at most": f"{number(self.rows_a_day)} rows, {number(self.octets_a_day / 1e9)} GB",
        }


def load_of(
    clients: float = 0, queries_a_day: float = QUERIES_A_DAY, new: float = NEW, queries_a_second: float | None = None
) -> Load:
    """The load of this many clients, or of this many queries a second."""
    mean = clients * queries_a_day / DAY_S if queries_a_second is None else queries_a_second
    peak = mean * max(HOURLY) * BURST
    return Load(mean, peak, peak * (new + (1 - new) * REPEATED))


def costs(reports: Path = REPORTS) -> Costs:
    """What the reports measured. The cluster's shares its cores with the load driver, so this is on the safe side."""
    cluster, plugin, model, log = (Report.load(reports / f"{name}.json") for name in NEEDED)
    measured = 1 / _median(model, f"{MEASURED}, batch of {SIZES[-1]}", "names/s")
    served = 1 / _median(model, f"{MODEL}, batch of {SIZES[-1]}", "names/s")
    cores = int(cluster.machine["cores"])  # all of them worked on it
    frames = {}
    for size in SIZES:
        whole = cores / _median(cluster, f"frames of {size}: the cluster", "names/s")
        frames[size] = size * max(0.0, whole - measured)
    query = _median(plugin, f"{TRAFFIC}, with verdict", "CPU us/query") / 1e6
    fresh = max(0.0, _median(plugin, f"{FRESH}, with verdict", "CPU us/query") / 1e6 - query) / (FRESH_SHARE - NEW)
    return Costs(query, frames, served, _median(log, "the log's mapping", "octets/row"), fresh)


def need(load: Load, cost: Costs, gpu_names: float = 0.0, resolvers: int = 0) -> Need:
    """What this load takes; `gpu_names` a second of one GPU, 0 for none; `resolvers`: processes of CoreDNS, 0 for one a
    RESOLVER_CORES of theirs."""
    new = min(1.0, (load.names / load.peak - REPEATED) / (1 - REPEATED))
    a_query = cost.query + cost.fresh * max(0.0, new - NEW)
    resolver_cores = max(1, math.ceil(load.peak * a_query / BUSY))
    own = load.names / (resolvers or math.ceil(resolver_cores / RESOLVER_CORES))  # names a second of one resolver
    frame = min(max(1.0, own * WAIT_S), SIZES[-1])
    a_name = cost.path(frame) + (0 if gpu_names else cost.network)
    gpus = math.ceil(load.names / (gpu_names * BUSY)) + SPARE if gpu_names else 0
    return Need(
        load,
        frame,
        resolver_cores,
        max(2, math.ceil(load.names * a_name / BUSY) + SPARE),
        gpus,
        load.queries * DAY_S,
        load.queries * DAY_S * cost.record,
    )


def page_table(cost: Costs) -> str:
    """The four networks of docs/sizing.md."""
    networks = [
        ("10 thousand clients", load_of(10_000)),
        ("1 million clients", load_of(1_000_000)),
        ("100 million clients", load_of(100_000_000)),
        ("a public resolver, 1.9 trillion queries a day", load_of(queries_a_second=1.9e12 / DAY_S)),
    ]
    costed = (
        f"Costs: {cost.query * 1e6:.0f} us of a core a query in CoreDNS; {_costs(cost.frames)} on its way through the "
        f"cluster; {cost.network * 1e6:.0f} us a name in `{MODEL}` on a CPU; {cost.record:.0f} octets a record.\n"
    )
    return table([need(load, cost).row(name) for name, load in networks]) + "\n\n" + costed


def _costs(frames: dict[int, float]) -> str:
    return ", ".join(f"{seconds * 1e3:.1f} ms a frame of {size}" for size, seconds in frames.items())


def write(page: Path = PAGE, reports: Path = REPORTS) -> None:
    """Put the table of the present reports into the page."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"{page}: expected the lines {BEGIN.strip()!r} and {END.strip()!r}")
    page.write_text(head + BEGIN + "\n" + page_table(costs(reports)) + "\n" + END + tail, encoding="utf-8")


def _median(report: Report, name: str, unit: str) -> float:
    for result in report.results:
        if (result.name, result.unit) == (name, unit):
            return statistics.median(result.values)
    raise ValueError(f"report {report.title!r}: no result {name!r} in {unit}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what a network takes."""
    parser = argparse.ArgumentParser(
        prog="verdict bench size", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked = parser.add_mutually_exclusive_group()
    default = "(default: %(default)s)"
    asked.add_argument("--clients", type=positive, default=10_000, help=f"people or devices that ask {default}")
    asked.add_argument("--queries-per-second", type=positive, help="mean of the whole network, instead of clients")
    parser.add_argument("--queries-per-day", type=positive, default=QUERIES_A_DAY, help=f"of one client {default}")
    parser.add_argument(
        "--new", type=share, default=NEW, help=f"share of queries for names nobody asked lately {default}"
    )
    parser.add_argument(
        "--resolvers", type=count, default=0, help="processes of CoreDNS (default: one for 8 cores of theirs)"
    )
    parser.add_argument(
        "--gpu-names", type=positive, default=0.0, help="names a second of one GPU, as measured (default: no GPU)"
    )
    parser.add_argument("--write", action="store_true", help="write the table of docs/sizing.md anew instead")
    given = parser.parse_args(arguments)
    if given.write:
        write()
        return
    load = load_of(given.clients, given.queries_per_day, given.new, given.queries_per_second)
    for what, value in need(load, costs(), given.gpu_names, given.resolvers).row("").items():
        if value:
            print(f"{what:32}{value}")


if __name__ == "__main__":
    program(main)
