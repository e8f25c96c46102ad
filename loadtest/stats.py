"""Figures that can be repeated: results, quantiles, ratios with an interval, the machine they were measured on.

CPU seconds and memory of a process tree are in `loadtest.processes`.

A benchmark measures, puts each figure into a `Result` and saves one `Report` as JSON; `loadtest.bench` runs the
benchmarks and writes the reports' tables into docs/benchmarks.md. A benchmark's main program takes `--quick` (a
minute at most) and `--out FILE` (where the report goes), both from `arguments.report_parser`, prints `report.text()`,
and is run by `processes.program`:

    results = [Result("frames of 256", "names/s", runs, pair="as Ray Serve comes")]
    report = Report("Names through the cluster", command_line(), results, describe_machine("ray", "tensorflow"))
    print(report.text()); report.save(args.out)

`Result.values` holds one value a repetition, in the order of measurement. Two configurations are compared in ABBA
order (`abba`) and reported as the median of the paired ratios with a bootstrap interval (`ratio_interval`), so that
drift of the machine falls on both alike.
"""

import json
import math
import os
import platform
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

RESAMPLES = 10_000
CONFIDENCE = 0.95
MIN_PAIRS = 5  # the whole range of five values holds the median in 94 of 100 cases, of six in 97; of four in 88


class Interval(NamedTuple):
    """A median and the bounds between which it lies at `CONFIDENCE`."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(self.low)}, {number(self.high)}]"


@dataclass(frozen=True)
class Result:
    """One quantity of one configuration: `values` in `unit`, one a repetition.

    `against` holds the paired values of what it is compared with (`pair` names that), in the same order; the
    table then shows the ratio values/against. `goal` says what was promised, in words.
    """

    name: str
    unit: str
    values: list[float]
    pair: str = ""
    against: list[float] = field(default_factory=list)
    goal: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"result {self.name!r}: expected at least one value")
        if self.against and len(self.against) != len(self.values):
            raise ValueError(f"result {self.name!r}: {len(self.values)} values against {len(self.against)}")

    def row(self) -> dict[str, str]:
        """The result as a row of a table."""
        ratio = f"{_ratio(self.values, self.against)} of {self.pair}" if self.against else ""
        return {
            "what": self.name,
            "median": number(statistics.median(self.values)),
            "range": f"{number(min(self.values))} to {number(max(self.values))}" if len(self.values) > 1 else "",
            "unit": self.unit,
            "n": str(len(self.values)),
            "ratio (95 %)": ratio,
            "goal": self.goal,
            "note": self.note,
        }


@dataclass(frozen=True)
class Report:
    """What one benchmark found, with the command that finds it again. `plots` are SVG or PNG files."""

    title: str
    command: str
    results: list[Result]
    machine: dict[str, str]
    notes: list[str] = field(default_factory=list)
    plots: list[str] = field(default_factory=list)
    measured: str = ""  # UTC, ISO 8601; filled in where it is empty

    def __post_init__(self) -> None:
        if not self.measured:
            object.__setattr__(self, "measured", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def save(self, path: str | os.PathLike[str] | None) -> None:
        """Write the report as JSON; None writes nothing. What a full disk cut is removed: half a report is none."""
        if path is None:
            return
        try:
            Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Report":
        """Read a report that `save` wrote."""
        body: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{**body, "results": [Result(**result) for result in body["results"]]})

    def text(self) -> str:
        """The report as a section of Markdown."""
        parts = [f"## {self.title}", f"    {self.command}", table([result.row() for result in self.results])]
        parts += [f"![{self.title}]({plot})" for plot in self.plots]
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(parts) + "\n"


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile (0 to 1) of ascending values, interpolated; NaN of none."""
    if not ordered:
        return math.nan
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quantiles(values: Iterable[float], at: Sequence[float] = (0.5, 0.9, 0.99, 0.999)) -> dict[str, float]:
    """Quantiles by name (`p50`, `p99`, `p99.9`, ...) and `max`."""
    ordered = sorted(values)
    named = {f"p{q * 100:g}": quantile(ordered, q) for q in at}
    return {**named, "max": ordered[-1] if ordered else math.nan}


