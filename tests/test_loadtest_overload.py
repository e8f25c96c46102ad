"""loadtest/overload_bench.py: the peak, and figures of runs that had none of something."""

from collections import Counter

import pytest

from loadtest import overload_bench
from loadtest.frames import Outcome
from loadtest.overload_bench import Seen, rows


class Answers:
    """A cluster whose goodput rises up to a number of callers."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, callers: int) -> Outcome:
        return Outcome(1.0, min(callers, self.most) * 100 - callers)


@pytest.mark.parametrize(("most", "found"), [(6, 6), (12, 12), (24, 24), (1000, 48)])
def test_the_peak_is_where_goodput_rises_no_more(most: int, found: int) -> None:
    """With too few callers ten times as many had 1.28 of the "peak"."""
    assert overload_bench.peak(Answers(most)) == found


def seen(statuses: dict[int, int]) -> Seen:
    good, refused = statuses.get(200, 0), statuses.get(503, 0)
    return Seen(Outcome(1.0, good, Counter(statuses), [0.1] * good, [0.2] * refused), 1.0, 0.1, 0.0)


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        ([{200: 9, 503: 1}, {200: 9}], ["refusals", "good answers"]),  # one of two runs refused nobody
        ([{200: 10}, {200: 9, 504: 1}], ["good answers"]),
        ([{503: 10}], ["refusals"]),
    ],
)
def test_what_no_run_had_is_left_out(statuses: list[dict[int, int]], told: list[str]) -> None:
    """Where no run refused anybody it ended with an error, after all had been measured."""
    found = rows("x", [seen(each) for each in statuses], [seen({200: 10}) for _ in statuses])
    assert [row.name.partition("p99 of ")[2] for row in found if "p99" in row.name] == told
    assert all(row.row() for row in found)
