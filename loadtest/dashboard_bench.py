"""How fast the dashboard's pages can be used, alone and by twenty analysts at once, and what an open page costs.

    python -m loadtest.dashboard_bench [--store URL] [--part PART] [--quick] [--out FILE]

Without `--store` the pages stand before a day of made-up traffic (`dashboard.demo`); with it before the store at that
URL, such as the 10 million rows of `loadtest.store_bench`. A page is usable when the server has sent the data of all
its parts over the websocket (`loadtest.panel_session`); what a browser then draws is not in the figure. Parts:
`pages`, `filters`, `together`, `memory`.
"""

import contextlib
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from loadtest.arguments import count, report_parser
from loadtest.panel_session import Visitor
from loadtest.processes import cpu_seconds, program, resident_bytes
from loadtest.rig import NotRunning, wait_until
from loadtest.stats import Report, Result, command_line, describe_machine
from serve_app.local.ports import free_port

START_S = 180.0
ANALYSTS, WARM = 20, 8
LINGERS_S = 25.0  # a closed tab's session goes after 15
SETTLES_S = 60.0  # in which a dashboard asks ahead what pages begin with, at its start
VIEWS, VIEWS_A_SESSION = 1000, 20
PAGE_GOAL, FILTER_GOAL = "1,000 ms", "300 ms at p95"
NO_STORE = ("/models", "/lists", "/audit", "/incidents")  # their data are decisions, not the log
PARTS = ("pages", "filters", "together", "memory")
LENGTHS = ("7d", "24h")


class Dashboard:
    """A running dashboard, and a person who is logged in to it."""

    def __init__(self, base: str, pid: int, client: httpx.Client) -> None:
        self.base, self.pid, self._client = base, pid, client

    def visit(self, path: str) -> Visitor:
        """Open a page and wait until it can be used."""
        page = self._client.get(path).text
        cookie = "; ".join(f"{name}={value}" for name, value in self._client.cookies.items())
        return Visitor(self.base, path, page, cookie)


