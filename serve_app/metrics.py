"""Verdict's own metrics, beside Serve's. Summed in memory and handed to Ray once a second.

A metric of Ray costs microseconds a call, a frame has hundreds of names: so nothing here runs for each name.
No label is a name or a client.
"""

from collections import Counter as Sums

import numpy as np
from numpy.typing import NDArray

SCORE_BINS = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)  # upper edges
FRAME_SIZES = [1, 4, 16, 64, 256, 1024, 4096]
LABELS = {"names": "source", "answers": "code", "scores": "le", "rows": "outcome"}
_EDGES = np.array(SCORE_BINS[:-1], np.float32)


class IngressMetrics:
    """What one ingress replica counts."""

    def __init__(self) -> None:
        from ray.serve.metrics import Counter, Gauge, Histogram

        self._sums: Sums[tuple[str, str]] = Sums()
        self._frames: list[int] = []
        self._scores: list[NDArray[np.float32]] = []
        self._counters = {
            "names": Counter(
                "verdict_names", description="Names judged, by what decided.", tag_keys=(LABELS["names"],)
            ),
            "answers": Counter("verdict_answers", description="Answers, by code.", tag_keys=(LABELS["answers"],)),
            "scores": Counter(
                "verdict_scores", description="Scores of malicious, by upper edge.", tag_keys=(LABELS["scores"],)
            ),
            "rows": Counter("verdict_rows", description="Observation rows, by outcome.", tag_keys=(LABELS["rows"],)),
        }
        self._frame_names = Histogram("verdict_frame_names", description="Names in a frame.", boundaries=FRAME_SIZES)
        self._gauges = {
            "in_flight": Gauge("verdict_names_in_flight", description="Names let in, 100 more for each frame."),
            "limit": Gauge("verdict_names_limit", description="As many of these may be at one time."),
            "epoch": Gauge("verdict_epoch", description="Epoch of the decisions followed."),
            "stale": Gauge("verdict_stale_seconds", description="Age of the decisions while the store is away."),
            "away": Gauge("verdict_store_away_seconds", description="How long the store has taken nothing of the log."),
            "spool": Gauge("verdict_spool_bytes", description="Bytes acknowledged and not yet in the store."),
        }

    def frame(self, count: int, listed: int, ineligible: int, scores: NDArray[np.float32] | None) -> None:
        """One frame was answered: `scores` (M, 2) of those the model judged."""
        self._frames.append(count)
        self._sums["names", "list"] += listed
        self._sums["names", "ineligible"] += ineligible
        if scores is not None:
            self._sums["names", "model"] += len(scores)
            self._scores.append(scores[:, 1])

    def answer(self, code: str) -> None:
        """One answer went out; `code` is `ok` or a code of `wire.STATUS_OF`."""
        self._sums["answers", code] += 1

    def rows(self, outcome: str, count: int) -> None:
        self._sums["rows", outcome] += count

    def flush(self, gauges: dict[str, float]) -> None:
        """Hand over what gathered; call it once a second, off the path of questions."""
        sums, frames, scores = self._sums, self._frames, self._scores
        self._sums, self._frames, self._scores = Sums(), [], []
        for (name, label), value in sums.items():
            if value:
                self._counters[name].inc(value, tags={LABELS[name]: label})
        if scores:
            bins = np.searchsorted(_EDGES, np.concatenate(scores), side="left")
            for edge, value in zip(SCORE_BINS, np.bincount(bins, minlength=len(SCORE_BINS)).tolist(), strict=True):
                if value:
                    self._counters["scores"].inc(value, tags={"le": str(edge)})
        for count in frames:  # each: their number is exact, where their sum is what Ray makes of the buckets' middles
            self._frame_names.observe(count)
        for name, number in gauges.items():
            self._gauges[name].set(number)
