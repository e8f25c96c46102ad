"""loadtest/cluster_bench.py: what is asked before it counts, and what ends a run."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadtest import cluster_bench
from loadtest.cluster_bench import CONNECTIONS, PATHS, bodies, measure
from loadtest.clusters import Running
from loadtest.frames import Outcome
from serve_app.environment import Ingress

SIZE = 256


class Answers:
    """Stands in for `closed_loop`: notes what is asked on how many connections; the first questions are refused."""

    def __init__(self, refusing: int) -> None:
        self.asked: list[tuple[str, int]] = []
        self.refusing = refusing

    def __call__(
        self, address: object, asked: list[bytes], names: int, connections: int, seconds: float, **more: Any
    ) -> Outcome:
        self.asked.append((asked[0].split()[1].decode(), connections))
        return Outcome(seconds, names, Counter([503 if len(self.asked) <= self.refusing else 200]), [0.1])


def measured(monkeypatch: pytest.MonkeyPatch, refusing: int) -> list[tuple[str, int]]:
    answers = Answers(refusing)
    monkeypatch.setattr(cluster_bench, "closed_loop", answers)
    frames = {1: list(bodies(1)), SIZE: list(bodies(SIZE))}
    measure(frames, lambda which, size, seconds: 1.0, Running(1, "", "", Path(), Ingress(Path()), {}), 2, 1.0)
    return answers.asked


def test_both_graphs_are_warmed_at_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = measured(monkeypatch, refusing=2)  # what is told before it counts, counts for nothing
    noop, whole = PATHS.values()
    for size in (1, SIZE):
        mine = [path for path, connections in asked if connections == CONNECTIONS[size]]
        assert mine == [noop, whole] + [noop, whole] + [whole, noop], size


def test_a_refusal_while_it_counts_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="frames of 1: 1 answers 503; 0 connections broken"):
        measured(monkeypatch, refusing=3)
