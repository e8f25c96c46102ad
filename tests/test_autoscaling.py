"""Up, down to the minimum and up again on names in flight, while resolvers keep asking."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from loadtest.cluster_bench import bodies
from loadtest.frames import closed_loop, requests
from tests.cluster_fixture import Cluster, started

pytestmark = [pytest.mark.long, pytest.mark.cluster, pytest.mark.timeout(900)]

BUDGET_MS = 30_000  # what a busy machine answers late is not what is asked about here
SCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    "upscale_delay_s": 1,
    "downscale_delay_s": 4,
    "look_back_period_s": 2,
    "policy": {"policy_function": "deployments.scaling:names_in_flight", "policy_kwargs": {"target_names": 256}},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # The preprocessor's replicas are small; the classifier's scale by the same policy and cost a TensorFlow each.
    with started(
        tmp_path_factory.mktemp("autoscaling"), deployments={"Preprocessor": {"autoscaling_config": SCALING}}
    ) as found:
        yield found


def test_replicas_follow_names_in_flight_and_no_question_fails(cluster: Cluster) -> None:
    few = requests([b'{"names":["a.org"]}'], token=cluster.resolver, budget_ms=BUDGET_MS)
    many = requests(list(bodies(256)), token=cluster.resolver, budget_ms=BUDGET_MS)
    with ThreadPoolExecutor(2) as pool:
        steady = pool.submit(closed_loop, cluster.address, few, 1, 1, 240.0)
        seen = []
        for _ in range(2):
            flood = pool.submit(closed_loop, cluster.address, many, 256, 8, 30.0)
            seen.append(within(90, lambda: cluster.replicas()["Preprocessor"] == 2))
            assert set(flood.result().statuses) == {200}
            seen.append(within(60, lambda: cluster.replicas()["Preprocessor"] == 1))
            if not all(seen):
                break
        outcome = steady.result()
    assert seen == [True] * 4
    assert set(outcome.statuses) == {200} and outcome.lost == 0


def within(patience_s: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.5)
    return False
