"""Runs the benchmarks and writes docs/benchmarks.md and the README's figures from what they report.

    make bench                                  all parts, about an hour
    make bench ARGS="--quick"                   all parts, a minute each, to see that they work; writes nothing
    make bench ARGS="--only plugin,store"       these parts anew, the others as last measured
    make bench ARGS="--render"                  only write the documents from the last reports

Each part is a program of its own, `python -m loadtest.MODULE --out FILE`; its report is kept in docs/benchmarks/.
A part that fails or takes too long is named in the document's place for it, and the exit status is 1. One that missed a
goal has not failed: its report shows that. Ctrl-C ends what runs and writes nothing more.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from loadtest import sizing
from loadtest.figures import rendered
from loadtest.plots import draw
from loadtest.processes import program, terminable
from loadtest.stats import Report

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
REPORTS = ROOT / "docs" / "benchmarks"
QUICK_S = 180.0

HEAD = """# Benchmarks

Written by `make bench` from the reports in `docs/benchmarks`. Every figure stands under the command that
measures it again. Two systems are compared in ABBA order on the same machine and the same input; a ratio is the median
of the paired ratios with a 95 % bootstrap interval (no narrower than what holds for any distribution; of five pairs
their whole range, which holds it in 94 of 100 cases; none for fewer). Figures of other machines are not comparable:
measure side by side.
Load and system share the machine, so CPU seconds say more than rates do.
"""


class Part(NamedTuple):
    """One benchmark: its name, its module, what it answers, and the seconds it may take."""

    name: str
    module: str
    question: str
    limit_s: float = 900.0


PARTS = (
    Part("clone", "loadtest.clone_bench", "How long does a new user wait, with nothing installed?", 2400.0),
    Part("start", "loadtest.start_bench", "How long from the command to the first verdict?"),
    Part("cluster", "loadtest.cluster_bench", "How many names a second does the cluster judge, by frame size?", 1200.0),
    Part("overload", "loadtest.overload_bench", "What becomes of ten times the load that it can bear?"),
    Part("peers", "loadtest.peers", "How does that compare with other ways to serve the same network?", 2400.0),
    Part("plugin", "loadtest.plugin_bench", "What does the plugin cost a CoreDNS?"),
    Part("waits", "loadtest.plugin_waits_bench", "What does a query wait when the cluster is asked, or gone?"),
    Part("log", "loadtest.log_bench", "What does the log cost against a bare bulk write?"),
    Part("lists", "loadtest.lists_bench", "What does a vetted list of a million names cost?"),
    Part("store", "loadtest.store_bench", "How long do the dashboard's questions take on millions of rows?", 3600.0),
    Part("dashboard", "loadtest.dashboard_bench", "How fast do the pages open, and what does each analyst cost?"),
    Part("model", "loadtest.model_bench", "How fast are encoding and network by themselves?"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; 1 when one of them failed."""
    options = _parser().parse_args(arguments)
    try:
        parts = chosen(options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    for part in () if options.render else parts:
        print(f"== {part.name}: {part.question}", flush=True)
        try:
            with terminable():
                reason = measure(part, options.quick)
        except KeyboardInterrupt:
            print(
                f"interrupted in {part.name}; the parts before it are kept: write them with --render", file=sys.stderr
            )
            return 130
        if reason:
            failed[part.name] = reason
            print(f"{part.name}: {reason}", file=sys.stderr, flush=True)
    if not options.quick:
        DOCUMENT.write_text(document(failed), encoding="utf-8")
        README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
        sizing.write()
        print(DOCUMENT.relative_to(ROOT), README.relative_to(ROOT))
    return 1 if failed else 0


def chosen(names: str) -> list[Part]:
    """The parts of these comma-separated names; all when there is none."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {part.name: part for part in PARTS}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"--only {', '.join(unknown)}: expected some of {', '.join(known)}")
    return [known[name] for name in wanted] or list(PARTS)


def measure(part: Part, quick: bool) -> str:
    """Run one part; why it failed, or nothing. Its report replaces the former when it wrote one."""
    new = REPORTS / f"{part.name}.json.new"
    command = [sys.executable, "-m", part.module, "--out", str(new), *(["--quick"] if quick else [])]
    limit = QUICK_S if quick else part.limit_s
    started = time.monotonic()
    try:
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
            try:
                status = process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                end(process)
                return f"not done after {limit:.0f} s"
            except BaseException:  # Ctrl-C does not reach a session of its own
                end(process)
                raise
        if not new.exists():
            return f"{' '.join(command[1:3])} {f'ended with {status}' if status else 'wrote no report'}"
        if status != 0:
            print(f"{part.name}: ended with {status}: a goal was missed, as its report says", file=sys.stderr)
        if not quick:
            new.replace(REPORTS / f"{part.name}.json")
        print(f"   {time.monotonic() - started:.0f} s", flush=True)
        return ""
    finally:
        new.unlink(missing_ok=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a part with what it started, as Ctrl-C would: what has a session of its own is ended by the part."""
    for number, patience in ((signal.SIGINT, 30.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def document(failed: dict[str, str]) -> str:
    """The whole document from the reports that are there; draws their plots."""
    sections = [HEAD]
    for part in PARTS:
        path = REPORTS / f"{part.name}.json"
        if part.name in failed:
            sections.append(f"## {part.name.capitalize()}\n\nThe last run failed: {failed[part.name]}.\n")
        if path.exists():
            sections.append(section(part, Report.load(path)))
    return "\n".join(sections)


def section(part: Part, report: Report) -> str:
    """One part's section, with the machine it was measured on."""
    plot = REPORTS / f"{part.name}.svg"
    drawn = draw(report, plot)
    plots = [f"benchmarks/{plot.name}", *report.plots] if drawn else report.plots
    machine = ", ".join(f"{key} {value}" for key, value in report.machine.items())
    return replace(report, plots=plots).text() + f"\n{part.question} Measured {report.measured} on {machine}.\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description=__doc__.split("\n")[0],
        epilog="What a network takes, by what was measured: verdict bench size --help.",
    )
    names = ", ".join(part.name for part in PARTS)
    parser.add_argument("--only", default="", metavar="PARTS", help=f"comma-separated, of {names}")
    parser.add_argument("--quick", action="store_true", help="short runs that show whether the parts work")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the document anew")
    return parser


if __name__ == "__main__":
    program(main)
