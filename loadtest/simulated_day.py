"""A day of a network in a second: names by Zipf, a daily curve, one flood, and the autoscaling policy that answers it.

    python -m loadtest.simulated_day [--mean NAMES] [--max REPLICAS] [--plot FILE] [--json]

What is real: `deployments.scaling.NamesInFlight` with the settings of serve.yaml, and Ray Serve's own delays. What is
modelled, second by second: the plugin's cache (each name asked again when its verdict has expired), the queue of names,
replicas that take START_S to load their model, and the ingress that refuses what would wait longer than half a budget.
"""

import argparse
import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest.arguments import count, positive, writable
from loadtest.processes import program
from loadtest.profiles import HOURLY

DAY_S = 86_400
NAMES = 200_000  # in the population, by Zipf
TTL_S = 86_400  # of a verdict in the plugin's cache, while the cluster is heard
ONE_TIME = 0.05  # share of queries for names asked once
FLOOD = (15 * 3600, 900, 6.0)  # start, seconds, times the mean of names asked: random labels that no cache has
REPLICA = 8000.0  # names a second of one replica: an assumption, of which `--mean` is a multiple
LATENCY_S = 0.03  # of a name that need not queue: it waits for a batch, and is in one
BUDGET_S = 1.0
START_S = 20  # until a new replica is ready
RECORD_S = 10  # how often Serve's replicas report


class Second(NamedTuple):
    """One second of the day: names asked and refused, names in flight, replicas that serve and that are wanted."""

    asked: float
    refused: float
    in_flight: float
    serving: int
    wanted: int


class Outcome(NamedTuple):
    """The day: its seconds, and the second of each change of the number of replicas wanted."""

    seconds: list[Second]
    changes: list[int]

    @property
    def refused(self) -> float:
        """Share of the names asked."""
        return sum(s.refused for s in self.seconds) / max(1.0, sum(s.asked for s in self.seconds))


def day(mean: float, seed: int = 0, flood: bool = True) -> NDArray[np.float64]:
    """Names that a cluster is asked for in each second of a day, with this mean."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, NAMES + 1)
    popularity /= popularity.sum()
    hours = np.arange(0, DAY_S, 60) / 3600
    curve = np.interp(hours, np.arange(25), [*HOURLY, HOURLY[0]])
    rate = 2e4 * curve  # queries a second; what counts is the form, which the next line scales
    repeated = np.array([(r * popularity / (1 + r * popularity * TTL_S)).sum() for r in rate])
    misses = repeated * (1 - ONE_TIME) + rate * ONE_TIME
    asked = np.repeat(misses * (mean / misses.mean()), 60)
    if flood:
        start, seconds, times = FLOOD
        asked[start : start + seconds] += mean * times
    return rng.poisson(asked).astype(np.float64)


def autoscaled(asked: NDArray[np.float64], config: dict[str, Any]) -> Outcome:
    """How the policy answers these names a second; `config` as `autoscaling_config` of serve.yaml."""
    decide = _policy(config)
    serving = wanted = config["min_replicas"]
    starting: deque[int] = deque()  # when each replica on its way is ready
    queue, history = 0.0, deque[tuple[float, float]](maxlen=int(config.get("look_back_period_s", 30)))
    seconds, changes = [], []
    for second, names in enumerate(asked.tolist()):
        while starting and starting[0] <= second:
            starting.popleft()
            serving += 1
        able = serving * REPLICA
        done = min(queue + names, able)
        room = able * BUDGET_S / 2
        refused = max(0.0, queue + names - done - room)
        queue = queue + names - done - refused
        in_flight = queue + done * LATENCY_S
        history.append((in_flight, done / REPLICA))
        if second % RECORD_S == 0:
            target = decide(second, wanted, np.mean(history, axis=0).tolist())
            if target != wanted:
                changes.append(second)
            while target < serving + len(starting) and starting:
                starting.pop()
            serving = min(serving, target)
            starting.extend([second + START_S] * (target - serving - len(starting)))
            wanted = target
        seconds.append(Second(names, refused, in_flight, serving, wanted))
    return Outcome(seconds, changes)


def _policy(config: dict[str, Any]) -> Callable[[int, int, list[float]], int]:
    """Our policy, with the delays that Serve puts around it, on a clock of its own."""
    from ray.serve.autoscaling_policy import _apply_delay_logic
    from ray.serve.config import AutoscalingConfig, AutoscalingContext

    from deployments.scaling import BUSY, METRIC, NamesInFlight

    options = AutoscalingConfig(**{key: value for key, value in config.items() if key != "policy"})
    policy = NamesInFlight(**config["policy"]["policy_kwargs"])
    state: dict[str, Any] = {}

    def decide(now: int, present: int, seen: list[float]) -> int:
        context = AutoscalingContext(
            deployment_id=None, deployment_name="Classifier", app_name="verdict", current_num_replicas=present,
            target_num_replicas=present, running_replicas=[], total_num_requests=1.0, total_queued_requests=0.0,
            aggregated_metrics={METRIC: {"all": seen[0]}, BUSY: {"all": seen[1]}}, raw_metrics=None,
            capacity_adjusted_min_replicas=config["min_replicas"], policy_state=state, last_scale_up_time=None,
            capacity_adjusted_max_replicas=config["max_replicas"], last_scale_down_time=None, current_time=now,
            config=options,
        )  # fmt: skip
        desired = policy(context)[0]
        bounded = min(max(desired, config["min_replicas"]), config["max_replicas"])
        target: int = _apply_delay_logic(bounded, present, options, state, _now=float(now))[0]
        return target

    return decide


def settings(max_replicas: int) -> dict[str, Any]:
    """The classifier's `autoscaling_config` of serve.yaml, with this many replicas at most."""
    from serve_app.configuration import configuration

    deployments = configuration()["applications"][0]["deployments"]
    found: dict[str, Any] = next(d["autoscaling_config"] for d in deployments if d["name"] == "Classifier")
    return {**found, "max_replicas": max_replicas}


