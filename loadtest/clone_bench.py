"""How long a new user waits: a fresh clone, an empty home and empty caches, then `make run` until the first verdict.

    python -m loadtest.clone_bench [--quick] [--out FILE]

What is committed is cloned. Nothing but Python, make and git is used of this machine: no Go, no cache, no settings but
those that reach a package registry (a proxy, an index, a certificate authority). It fetches about 700 MB each time.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.arguments import report_parser
from loadtest.judging import blocked
from loadtest.prober import ask
from loadtest.processes import program
from loadtest.rig import NotRunning, wait_until
from loadtest.stats import Report, Result, command_line, describe_machine
from serve_app.local.ports import free_port
from serve_app.local.prepare import BLOCKED

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 1800.0
REACH = re.compile(r"(?i)^(PIP|UV)_|_PROXY$|CERT|^GO(PROXY|SUMDB|NOSUMDB|PRIVATE)$|^LANG$")  # variables that are kept


def bare(environment: dict[str, str], home: Path) -> dict[str, str]:
    """The environment of a user who has Python, make and git, and whose home is empty."""
    path = [str(Path(sys.base_prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    kept = {name: value for name, value in environment.items() if REACH.search(name)}
    return {**kept, "HOME": str(home), "PATH": os.pathsep.join(path), "TERM": "dumb"}


def first_verdict(clone: Path, home: Path, log: Path) -> tuple[float, float]:
    """Seconds from `make run` until a listed name is blocked, and from Ctrl-C until all has ended."""
    dns, http, dashboard = free_port(), free_port(), free_port()
    ports = f"--upstream none --dns-port {dns} --http-port {http} --dashboard-port {dashboard}"
    begun = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["make", "run", f"ARGS={ports}"], cwd=clone, env=bare(dict(os.environ), home), stdout=said,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def ended() -> NotRunning:
        return NotRunning(f"make run: {log.read_text(errors='replace')[-2000:]}")

    def judged() -> bool:
        if process.poll() is not None:
            raise ended()
        reply = ask(dns, BLOCKED, timeout=1.0)
        return reply is not None and blocked(reply)

    try:
        wait_until(judged, PATIENCE_S, ended)
        taken = time.monotonic() - begun
    finally:
        stopping = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        process.wait(timeout=120)
    return taken, time.monotonic() - stopping


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("clone_bench", __doc__, quick="no second start")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="vclone-") as folder:
        clone, home = Path(folder) / "verdict", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        runs = [first_verdict(clone, home, Path(folder) / f"run{i}.log") for i in range(1 if options.quick else 2)]
        for name in ("go", ".cache/go-build"):  # Go makes its module cache read-only
            subprocess.run(["chmod", "-Rf", "u+w", str(home / name)])
    names = ("fresh clone", "second time")
    results = [Result(f"first verdict, {name}", "s", [run[0]]) for name, run in zip(names, runs, strict=False)]
    results += [Result(f"Ctrl-C, {name}", "s to stop", [run[1]]) for name, run in zip(names, runs, strict=False)]
    report = Report("From a fresh clone to the first verdict", command_line(), results, describe_machine())
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
