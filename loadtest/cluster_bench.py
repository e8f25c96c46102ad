"""Names a second through the cluster, beside a no-op graph of the same shape and the network alone, in one run.

    python -m loadtest.cluster_bench [--quick] [--out FILE]

The network runs in a process of its own with all cores, on rows that are encoded already: raw as TensorFlow computes
it, and by the scorer, which has LiteRT compute what that does faster, on one core. Each round measures the four in
turn, and the next round in the other order. Before the first round of each size both graphs are asked on as many
connections, which does not count: a fresh cluster compiles, and grows its buffers.
"""

import json
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from loadtest.arguments import report_parser
from loadtest.clusters import Running, running
from loadtest.frames import Outcome, closed_loop, requests, steady
from loadtest.populations import benign_names
from loadtest.processes import program
from loadtest.stats import Report, Result, command_line, describe_machine

SIZES = (1, 64, 256, 1024)
# Fewer leave stages idle: with 6 for frames of 256 the cluster used 1.2 of two cores, the no-op graph 1.7. More than
# 100 some of the peers do not take.
CONNECTIONS = {1: 64, 64: 64, 256: 24, 1024: 8}
GOALS = {256: 1.2, 1024: 1.1}
IDLE_GOAL = 1.3
IDLE_S = 2.0
WARM_S = 2.0
RAW, SCORER, NOOP, WHOLE = "raw network", "scorer alone", "no-op graph", "the cluster"
PATHS = {NOOP: "/noop/v1/verdicts", WHOLE: "/v1/verdicts"}
SEED_WIDTH = 256  # octets of a row of the seed network


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = report_parser("cluster_bench", __doc__, quick="one short round")
    args = parser.parse_args(arguments)
    rounds, seconds = (1, 2.0) if args.quick else (6, 3.0)
    frames = {size: list(bodies(size)) for size in SIZES}
    with tempfile.TemporaryDirectory() as folder, network_alone() as alone:
        with running(Path(folder), noop_width=SEED_WIDTH) as cluster:
            results = measure(frames, alone, cluster, rounds, seconds)
    machine = describe_machine("ray", "tensorflow")
    notes = [f"Frames of {size:,} came on {count} connections at one time." for size, count in CONNECTIONS.items()]
    notes.append("The no-op graph makes a call for each frame, the cluster one for frames that come together.")
    report = Report("Names through the cluster", command_line(), results, machine, notes)
    print(report.text())
    report.save(args.out)


def bodies(size: int) -> Iterator[bytes]:
    """Bodies of frames of distinct names."""
    names = benign_names(max(size * 8, 1024), seed=5)
    for start in range(0, len(names) - size + 1, size):
        yield json.dumps({"names": names[start : start + size]}).encode()


def measure(
    frames: dict[int, list[bytes]],
    alone: Callable[[str, int, float], float],
    cluster: Running,
    rounds: int,
    seconds: float,
) -> list[Result]:
    """All figures. `alone(RAW or SCORER, size, seconds)` gives names a second."""
    results = []
    for size, made in frames.items():
        for path in PATHS.values():  # whatever the first are told
            closed_loop(cluster.address, requests(made, path, cluster.resolver), size, CONNECTIONS[size], WARM_S)
        found: dict[str, list[float]] = {RAW: [], SCORER: [], NOOP: [], WHOLE: []}
        for number in range(rounds):
            for which in list(found)[:: 1 if number % 2 == 0 else -1]:
                if which in (RAW, SCORER):
                    found[which].append(alone(which, size, seconds / 2))
                else:
                    asked = requests(made, PATHS[which], cluster.resolver)
                    outcome = run(cluster.address, asked, size, CONNECTIONS[size], seconds)
                    found[which].append(outcome.names_a_second)
        results += _throughput(size, found)
    return results + _idle(frames[1], cluster, rounds)


def run(address: tuple[str, int], asked: Sequence[bytes], size: int, connections: int, seconds: float) -> Outcome:
    """A closed loop that must see answers only; a question that is open for `steady` seconds at its end is lost."""
    outcome = closed_loop(address, asked, size, connections, seconds, lost_s=steady(seconds))
    if set(outcome.statuses) != {200} or outcome.lost:
        raise SystemExit(f"frames of {size}: {outcome.account()}; expected 200 alone")
    return outcome


def _throughput(size: int, found: dict[str, list[float]]) -> list[Result]:
    goal = f"at most {GOALS[size]}" if size in GOALS else ""
    return [
        *(Result(f"frames of {size}: {which}", "names/s", found[which]) for which in (RAW, SCORER, NOOP)),
        Result(f"frames of {size}: {WHOLE}", "names/s", found[WHOLE], "the no-op graph", found[NOOP]),
        Result(f"frames of {size}: cost against no-op + raw", "times", _cost(found, RAW), goal=goal),
        Result(f"frames of {size}: cost against no-op + scorer", "times", _cost(found, SCORER)),
    ]


def _cost(found: dict[str, list[float]], network: str) -> list[float]:
    """What a name costs as a multiple of the no-op graph's and the network's together, round by round."""
    rounds = zip(found[NOOP], found[network], found[WHOLE], strict=True)
    return [1 / (1 / noop + 1 / alone) / whole for noop, alone, whole in rounds]


def _idle(made: list[bytes], cluster: Running, rounds: int) -> list[Result]:
    """The latency of one question at a time on an idle cluster, in turn through both graphs."""
    latencies: dict[str, list[float]] = {which: [] for which in PATHS}
    for number in range(rounds):
        for which in list(PATHS)[:: 1 if number % 2 == 0 else -1]:
            outcome = run(cluster.address, requests(made, PATHS[which], cluster.resolver), 1, 1, IDLE_S)
            latencies[which].append(1000 * outcome.latency(0.5))
    noop, whole = latencies[NOOP], latencies[WHOLE]
    return [
        Result("an idle single question: no-op graph, p50", "ms", noop),
        Result("an idle single question: the cluster, p50", "ms", whole, "no-op", noop, goal=f"at most {IDLE_GOAL}"),
    ]


@contextmanager
def network_alone() -> Iterator[Callable[[str, int, float], float]]:
    """The seed network in a process of its own; calls with RAW or SCORER, a size and seconds give names a second."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_alone, args=(there,), daemon=True)
    process.start()
    there.close()

    def rate(which: str, size: int, seconds: float) -> float:
        here.send((which, size, seconds))
        answer: float = here.recv()
        return answer

    try:
        yield rate
    finally:
        with suppress(OSError):  # it is gone
            here.send(None)
        process.join(10)


def _alone(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent's word comes
    from model.artifact import Artifact
    from model.registry import RELEASED
    from model.scorer import Scorer

    artifact = Artifact.load(RELEASED / "seed-2020")
    scorers = {RAW: Scorer(artifact, SIZES, by_lite=False), SCORER: Scorer(artifact, SIZES)}
    for scorer in scorers.values():
        scorer.warm_up()
    names = benign_names(1024, seed=5)
    while (wanted := pipe.recv()) is not None:
        which, size, seconds = wanted
        scorer = scorers[which]
        rows = scorer.encoding(names[:size])
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            scorer(rows)
            done += size
        pipe.send(done / (time.perf_counter() - began))


if __name__ == "__main__":
    program(main)
