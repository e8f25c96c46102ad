"""Figures of merit against cases worked by hand."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from model.metrics import (
    auc,
    by_domain,
    fit_platt,
    log_loss,
    mean_of_groups,
    paired,
    strictest,
    tail_threshold,
    threshold_at,
    upper_bound,
)
from model.registry import RELEASED


def f32(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


HUNDRED = np.arange(100, dtype=np.float32)


@pytest.mark.parametrize(("rate", "flagged"), [(0.0, 0), (0.01, 1), (0.05, 5)])
def test_a_threshold_lets_at_most_its_rate_through(rate: float, flagged: int) -> None:
    assert (threshold_at(HUNDRED, rate) <= HUNDRED).sum() == flagged


def test_ties_never_exceed_the_rate() -> None:
    scores = np.ones(100, np.float32)
    assert (scores >= threshold_at(scores, 0.01)).sum() == 0


def test_a_tail_threshold_goes_beyond_the_highest_score() -> None:
    scores = np.random.default_rng(0).exponential(2.0, 50_000)
    wanted = 2.0 * np.log(1e6)  # where an exponential of mean 2 leaves one in a million
    assert tail_threshold(scores, 1e-6, 1000) == pytest.approx(wanted, rel=0.1) and wanted > scores.max()


def test_the_strictest_stratum_decides_unless_it_is_too_small() -> None:
    strata = {"low": np.zeros(3000, np.float32), "high": np.ones(3000, np.float32), "few": np.full(9, 5, np.float32)}
    value, name = strictest(strata, 0.01)
    assert name == "high" and 1 < value < 1.001


@pytest.mark.parametrize(
    ("events", "trials", "bound"),
    [(0, 200_000, 1.498e-5), (0, 100, 0.02951), (3, 1000, 0.007735), (99, 100, 0.999487), (5, 5, 1.0)],
)
def test_the_bound_is_clopper_pearsons(events: int, trials: int, bound: float) -> None:
    assert upper_bound(events, trials) == pytest.approx(bound, rel=1e-3)


def test_the_bounds_of_the_released_manifest_come_out_again() -> None:
    manifest = json.loads((RELEASED / "segments-2026-11h" / "manifest.json").read_text())
    for limit in manifest["thresholds"].values():
        assert upper_bound(limit["false_positives"], limit["benign"]) == pytest.approx(limit["bound"], rel=1e-9)
    assert upper_bound(70_000, 1_000_000) == pytest.approx(0.07042110003574555, rel=1e-9)


def test_auc_counts_pairs() -> None:
    assert auc(f32([1, 2]), f32([2, 3])) == pytest.approx(0.875)


def test_names_of_a_domain_count_once() -> None:
    flagged, registered = np.array([True, False, True]), np.array([1, 1, 2])
    assert by_domain(flagged, registered).tolist() == [0.5, 1.0]


def test_a_small_family_weighs_as_a_large_one() -> None:
    assert mean_of_groups([np.ones(1000), np.zeros(2)]).value == 0.5


def test_a_paired_interval_sees_a_steady_lead() -> None:
    worse = [np.random.default_rng(i).random(50) for i in range(20)]
    gap = paired([group + 0.1 for group in worse], worse)
    assert gap.low > 0 and gap.value == pytest.approx(0.1)


def test_platt_finds_the_parameters_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 200_000).astype(np.float32)
    truth = (rng.random(len(logits)) < 1 / (1 + np.exp(-(0.5 * logits - 2)))).astype(float)
    found = fit_platt(logits, truth, np.ones(len(truth)))
    assert found.slope == pytest.approx(0.5, abs=0.02) and found.shift == pytest.approx(-2, abs=0.05)


def test_platt_inverts_itself() -> None:
    found = fit_platt(f32([-2, -1, 1, 2]), np.array([0, 1, 0, 1.0]), np.ones(4))
    assert found.logit(float(found(f32([1.5]))[0])) == pytest.approx(1.5, abs=1e-3)


def test_log_loss_of_a_coin_is_log_two() -> None:
    assert log_loss(f32([0.5, 0.5]), np.array([0.0, 1.0]), np.ones(2)) == pytest.approx(np.log(2))