def median_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The median with a bootstrap interval (percentile method, seeded, so that a report repeats exactly).

    Of few values a bootstrap claims too much (of seven it holds the true median in 87 of 100 cases), so the interval is
    never narrower than the one between two of the ordered values that holds for every distribution; of five values the
    whole range, which holds the median in 94 of 100 cases. Raises `ValueError` for fewer than `MIN_PAIRS` values.
    """
    if len(values) < MIN_PAIRS:
        raise ValueError(f"an interval of {len(values)} values: expected at least {MIN_PAIRS}")
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    ordered, outside = sorted(values), _left_out(len(values))
    low, high = min(ordered[outside], quantile(medians, tail)), max(ordered[-1 - outside], quantile(medians, 1 - tail))
    return Interval(statistics.median(values), low, high)


def _left_out(count: int) -> int:
    """How many of `count` ordered values may be left out at each end, so that what is between holds the median at
    `CONFIDENCE`: one value lies below the median with a chance of a half."""
    left, tail = -1, 0.0
    while tail <= (1 - CONFIDENCE) / 2:
        left += 1
        tail += math.comb(count, left) / 2**count
    return max(0, left - 1)


def student(freedom: int) -> float:
    """How many standard errors each way from a mean hold it at `CONFIDENCE`, where the error itself is estimated with
    so many degrees of freedom: Student's t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    low, high, odd = 0.0, 1000.0, freedom % 2
    for _ in range(60):
        middle = (low + high) / 2
        angle = math.atan(middle / math.sqrt(freedom))
        term = total = (math.cos(angle) if freedom > 1 else 0.0) if odd else 1.0
        for k in range(2 + odd, freedom - 1, 2):
            term *= (k - 1) / k * math.cos(angle) ** 2
            total += term
        inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
        low, high = (middle, high) if inside < CONFIDENCE else (low, middle)
    return high


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The median of the paired ratios a/b with a bootstrap interval over the pairs."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values against {len(b)}: expected pairs")
    if not all(b):
        raise ValueError("ratio to zero")
    return median_interval([x / y for x, y in zip(a, b, strict=True)])


def _ratio(a: Sequence[float], b: Sequence[float]) -> str:
    """The median of the paired ratios, with its interval or, of few, with what they were."""
    if len(a) >= MIN_PAIRS:
        return str(ratio_interval(a, b))
    ratios = sorted(x / y for x, y in zip(a, b, strict=True))
    seen = f" ({number(ratios[0])} to {number(ratios[-1])}, too few for an interval)" if len(ratios) > 1 else ""
    return f"{number(statistics.median(ratios))}{seen}"


def abba(pairs: int) -> str:
    """The order of measurement: `ABBAABBA...`, `pairs` of each."""
    return "".join("AB" if i % 2 == 0 else "BA" for i in range(pairs))


def compare(a: Callable[[], T], b: Callable[[], T], pairs: int) -> tuple[list[T], list[T]]:
    """Run `a` and `b` in ABBA order; their results, paired by position."""
    out: dict[str, list[T]] = {"A": [], "B": []}
    for which in abba(pairs):
        out[which].append(a() if which == "A" else b())
    return out["A"], out["B"]


def number(value: float) -> str:
    """A figure fit for a table: three significant digits, thousands set apart."""
    if not math.isfinite(value):
        return "-"
    if abs(value) >= 999.5:  # what rounds to a thousand too
        digits = len(str(int(abs(value))))
        return f"{round(value, 3 - digits if digits > 3 else 0):,.0f}"
    return f"{value:.3g}"


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table of rows with equal keys; columns that are empty in every row are left out."""
    if not rows:
        return "(nothing was measured)"
    keys = [key for key in rows[0] if any(str(row.get(key, "")) for row in rows)]
    cells = [[str(row.get(key, "")).replace("|", "\\|").replace("\n", " ") for key in keys] for row in rows]
    lines = [keys, ["---"] * len(keys), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def describe_machine(*packages: str) -> dict[str, str]:
    """The machine: processor, cores, memory, kernel, Python, and the versions of the packages named."""
    cpu = next((v for k, v in _pairs("/proc/cpuinfo") if k == "model name"), platform.machine())
    memory = next((int(v.split()[0]) for k, v in _pairs("/proc/meminfo") if k == "MemTotal"), 0)
    described = {
        "processor": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 2**20:.0f} GiB",
        "load average": f"{os.getloadavg()[0]:.1f}",  # over the cores: others worked here too
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in packages:
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            described[package] = "absent"
    return described


def _pairs(path: str) -> list[tuple[str, str]]:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    return [(k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]


def command_line() -> str:
    """The command that runs this program again, as it is typed in the repository's root (without `--out`)."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["-m", spec.name.removesuffix(".__main__")] if spec else [os.path.relpath(sys.argv[0])]
    arguments, given = [], iter(sys.argv[1:])
    for word in given:
        if word == "--out":
            next(given, None)
        elif not word.startswith("--out="):
            arguments.append(word)
    return shlex.join(["python", *program, *arguments])
