"""Batches over compiled graphs: every row runs once, on a graph that holds it, and never dearer than in one piece."""

import random

import pytest

from model.runs import START_GPU, Runs

SIZES, WIDTHS, FEW = (1, 16, 64, 256, 1024), (16, 32, 48, 96), 16


def batches(seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.choice((0, 1, rng.randrange(90), rng.randrange(1500))) for _ in WIDTHS] for _ in range(200)]


@pytest.mark.parametrize("counts", [[1, 0, 0, 0], [0, 0, 0, 5000], [692, 252, 71, 9], *batches(0)[:20]])
def test_every_row_runs_once_on_a_graph_that_holds_it(counts: list[int]) -> None:
    runs = Runs(SIZES, WIDTHS, FEW)
    plan = runs.plan(counts)
    rows = [width for width, count in zip(WIDTHS, counts, strict=True) for _ in range(count)]
    assert [row for run in plan for row in range(run.first, run.last)] == list(range(len(rows)))
    for run in plan:
        assert run.last - run.first <= run.size and max(rows[run.first : run.last]) <= run.width
        assert (run.size, run.width) in runs.graphs


def test_a_plan_is_never_dearer_than_the_next_size_at_the_widest_width() -> None:
    runs = Runs(SIZES, WIDTHS, FEW)
    cheaper = 0
    for counts in batches(1):
        rows = sum(counts)
        widest = max((w for w, count in zip(WIDTHS, counts, strict=True) if count), default=WIDTHS[0])
        whole = Runs(SIZES, (widest,), FEW).plan([rows])
        cost = [sum(runs._cost(run.size, run.width) for run in plan) for plan in (runs.plan(counts), whole)]
        assert cost[0] <= cost[1]
        cheaper += cost[0] < cost[1]
    assert cheaper > 100


def test_long_names_do_not_make_short_ones_wide() -> None:
    plan = Runs(SIZES, WIDTHS, FEW).plan([900, 0, 0, 10])
    assert sum(run.last - run.first for run in plan if run.width == 96) <= 64
    assert {run.width for run in plan} == {16, 96}


def test_a_gpu_takes_what_fits_in_one_run() -> None:
    [run] = Runs(SIZES, WIDTHS, FEW, START_GPU).plan([692, 252, 71, 9])
    assert (run.size, run.width) == (1024, 96)


def test_small_batches_have_few_graphs() -> None:
    assert Runs(SIZES, WIDTHS, FEW).graphs[:4] == [(1, 48), (1, 96), (16, 48), (16, 96)]
    assert Runs((4,), (256,), FEW).graphs == [(4, 256)]
