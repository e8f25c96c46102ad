"""Compares two DNS servers, such as one CoreDNS with two Corefiles, with dnsperf in ABBA order.

    python -m loadtest.compare --coredns build/coredns bare.Corefile verdict.Corefile
    python -m loadtest.compare 'server-a --port {port}' 'server-b --port {port}'

Each pair starts both servers fresh, on free ports of 127.0.0.1 (`{port}` in a command; `-dns.port` and the environment
variable PORT for a Corefile), warms them with the same queries, then measures twice: closed loop for queries a second
and CPU seconds a query, the two in turns of half a second, so that what else the machine does falls on both alike; and
at `--rate` for latencies (open loop: asked whatever is unanswered still, and a lost query has waited for the timeout).
The servers run on one core and dnsperf on another, so that neither takes from the other; only one of the two is asked
at a time. Printed are medians, and B/A with a bootstrap interval over pairs; and, where there were any, the share of
answers that say that the server failed or refused, which take it less work than others.
"""

import itertools
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import count, positive, readable, report_parser
from loadtest.dns_load import write_queries
from loadtest.dnsperf import CannotCompare, Plan, dnsperf, latencies, pinned, warm
from loadtest.judging import FAILED_RCODES
from loadtest.processes import cpu_seconds, program, resident_bytes
from loadtest.profiles import Profile, flat
from loadtest.stats import Report, Result, abba, command_line, describe_machine, quantiles
from loadtest.traffic import queries
from serve_app.local.ports import free_port
from verdicts import dnswire

START_S = 30.0
SLICE_S = 0.5
QUANTILES = (0.5, 0.99, 0.999)
BUSY = 0.9  # share of its core that a server uses when it is what sets the rate
PER_CPU_SECOND = "queries/CPU s"


class Turn(NamedTuple):
    """What one turn measured: queries a second, CPU seconds a query, resident bytes, lost share, latencies (s), the
    share of the open loop's queries that dnsperf sent in its time, and of the closed loop's answers that are failures.
    """

    qps: float
    cpu_a_query: float
    resident: float
    lost: float
    latencies: dict[str, float]
    sent: float = 1.0
    failed: float = 0.0


def compare(a: str, b: str, plan: Plan, pairs: int, coredns: str = "coredns") -> tuple[list[Turn], list[Turn]]:
    """Measure `pairs` pairs of two servers; the one that starts first changes. Returns A's turns and B's."""
    found = [measure((a, b), plan, coredns, first) for first in itertools.islice(itertools.cycle("ABBA"), pairs)]
    return [one for one, _ in found], [other for _, other in found]


def measure(servers: tuple[str, str], plan: Plan, coredns: str = "coredns", first: str = "A") -> tuple[Turn, Turn]:
    """One pair: start both, warm both, measure them by turns, stop."""
    with ExitStack() as stack:
        order = (0, 1) if first == "A" else (1, 0)
        at = {i: stack.enter_context(running(command_of(servers[i], coredns), plan.environment)) for i in order}
        runs = (plan.runs(), plan.runs())
        for i in order:
            warm(at[i][0], next(runs[i]))
        closed: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for which in abba(max(1, round(plan.seconds / SLICE_S))):
            i = order["AB".index(which)]
            port, pid = at[i]
            before = cpu_seconds(pid)
            figures = dnsperf(port, next(runs[i]), seconds=min(SLICE_S, plan.seconds))
            closed[i].update(figures | {"cpu": cpu_seconds(pid) - before})
        for i in order:
            if not closed[i]["completed"]:
                raise CannotCompare(f"{servers[i]}: it answered none of {closed[i]['sent']:.0f} queries")
            if closed[i]["failed"] == closed[i]["completed"]:
                raise CannotCompare(f"{servers[i]}: it answered with {', '.join(sorted(FAILED_RCODES))} alone")
        resident = [resident_bytes(at[i][1]) for i in (0, 1)]
        opened = {i: latencies(at[i][0], next(runs[i])) for i in order}
    spread = {i: quantiles(waits, QUANTILES) for i, waits in opened.items()}
    due = plan.rate * plan.latency_s
    one, other = (
        Turn(
            c["completed"] / c["seconds"], c["cpu"] / c["completed"], resident[i], c["lost"] / c["sent"], spread[i],
            len(opened[i]) / due, c["failed"] / c["completed"],
        )
        for i, c in enumerate(closed)
    )  # fmt: skip
    return one, other


def command_of(server: str, coredns: str) -> str:
    """The command line of a server: a Corefile is run by CoreDNS, anything else is a command itself."""
    words = shlex.split(server)
    if not words or not (Path(server).is_file() or shutil.which(words[0])):
        raise CannotCompare(f"{server!r}: expected a Corefile, or a command with {{port}}")
    if Path(server).is_file() and not os.access(server, os.X_OK):
        return f"{shlex.quote(coredns)} -quiet -dns.port {{port}} -conf {shlex.quote(server)}"
    return server


