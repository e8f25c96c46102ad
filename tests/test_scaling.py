from types import SimpleNamespace
from typing import Any

import pytest

from deployments.scaling import BUSY, METRIC, Busy, NamesInFlight, wanted
from serve_app.configuration import configuration


@pytest.mark.parametrize(
    "names, present, expected",
    [
        (0, 1, 1),  # the minimum is Serve's to enforce; none is never wanted
        (1000, 1, 1),
        (1001, 1, 2),
        (5000, 1, 5),
        (2000, 2, 2),
        (1401, 3, 3),  # two would be full at once
        (1399, 3, 2),
        (0, 8, 1),
    ],
)
def test_replicas_by_names_in_flight(names: float, present: int, expected: int) -> None:
    assert wanted(names, present, 1000) == expected


def test_a_constant_load_settles_and_stays() -> None:
    for load in range(1, 12_000, 37):
        present, seen = 1, []
        for _ in range(20):
            present = wanted(load, present, 1000)
            seen.append(present)
        assert len(set(seen[2:])) == 1


@pytest.mark.parametrize("base", range(100, 8000, 333))
def test_a_load_that_wavers_by_a_tenth_moves_at_most_once_each_way(base: int) -> None:
    present, changes = wanted(base, 1, 1000), 0
    for step in range(100):
        after = wanted(base * (1.1 if step % 2 else 1.0), present, 1000)
        changes += after != present
        present = after
    assert changes <= 1


@pytest.mark.parametrize(
    "busy, present, expected",
    [
        (1.3, 2, 2),  # one alone would be over its time: nothing is in flight because there are two
        (0.6, 2, 1),
        (2.0, 2, 2),  # busy is no reason for more: names in flight are
    ],
)
def test_a_replica_goes_only_if_the_others_have_time_for_its_work(busy: float, present: int, expected: int) -> None:
    assert wanted(50, present, 1000, busy) == expected


def test_busy_is_the_share_since_it_was_last_asked() -> None:
    worked, now = 0.0, 100.0
    busy = Busy(lambda: worked, lambda: now)
    worked, now = 1.0, 104.0
    assert busy.share() == 0.25
    now = 108.0
    assert busy.share() == 0.0
    assert busy.share() == 0.0  # asked twice in one moment


@pytest.mark.parametrize("target", [0, -5, "abc", 2.5, True])
def test_a_target_that_no_replica_could_have_is_named(target: Any) -> None:
    with pytest.raises(ValueError, match="target_names .*expected a whole number, 1 or more"):
        NamesInFlight(target)


@pytest.mark.parametrize("target, expected", [(256, 4), (1024, 1)])
def test_serve_gives_the_policy_of_serve_yaml_its_target(target: int, expected: int) -> None:
    from ray.serve._private.autoscaling_state import _resolve_policy_callable
    from ray.serve.config import AutoscalingConfig

    [_, preprocessor, classifier, _] = configuration()["applications"][0]["deployments"]
    for deployment in (preprocessor, classifier):
        config = deployment["autoscaling_config"]
        config["policy"]["policy_kwargs"]["target_names"] = target
        policy = AutoscalingConfig(**config).policy
        policy.serialize_policy()
        context = SimpleNamespace(
            aggregated_metrics={METRIC: {"one": 1000.0}, BUSY: {"one": 1.0}},
            total_running_requests=4.0,
            total_queued_requests=0.0,
            target_num_replicas=1,
        )
        assert _resolve_policy_callable(policy)(context) == (expected, {})
