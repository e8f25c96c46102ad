"""How fast the pages open, and what each open session costs the server.

    python -m loadtest.dashboard_bench [--quick] [--out FILE]

The dashboard is `python -m dashboard.demo`: a day of made-up traffic in an SQLite store. A page is open when the
server has sent its whole document (`loadtest.panel_session`); what the browser then draws is not in the figure.
"""

import argparse
import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import httpx

from loadtest.panel_session import opened, session_token
from loadtest.processes import cpu_seconds, resident_bytes
from loadtest.rig import NotRunning, free_port, wait_until
from loadtest.stats import Report, Result, command_line, describe_machine

START_S = 180.0
USER = "root"  # of the demonstration; its password is its name
SESSIONS = 20
GOAL_MS = "1,000 ms"


@contextlib.contextmanager
def dashboard() -> Iterator[tuple[str, int]]:
    """A running demonstration: its address and process id."""
    port = free_port(socket.SOCK_STREAM)
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dashboard.demo", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _serves(base), START_S, lambda: NotRunning("dashboard.demo does not serve"))
            yield base, process.pid
        finally:
            process.terminate()


def _serves(base: str) -> bool:
    try:
        return httpx.get(f"{base}/healthz", trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def log_in(base: str) -> httpx.Client:
    """A client with the cookie of the demonstration's administrator."""
    client = httpx.Client(base_url=base, trust_env=False, timeout=60)
    answer = client.post("/login", data={"user": USER, "password": USER, "next": "/"})
    if answer.status_code != 302:
        raise NotRunning(f"log-in answered {answer.status_code}, expected 302")
    return client


def open_page(client: httpx.Client, stack: contextlib.ExitStack, path: str) -> tuple[float, int]:
    """Open a page, which stays open until the stack ends: milliseconds and characters of its document."""
    start = time.perf_counter()
    token = session_token(client.get(path).text)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    size, _ = stack.enter_context(opened(str(client.base_url).rstrip("/"), path, token, cookie, timeout=60))
    return (time.perf_counter() - start) * 1e3, size


def pages(client: httpx.Client) -> list[str]:
    """The pages that the dashboard serves, by its own list."""
    from dashboard.pages import PAGES

    return [path if path.startswith("/") else f"/{path}" for path in PAGES if re.fullmatch(r"/?[\w-]*", path)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.dashboard_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="each page once, three sessions")
    parser.add_argument("--out", metavar="FILE", help="where the report goes, as JSON")
    options = parser.parse_args(arguments)
    rounds, sessions = (1, 3) if options.quick else (7, SESSIONS)
    with dashboard() as (base, pid), contextlib.closing(log_in(base)) as client:
        paths = pages(client)
        times: dict[str, list[float]] = {path: [] for path in paths}
        for number in range(rounds + 1):
            for path in paths:
                with contextlib.ExitStack() as stack:
                    taken, _ = open_page(client, stack, path)
                if number:  # the first time of a page imports what it needs
                    times[path].append(taken)
        memory, cpu = resident_bytes(pid), cpu_seconds(pid)
        with contextlib.ExitStack() as stack:
            for _ in range(sessions):
                open_page(client, stack, paths[0])
            opening = (cpu_seconds(pid) - cpu) / sessions * 1e3
            held = (resident_bytes(pid) - memory) / sessions / 2**20
            cpu, start = cpu_seconds(pid), time.perf_counter()
            time.sleep(2 if options.quick else 20)
            watching = (cpu_seconds(pid) - cpu) / (time.perf_counter() - start) / sessions * 100
    found = [Result(f"open {path}", "ms", values, goal=GOAL_MS) for path, values in times.items()]
    found.append(Result(f"a session of {paths[0]}, of {sessions}", "MiB", [held]))
    found.append(Result(f"opening {paths[0]}", "CPU ms", [opening]))
    found.append(Result(f"one open {paths[0]}, live", "% of a core", [watching]))
    report = Report("The dashboard's pages", command_line(), found, describe_machine("panel", "bokeh"))
    report.save(options.out)
    print(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
