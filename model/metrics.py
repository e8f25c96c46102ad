"""Figures of merit: rates at thresholds, intervals, calibration. Arrays in, numbers out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.manifest import Platt

Scores = NDArray[np.float32]
ENOUGH = 2000  # names; a smaller stratum says too little of one in a thousand


class Interval(NamedTuple):
    """An estimate and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def threshold_at(benign: Scores, rate: float) -> float:
    """The lowest threshold at which at most this share of the benign scores is reached (score >= threshold)."""
    allowed = int(rate * len(benign))
    highest = np.sort(benign)[::-1]
    return float(np.nextafter(np.float32(highest[allowed]), np.float32(np.inf)))


def tail_threshold(benign: Scores, rate: float, highest: int = 100) -> float:
    """The threshold of a rate too low to count: the highest scores are taken for an exponential tail.

    Scores must be logits or the like, which have no upper end. Excesses over a high value follow a generalised
    Pareto law (Pickands 1975), of which the exponential is the case between a bounded and a heavy tail. Where the tail
    begins is not known, and each beginning gives another threshold: it is the mean of those of the `highest` scores
    down to the highest quarter of them (Resnick and Starica 1997, "Smoothing the Hill estimator").
    """
    top = np.sort(benign)[::-1][: highest + 1].astype(np.float64)
    most = len(top) - 1
    if most < 1:
        raise ValueError(f"{len(benign)} scores: expected two or more")
    counts = np.arange(max(1, most // 4), most + 1)
    excess = np.cumsum(top)[counts - 1] / counts - top[counts]  # means over the highest so many
    return float(np.mean(top[counts] + excess * np.log(counts / (len(benign) * rate))))


def strictest(strata: Mapping[str, Scores], rate: float) -> tuple[float, str]:
    """The highest threshold that any stratum needs for this rate, and which.

    Strata that are too small are left out; where all are, the largest decides.
    """
    enough = min(ENOUGH, max(map(len, strata.values())))
    found = {name: threshold_at(scores, rate) for name, scores in strata.items() if len(scores) >= enough}
    name = max(found, key=lambda stratum: found[stratum])
    return found[name], name


def upper_bound(events: int, trials: int) -> float:
    """The upper 95 % confidence limit (Clopper-Pearson, one-sided) of a rate."""
    if events == trials:
        return 1.0
    k = np.arange(1, events + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((trials - k + 1) / k))])  # logarithms of (trials over 0..events)

    def tail(rate: float) -> float:
        """P(X <= events) for a binomial X."""
        odds = np.arange(events + 1) * (np.log(rate) - np.log1p(-rate))
        return float(np.exp(ways + odds + trials * np.log1p(-rate)).sum())

    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if tail(middle) < 0.05 else (middle, high)
    return high


def mean_of_groups(groups: Sequence[NDArray[np.float64]], draws: int = 200, seed: int = 0) -> Interval:
    """The mean over groups (families, sources) of each group's mean; within a group, domains are resampled.

    A group is one number a registered domain: the share of its names that were flagged.
    """
    rng = np.random.default_rng(seed)
    value = float(np.mean([group.mean() for group in groups]))
    samples = [
        np.mean([group[rng.integers(0, len(group), len(group))].mean() for group in groups]) for _ in range(draws)
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def paired(
    ours: Sequence[NDArray[np.float64]], theirs: Sequence[NDArray[np.float64]], draws: int = 2000, seed: int = 0
) -> Interval:
    """The difference of two networks' means over families, families resampled in pairs."""
    rng = np.random.default_rng(seed)
    gaps = np.array([a.mean() - b.mean() for a, b in zip(ours, theirs, strict=True)])
    samples = gaps[rng.integers(0, len(gaps), (draws, len(gaps)))].mean(1)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(float(gaps.mean()), float(low), float(high))


def by_domain(flagged: NDArray[np.bool_], registered: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of flagged names of each registered domain."""
    _, index = np.unique(registered, return_inverse=True)
    return np.asarray(np.bincount(index, flagged.astype(np.float64)) / np.bincount(index), np.float64)


def auc(benign: Scores, malicious: Scores) -> float:
    """The probability that a malicious name scores above a benign one, ties half."""
    order = np.sort(benign)
    below = np.searchsorted(order, malicious, side="left")
    upto = np.searchsorted(order, malicious, side="right")
    return float((below + upto).mean() / 2 / len(benign))


def fit_platt(logits: NDArray[np.float32], truth: NDArray[np.float64], weights: NDArray[np.float64]) -> Platt:
    """The slope and shift of least weighted log-loss, by Newton's method; `weights` carry the base rate."""
    x = logits.astype(np.float64)
    design = np.stack([x, np.ones_like(x)], 1)
    found = np.array([1.0, 0.0])
    weights = weights / weights.sum()

    def loss(parameters: NDArray[np.float64]) -> float:
        z = design @ parameters
        return float((weights * (np.logaddexp(0, z) - truth * z)).sum())

    for _ in range(100):
        z = np.clip(design @ found, -40, 40)
        p = 1 / (1 + np.exp(-z))
        gradient = design.T @ (weights * (p - truth))
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6 and loss(found - size * step) > loss(found):
            size /= 2
        found = found - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    return Platt(float(found[0]), float(found[1]))


def log_loss(probability: Scores, truth: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Weighted mean log-loss."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(weights * (truth * np.log(p) + (1 - truth) * np.log1p(-p))).sum() / weights.sum())


def reliability(
    probability: Scores, truth: NDArray[np.float64], weights: NDArray[np.float64], edges: Sequence[float]
) -> list[dict[str, float]]:
    """Predicted against observed share of positives, between edges of the predicted probability."""
    rows = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = (probability >= low) & (probability < high)
        weight = weights[inside].sum()
        if weight > 0:
            rows.append({
                "from": low, "to": high, "names": int(inside.sum()),
                "predicted": float((weights * probability)[inside].sum() / weight),
                "observed": float((weights * truth)[inside].sum() / weight),
            })  # fmt: skip
    return rows
