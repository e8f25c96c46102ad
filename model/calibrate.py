"""Calibration and thresholds, on the tune part alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import BENIGN, DGA, FEED, STRATA, TUNE, Corpus
from model.manifest import Platt
from model.metrics import fit_platt, strictest, tail_threshold
from model.sampling import FAMILY_POWER

BASE_RATE = 0.001  # of malicious names among queries
# Of benign names; by the shape of the tail, since the tune part is too small to count it. None of 200,000 judged names
# is then expected to be blocked.
BLOCK_RATE = 2e-6
ALERT_RATES = (7e-4, 3e-4)  # generated and score; together at most 1e-3 of benign names
FEED_SHARE = 0.5  # of the malicious names at the base rate; the rest are generated


class Tuned(NamedTuple):
    """Calibration by head, and thresholds in logits."""

    calibration: dict[str, Platt]
    block: float
    alert_generated: float
    alert_score: float
    strata: dict[str, str]  # which stratum set each threshold


def tune(
    corpus: Corpus, rows: NDArray[np.int64], logits: NDArray[np.float32], plain: NDArray[np.float32] | None = None
) -> Tuned:
    """Fit on the rows (indices of TUNE names) and their logits (N, 2): generated, malicious.

    `plain`: of all benign names among them, what the network says of `generated` without its wide part, if it has one.
    Above the ceiling of that both are the same, and what was raised to it is no part of the tail that leads to the
    threshold of tier block.
    """
    if not (corpus.part[rows] == TUNE).all():
        raise ValueError("rows: expected names of the tune part alone")
    kind = corpus.kind[rows]
    weights = case_weights(corpus, rows)
    truth = (kind != BENIGN).astype(np.float64)
    exact = kind != FEED  # feeds say nothing of `generated`
    calibration = {
        "generated": fit_platt(logits[exact, 0], truth[exact], rebased(weights[exact], truth[exact])),
        "malicious": fit_platt(logits[:, 1], truth, rebased(weights, truth)),
    }
    inside = {name: (corpus.strata[rows] >> bit & 1).astype(bool) & (kind == BENIGN) for bit, name in enumerate(STRATA)}
    strata = {name: logits[mask] for name, mask in inside.items()}
    generated, first = strictest({name: found[:, 0] for name, found in strata.items()}, ALERT_RATES[0])
    score, second = strictest({name: found[:, 1] for name, found in strata.items()}, ALERT_RATES[1])
    tail = strata["pooled"][:, 0] if plain is None else plain
    return Tuned(calibration, tail_threshold(tail, BLOCK_RATE), generated, score,
                 {"block": "pooled", "alert_generated": first, "alert_score": second})  # fmt: skip


def case_weights(corpus: Corpus, rows: NDArray[np.int64], part: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Weights (N,): benign names equally, DGA families by n ** 0.3, feeds by n; the two malicious kinds by FEED_SHARE.

    `part`: the rows of which `rows` were drawn, so many of each family and feed; n is the size there.
    """
    kind, whole = corpus.kind[rows], rows if part is None else part
    weights = np.ones(len(rows))
    for code, group, power, share in (
        (DGA, corpus.family, FAMILY_POWER, 1 - FEED_SHARE),
        (FEED, corpus.source, 1.0, FEED_SHARE),
    ):
        chosen = kind == code
        if not chosen.any():
            continue
        found, place, drawn = np.unique(group[rows[chosen]], return_inverse=True, return_counts=True)
        there = group[whole[corpus.kind[whole] == code]]
        sizes = np.array([(there == one).sum() for one in found])
        weights[chosen] = (sizes**power / drawn)[place]
        weights[chosen] *= share / weights[chosen].sum()
    return weights


def rebased(weights: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights scaled so that malicious names are BASE_RATE of the whole."""
    out = weights.copy()
    for value, share in ((1.0, BASE_RATE), (0.0, 1 - BASE_RATE)):
        out[truth == value] *= share / max(weights[truth == value].sum(), 1e-12)
    return out
