"""Verdict beside what people would pick instead: the same weights, the same names, two tables and a plot.

    python -m loadtest.peers [--quick] [--out FILE] [--plot FILE]

The peers run TensorFlow, compiled for each size; one more has our scorer in its place, so that it is seen what the
scorer does and what the serving costs. They run in build/peers, installed from locks/peers.txt. Every server has the
whole machine, one at a time, and is started anew in each of PASSES passes, every second one in the other order, so that
drift of the machine falls on all alike. The load driver takes part of the machine, and its CPU time is counted for
none. All of a server's processes are counted (but HAProxy's guard, a thousandth of a core), with what they do while
nobody asks (ours: Ray's and Serve's own, which look after replicas), which rows of its own tell.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from loadtest.arguments import report_parser, writable
from loadtest.cluster_bench import CONNECTIONS, bodies
from loadtest.frames import closed_loop, requests, steady
from loadtest.peers.servers import PEERS, Peer, python, serving
from loadtest.processes import cpu_seconds, program
from loadtest.stats import Report, Result, command_line, describe_machine

T = TypeVar("T")

FRAMES = (256, 1024)
PASSES = 3
ROUNDS = 2  # of a pass
OURS = "Verdict"
REST_S = 5.0  # a server at rest is watched
MAY_REFUSE = 0.5  # of a peer's questions, with 503 (BentoML does when a batch takes long): not counted, but told
GOALS = {256: 60, 1024: 100}  # times the best peer's single names, by verdicts a CPU second


class Rate(NamedTuple):
    """Verdicts by the clock and by the CPU time of the server's processes; the share of refused questions."""

    a_second: list[float]
    a_cpu_second: list[float]
    refused: list[float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything and print the two tables."""
    parser = report_parser("peers", __doc__, quick="one short run each")
    parser.add_argument("--plot", type=writable, metavar="FILE", help="where the plot goes (SVG or PNG)")
    args = parser.parse_args(arguments)
    passes, rounds, seconds = (1, 1, 3.0) if args.quick else (PASSES, ROUNDS, 6.0)
    python()
    found: dict[tuple[str, int], Rate] = {}
    resting: dict[str, list[float]] = {}
    for peer in in_turn((None, *PEERS), passes):
        print(f"measuring {peer.name if peer else OURS}", file=sys.stderr, flush=True)
        measure(peer, rounds, seconds, found, resting)
    rest = [Result(f"at rest: {name}", "CPU ms/s", values) for name, values in resting.items()]
    results = [*singles(found), *frames(found), *rest]
    plots = [str(args.plot)] if args.plot else []
    if args.plot:
        plot(found, args.plot)
    notes = [
        f"Every server was started anew in each of {passes} passes, every second one in the other order, and measured "
        f"{rounds} times in each: the pairs of a ratio are of one pass."
    ]
    machine = describe_machine("ray", "tensorflow")
    report = Report("Beside other servers", command_line(), results, machine, notes, plots)
    print(report.text())
    report.save(args.out)


def in_turn(servers: Sequence[T], passes: int) -> Iterator[T]:
    """All servers in each pass, every second one backwards."""
    for number in range(passes):
        yield from servers[:: 1 if number % 2 == 0 else -1]


def measure(
    peer: Peer | None,
    rounds: int,
    seconds: float,
    found: dict[tuple[str, int], Rate],
    resting: dict[str, list[float]],
) -> None:
    """Start a peer, or for None our cluster, and add what a pass of it gives."""
    if peer is None:
        with verdict() as (port, pid, token):
            resting.setdefault(OURS, []).extend(at_rest(pid, rounds))
            for size in FRAMES:
                made = found.setdefault((OURS, size), Rate([], [], []))
                rate(made, ("127.0.0.1", port), "/v1/verdicts", token, pid, size, rounds, seconds, may_refuse=0.0)
        return
    with serving(peer) as (port, pid):
        resting.setdefault(peer.name, []).extend(at_rest(pid, rounds))
        for size in (1, *FRAMES) if peer.frames else (1,):
            made = found.setdefault((peer.name, size), Rate([], [], []))
            # One that takes seconds a question: with more than one at a time a round would end before its first answer.
            slow = {} if peer.frames else {"connections": 1}
            rate(made, ("127.0.0.1", port), "/name", "", pid, size, rounds, seconds * (5 if slow else 1), **slow)


def rate(
    made: Rate,
    address: tuple[str, int],
    path: str,
    token: str,
    pid: int,
    size: int,
    rounds: int,
    seconds: float,
    connections: int | None = None,
    may_refuse: float = MAY_REFUSE,
) -> None:
    """Add rates in a closed loop of the questions that were answered; at most `may_refuse` of them may be refused."""
    asked = requests(list(bodies(size)), path, token)
    connections = connections or CONNECTIONS[size]
    closed_loop(address, asked, size, connections, 1.0)  # warm: first batches, first connections
    for _ in range(rounds):
        before = cpu_seconds(pid)
        outcome = closed_loop(address, asked, size, connections, seconds, lost_s=steady(seconds))
        refused = outcome.statuses[503] / max(1, outcome.statuses.total())
        if set(outcome.statuses) - {200, 503} or not outcome.names or outcome.lost or refused > may_refuse:
            raise SystemExit(
                f"{path} at {size}: {outcome.account()}; expected 200 alone, or 503 for at most {may_refuse:.0%}"
            )
        made.refused.append(refused)
        made.a_second.append(outcome.names_a_second)
        made.a_cpu_second.append(outcome.names / (cpu_seconds(pid) - before))


def at_rest(pid: int, rounds: int) -> list[float]:
    """CPU milliseconds a second of a server that nobody asks."""
    used = []
    for _ in range(rounds):
        before, began = cpu_seconds(pid), time.perf_counter()
        time.sleep(REST_S)
        used.append(1000 * (cpu_seconds(pid) - before) / (time.perf_counter() - began))
    return used


@contextmanager
def verdict() -> Iterator[tuple[int, int, str]]:
    """Our cluster in a process of its own: port, process number, a resolver's token."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "loadtest.clusters", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                line = next((line for line in process.stdout if line.startswith("{")), "")
                if not line:
                    raise SystemExit("the cluster did not start; its reason stands above")
                body = json.loads(line)
                yield body["port"], process.pid, body["resolver"]
            finally:
                process.stdin.close()
                process.wait(60)


def singles(found: dict[tuple[str, int], Rate]) -> list[Result]:
    """Single names, each server as its users use it, against ours through frames."""
    alone = {name: made.a_cpu_second for (name, size), made in found.items() if size == 1}
    best = best_of(alone)
    rows = [
        Result(f"one name a request: {name}", "verdicts/CPU s", values, note=refusals(found[name, 1]))
        for name, values in alone.items()
    ]
    for size in FRAMES:
        goal = f"{GOALS[size]} times the best"
        values = found[OURS, size].a_cpu_second
        rows.append(Result(f"frames of {size}: {OURS}", "verdicts/CPU s", values, best, alone[best], goal))
    return rows


def frames(found: dict[tuple[str, int], Rate]) -> list[Result]:
    """The same frames for all."""
    rows = []
    for size in FRAMES:
        for unit, pick in (("verdicts/s", 0), ("verdicts/CPU s", 1)):
            peers = {name: made[pick] for (name, n), made in found.items() if n == size and name != OURS}
            best = best_of(peers)
            rows += [
                Result(f"frames of {size}: {name}", unit, values, note=refusals(found[name, size]))
                for name, values in peers.items()
            ]
            goal = "ahead of the best"
            rows.append(Result(f"frames of {size}: {OURS}", unit, found[OURS, size][pick], best, peers[best], goal))
    return rows


def best_of(rates: dict[str, list[float]]) -> str:
    """The peer of the highest median, of those that people could pick: they have no scorer of ours."""
    picked = {peer.name for peer in PEERS if not peer.scorer}
    return max((name for name in rates if name in picked), key=lambda name: statistics.median(rates[name]))


def refusals(made: Rate) -> str:
    """A note, where there were some."""
    share = statistics.mean(made.refused)
    return f"{share:.2%} of its questions refused" if share else ""


def plot(found: dict[tuple[str, int], Rate], file: Path) -> None:
    """Verdicts a CPU second, by server and frame, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.4 * len(found) + 1.2), layout="constrained")
    axes = figure.subplots()
    labels = [f"{name.partition(' (')[0]}, {'one name' if size == 1 else f'frames of {size}'}" for name, size in found]
    axes.barh(labels, [statistics.median(made.a_cpu_second) for made in found.values()])
    axes.set_xscale("log")
    axes.set_xlabel("verdicts a CPU second")
    axes.invert_yaxis()
    figure.savefig(file)


if __name__ == "__main__":
    program(main)
