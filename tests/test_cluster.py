import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import msgspec
import pytest

from loadtest.frames import Outcome, closed_loop, requests
from model.artifact import MANIFEST, read_manifest
from model.registry import RELEASED, Registry
from tests.cluster_fixture import Cluster, started
from verdicts.observations import Batch, Observation
from verdicts.store import Filter, open_store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EVER = Filter(0, 1 << 52)
BOOT = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("cluster"), args={"model": "serving"}) as found:
        Registry(found.folder / "models").promote("seed-2020")
        yield found


def stored(cluster: Cluster, qname: str) -> int:
    """How many queries of this name the store counts, once there are any; 0 after ten seconds."""
    store = open_store(f"sqlite://{cluster.folder}/verdict.db", readonly=True)
    end = time.monotonic() + 10
    try:
        while time.monotonic() < end:
            found = store.search(msgspec.structs.replace(EVER, name=qname)).records
            if found:
                return sum(record.count for record in found)
            time.sleep(0.1)
        return 0
    finally:
        store.close()


def test_a_frame_is_scored_by_the_network_and_answered_in_order(cluster: Cluster) -> None:
    names = [f"name{i}.org" for i in range(1024)]
    names[17] = "localhost"
    with cluster.client() as client:
        body = client.post("/v1/verdicts", json={"names": names}).json()
        alone = client.post("/v1/verdicts", json={"names": [names[500]]}).json()
    assert body["model"] == alone["model"] != "" and len(body["verdicts"]) == 1024
    assert body["verdicts"][17]["source"] == "ineligible"
    assert 0 < body["verdicts"][500]["score"] < 1
    assert body["verdicts"][500]["score"] == pytest.approx(alone["verdicts"][0]["score"], abs=2e-6)


def test_many_frames_at_once_each_get_their_own_verdicts(cluster: Cluster) -> None:
    def ask(number: int) -> list[float]:
        with cluster.client() as client:
            names = [f"host{number}-{i}.com" for i in range(1 + number % 7)]
            return [v["score"] for v in client.post("/v1/verdicts", json={"names": names}).json()["verdicts"]]

    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, range(48)))
    for number, scores in enumerate(together):
        assert scores == pytest.approx(ask(number), abs=2e-6)


@pytest.mark.parametrize("path", ["/v1/verdicts", "/v1/verdict", "/v1/observations"])
def test_no_token_no_answer(cluster: Cluster, path: str) -> None:
    with cluster.client() as client:
        reply = client.post(path, json={}, headers={"Authorization": ""})
    assert reply.status_code == 401 and reply.json()["code"] == "unauthorised"


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(cluster: Cluster) -> None:
    with cluster.client() as client:
        reply = client.post("/v1/verdicts", content=b" " * (5 << 20))
    assert reply.status_code == 413 and reply.json()["code"] == "too-large"


def test_a_budget_of_a_millisecond_expires(cluster: Cluster) -> None:
    with cluster.client() as client:
        reply = client.post("/v1/verdicts", json={"names": ["a.org"] * 1024}, headers={"Verdict-Budget-Ms": "1"})
    assert reply.status_code == 504 and reply.json()["code"] == "expired"


def test_the_request_id_of_the_caller_comes_back(cluster: Cluster) -> None:
    with cluster.client() as client:
        reply = client.post("/v1/verdicts", json={"names": ["a.org"]}, headers={"X-Request-Id": "plugin-7"})
    assert reply.headers["x-request-id"] == "plugin-7"


def test_one_question_asked_here_is_recorded(cluster: Cluster) -> None:
    with cluster.client("admin") as client:
        reply = client.post("/v1/verdict", json={"qname": "Asked-Alone.org", "client": "192.0.2.1"})
    assert reply.status_code == 200 and stored(cluster, "asked-alone.org") == 1


def test_a_report_is_stored_once_however_often_it_is_sent(cluster: Cluster) -> None:
    now = int(time.time() * 1000)  # older records are past their retention
    row = Observation("told.org", "A", "192.0.2.1", "benign", first=now, last=now, count=10, source="model")
    body = msgspec.json.encode(Batch("bench", BOOT, 1, seen=10, rows=[row]))
    with cluster.client() as client:
        for _ in range(3):
            reply = client.post("/v1/observations", content=body)
            assert reply.status_code == 200 and reply.json()["generation"]
    assert stored(cluster, "told.org") == 10


def test_a_report_and_a_list_of_many_mebibytes_reach_the_store(cluster: Cluster) -> None:
    now = int(time.time() * 1000)
    long = ".".join(["x" * 60] * 3)
    rows = [
        Observation(f"n{number}.{long}.org", "A", "192.0.2.1", "unknown", now, now, reason="timeout")
        for number in range(16_000)
    ]
    report = msgspec.json.encode(Batch("bench", BOOT, 2, seen=len(rows), rows=rows))
    entries = [{"list": "blocklist", "suffix": f"n{number}.{long}.net"} for number in range(25_000)]
    with cluster.client() as client:
        assert len(report) > 4 << 20 and client.post("/v1/observations", content=report).status_code == 200
    with cluster.client("admin") as client:
        added = client.post("/v1/lists", json={"entries": entries, "note": "feed"})
        assert added.status_code == 200 and added.json()["entries"] == len(entries), added.text
    assert stored(cluster, rows[-1].qname) == 1


def test_a_promotion_takes_effect_within_seconds_and_fails_no_question(cluster: Cluster) -> None:
    registry = Registry(cluster.folder / "models")
    add_version(registry, cluster.folder / "next", "seed-next")
    asked = requests([b'{"names":["a.org","b.org"]}'], token=cluster.resolver)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(closed_loop, cluster.address, asked, 2, 4, 12.0)
        registry.promote("seed-next")
        seen = wait_for_model(cluster, "seed-next", 11.0)
        outcome: Outcome = load.result()
    registry.promote("seed-2020")
    assert wait_for_model(cluster, "seed-2020", 20.0)
    assert seen and set(outcome.statuses) == {200} and outcome.lost == 0


def test_an_artifact_that_does_not_load_leaves_the_present_one_serving(cluster: Cluster) -> None:
    registry = Registry(cluster.folder / "models")
    add_version(registry, cluster.folder / "broken", "seed-broken")
    (registry.path("seed-broken") / "model.keras").write_bytes(b"no network")
    (cluster.folder / "models" / "serving").write_text("seed-broken\n")
    with cluster.client() as client:
        end = time.monotonic() + 20
        while not (trouble := client.get("/readyz").json()["model"]["stale"]) and time.monotonic() < end:
            time.sleep(0.2)
        model = client.post("/v1/verdicts", json={"names": ["a.org"]}).json()["model"]
    registry.promote("seed-2020")
    assert "model.keras" in trouble and model == "seed-2020"


def add_version(registry: Registry, folder: Path, version: str) -> None:
    """Add the released seed network under another version."""
    copytree(RELEASED / "seed-2020", folder)
    manifest = msgspec.structs.replace(read_manifest(folder), version=version)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    registry.add(folder)


def wait_for_model(cluster: Cluster, version: str, patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    with cluster.client() as client:
        while time.monotonic() < end:
            if client.post("/v1/verdicts", json={"names": ["a.org"]}).json()["model"] == version:
                return True
            time.sleep(0.05)
    return False
