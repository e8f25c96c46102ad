"""serve_app/metrics.py in a replica, where Serve puts labels of its own before ours."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.util import metrics

from serve_app.metrics import IngressMetrics


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """What reaches Ray of a replica's counters: name, value, labels of ours."""
    found: list[tuple[str, float, dict[str, str]]] = []
    context = SimpleNamespace(deployment="Ingress", replica_tag="r1", app_name="verdict")
    monkeypatch.setattr("ray.serve.context._INTERNAL_REPLICA_CONTEXT", context)
    inc = metrics.Counter.inc

    def noted(self: Any, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        inc(self, value, tags)  # raises where a label is missing
        found.append((self.info["name"], value, tags or {}))

    monkeypatch.setattr(metrics.Counter, "inc", noted)
    return found


def test_every_frame_is_in_the_histogram_whose_count_means_are_made_with(
    recorded: list[tuple[str, float, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[float] = []
    monkeypatch.setattr(metrics.Histogram, "observe", lambda _, value, tags=None: observed.append(value))
    counts = IngressMetrics()
    for _ in range(250):
        counts.frame(2, 2, 0, None)
    counts.flush({})
    assert observed == [2] * 250 and [(name, value) for name, value, _ in recorded] == [("verdict_names", 500)]


def test_every_count_is_handed_over_under_its_own_label(recorded: list[tuple[str, float, dict[str, str]]]) -> None:
    counts = IngressMetrics()
    counts.frame(4, 1, 1, np.array([[0.1, 0.2], [0.9, 0.95]], np.float32))
    counts.answer("ok")
    counts.rows("kept", 7)
    counts.flush({"epoch": 3.0})
    assert sorted((name, value, *tags.items()) for name, value, tags in recorded) == [
        ("verdict_answers", 1, ("code", "ok")),
        ("verdict_names", 1, ("source", "ineligible")),
        ("verdict_names", 1, ("source", "list")),
        ("verdict_names", 2, ("source", "model")),
        ("verdict_rows", 7, ("outcome", "kept")),
        ("verdict_scores", 1, ("le", "0.25")),
        ("verdict_scores", 1, ("le", "0.99")),
    ]
