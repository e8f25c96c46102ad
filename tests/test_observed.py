"""What an operator sees of a running cluster: its metrics, its log, and nothing of a rolling redeployment."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadtest.frames import closed_loop, requests
from serve_app.descendants import descendants
from serve_app.local.ports import free_port
from tests.cluster_fixture import Cluster, started
from verdicts.observations import Batch, Observation

pytestmark = [pytest.mark.long, pytest.mark.cluster, pytest.mark.timeout(600)]

T = TypeVar("T")
BUDGET_MS = 5000  # more than a busy machine takes for an answer, less than a replica takes to start
DEPLOYMENTS = ("Ingress", "Preprocessor", "Classifier", "VerdictLog")
OURS = {  # one of each kind that an operator is promised
    "ray_verdict_names", "ray_verdict_answers", "ray_verdict_scores", "ray_verdict_frame_names",
    "ray_verdict_batch_names", "ray_verdict_batch_ms", "ray_verdict_spool_bytes", "ray_verdict_epoch",
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("observed")
    logs = {"logging_config": {"encoding": "JSON", "logs_dir": str(folder / "log")}}
    deployments = {name: logs for name in DEPLOYMENTS}
    with started(folder, ingress={"metrics_port": free_port()}, deployments=deployments) as found:
        yield found


def test_a_log_line_has_the_callers_request_id(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.post("/v1/verdicts", json={"names": ["a.org"]}, headers={"X-Request-Id": "plugin-8"})
    [line] = wait_for(lambda: logged(cluster.folder / "log", "plugin-8"), 60.0)
    assert (line["route"], line["levelname"]) == ("/v1/verdicts", "INFO") and " 200 " in line["message"]


def test_metrics_are_scraped_with_a_viewers_token_alone(cluster: Cluster) -> None:
    names = ["name.org", "localhost", *(f"n{i}.com" for i in range(20))]
    with cluster.client() as resolver, cluster.client("admin") as admin:
        for _ in range(3):
            resolver.post("/v1/verdicts", json={"names": names})
        assert resolver.get("/metrics").status_code == 403
        assert resolver.get("/metrics", headers={"Authorization": ""}).status_code == 401
        found = wait_for(lambda: scraped(admin), 90.0)
    assert any(name.startswith("ray_serve_") for name in found)
    judged = {sample.labels["source"] for sample in found["ray_verdict_names"] if sample.value}
    assert {"model", "ineligible"} <= judged


def test_rows_that_the_store_never_takes_are_counted(cluster: Cluster) -> None:
    row = Observation("old.org", "A", "192.0.2.1", "benign", first=1000, last=1000, count=1, source="model")
    body = msgspec.json.encode(Batch("bench", "0" * 32, 1, seen=1, rows=[row]))
    with cluster.client() as resolver, cluster.client("admin") as admin:
        assert resolver.post("/v1/observations", content=body).status_code == 200
        found = wait_for(lambda: families(admin).get("ray_verdict_dead_letters"), 90.0)
    assert sum(sample.value for sample in found) == 1


def test_a_rolling_redeployment_fails_no_question(cluster: Cluster) -> None:
    asked = requests([b'{"names":["a.org","b.org"]}'], token=cluster.resolver, budget_ms=BUDGET_MS)
    before = replicas(cluster)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(cluster.replicas, {"default_budget_ms": 1001})
        outcomes = [closed_loop(cluster.address, asked, 2, 4, 2.0)]
        while not done.done():
            outcomes.append(closed_loop(cluster.address, asked, 2, 4, 2.0))
    outcomes.append(closed_loop(cluster.address, asked, 2, 4, 5.0))  # the last of the former leave now
    assert done.result()["Ingress"] == 2 and len(replicas(cluster) - before) >= 5  # every replica is another process
    assert {status for outcome in outcomes for status in outcome.statuses} == {200}
    assert sum(outcome.lost for outcome in outcomes) == 0


def replicas(cluster: Cluster) -> set[int]:
    """The processes of all replicas."""
    return {pid for pid in descendants(cluster.pid) if "ServeReplica" in title(pid)}


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def scraped(client: httpx.Client) -> dict[str, list[Sample]] | None:
    """The families of the exposition, once all that this application counts are there."""
    found = families(client)
    return found if found.keys() >= OURS else None


def families(client: httpx.Client) -> dict[str, list[Sample]]:
    reply = client.get("/metrics")
    assert reply.status_code == 200, reply.text
    found = {family.name: list(family.samples) for family in text_string_to_metric_families(reply.text)}
    print(sorted(name for name in found if "verdict" in name))  # shown when a wait is in vain
    return found


def logged(folder: Path, request_id: str) -> list[dict[str, Any]]:
    """The ingress's lines that have this request's id."""
    logs = folder.rglob("replica_verdict_Ingress_*.log")
    lines = [line for path in logs for line in path.read_text().splitlines() if request_id in line]
    return [line for line in map(json.loads, lines) if line.get("request_id") == request_id]


def wait_for(find: Callable[[], T | None], patience_s: float) -> T:
    end = time.monotonic() + patience_s
    while not (found := find()) and time.monotonic() < end:
        time.sleep(0.5)
    assert found, "waited in vain"
    return found
