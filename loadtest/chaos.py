"""Applies the failures of ARCHITECTURE.md ("What failure means") under DNS load, and says which promises held.

    python -m loadtest.chaos                      all of them, a quarter of an hour; writes docs/chaos.md
    python -m loadtest.chaos --short              those that CI runs, as CI runs them
    python -m loadtest.chaos --only frozen,locked

For each failure: a steady DNS load and a prober run; the failure comes, lasts, goes; the prober shows when it was
noticed and when fresh verdicts came again; then the counts of what was sent are reconciled with the log. Ends with 1
when a promise was broken. The first row is no failure at all: what the machine and the load do by themselves.
"""

import argparse
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import positive, writable
from loadtest.driver import Driver, Tally
from loadtest.faults import FAIL_OPEN, FAULTS, NOTHING, Fault, NotPossible, chosen
from loadtest.judging import Expectation
from loadtest.prober import Prober, Times, times
from loadtest.processes import program, resident_bytes
from loadtest.profiles import Flood, Profile, flat
from loadtest.promises import tried
from loadtest.rig import Books, NotRunning, Rig, rig
from loadtest.stats import command_line, describe_machine, quantiles, table
from loadtest.traffic import queries
from serve_app.local.prepare import BLOCKED

MAX_GROWTH_MIB = 64.0  # of CoreDNS
MAX_P99_S = 0.75  # the Corefile's deadline of 500 ms, and the machine's own delays
AT_ONCE_S = 2.0  # in an outage so long some names must be failed open at once, not each at the deadline
SENT = 0.5  # share of the load that must have been sent; less is no load, and proves nothing
MAX_FELT = 0.05  # share of fresh names without a verdict that still counts as "notices nothing"
WARM_S, TAIL_S = 1.0, 1.0
SETTLE_S = 120.0  # a killed log is started again first


class Form(NamedTuple):
    """How failures are tried out: each lasts `seconds` under `rate` queries a second; an answer later than `timeout`
    seconds is none; verdicts must be back within `patience` times what the failure allows. `timed`: what takes
    longer than promised, or is felt, breaks a promise too; on a machine that does other work it says little."""

    seconds: float = 5.0
    rate: int = 100
    timeout: float = 2.0
    patience: float = 1.0
    timed: bool = True

    def profile(self) -> Profile:
        """The load."""
        return flat(Profile(rate=self.rate, clients=100, benign=2000, malicious=100, infected=1))


FORMS = """`python -m loadtest.chaos --short` and `tests/e2e/test_short_chaos.py` try some of the failures for a second
and a half each. There every query must be answered within five seconds, none may be missing in the log or stand there
twice, and verdicts must come back; how fast, the long form alone judges, on a machine that does nothing else. The first
row is no failure at all: what the machine and the load do by themselves.
"""

TRIED = """What tries each row of ARCHITECTURE.md's "What failure means": the failures above, and tests where one needs
an Elasticsearch, a start or a file of another kind. `python -m loadtest.log_kills` does the fourth row at length.
"""

SHORT = Form(seconds=1.5, rate=50, timeout=5.0, patience=3.0, timed=False)


@dataclass(frozen=True)
class Finding:
    """What one failure did. Latency in seconds, memory in MiB; `broken` says which promises did not hold."""

    fault: Fault
    tally: Tally
    probes: int
    unjudged: int
    times: Times
    books: Books
    lost: int
    doubled: int
    growth: float
    due: int  # queries of the load that its time and rate make
    broken: tuple[str, ...] = ()

    def row(self) -> dict[str, str]:
        """The finding as a row of the table."""
        return {
            "failure": self.fault.name,
            "promise": self.fault.promise,
            "asked": str(self.tally.sent + self.probes),
            "failed": str(self.tally.failed),
            "failed open": f"{self.unjudged} of {self.probes} fresh",
            "noticed": _seconds(self.times.notice),
            "recovered": _seconds(self.times.recover),
            "p99": _seconds(quantiles(self.tally.latencies)["p99"]),
            "lost": str(self.lost),
            "doubled": str(self.doubled),
            "discarded, counted": str(self.books.discarded),
            "CoreDNS memory": f"{self.growth:+.0f} MiB",
            "kept": "no: " + "; ".join(self.broken) if self.broken else "yes",
        }


