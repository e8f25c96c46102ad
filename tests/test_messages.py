"""Scores cross between replicas whole, and as nothing that pickle has to look for."""

import pickle

import numpy as np
import pytest

from deployments.messages import Scored
from verdicts.policy import Thresholds


@pytest.mark.parametrize("names", [0, 1, 300])
@pytest.mark.parametrize("thresholds", [Thresholds(), Thresholds(0.9, 0.5, 0.25)])
def test_scores_arrive_as_they_were_sent(names: int, thresholds: Thresholds) -> None:
    sent = Scored("v1", thresholds, np.random.default_rng(names).random((names, 2), np.float32))
    came = Scored.unpacked(pickle.loads(pickle.dumps(sent.packed())))
    assert came[:2] == sent[:2] and np.array_equal(came.scores, sent.scores) and came.scores.dtype == np.float32


def test_no_class_crosses_with_them() -> None:
    data = pickle.dumps(Scored("v1", Thresholds(0.9), np.zeros((2, 2), np.float32)).packed())
    assert all(module not in data for module in (b"numpy", b"deployments", b"verdicts"))
