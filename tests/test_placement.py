"""Placement on several GPUs, with GPUs that are only numbers to Ray: no real one is used or claimed here."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("placement")
    command = [sys.executable, "-m", "tests.placement_program", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-4000:]
    body: dict[str, Any] = json.loads(lines[-1])
    return body


def test_each_replica_sees_one_device_of_its_own(found: dict[str, Any]) -> None:
    assert [replica["kind"] for replica in found["before"]] == ["gpu", "gpu"]
    assert [len(replica["ids"]) for replica in found["before"]] == [1, 1]
    assert len({(replica["node"], replica["ids"][0]) for replica in found["before"]}) == 2


def test_a_lost_nodes_replica_comes_back_elsewhere(found: dict[str, Any]) -> None:
    nodes = {replica["node"] for replica in found["after"]}
    assert len(nodes) == 2 and found["lost"] not in nodes


def test_a_promised_gpu_that_is_not_there_fails_readiness_and_says_so(found: dict[str, Any]) -> None:
    assert "TensorFlow finds none" in found["absent"] and "num_gpus" in found["absent"]
