"""Up, down to the minimum and up again on names in flight, while resolvers keep asking."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from loadtest.cluster_bench import bodies
from loadtest.frames import Outcome, closed_loop, requests
from tests.cluster_fixture import Cluster, started

pytestmark = [pytest.mark.long, pytest.mark.cluster, pytest.mark.timeout(900)]

BUDGET_MS = 30_000  # what a busy machine answers late is not what is asked about here
BOTH = ("Preprocessor", "Classifier")
LOADED = """
import ray.serve
from model.artifact import Artifact
from model.registry import RELEASED
from model.scorer import Scorer
Scorer(Artifact.load(RELEASED / "seed-2020"), (1, 16, 64, 256, 1024)).warm_up()
"""
SCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    "upscale_delay_s": 1,
    "downscale_delay_s": 4,
    "look_back_period_s": 2,
    "policy": {"policy_function": "deployments.scaling:NamesInFlight", "policy_kwargs": {"target_names": 256}},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    deployments = {name: {"autoscaling_config": SCALING} for name in BOTH}
    with started(tmp_path_factory.mktemp("autoscaling"), deployments=deployments) as found:
        yield found


@pytest.fixture(scope="module")
def patience_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """For a second replica of each to run: it has to load what a replica loads, which takes a busy machine minutes.

    Measured here and now: a classifier's libraries and model, in a process of their own.
    """
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, timeout=240)
    return min(240.0, max(120.0, 8 * (time.monotonic() - began)))


def test_replicas_follow_names_in_flight_and_no_question_fails(cluster: Cluster, patience_s: float) -> None:
    few = requests([b'{"names":["a.org"]}'], token=cluster.resolver, budget_ms=BUDGET_MS)
    many = requests(list(bodies(256)), token=cluster.resolver, budget_ms=BUDGET_MS)
    seen, over = [], Event()
    with ThreadPoolExecutor(2) as pool:
        steady = pool.submit(asked_until, over, lambda: closed_loop(cluster.address, few, 1, 1, 2.0))
        try:
            for _ in range(2):
                grown = Event()
                flood = pool.submit(asked_until, grown, lambda: closed_loop(cluster.address, many, 256, 8, 2.0))
                seen.append(within(patience_s, lambda: replicas(cluster) == (2, 2)))
                grown.set()
                assert flood.result() == {200}
                seen.append(within(90, lambda: replicas(cluster) == (1, 1)))
                if not all(seen):
                    break
        finally:
            over.set()
        assert steady.result() == {200}
    assert seen == [True] * 4, f"{seen} (up, down, up, down); at last {replicas(cluster)} of {BOTH}"


def asked_until(over: Event, ask: Callable[[], Outcome]) -> set[int]:
    """Ask again and again; the statuses of all answers, and 0 where a connection broke."""
    found: set[int] = set()
    while not over.is_set():
        outcome = ask()
        found |= set(outcome.statuses) | ({0} if outcome.lost else set())
    return found


def replicas(cluster: Cluster) -> tuple[int, int]:
    found = cluster.replicas()
    return found[BOTH[0]], found[BOTH[1]]


def within(patience_s: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.5)
    return False
