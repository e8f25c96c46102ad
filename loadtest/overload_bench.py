"""Ten times the load that the cluster can bear: what is still answered in time, what the rest is told, and memory.

    python -m loadtest.overload_bench [--quick] [--out FILE]

Callers ask in a closed loop with a budget; a caller that is refused waits a tenth of a second, less than Retry-After
asks of it. The peak is looked for first, with twice the callers until goodput rises no more; then as many and ten times
as many ask in ABBA order.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.cluster_bench import CONNECTIONS, bodies
from loadtest.clusters import Running, running
from loadtest.frames import Outcome, closed_loop, requests
from loadtest.processes import resident_bytes
from loadtest.stats import Report, Result, command_line, compare, describe_machine, quantile

SIZE = 256  # names in a frame, the plugin's default
BUDGET_MS = 1000
TIMES = 10
MOST = 48  # callers at the peak: ten times as many sockets are one process's work
PAUSE_S = 0.1
TOLD = {200, 429, 503, 504}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--out", type=Path, help="where the report goes, as JSON")
    args = parser.parse_args(arguments)
    rounds, seconds = (1, 5.0) if args.quick else (5, 15.0)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cluster:
        results = measure(cluster, rounds, seconds)
    report = Report("Ten times too much", command_line(), results, describe_machine("ray", "tensorflow"))
    report.save(args.out)
    print(report.text())


def measure(cluster: Running, rounds: int, seconds: float) -> list[Result]:
    """Goodput at the peak and past it, in turn; what the refused were told and how soon; memory."""
    asked = requests(list(bodies(SIZE)), token=cluster.resolver, budget_ms=BUDGET_MS)

    def load(callers: int) -> Outcome:
        return closed_loop(cluster.address, asked, SIZE, callers, seconds, PAUSE_S)

    load(CONNECTIONS[SIZE] * TIMES)  # warm, and all buffers grown
    callers = peak(load)
    growth: list[float] = []

    def past() -> Outcome:
        before = resident_bytes(os.getpid())
        outcome = load(callers * TIMES)
        growth.append((resident_bytes(os.getpid()) - before) / 2**20)
        return outcome

    peaks, pasts = compare(lambda: load(callers), past, rounds)
    refused = [len(outcome.refusals) / outcome.statuses.total() for outcome in pasts]
    for outcome in (*peaks, *pasts):
        check(outcome)
    good = [outcome.names_a_second for outcome in pasts]
    best = [outcome.names_a_second for outcome in peaks]
    return [
        Result(f"goodput at the peak ({callers} callers)", "names/s", best),
        Result(f"goodput at {TIMES} times the callers", "names/s", good, "the peak", best, "at least 0.95"),
        Result("share refused (429, 503)", "of answers", refused),
        Result("share expired (504)", "of answers", [o.statuses[504] / o.statuses.total() for o in pasts]),
        Result(
            "p99 of refusals", "ms", [1000 * quantile(o.refusals, 0.99) for o in pasts if o.refusals], goal="at once"
        ),
        Result("p99 of good answers past saturation", "ms", [1000 * outcome.latency(0.99) for outcome in pasts]),
        Result("growth of memory past saturation", "MiB", growth, goal="none that lasts"),
    ]


def peak(load: Callable[[int], Outcome]) -> int:
    """The number of callers at which goodput is highest: doubled until it rises no more."""
    callers, found = CONNECTIONS[SIZE], load(CONNECTIONS[SIZE]).names_a_second
    while callers < MOST and (more := load(callers * 2).names_a_second) > found:
        callers, found = callers * 2, more
    return callers


def check(outcome: Outcome) -> None:
    """Every answer must be one of those that the contract knows, a refusal say when, and no connection break."""
    if outcome.lost or not set(outcome.statuses) <= TOLD:
        raise SystemExit(f"{dict(outcome.statuses)}, {outcome.lost} connections lost; expected {sorted(TOLD)} alone")
    if outcome.unguided:
        raise SystemExit(f"{outcome.unguided} of {len(outcome.refusals)} refusals without Retry-After")


if __name__ == "__main__":
    main()
