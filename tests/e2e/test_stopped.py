"""`verdict serve` at SIGTERM, as a service manager ends it."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from loadtest.clusters import issue
from loadtest.reliability import REPLICA, victim
from serve_app.descendants import descendants
from serve_app.environment import CONFIG, haproxies
from tests.cluster_fixture import started
from tests.e2e.test_exposure import await_serving, cluster_alone, starting
from tests.haproxy_node import words_of

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [4, 7, 10, 13])  # Ray starts, Serve starts, replicas start
def test_it_ends_in_order_whenever_it_is_told_to(tmp_path: Path, number: signal.Signals, after_s: float) -> None:
    with starting(tmp_path) as (process, _, log):
        time.sleep(after_s)
        begun = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(120) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    assert left_of(begun, tmp_path) == []


def test_a_signal_to_its_whole_group_ends_it_in_order(tmp_path: Path) -> None:
    """As `timeout` ends it: the process first, then its group."""
    with starting(tmp_path, start_new_session=True) as (process, _, log):
        await_serving(process, log)
        begun = descendants(process.pid)
        folder = folder_of(begun)
        process.send_signal(signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(120) == 0, log.read_text()
        assert "Traceback" not in log.read_text() and "stopping the application" not in log.read_text()
    assert left_of(begun, folder) == []


def test_a_measurement_that_is_told_to_end_takes_its_cluster_along(tmp_path: Path) -> None:
    with started(tmp_path) as cluster:
        begun = descendants(cluster.pid)
        folder = folder_of(begun)
        assert len(haproxies(folder)) == 2  # its guard too, which is no descendant
        os.kill(cluster.pid, signal.SIGTERM)
        cluster.process.wait(60)
    assert left_of(begun, folder) == []


def folder_of(begun: list[int]) -> Path:
    """Of the HAProxy among these processes."""
    words = {os.fsdecode(word) for pid in begun for word in words_of(pid)}
    [folder] = {Path(word).parent for word in words if word.endswith(f"/{CONFIG}")}
    return folder


def left_of(begun: list[int], folder: Path) -> list[int]:
    """What lives on of these processes and of the folder's HAProxy; Ray's agents look for their raylet each second."""
    end = time.monotonic() + 30.0
    while (left := [pid for pid in begun if alive(pid)] + haproxies(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # of one that nobody has waited for yet
    except OSError:
        return False


@pytest.fixture
def hangups() -> Iterator[None]:
    """What begins now hears SIGHUP, however these tests were started."""
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_question_under_way_is_answered_before_it_ends(hangups: None, tmp_path: Path, number: signal.Signals) -> None:
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
            os.kill(pid, number)
            time.sleep(2)
        finally:
            os.kill(classifier, signal.SIGCONT)
        reply = asked.result()
        assert (reply.status_code, reply.json()["verdicts"][0]["source"]) == (200, "model")
