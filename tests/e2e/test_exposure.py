"""What `verdict up` opens to the machine: loopback alone, nothing unexpected, nothing without a credential."""

import re
import stat
from pathlib import Path

import pytest

from loadtest.processes import descendants
from serve_app.local.options import Home
from serve_app.local.processes import marked
from tests.e2e.conftest import Stack
from tests.listening import Listener, grpc_codes, http_status, listeners

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(900)]

# Who may listen, and what for. A new line here is a decision: is it needed, and who can use it?
GRPC = {  # Ray's own servers; its token is asked for
    r"gcs_server": "the cluster's head",
    r"raylet": "the node's manager and its object manager",
    r"python.* serve_app\.local\.cluster": "the driver",
    r"ray::DashboardAgent": "the node's agent",
    r"ray::\S+": "a worker: controller, proxy, replica, actor, idle",
}
RAY_HTTP = r"ray::DashboardAgent.*|ray::RuntimeEnvAgent.*"  # ask for Ray's token as well
SERVE_HTTP = r"haproxy.*|ray::ProxyActor.*|ray::ServeReplica.*"  # the application, which asks for its own


@pytest.fixture(scope="module")
def open_sockets(stack: Stack) -> list[Listener]:
    pids = {*descendants(stack.process.pid), *marked(Home(stack.home.resolve()).mark)}
    found = listeners(pids)
    assert any(socket.port == stack.http_port for socket in found)  # it sees what is surely there
    return found


def test_everything_listens_on_loopback_alone(open_sockets: list[Listener]) -> None:
    assert [str(socket) for socket in open_sockets if not socket.loopback] == []


def test_every_listener_is_expected_and_refuses_who_has_no_credential(
    stack: Stack, open_sockets: list[Listener]
) -> None:
    wrong = [said for socket in open_sockets if (said := fault(stack, socket))]
    assert wrong == []


def fault(stack: Stack, socket: Listener) -> str | None:
    """What is wrong with a listening socket, or None."""
    if socket.port == stack.dns_port and socket.owner.startswith("coredns"):
        return None  # DNS has no credentials; it is what this is for
    if socket.kind == "udp":
        return f"{socket}: unexpected"
    status = http_status(socket.port, "/v1/lists")
    if status is not None:
        return None if _http_refuses(stack, socket, status) else f"{socket}: answers {status} without a credential"
    if not any(re.match(pattern, socket.owner) for pattern in GRPC):
        return f"{socket}: unexpected"
    codes = grpc_codes(socket.port)
    # A server that knows none of the methods would say UNIMPLEMENTED alone: then this test asks too little.
    return None if "OK" not in codes and "UNAUTHENTICATED" in codes else f"{socket}: says {sorted(codes)}"


def _http_refuses(stack: Stack, socket: Listener, status: int) -> bool:
    if stack.dashboard and f":{socket.port}/" in stack.dashboard:
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
    run = Path(Home(stack.home).run_record.read_text().strip())
    sockets = [path for path in run.rglob("*") if path.is_socket() and "session_" not in str(path)]
    assert sockets and stat.S_IMODE(run.stat().st_mode) == 0o700
    assert [path for path in sockets if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.name != "d.sock"] == []
