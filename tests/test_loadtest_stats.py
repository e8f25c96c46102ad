"""Figures: intervals that cover the truth, quantiles, the order of measurement, reports that survive the disk."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.processes import cpu_seconds, resident_bytes
from loadtest.stats import (
    Report,
    Result,
    abba,
    command_line,
    compare,
    describe_machine,
    median_interval,
    number,
    quantile,
    quantiles,
    ratio_interval,
    student,
    table,
)
from serve_app.descendants import descendants


def test_the_median_of_equal_ratios_has_no_width() -> None:
    assert ratio_interval([2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 2.0, 2.0)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    draw = random.Random(1)
    hits = 0
    for seed in range(40):
        interval = median_interval([draw.gauss(10, 2) for _ in range(25)], seed)
        hits += interval.low <= 10 <= interval.high
    assert hits >= 34  # 38 expected at 95 %


@pytest.mark.parametrize("count", [5, 6, 7, 8, 12])
def test_an_interval_of_few_pairs_claims_no_more_than_it_holds(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A percentile bootstrap of the median of seven holds it in 87 of 100 cases."""
    monkeypatch.setattr("loadtest.stats.RESAMPLES", 200)
    draw = random.Random(count)
    hits = 0
    for seed in range(1000):
        interval = median_interval([draw.gauss(10, 2) for _ in range(count)], seed)
        hits += interval.low <= 10 <= interval.high
    assert hits >= 920  # 938 expected of five values, 950 and more of others


def test_too_few_pairs_have_no_interval() -> None:
    with pytest.raises(ValueError, match="an interval of 4 values: expected at least 5"):
        median_interval([1.0, 2.0, 3.0, 4.0])
    row = Result("r", "q/s", [3.0, 4.0, 8.0], "base", [2.0, 2.0, 2.0]).row()
    assert row["ratio (95 %)"] == "2 (1.5 to 4, too few for an interval) of base"


def test_an_interval_is_the_same_in_every_run() -> None:
    assert median_interval([1, 5, 2, 8, 3]) == median_interval([1, 5, 2, 8, 3])


@pytest.mark.parametrize(("freedom", "factor"), [(1, 12.706), (2, 4.303), (5, 2.571), (8, 2.306), (120, 1.980)])
def test_a_mean_of_few_needs_a_wider_interval(freedom: int, factor: float) -> None:
    assert student(freedom) == pytest.approx(factor, abs=5e-4)


def test_ratios_need_pairs() -> None:
    with pytest.raises(ValueError, match="2 values against 1: expected pairs"):
        ratio_interval([1, 2], [1])


@pytest.mark.parametrize(("q", "value"), [(0, 1), (0.5, 2.5), (1, 4), (0.25, 1.75)])
def test_quantiles_interpolate(q: float, value: float) -> None:
    assert quantile([1, 2, 3, 4], q) == value


def test_quantiles_are_named_as_they_are_spoken() -> None:
    assert list(quantiles([3, 1, 2])) == ["p50", "p90", "p99", "p99.9", "max"]


def test_quantile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(quantile([], 0.5))


def test_measurements_alternate_so_that_drift_falls_on_both() -> None:
    assert abba(4) == "ABBAABBA"


def test_compare_pairs_by_position() -> None:
    clock = iter(range(4))
    a, b = compare(lambda: next(clock), lambda: next(clock), 2)
    assert (a, b) == ([0, 3], [1, 2])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00123456, "0.00123"), (12.345, "12.3"), (999.7, "1,000"), (1234.5, "1,230"), (175_923, "176,000"), (0, "0")],
)
def test_three_digits_are_enough(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_leaves_out_columns_that_say_nothing() -> None:
    assert table([{"a": 1, "b": ""}, {"a": 2, "b": ""}]) == "| a |\n| --- |\n| 1 |\n| 2 |"


def test_a_cell_cannot_break_its_table() -> None:
    assert table([{"a": "x|y\nz"}]).splitlines()[-1] == "| x\\|y z |"


def test_a_report_survives_the_disk(tmp_path) -> None:  # type: ignore[no-untyped-def]
    report = Report("T", "python -m x", [Result("r", "s", [1.0, 2.0], "base", [2.0, 2.0])], {"cores": "2"}, ["n"])
    report.save(tmp_path / "r.json")
    assert Report.load(tmp_path / "r.json") == report


def test_of_a_report_that_no_disk_has_room_for_nothing_is_left(tmp_path: Path) -> None:
    program = f"""
import resource
from loadtest.stats import Report, Result
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # octets a file may have
Report("T", "c", [Result("a", "q/s", [1.0] * 100)], {{}}).save("{tmp_path / "report.json"}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "File too large" in done.stderr and not list(tmp_path.iterdir())


def test_a_report_shows_value_unit_and_ratio() -> None:
    text = Report("T", "python -m x", [Result("r", "q/s", [3.0], "base", [2.0])], {}).text()
    assert "| r | 3 | q/s | 1 | 1.5 of base |" in text


def test_a_result_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="result 'r': expected at least one value"):
        Result("r", "s", [])


def test_the_machine_is_described_with_versions() -> None:
    machine = describe_machine("msgspec", "no-such-package")
    assert machine["no-such-package"] == "absent" and machine["msgspec"][0].isdigit() and int(machine["cores"]) > 0


@pytest.mark.parametrize("out", [["--out", "/tmp/r.json"], ["--out=/tmp/r.json"], []])
def test_where_a_report_went_is_no_part_of_its_command(out: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out=FILE` stood in the report, with the path on the machine that made it."""
    monkeypatch.setattr(sys, "argv", ["x", "--rows", "5", *out, "--quick"])
    assert command_line().endswith(" --rows 5 --quick")


def test_cpu_of_children_counts() -> None:
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < .2: pass"], check=True)
    assert cpu_seconds(os.getpid()) - before >= 0.15


def test_a_living_child_is_a_descendant() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in descendants(os.getpid())
        child.communicate(b"\n")


def test_a_process_that_is_gone_uses_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert (cpu_seconds(child.pid), resident_bytes(child.pid)) == (0.0, 0)
