"""Ten times the load that the cluster can bear: what is still answered in time, what the rest is told, and memory.

    python -m loadtest.overload_bench [--quick] [--out FILE]

Callers ask in a closed loop with a budget. The peak is looked for first, with twice the callers until goodput rises no
more. Then as many, and ten times as many of two kinds, ask in turn: those who are refused come back as late as
Retry-After asks of them, as the plugin does, or after a tenth of a second, which is some ten times as many questions as
the cluster can answer. These and their refusals cost the machine as well; CPU seconds say what is left to the cluster.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import report_parser
from loadtest.cluster_bench import bodies
from loadtest.clusters import Running, running
from loadtest.frames import Outcome, closed_loop, patience, requests
from loadtest.processes import cpu_seconds, program, resident_below
from loadtest.stats import Report, Result, command_line, describe_machine, quantile

SIZE = 256  # names in a frame, the plugin's default
BUDGET_MS = 1000
TIMES = 10
FEWEST, MOST = 6, 48  # callers at the peak: ten times as many sockets are one process's work
PAUSE_S = 0.1
GOAL = "at least 0.95"
TOLD = {200, 429, 503, 504}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = report_parser("overload_bench", __doc__, quick="one short round")
    args = parser.parse_args(arguments)
    rounds, seconds = (1, 5.0) if args.quick else (6, 12.0)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cluster:
        results = measure(cluster, rounds, seconds)
    report = Report("Ten times too much", command_line(), results, describe_machine("ray", "tensorflow"))
    print(report.text())
    report.save(args.out)


class Seen(NamedTuple):
    """One load: what its callers saw, CPU seconds of the cluster and of the callers, and MiB that memory grew by."""

    outcome: Outcome
    cluster: float
    callers: float
    growth: float

    @property
    def good(self) -> float:
        return self.outcome.names_a_second

    @property
    def a_cpu_second(self) -> float:
        return self.outcome.names / self.cluster

    def share(self, *statuses: int) -> float:
        return sum(self.outcome.statuses[status] for status in statuses) / self.outcome.statuses.total()


def measure(cluster: Running, rounds: int, seconds: float) -> list[Result]:
    """Goodput at the peak and past it, in turn; what the refused were told and how soon; CPU seconds and memory."""
    asked = requests(list(bodies(SIZE)), token=cluster.resolver, budget_ms=BUDGET_MS)

    def load(callers: int, pause: float | None = None) -> Outcome:
        return closed_loop(cluster.address, asked, SIZE, callers, seconds, pause, patience(BUDGET_MS))

    load(FEWEST * TIMES)  # warm, and all buffers grown
    callers = peak(load)
    loads = [(callers, None), (callers * TIMES, None), (callers * TIMES, PAUSE_S)]
    found: list[list[Seen]] = [[] for _ in loads]
    for number in range(rounds):
        for which in range(len(loads))[:: 1 if number % 2 == 0 else -1]:
            found[which].append(seen(partial(load, *loads[which])))
            check(found[which][-1].outcome)
    best, *past = found
    results = [
        Result(f"goodput at the peak ({callers} callers)", "names/s", [one.good for one in best]),
        Result("the same", "names/CPU s", [one.a_cpu_second for one in best]),
    ]
    for kind, seens in zip(("who heed Retry-After", f"back after {PAUSE_S} s"), past, strict=True):
        results += rows(f"{TIMES} times the callers, {kind}", seens, best)
    return results


def seen(load: Callable[[], Outcome]) -> Seen:
    """Run one load and note what it cost this process and the cluster, which is below it."""
    pid = os.getpid()
    memory, all_before, own_before = _memory(), cpu_seconds(pid), time.process_time()
    outcome = load()
    own = time.process_time() - own_before
    return Seen(outcome, cpu_seconds(pid) - all_before - own, own, (_memory() - memory) / 2**20)


def _memory() -> int:
    """Resident bytes of the cluster, without this process and its callers' buffers."""
    return sum(resident_below(os.getpid()).values())


def rows(what: str, past: Sequence[Seen], best: Sequence[Seen]) -> list[Result]:
    """The figures of one kind of callers; no quantile of refusals where no run refused anybody, none of good answers
    where none gave one."""
    outcomes = [one.outcome for one in past]
    refused = [1000 * quantile(outcome.refusals, 0.99) for outcome in outcomes if outcome.refusals]
    good = [1000 * outcome.latency(0.99) for outcome in outcomes if outcome.latencies]
    rate, cost = [one.good for one in best], [one.a_cpu_second for one in best]
    return [
        Result(f"{what}: goodput", "names/s", [one.good for one in past], "the peak", rate, GOAL),
        Result(f"{what}: the same", "names/CPU s", [one.a_cpu_second for one in past], "the peak", cost),
        Result(f"{what}: questions", "1/s", [one.outcome.statuses.total() / one.outcome.seconds for one in past]),
        Result(f"{what}: share refused (429, 503)", "of answers", [one.share(429, 503) for one in past]),
        Result(f"{what}: share expired (504)", "of answers", [one.share(504) for one in past]),
        *([Result(f"{what}: p99 of refusals", "ms", refused, goal="at once")] if refused else []),
        *([Result(f"{what}: p99 of good answers", "ms", good)] if good else []),
        Result(f"{what}: they themselves", "cores", [one.callers / one.outcome.seconds for one in past]),
        Result(f"{what}: growth of memory", "MiB", [one.growth for one in past], goal="none that lasts"),
    ]


def peak(load: Callable[[int], Outcome]) -> int:
    """The number of callers at which goodput is highest: doubled until it rises no more."""
    callers, found = FEWEST, load(FEWEST).names_a_second
    while callers < MOST and (more := load(callers * 2).names_a_second) > found:
        callers, found = callers * 2, more
    return callers


def check(outcome: Outcome) -> None:
    """Every answer must be one of those that the contract knows, a refusal say when, and no connection break."""
    if outcome.lost or not set(outcome.statuses) <= TOLD:
        raise SystemExit(f"{outcome.account()}; expected {sorted(TOLD)} alone")
    if outcome.unguided:
        raise SystemExit(f"{outcome.unguided} of {len(outcome.refusals)} refusals without Retry-After")


if __name__ == "__main__":
    program(main)