def try_out(system: Rig, fault: Fault, form: Form, seed: int) -> Finding:
    """One failure under load, from before it until the log has settled after it."""
    before, answered_before = system.settled(SETTLE_S), system.answered
    memory = resident_bytes(system.coredns.pid)
    floods = (Flood(WARM_S, form.seconds, fault.flood),) if fault.flood else ()
    driver = Driver(("127.0.0.1", system.dns_port), Expectation(enforcing=True), form.timeout)
    load = queries(replace(form.profile(), floods=floods), seed)  # takes a while, which is none of the load's
    trouble: list[Exception] = []

    def send() -> None:
        try:
            driver.run(load)
        except Exception as error:  # a thread's end is nobody's: the row must say it
            trouble.append(error)

    sender = threading.Thread(target=send)
    with Prober(system.dns_port, BLOCKED, form.timeout) as prober:
        sender.start()
        started = time.monotonic()
        try:
            time.sleep(WARM_S)
            begun = time.monotonic()
            with fault.bring(system, form.seconds):
                pass
            ended = time.monotonic()
            _wait_healed(prober, ended, fault.recover_s * form.patience)
            time.sleep(TAIL_S)
        finally:
            due = int((time.monotonic() - started) * form.rate)
            driver.stop()
            sender.join()
    if trouble:
        raise AssertionError(f"the load ended with {trouble[0]!r}")
    growth = (resident_bytes(system.coredns.pid) - memory) / 2**20
    answered = driver.tally.answered + sum(p.answered for p in prober.probes) + system.answered - answered_before
    expected = 0 if fault.outage else before.seen + answered
    books = system.settled(SETTLE_S, expected).minus(before)
    sent = driver.tally.sent + len(prober.probes) + system.answered - answered_before
    unanswered = 0 if fault.outage else sum(not p.answered for p in prober.probes)
    if unanswered:
        driver.tally.problems["probe unanswered"] += unanswered
    finding = Finding(
        fault, driver.tally, len(prober.probes), sum(not p.judged for p in prober.probes),
        times(prober.probes, begun, ended), books, max(0, answered - books.seen), max(0, books.seen - sent), growth,
        due,
    )  # fmt: skip
    return replace(finding, broken=(*broken(finding), *(late(finding) if form.timed else ())))


def broken(found: Finding) -> list[str]:
    """The promises that a finding breaks on any machine, in words."""
    fault, books, said = found.fault, found.books, []
    if found.tally.sent < SENT * found.due or not found.probes:
        said.append(f"not measured: {found.tally.sent} of about {found.due} queries sent, {found.probes} probes")
    if fault.felt and not found.unjudged:
        said.append("not measured: every fresh name had its verdict, so the failure never came")
    if found.tally.failed and not fault.outage:
        said.append(", ".join(f"{count}x {problem}" for problem, count in found.tally.problems.items()))
    if found.lost and not fault.outage:  # what a killed CoreDNS had not yet reported was never acknowledged
        said.append(f"{found.lost} queries not in the log")
    if found.doubled:
        said.append(f"{found.doubled} queries too many in the log")
    if books.missing or books.dead:
        said.append(f"{books.missing} rows missing, {books.dead} rejected")
    if books.counted + books.discarded != books.seen:
        said.append(f"counts {books.counted} + discarded {books.discarded} are not seen {books.seen}")
    if found.times.recover is None:
        said.append("no fresh verdicts came again")
    if found.growth > MAX_GROWTH_MIB:
        said.append(f"CoreDNS grew by {found.growth:.0f} MiB")
    return said


