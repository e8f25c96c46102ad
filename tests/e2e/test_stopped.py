"""`verdict serve` at SIGTERM, as a service manager ends it."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from loadtest.clusters import issue
from loadtest.reliability import REPLICA, victim
from tests.e2e.test_exposure import cluster_alone

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.long, pytest.mark.timeout(900)]


def test_a_question_under_way_is_answered_before_it_ends(tmp_path: Path) -> None:
    resolver, _ = issue(f"sqlite://{tmp_path}/verdict.db")
    with cluster_alone(tmp_path) as (pid, port), ThreadPoolExecutor(1) as pool:

        def ask(name: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {resolver}", "Verdict-Budget-Ms": "20000"}
            url = f"http://127.0.0.1:{port}/v1/verdicts"
            return httpx.post(url, json={"names": [name]}, headers=headers, timeout=60.0, trust_env=False)

        assert ask("a.org").status_code == 200
        classifier = victim(pid, REPLICA + "Classifier")
        os.kill(classifier, signal.SIGSTOP)  # so that a question is under way for as long as this test wants
        try:
            asked = pool.submit(ask, "b.org")
            time.sleep(1)
            os.kill(pid, signal.SIGTERM)
            time.sleep(2)
        finally:
            os.kill(classifier, signal.SIGCONT)
        reply = asked.result()
        assert (reply.status_code, reply.json()["verdicts"][0]["source"]) == (200, "model")