@contextlib.contextmanager
def dashboard(store: str, processes: int = 1) -> Iterator[Dashboard]:
    """The dashboard over a store, which it only reads, or the demonstration, with its administrator logged in."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        password = Path(folder) / "password"
        command = [sys.executable, "-m", "dashboard.demo", "--port", str(port)]
        if store:
            command = [sys.executable, "-m", "dashboard", "--store-url", store, "--port", str(port)]
            command += ["--password-file", str(password), "--processes", str(processes)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: _serves(base), START_S, lambda: NotRunning("the dashboard does not serve"))
                user, secret = ("admin", password.read_text().strip()) if store else ("root", "root")
                with httpx.Client(base_url=base, trust_env=False, timeout=60) as client:
                    answer = client.post("/login", data={"user": user, "password": secret, "next": "/"})
                    if answer.status_code != 302:
                        raise NotRunning(f"log-in answered {answer.status_code}, expected 302")
                    yield Dashboard(base, process.pid, client)
            finally:
                process.terminate()
                process.wait()  # at Ctrl-C `with` waits for a quarter of a second


def _serves(base: str) -> bool:
    try:
        return httpx.get(f"{base}/healthz", trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def paths() -> list[str]:
    """The pages, each over a day where it has a time range."""
    from dashboard.pages import PAGES

    shown = {"/lookup": "/lookup?q=h3.site3.com&range=24h"}
    found = [shown.get(path, path if path in NO_STORE else f"{path}?range=24h") for path in PAGES]
    return [path for path in found if not path.startswith("/models")]  # they wait for a control API


def pages(running: Dashboard, rounds: int) -> list[Result]:
    """Each page opened anew, alone."""
    times: dict[str, list[float]] = {path: [] for path in paths()}
    for number in range(rounds + 1):
        for path in times:
            began = time.perf_counter()
            running.visit(path).close()
            if number:  # the first time of a page imports what it needs
                times[path].append((time.perf_counter() - began) * 1e3)
    return [Result(f"open {path}", "ms", values, goal=PAGE_GOAL) for path, values in times.items()]


def filters(running: Dashboard, rounds: int) -> list[Result]:
    """The time range of each page changed to a week and back to a day."""
    found, every = [], []
    for path in paths():
        visitor, times = running.visit(path), []
        if not visitor.ranged:
            visitor.close()
            continue
        for number in range(2 * rounds):
            time.sleep(1.1)  # longer than an answer is kept
            began = time.perf_counter()
            visitor.choose(LENGTHS[number % 2])
            times.append((time.perf_counter() - began) * 1e3)
        visitor.close()
        every += times
        found.append(Result(f"change the range of {re.sub('[?].*', '', path)}", "ms", times))
    slow = sorted(every)[int(0.95 * len(every))]
    return [*found, Result("change of a filter, p95 over all", "ms", [slow], goal=FILTER_GOAL)]


def together(running: Dashboard, analysts: int, seconds: float) -> list[Result]:
    """Many people open the overview in the same instant, look on, then change its range at once. Of a server that was
    not visited before: sessions that had gone would have left memory for those of now."""
    # The first time of a page imports what it needs, in each process. They stay open, for the same reason.
    warm = [running.visit("/?range=24h") for _ in range(WARM)]
    memory, cpu = resident_bytes(running.pid), cpu_seconds(running.pid)
    visitors: list[Visitor] = []
    opening = at_once(lambda: visitors.append(running.visit("/?range=24h")), analysts)
    spent = (cpu_seconds(running.pid) - cpu) / analysts * 1e3
    held = (resident_bytes(running.pid) - memory) / analysts / 2**20
    for visitor in warm:
        visitor.close()
    time.sleep(LINGERS_S)
    readers = [threading.Thread(target=visitor.look, args=(seconds,)) for visitor in visitors]
    cpu, began = cpu_seconds(running.pid), time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    watching = (cpu_seconds(running.pid) - cpu) / (time.perf_counter() - began) / analysts * 100
    waiting = iter(list(visitors))
    changing = at_once(lambda: next(waiting).choose("7d"), analysts)
    for visitor in visitors:
        visitor.close()
    return [
        Result(f"open /, {analysts} analysts in the same instant", "ms", opening, goal=PAGE_GOAL),
        Result(f"change the range of /, {analysts} analysts in the same instant", "ms", changing, goal=PAGE_GOAL),
        Result("opening /", "CPU ms", [spent]),
        Result(f"a session of /, of {analysts}", "MiB", [held]),
        Result("one open /, live", "% of a core", [watching]),
    ]


def at_once(doing, people: int) -> list[float]:  # type: ignore[no-untyped-def]
    """Milliseconds that each of several threads took, begun together."""
    start, times = threading.Barrier(people), []

    def one() -> None:
        start.wait()
        began = time.perf_counter()
        doing()
        times.append((time.perf_counter() - began) * 1e3)

    threads = [threading.Thread(target=one) for _ in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) < people:
        raise NotRunning(f"{people - len(times)} of {people} got no page")
    return times


def memory(running: Dashboard, views: int) -> list[Result]:
    """Resident memory while pages are viewed: sessions of some pages each, one after the other."""
    shown, sizes, seen = paths(), [], 0
    while seen < views:
        visitor = running.visit(shown[seen % len(shown)])
        seen += 1
        for _ in range(VIEWS_A_SESSION - 1):
            visitor.go(shown[seen % len(shown)])
            seen += 1
        visitor.close()
        if seen % (views // 5) < VIEWS_A_SESSION:
            time.sleep(LINGERS_S)
            sizes.append(resident_bytes(running.pid) / 2**20)
            print(f"{seen} views: {sizes[-1]:.0f} MiB", file=sys.stderr, flush=True)
    growth = (sizes[-1] - sizes[1]) / (views * 3 / 5) * 1000
    return [
        Result(f"memory after each fifth of {views} page views", "MiB", sizes),
        Result("growth over a thousand page views, after the first 400", "MiB", [growth], goal="flat"),
    ]


def _part(part: str, running: Dashboard, quick: bool) -> list[Result]:
    if part == "pages":
        return pages(running, 1 if quick else 5)
    return filters(running, 1 if quick else 3) if part == "filters" else memory(running, 100 if quick else VIEWS)


def shown(store: str) -> str:
    """The store's URL without passwords, and without where this machine keeps it."""
    return re.sub(r"^sqlite:///.*/", "sqlite:///PATH/", re.sub(r"//[^/]*@", "//", store))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("dashboard_bench", __doc__, quick="each page once, three analysts, 100 views")
    parser.add_argument("--store", default="", metavar="URL", help="a filled store; without it made-up traffic")
    parser.add_argument("--processes", type=count, default=1, metavar="N", help="measure `together` with N as well")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; without it all")
    parser.add_argument("--note", default="", help="said in the report, such as how many rows the store has")
    options = parser.parse_args(arguments)
    quick, wanted = options.quick, options.part or PARTS
    found: list[Result] = []
    if options.processes > 1 and not options.store:
        parser.error("--processes needs --store: the made-up traffic is served by one process")
    if alone := [part for part in PARTS if part in wanted and part != "together"]:
        with dashboard(options.store) as running:
            for part in alone:
                found += _part(part, running, quick)
    for processes in sorted({1, options.processes}) if "together" in wanted else ():
        with dashboard(options.store, processes) as running:
            time.sleep(0 if quick else SETTLES_S)
            more = together(running, 3 if quick else ANALYSTS, 2 if quick else 15)
        found += [replace(row, name=f"{row.name}; {processes} processes") if processes > 1 else row for row in more]
    where = shown(options.store)
    command = command_line().replace(options.store, where) if options.store else command_line()
    notes = [f"Store: {where or 'made-up traffic'}.", *([options.note] if options.note else [])]
    report = Report("The dashboard's pages", command, found, describe_machine("panel", "bokeh"), notes)
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