def plot(outcome: Outcome, file: Path) -> None:
    """Names asked, replicas, names in flight and refused, over the hours."""
    from matplotlib.figure import Figure

    minutes = np.array(outcome.seconds).reshape(-1, 60, len(Second._fields))
    mean, most, hours = minutes.mean(axis=1), minutes.max(axis=1), np.arange(len(minutes)) / 60
    figure = Figure(figsize=(9, 7), layout="constrained")
    names, replicas, waiting = figure.subplots(3, 1, sharex=True)
    names.plot(hours, mean[:, 0], label="asked")
    names.plot(hours, mean[:, 3] * REPLICA, label="that the replicas can do", drawstyle="steps-post")
    names.plot(hours, mean[:, 1], label="refused")
    names.set_ylabel("names a second")
    names.legend()
    replicas.plot(hours, most[:, 4], label="wanted", drawstyle="steps-post")
    replicas.plot(hours, mean[:, 3], label="serving", drawstyle="steps-post")
    replicas.set_ylabel("replicas")
    replicas.legend()
    waiting.plot(hours, most[:, 2])
    waiting.set_yscale("log")
    waiting.set_ylabel("names in flight, most of a minute")
    waiting.set_xlabel("hour of the day")
    figure.savefig(file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate a day and say what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean", type=positive, default=10_000.0, help="names a second that the cluster is asked for")
    parser.add_argument("--max", type=count, default=12, help="replicas at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=writable, help="where the plot goes (SVG or PNG)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    outcome = autoscaled(day(given.mean, given.seed), settings(given.max))
    if given.plot:
        plot(outcome, given.plot)
    hours = sum(second.serving for second in outcome.seconds) / 3600
    most = max(second.serving for second in outcome.seconds)
    found = {
        "names": round(sum(second.asked for second in outcome.seconds)),
        "refused_share": round(outcome.refused, 6),
        "changes": [f"{second // 3600:02}:{second // 60 % 60:02}" for second in outcome.changes],
        "replicas_most": most,
        "replica_hours": round(hours, 1),
        "replica_hours_if_always_most": 24 * most,
        "in_flight_most": math.ceil(max(second.in_flight for second in outcome.seconds)),
    }
    print(json.dumps(found) if given.json else "\n".join(f"{key:30}{value}" for key, value in found.items()))


if __name__ == "__main__":
    program(main)