def late(found: Finding) -> list[str]:
    """The promises about time that a finding breaks: clients were to notice nothing, or to wait for the deadline."""
    said = []
    if found.fault.promise == NOTHING and found.unjudged > MAX_FELT * found.probes:
        said.append(f"{found.unjudged} of {found.probes} fresh names without a verdict")
    if found.fault.promise == FAIL_OPEN and found.times.felt > AT_ONCE_S and found.times.notice is None:
        said.append(
            f"each fresh name waited for the deadline in {found.times.felt:.1f} s, none was failed open at once"
        )
    p99 = quantiles(found.tally.latencies)["p99"]
    if p99 > MAX_P99_S and not found.fault.outage:
        said.append(f"p99 {p99:.2f} s")
    return said


def run(faults: Sequence[Fault], form: Form, seed: int, say: Callable[[str], None]) -> list[dict[str, str]]:
    """All faults on one rig, one after another; the rows of the table."""
    rows: list[dict[str, str]] = []
    with rig(say=say) as system:
        for number, fault in enumerate(faults):
            say(f"{number + 1}/{len(faults)} {fault.name}")
            try:
                row = try_out(system, fault, form, seed + number).row()
            except NotPossible as reason:
                row = {"failure": fault.name, "promise": fault.promise, "kept": f"not tried: {reason}"}
            except (AssertionError, NotRunning, OSError, subprocess.SubprocessError, sqlite3.Error) as reason:
                row = {"failure": fault.name, "promise": fault.promise, "kept": f"no: {reason}"}
            say(f"    {row['kept']}")
            rows.append(row)
    keys = max(rows, key=len)
    return [{key: row.get(key, "") for key in keys} for row in rows]


def document(rows: list[dict[str, str]], form: Form) -> str:
    """The table with what is needed to repeat it."""
    machine = ", ".join(f"{key} {value}" for key, value in describe_machine("ray", "tensorflow").items())
    when = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"# Chaos\n\nMeasured {when} by `{command_line()}` on {machine}. Load: {form.rate} queries/s"
        f" and a fresh name each 50 ms; each failure lasts {form.seconds:g} s.\n\n{table(rows)}\n\n{FORMS}"
        f"\n{TRIED}\n{tried()}\n"
    )


def _wait_healed(prober: Prober, ended: float, seconds: float) -> None:
    while time.monotonic() - ended < seconds:
        if times(prober.probes, ended, ended).recover is not None and prober.probes[-1].time > ended + 0.5:
            return
        time.sleep(0.1)


def _seconds(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the failures that the command line chooses."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="the short form, which CI runs")
    parser.add_argument("--only", default="", metavar="WORDS", help="failures whose names hold one of these words")
    parser.add_argument("--seconds", type=positive, help="how long each failure lasts (5; 1.5 in the short form)")
    parser.add_argument("--seed", type=int, default=0, help="of the load (%(default)s)")
    parser.add_argument(
        "--out", type=writable, metavar="FILE", help="where the table goes (docs/chaos.md for all failures)"
    )
    parser.add_argument("--list", action="store_true", help="name the failures")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{fault.name}: {fault.promise}" for fault in FAULTS))
        return 0
    try:
        faults = chosen(options.only, options.short)
    except ValueError as error:
        parser.error(str(error))
    form = SHORT if options.short else Form()
    form = form._replace(seconds=options.seconds or form.seconds)
    try:
        rows = run(faults, form, options.seed, lambda text: print(text, file=sys.stderr, flush=True))
    except NotRunning as error:
        print(error, file=sys.stderr)
        return 2
    text = document(rows, form)
    out = options.out or ("docs/chaos.md" if len(faults) == len(FAULTS) else "")
    print(text)
    if out:
        Path(out).write_text(text, encoding="utf-8")
    return 1 if any(row["kept"].startswith("no:") for row in rows) else 0


if __name__ == "__main__":
    program(main)
