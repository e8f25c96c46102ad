"""What `verdict up` and `verdict serve` open: loopback alone, nothing unexpected, nothing without a credential."""

import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from model.registry import Registry
from serve_app.configuration import configuration
from serve_app.descendants import descendants
from serve_app.environment import short_directory
from serve_app.local.options import Home
from serve_app.local.ports import free_port
from serve_app.local.processes import marked
from tests.e2e.conftest import START_S, Stack
from tests.listening import Listener, grpc_codes, http_status, listeners
from verdicts.store import open_store

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(900)]

# Who may listen, and what for. A new line here is a decision: is it needed, and who can use it?
GRPC = {  # Ray's own servers; its token is asked for
    r"gcs_server": "the cluster's head",
    r"raylet": "the node's manager and its object manager",
    r"python.* serve_app\.(local\.cluster|cli)": "the driver",
    r"ray::DashboardAgent": "the node's agent",
    r"ray::\S+": "a worker: controller, proxy, replica, actor, idle",
}
RAY_HTTP = r"ray::DashboardAgent.*|ray::RuntimeEnvAgent.*"  # ask for Ray's token as well
# The application, which asks for its own.
SERVE_HTTP = r"haproxy.*|.*serve_app\.haproxy_guard.*|ray::ProxyActor.*|ray::ServeReplica.*"


class Exposed(NamedTuple):
    """What listens of a running profile; the ports of the parts that it has."""

    sockets: list[Listener]
    http_port: int
    dns_port: int = 0
    dashboard_port: int = 0


@pytest.fixture(scope="module", params=["up", pytest.param("serve", marks=pytest.mark.long)])
def exposed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    if request.param == "up":
        stack: Stack = request.getfixturevalue("stack")
        pids = {*descendants(stack.process.pid), *marked(Home(stack.home.resolve()).mark)}
        dashboard = urlsplit(stack.dashboard).port or 0
        yield Exposed(seen(pids, stack.http_port), stack.http_port, stack.dns_port, dashboard)
        return
    with cluster_alone(tmp_path_factory.mktemp("serve")) as (pid, port):
        yield Exposed(seen(descendants(pid), port), port)


def seen(pids: Iterable[int], port: int) -> list[Listener]:
    found = listeners(pids)
    assert any(socket.port == port for socket in found)  # it sees what is surely there
    return found


@contextmanager
def starting(
    folder: Path, host: str = "127.0.0.1", **options: Any
) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """`verdict serve` with its own serve.yaml, but for where state lies and who may ask, as it begins: process, port,
    log. `options` go to `subprocess.Popen`."""
    open_store(f"sqlite://{folder}/verdict.db").initialise()
    Registry(folder / "models").seed_from_released()
    state = {
        "store_url": f"sqlite://{folder}/verdict.db",
        "registry": f"{folder}/models",
        "spool_dir": f"{folder}/spool",
    }
    found = configuration(state)
    found["http_options"]["host"] = host
    (folder / "serve.yaml").write_text(yaml.safe_dump(found))
    run, log = short_directory(), folder / "serve.log"
    port = free_port()
    command = [sys.executable, "-m", "serve_app.cli", "serve", str(folder / "serve.yaml"), "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen([*command, "--run", str(run / "r")], stdout=out, stderr=subprocess.STDOUT, **options)
    try:
        yield process, port, log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(run, ignore_errors=True)


@contextmanager
def cluster_alone(folder: Path) -> Iterator[tuple[int, int]]:
    """The same once it serves: the process, and the port."""
    with starting(folder) as (process, port, log):
        await_serving(process, log)
        yield process.pid, port


@pytest.mark.long
def test_at_any_host_haproxy_finds_its_replicas_and_stands_alone_there(tmp_path: Path) -> None:
    """It asked for them on loopback, where they were not."""
    with starting(tmp_path, "127.0.0.2") as (process, port, log):
        await_serving(process, log)
        end = time.monotonic() + START_S
        while http_status(port, "/readyz", host="127.0.0.2") != 200:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.5)
        elsewhere = [one for one in listeners(descendants(process.pid)) if one.address == "127.0.0.2"]
        assert {one.port for one in elsewhere} == {port}


def await_serving(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while "Ctrl-C stops" not in log.read_text():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.2)


def test_everything_listens_on_loopback_alone(exposed: Exposed) -> None:
    assert [str(socket) for socket in exposed.sockets if not socket.loopback] == []


def test_every_listener_is_expected_and_refuses_who_has_no_credential(exposed: Exposed) -> None:
    wrong = [said for socket in exposed.sockets if (said := fault(exposed, socket))]
    assert wrong == []


def fault(exposed: Exposed, socket: Listener) -> str | None:
    """What is wrong with a listening socket, or None."""
    if socket.port == exposed.dns_port and socket.owner.startswith("coredns"):
        return None  # DNS has no credentials; it is what this is for
    if socket.kind == "udp":
        return f"{socket}: unexpected"
    status = http_status(socket.port, "/v1/lists")
    if status is not None:
        return None if _http_refuses(exposed, socket, status) else f"{socket}: answers {status} without a credential"
    if not any(re.match(pattern, socket.owner) for pattern in GRPC):
        return f"{socket}: unexpected"
    codes = grpc_codes(socket.port)
    # A server that knows none of the methods would say UNIMPLEMENTED alone: then this test asks too little.
    return None if "OK" not in codes and "UNAUTHENTICATED" in codes else f"{socket}: says {sorted(codes)}"


def _http_refuses(exposed: Exposed, socket: Listener, status: int) -> bool:
    if socket.port == exposed.dashboard_port:
        return http_status(socket.port, "/") == 302 and status in (302, 404)  # to the log-in
    expected = re.match(SERVE_HTTP, socket.owner) or re.match(RAY_HTTP, socket.owner)
    return bool(expected) and status in (401, 403)


def test_the_files_of_a_home_are_for_its_user_alone(stack: Stack) -> None:
    secrets = [
        stack.home,
        *stack.home.glob("tokens/*"),
        stack.home / "dashboard.password",
        stack.home / "verdict.db.lock",
    ]
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_haproxys_admin_socket_is_out_of_others_reach(stack: Stack) -> None:
    run = Path(Home(stack.home).run_record("cluster").read_text().strip())
    sockets = [path for path in run.rglob("*") if path.is_socket() and "session_" not in str(path)]
    assert sockets and stat.S_IMODE(run.stat().st_mode) == 0o700
    assert [path for path in sockets if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.name != "d.sock"] == []
