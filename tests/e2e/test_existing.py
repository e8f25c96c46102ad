"""`verdict serve` on a Ray cluster that somebody else has started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from loadtest.clusters import issue
from serve_app.configuration import configuration
from serve_app.environment import end_haproxy
from serve_app.local.ports import free_block, free_port
from tests.e2e.conftest import START_S

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(900)]


class Ray(NamedTuple):
    """A Ray cluster of one node: its address, and the environment it was started with."""

    address: str
    environment: dict[str, str]
    process: "subprocess.Popen[str]"


@pytest.fixture
def ray_alone(tmp_path: Path, short: Path) -> Iterator[Ray]:
    printed = subprocess.run(
        [sys.executable, "-m", "serve_app.environment", str(short / "i")], capture_output=True, text=True, check=True
    ).stdout
    first = free_block(24)
    ours = {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + 19),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(first + 20),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(first + 21),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback
    }
    environment = os.environ | ours
    for line in printed.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        environment.setdefault(name, value.strip("'"))
    address = f"127.0.0.1:{first + 22}"
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus", "4"]
    options = ["--node-ip-address", "127.0.0.1", "--port", str(first + 22), "--include-dashboard", "false"]
    with (tmp_path / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *options, "--temp-dir", str(short / "t")], env=environment, stdout=log, stderr=log, text=True
        )
    try:
        end = time.monotonic() + START_S
        while "Ray runtime started" not in (said := (tmp_path / "ray.log").read_text()):
            assert process.poll() is None and time.monotonic() < end, said
            time.sleep(0.3)
        yield Ray(address, environment, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        end_haproxy(short / "i")


@pytest.mark.long
def test_it_is_joined_and_left_as_it_was(ray_alone: Ray, tmp_path: Path) -> None:
    resolver, _ = issue(f"sqlite://{tmp_path}/verdict.db")
    state = {"store_url": f"sqlite://{tmp_path}/verdict.db", "registry": f"{tmp_path}/m", "spool_dir": f"{tmp_path}/s"}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(configuration(state)))
    port = free_port()
    command = [sys.executable, "-m", "serve_app.cli", "serve", str(tmp_path / "serve.yaml"), "--port", str(port)]
    for _ in range(2):  # a second time as the first: nothing was left in the way
        log = tmp_path / "serve.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env=ray_alone.environment | {"RAY_ADDRESS": ray_alone.address}
            )
        end = time.monotonic() + START_S
        while "Ctrl-C stops" not in (said := log.read_text()):
            assert process.poll() is None and time.monotonic() < end, said
            time.sleep(0.3)
        assert "was started without" not in said
        reply = httpx.post(
            f"http://127.0.0.1:{port}/v1/verdicts", json={"names": ["a.org"]}, timeout=60.0,
            headers={"Authorization": f"Bearer {resolver}", "Verdict-Budget-Ms": "30000"},
        )  # fmt: skip
        assert reply.status_code == 200, reply.text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5.0)
        assert ray_alone.process.poll() is None


def test_nobody_at_the_address_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serve_app.cli", "serve"]
    done = subprocess.run(
        command, env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1 and "RAY_ADDRESS=127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr


def test_metrics_belong_to_who_starts_ray() -> None:
    command = [sys.executable, "-m", "serve_app.cli", "serve", "--metrics-port", "9999"]
    done = subprocess.run(
        command, env=os.environ | {"RAY_ADDRESS": "auto"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "--metrics-export-port" in done.stderr
