"""How long from `verdict up` to the first verdict, in a new home and again in the same one.

    python -m loadtest.start_bench [--quick] [--out FILE]

`make run` installs the packages and builds CoreDNS before that, once; here both are there already.
"""

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
from loadtest.processes import program, resident_bytes
from loadtest.rig import NotRunning, wait_until
from loadtest.stats import Report, Result, command_line, describe_machine
from serve_app import golang
from serve_app.local.ports import free_port
from serve_app.local.prepare import BLOCKED

PATIENCE_S = 300.0


def first_verdict(home: Path) -> tuple[float, float, float]:
    """Seconds from `verdict up` until a listed name is blocked, MiB resident then, seconds to stop."""
    dns, http, dashboard = free_port(), free_port(), free_port()
    command = [
        str(Path(sys.executable).parent / "verdict"), "up", "--home", str(home), "--upstream", "none",
        "--dns-port", str(dns), "--http-port", str(http), "--dashboard-port", str(dashboard),
    ]  # fmt: skip
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

        def judged() -> bool:
            if process.poll() is not None:
                raise _ended()
            reply = ask(dns, BLOCKED, timeout=1.0)
            return reply is not None and blocked(reply)

        def _ended() -> NotRunning:
            said.seek(0)
            return NotRunning(f"verdict up: {said.read()[-2000:]}")

        try:
            wait_until(judged, PATIENCE_S, _ended)
            taken, memory = time.monotonic() - start, resident_bytes(process.pid) / 2**20
        finally:
            stopping = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)
        return taken, memory, time.monotonic() - stopping


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("start_bench", __doc__, quick="one home instead of three")
    options = parser.parse_args(arguments)
    golang.build()
    runs: dict[str, list[tuple[float, float, float]]] = {"new home": [], "same home again": []}
    for _ in range(1 if options.quick else 3):
        with tempfile.TemporaryDirectory(prefix="vstart-") as home:
            for name in runs:
                runs[name].append(first_verdict(Path(home)))
    results = []
    for column, what in enumerate(("to the first verdict", "resident", "to stop")):
        unit = ("s", "MiB", "s to stop")[column]
        results += [Result(f"{what}, {name}", unit, [row[column] for row in rows]) for name, rows in runs.items()]
    machine = describe_machine("ray", "tensorflow", "panel")
    report = Report("From `verdict up` to the first verdict", command_line(), results, machine)
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