@contextmanager
def running(command: str, environment: dict[str, str] | None = None, core: int = 0) -> Iterator[tuple[int, int]]:
    """A server on a free port, pinned to one core: yields (port, process id) once it answers DNS."""
    port = free_port()
    arguments = [*pinned(core), *(part.replace("{port}", str(port)) for part in shlex.split(command))]
    with tempfile.TemporaryFile() as said:
        environment = {**os.environ, "PORT": str(port), **(environment or {})}
        try:
            process = subprocess.Popen(arguments, stdout=said, stderr=subprocess.STDOUT, env=environment)
        except OSError as error:
            raise CannotCompare(f"{shlex.join(arguments)}: {error.strerror}") from error
        try:
            if not _answers(port, process):
                said.seek(0)
                tail = said.read()[-2000:].decode(errors="replace")
                ended = process.poll()
                why = f"no DNS answer within {START_S:.0f} s" if ended is None else f"ended with {ended}"
                raise CannotCompare(f"{shlex.join(arguments)}: {why}\n{tail}")
            yield port, process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def results(names: tuple[str, str], a: Sequence[Turn], b: Sequence[Turn]) -> list[Result]:
    """The turns as results: for each quantity A alone, then B with its ratio to A."""
    rows = []
    quantities = {
        "queries/s": [[t.qps for t in side] for side in (a, b)],
        "CPU us/query": [[t.cpu_a_query * 1e6 for t in side] for side in (a, b)],
        PER_CPU_SECOND: [[1 / t.cpu_a_query if t.cpu_a_query else 0.0 for t in side] for side in (a, b)],
        "MiB resident": [[t.resident / 2**20 for t in side] for side in (a, b)],
        "% lost": [[t.lost * 100 for t in side] for side in (a, b)],
    }
    for q in [*(f"p{q * 100:g}" for q in QUANTILES), "max"]:
        quantities[f"ms {q}"] = [[t.latencies[q] * 1e3 for t in side] for side in (a, b)]
    if any(turn.sent < BUSY for turn in (*a, *b)):
        quantities["% of the rate sent"] = [[t.sent * 100 for t in side] for side in (a, b)]
    if any(turn.failed for turn in (*a, *b)):
        quantities["% of answers failed or refused"] = [[t.failed * 100 for t in side] for side in (a, b)]
    for unit, (left, right) in quantities.items():
        notes = [_busy(side) if unit == "queries/s" else "" for side in (a, b)]
        rows.append(Result(names[0], unit, left, note=notes[0]))
        pair, against = (names[0], left) if all(left) else ("", [])
        rows.append(Result(names[1], unit, right, pair, against, note=notes[1]))
    return rows


def _busy(turns: Sequence[Turn]) -> str:
    """How busy the server was, and what that says of its queries a second."""
    share = statistics.median(turn.qps * turn.cpu_a_query for turn in turns)
    limited = "" if share >= BUSY else ": it could have answered more than dnsperf asked"
    return f"{share:.0%} of a core used{limited}"


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect(("127.0.0.1", port))
        while time.monotonic() < deadline and process.poll() is None:
            try:
                sock.send(dnswire.query(1, "example.org", "A"))
                sock.recv(4096)
                return True
            except TimeoutError:
                continue
            except OSError:  # nothing listens yet
                time.sleep(0.05)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the two servers of the command line."""
    parser = report_parser("compare", __doc__)
    parser.add_argument("a", help="a Corefile, or a command with {port}")
    parser.add_argument("b", help="likewise")
    parser.add_argument("--coredns", default="coredns", help="the CoreDNS that runs Corefiles (%(default)s)")
    parser.add_argument("--pairs", type=count, default=7, help="pairs of the two (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=5.0, help="of each run (%(default)s)")
    parser.add_argument("--rate", type=count, default=2000, help="queries a second of the latency run (%(default)s)")
    parser.add_argument("--queries", type=readable, metavar="FILE", help="in dnsperf's form (default: made traffic)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        file = options.queries or Path(scratch) / "queries.txt"
        if not options.queries:
            write_queries(str(file), itertools.islice(queries(flat(Profile(benign=20_000, infected=0))), 100_000))
        plan = Plan(file, options.seconds, rate=options.rate)
        try:
            a, b = compare(options.a, options.b, plan, options.pairs, options.coredns)
        except CannotCompare as error:
            print(error, file=sys.stderr)
            return 2
    names = (Path(options.a).name, Path(options.b).name)
    report = Report(" against ".join(names), command_line(), results(names, a, b), describe_machine())
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
