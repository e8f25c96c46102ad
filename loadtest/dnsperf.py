"""dnsperf as `loadtest.compare` runs it: what is asked, how a run is started, and its report read."""

import itertools
import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtest.judging import FAILED_RCODES

TIMEOUT_S = 2


class CannotCompare(Exception):
    """A server that does not start, or no dnsperf; the message says which and why."""


@dataclass(frozen=True)
class Plan:
    """How a turn is measured. `queries_file` is in dnsperf's form."""

    queries_file: Path
    seconds: float = 5.0  # of the closed loop, in slices
    latency_s: float = 1.0  # of the open loop
    rate: int = 2000  # queries a second of the latency run
    clients: int = 20
    warm_s: float = 2.0  # of the same queries before anything is measured
    once: Path | None = None  # queries that are each asked once instead, so that all of them are known
    # Instead of `queries_file`, for traffic that goes on: dnsperf begins its file anew at each start, and what is asked
    # again is not new. The first part warms, then each run asks the next one, once at most.
    parts: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def runs(self) -> "Iterator[Plan]":
        """The plan of each run of dnsperf against one server, in their order."""
        if not self.parts:
            return itertools.repeat(self)
        return (replace(self, queries_file=part) for part in self.parts)


def warm(port: int, plan: Plan) -> None:
    """Ask before it counts."""
    if plan.once is None:
        dnsperf(port, plan, seconds=plan.warm_s)
        return
    ask_once(port, plan.once)


def ask_once(port: int, file: Path) -> None:
    """Ask each query of the file once. Raises `CannotCompare` where one was not answered."""
    patient = ["-n", "1", "-c", "20", "-q", "100", "-t", "10"]  # a busy machine stands still for seconds
    figures = parse_dnsperf(_dnsperf(port, Plan(file, seconds=240.0), patient))
    if figures["lost"]:
        raise CannotCompare(f"{figures['lost']:.0f} queries of {file.name} were not answered")


def dnsperf(port: int, plan: Plan, seconds: float) -> dict[str, float]:
    """A closed-loop run: queries sent, completed, of these failed, and lost, and its seconds."""
    text = _dnsperf(port, plan, ["-l", f"{seconds:g}", "-c", str(plan.clients), "-q", "100"])
    return parse_dnsperf(text)


def latencies(port: int, plan: Plan) -> list[float]:
    """The latency of each query of an open-loop run at the plan's rate, in seconds; TIMEOUT_S of one that was lost.

    As many may be unanswered as the timeout lets pile up: with dnsperf's own limit of 100 it would ask nothing while a
    server stands still, and so never see how long those would have waited.
    """
    waiting = str(max(100, math.ceil(plan.rate * TIMEOUT_S)))
    options = ["-v", "-l", f"{plan.latency_s:g}", "-c", str(plan.clients), "-Q", str(plan.rate), "-q", waiting]
    return parse_latencies(_dnsperf(port, plan, options))


def parse_latencies(text: str) -> list[float]:
    """The latencies that dnsperf's `-v` tells, in seconds."""
    found = re.finditer(r"^> (?:T|\S+ \S+ \S+ ([0-9.]+))", text, re.MULTILINE)
    return [float(match[1] or TIMEOUT_S) for match in found]


def parse_dnsperf(text: str) -> dict[str, float]:
    """The figures of dnsperf's closing report."""
    wanted = {
        "sent": r"Queries sent:\s+(\d+)",
        "completed": r"Queries completed:\s+(\d+)",
        "lost": r"Queries lost:\s+(\d+)",
        "seconds": r"Run time \(s\):\s+([0-9.]+)",
    }
    found = {name: re.search(pattern, text) for name, pattern in wanted.items()}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise CannotCompare(f"dnsperf did not say {', '.join(missing)}:\n{text[-2000:]}")
    codes = re.search(r"Response codes:(.*)", text)
    failed = sum(int(n) for code, n in re.findall(r"(\w+) (\d+)", codes[1] if codes else "") if code in FAILED_RCODES)
    return {name: float(match[1]) for name, match in found.items() if match is not None} | {"failed": failed}


def _dnsperf(port: int, plan: Plan, options: list[str]) -> str:
    program = shutil.which("dnsperf")
    if program is None:
        raise CannotCompare("dnsperf is not installed (Debian: apt install dnsperf)")
    arguments = [
        *pinned(1), program, "-s", "127.0.0.1", "-p", str(port), "-d", str(plan.queries_file), "-t", str(TIMEOUT_S),
        "-e", *(["-n", "1"] if plan.parts else []),
    ]  # fmt: skip
    done = subprocess.run([*arguments, "-W", *options], capture_output=True, text=True, timeout=plan.seconds + 60)
    if done.returncode != 0:
        raise CannotCompare(f"{shlex.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def pinned(core: int) -> list[str]:
    """What a command begins with to run on one core; nothing where there is but one, or no taskset."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] if len(cores) > 1 and shutil.which("taskset") else []
