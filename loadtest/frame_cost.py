"""Where the processor time of a frame goes: by kind of process, in the cluster and in a no-op graph of its shape.

    python -m loadtest.frame_cost [--quick] [--out FILE]

The clocks of the processes are read before and after a closed loop; what they do in a spell without questions before it
is taken off. Each size of frame comes from few callers, so that a call between deployments holds few frames, and from
many. docs/tuning.md shows what comes of it.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.arguments import report_parser
from loadtest.cluster_bench import SEED_WIDTH, bodies, run
from loadtest.clusters import Running, running
from loadtest.frames import requests
from loadtest.processes import command_of, own_cpu_seconds, program
from loadtest.stats import Report, Result, command_line, describe_machine
from serve_app.descendants import descendants

LOADS = ((256, 6), (256, 24), (1024, 4), (1024, 8))  # names in a frame, callers
PATHS = {"the cluster": "/v1/verdicts", "no-op": "/noop/v1/verdicts"}
REPLICAS = ("Ingress", "Preprocessor", "Classifier")
HAPROXY, REST, ALL = "HAProxy", "Ray, Serve's controller and the rest", "all"
KINDS = (HAPROXY, *REPLICAS, REST, ALL)
REST_S = 5.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the report."""
    parser = report_parser("frame_cost", __doc__, quick="one short round")
    args = parser.parse_args(arguments)
    rounds, seconds = (1, 2.0) if args.quick else (5, 6.0)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), noop_width=SEED_WIDTH) as cluster:
        results = measure(cluster, rounds, seconds)
    report = Report("Where the time of a frame goes", command_line(), results, describe_machine("ray", "tensorflow"))
    print(report.text())
    report.save(args.out)


def measure(cluster: Running, rounds: int, seconds: float) -> list[Result]:
    """CPU milliseconds a frame by kind of process, through both graphs in turn."""
    results = []
    for size, callers in LOADS:
        asked = {which: requests(list(bodies(size)), path, cluster.resolver) for which, path in PATHS.items()}
        found: dict[str, list[dict[str, float]]] = {which: [] for which in PATHS}
        for number in range(-1, rounds):  # the first one warms
            for which in list(PATHS)[:: 1 if number % 2 == 0 else -1]:
                spent = a_frame(cluster, asked[which], size, callers, seconds)
                if number >= 0:
                    found[which].append(spent)
        results += [
            Result(f"{size} names, {callers} callers: {kind}{which}", "CPU ms/frame", [one[kind] for one in made])
            for kind in KINDS
            for which, made in zip(("", ", no-op graph"), found.values(), strict=True)
        ]
    return results


def a_frame(cluster: Running, asked: Sequence[bytes], size: int, callers: int, seconds: float) -> dict[str, float]:
    """CPU milliseconds of a frame by kind of process, without what they do at rest."""
    first, began = used(), time.perf_counter()
    time.sleep(REST_S)
    second, rested = used(), time.perf_counter() - began
    outcome = run(cluster.address, asked, size, callers, seconds)
    third = used()
    frames, idle = outcome.statuses[200], outcome.seconds / rested
    return {k: 1000 * (third[k] - second[k] - idle * (second[k] - first[k])) / frames for k in KINDS}


def used() -> dict[str, float]:
    """CPU seconds of the processes below this one, by kind."""
    found = dict.fromkeys(KINDS, 0.0)
    for pid in descendants(os.getpid()):
        spent = own_cpu_seconds(pid)
        for kind in (kind_of(command_of(pid)), ALL):
            found[kind] += spent
    return found


def kind_of(command: str) -> str:
    """What a process is by its title or command line: a replica of either graph, HAProxy, or the rest."""
    if "haproxy -" in command:
        return HAPROXY
    return next((kind for kind in REPLICAS if f":{kind}" in command or f":No{kind}" in command), REST)


if __name__ == "__main__":
    program(main)
