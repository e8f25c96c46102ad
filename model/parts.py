"""An artifact on what taught it, what tuned it and what judges it, side by side: does it only remember?

Fields are those that the dashboard shows for train, validation and test.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.calibrate import case_weights, rebased
from model.dataset import BENIGN, DGA, FEED, JUDGE, TEACH, TUNE, Corpus
from model.manifest import Limits
from model.metrics import reliability, threshold_at
from model.protocol import EDGES, RATES, Score

PARTS = {"train": TEACH, "validation": TUNE, "test": JUDGE}
SAMPLE = 40_000  # names of each kind and part


def parts(corpus: Corpus, score: Score, limits: Limits) -> dict[str, Any]:
    """Of a fixed sample of each part: what the tiers make of it, `generated` at fixed false-positive rates of that
    part's own benign names, and the calibration of `generated` at the base rate. Feeds count in the first alone."""
    rng = np.random.default_rng(13)
    report = {}
    for name, part in PARTS.items():
        rows = np.concatenate([rng.permutation(corpus.where(kind, part))[:SAMPLE] for kind in (BENIGN, DGA, FEED)])
        report[name] = figures(corpus, rows, score([corpus.names[i] for i in rows]), limits)
    return report


def figures(corpus: Corpus, rows: NDArray[np.int64], scores: NDArray[np.float32], limits: Limits) -> dict[str, Any]:
    """The figures of these rows and their scores (N, 2)."""
    kind = corpus.kind[rows]
    flagged = np.zeros(len(rows), np.bool_)
    for column, threshold in ((0, limits.block), (0, limits.alert_generated), (1, limits.alert_score)):
        if threshold.value is not None:
            flagged |= scores[:, column] >= threshold.value
    benign = kind == BENIGN
    exact = np.flatnonzero(kind != FEED)
    truth = (kind[exact] == DGA).astype(np.float64)
    weights = rebased(case_weights(corpus, rows[exact]), truth)
    at_rates = []
    for rate in RATES if benign.any() and (kind == DGA).any() else ():
        threshold_value = threshold_at(scores[benign, 0], rate)
        reached = scores[exact, 0] >= threshold_value
        found, wrong = (float(weights[reached & (truth == value)].sum()) for value in (1, 0))
        at_rates.append({
            "fpr": rate, "threshold": threshold_value, "precision": found / max(found + wrong, 1e-12),
            "recall": found / max(float(weights[truth == 1].sum()), 1e-12),
        })  # fmt: skip
    return {
        "names": len(rows),
        "confusion": {
            "true_negative": int((benign & ~flagged).sum()), "false_positive": int((benign & flagged).sum()),
            "false_negative": int((~benign & ~flagged).sum()), "true_positive": int((~benign & flagged).sum()),
        },
        "at_fpr": at_rates,
        "reliability": reliability(scores[exact, 0], truth, weights, EDGES),
    }  # fmt: skip
