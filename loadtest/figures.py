"""The README's figures, written from the last reports between markers, so that they are what was measured last.

    <!-- figures: cluster -->
    (a table)
    <!-- end of figures -->

`python -m loadtest.bench` fills them in after it measured; a test compares.
"""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loadtest.plugin_bench import WARM_GOAL
from loadtest.stats import Report, Result, number, ratio_interval

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "docs" / "benchmarks"
EVALUATION = ROOT / "model" / "released" / "segments-2026-11h" / "evaluation.json"
_BLOCK = re.compile(r"(?s)<!-- figures: (?P<name>\S+) -->\n.*?<!-- end of figures -->")


class NoFigure(LookupError):
    """A figure that the reports do not hold; the message names report and figure."""


def rendered(text: str) -> str:
    """The document with every block of figures as the reports have it now."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in FIGURES:
            raise NoFigure(f"figures: {name}: expected one of {', '.join(FIGURES)}")
        return f"<!-- figures: {name} -->\n{FIGURES[name]()}\n<!-- end of figures -->"

    return _BLOCK.sub(block, text)


def start() -> str:
    """From the command to the first verdict."""
    said = []
    if (REPORTS / "clone.json").exists():
        clone = _report("clone")
        first, second = (_median(clone, f"first verdict, {name}") for name in ("fresh clone", "second time"))
        said.append(
            f"From `make run` in a fresh clone to the first verdict: {first} s with empty caches (packages, CoreDNS "
            f"and all), {second} s the second time (`{clone.command}`)."
        )
    warm = _report("start")
    said.append(
        f"Where all is installed: {_median(warm, 'to the first verdict, new home')} s in a new home, "
        f"{_median(warm, 'to the first verdict, same home again')} s in the same one again, "
        f"{_median(warm, 'to stop, new home')} s to stop (`{warm.command}`)."
    )
    return "\n".join(said)


def cluster() -> str:
    """Names a second by the size of frames."""
    report = _report("cluster")
    sizes = [found[1] for r in report.results if (found := re.fullmatch(r"frames of (\d+): the cluster", r.name))]
    rows = [[f"{int(size):,}", *(_median(report, f"frames of {size}: {what}") for what in _GRAPHS)] for size in sizes]
    return _table(
        [
            "names a frame",
            "the network by TensorFlow",
            "by the scorer",
            "no-op graph",
            "the cluster",
            "a frame's time against no-op and TensorFlow",
        ],
        rows,
    )


_GRAPHS = ("raw network", "scorer alone", "no-op graph", "the cluster", "cost against no-op + raw")


def plugin() -> str:
    """Queries a second and CPU time, without and with the plugin."""
    report = _report("plugin")
    rows = []
    for result in report.results:
        scenario = result.name.removesuffix(", with verdict")
        if scenario == result.name or result.unit != "queries/s":
            continue
        bare, cpu = _result(report, f"{scenario}, bare", "queries/s"), _result(report, result.name, "CPU us/query")
        interval = str(ratio_interval(cpu.values, cpu.against))
        rows.append([scenario, *(number(statistics.median(r.values)) for r in (bare, result)), interval])
    table = _table(["traffic", "without", "with", "CPU time a query, with against without"], rows)
    return "\n\n".join([table, _warm(report), *report.notes])


def _warm(report: Report) -> str:
    """Whether the plugin costs no more than its goal where every name is known, and what the long chain costs."""
    ratios = []
    for scenario in ("warm", "long chain"):
        found = _result(report, f"{scenario}, with verdict", "queries/CPU s")
        ratios.append(ratio_interval(found.values, found.against))
    warm, chain = ratios
    if (warm.low >= WARM_GOAL) == (warm.high >= WARM_GOAL):
        held = "held" if warm.low >= WARM_GOAL else "missed"
    else:
        held = f"{'held' if warm.median >= WARM_GOAL else 'missed'} by the median, not by the whole interval"
    return (
        f"Where every name is known a CoreDNS with the plugin answers {warm} of the bare queries a CPU second: "
        f"the goal of\n{WARM_GOAL} is {held}. In the long chain, which shows the verdict of each query in the log,\n"
        f"it is {chain}; no goal was set for that."
    )


def model() -> str:
    """What the released network finds."""
    rates = _json(EVALUATION)["rates"]
    known, unseen = (
        [rates[rate]["strictest"]["groups"][group] for rate in ("0.01", "0.001")] for group in ("known", "unseen")
    )
    rows = [
        [f"families it was taught ({known[0]['families']})", *(f"{found['value']:.3f}" for found in known)],
        [f"families it never saw ({unseen[0]['families']})", *(f"{found['value']:.3f}" for found in unseen)],
    ]
    head = ["generated names found, mean over families", "at 1 % false positives", "at 0.1 %"]
    return _table(head, rows)


def block() -> str:
    """What tier block costs and finds."""
    evaluation = _json(EVALUATION)
    tier = evaluation["tiers"]["block"]
    wrong, bound = tier["false_positives"], tier["bound"] * 1e5
    return (
        f"Of {tier['benign']:,} benign names that never taught or tuned it, tier *block* held "
        f"{f'{wrong:,}' if wrong else 'none'} (at 95 % confidence at most {bound:.1f} in 100,000), and for that it "
        f"finds only {tier['dga_flagged']:.1%} of generated names."
    )


def experiment2020() -> str:
    """The claim of 2020, repeated, and what an honest split gives."""
    report = _report("experiment2020")
    rows = [["claimed in 2020, first 500 rows of each list", "", "98.0 %"]]
    for name in ("repeated, first 500 rows", "all rows, split at random"):
        values = _result(report, name, "% accuracy").values
        rows.append([name, " / ".join(f"{value:g}" for value in values) + " %", f"{statistics.mean(values):.1f} %"])
    return _table(["", "accuracy on its test part, seed by seed", "mean"], rows)


FIGURES: dict[str, Callable[[], str]] = {
    "start": start,
    "cluster": cluster,
    "plugin": plugin,
    "model": model,
    "block": block,
    "experiment2020": experiment2020,
}


def _report(name: str) -> Report:
    path = REPORTS / f"{name}.json"
    if not path.exists():
        raise NoFigure(f"docs/benchmarks/{name}.json: not there: measure it first")
    return Report.load(path)


def _result(report: Report, name: str, unit: str = "") -> Result:
    for result in report.results:
        if result.name == name and unit in ("", result.unit):
            return result
    known = ", ".join(dict.fromkeys(result.name for result in report.results))
    raise NoFigure(f"report {report.title!r}: no result {name!r} {unit}; it has {known}")


def _median(report: Report, name: str) -> str:
    return number(statistics.median(_result(report, name).values))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
