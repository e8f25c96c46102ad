"""A decision at any ingress replica is in force at every replica and every plugin within two seconds (contract 1)."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from loadtest.compare import running
from loadtest.judging import blocked
from loadtest.prober import ask
from serve_app import golang
from serve_app.routes import application
from tests.control_setup import Setup
from tests.requires import need_go

pytestmark = pytest.mark.golang

REPLICAS, PLUGINS = 3, 2
WITHIN_S = 2.0
COREFILE = """. {{
    bind 127.0.0.1
    verdict {endpoints} {{
        token {folder}/token
        resolver the-resolver
        mode enforce
        timeout 1500ms
    }}
    template ANY ANY . {{
        rcode NOERROR
    }}
}}
"""


class World:
    """Ingress replicas that listen and follow their store, and CoreDNS servers that ask them in turn."""

    def __init__(self, folder: Path) -> None:
        self.setup = Setup(folder, REPLICAS)
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(REPLICAS)]
        self.urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in self._sockets]
        self._servers = [
            uvicorn.Server(uvicorn.Config(application(context), log_level="error", lifespan="off"))
            for context in self.setup.contexts
        ]
        self.ports: list[int] = []
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()

    async def _serve(self) -> None:
        periodic = [asyncio.create_task(context.run()) for context in self.setup.contexts]
        await asyncio.gather(*(server.serve([s]) for server, s in zip(self._servers, self._sockets, strict=True)))
        for task in periodic:
            task.cancel()

    def close(self) -> None:
        for server in self._servers:
            server.should_exit = True
        self._thread.join()

    def call(self, role: str, replica: int, method: str, path: str, body: object) -> dict[str, object]:
        bearer = {"Authorization": f"Bearer {self.setup.tokens[role].text}"}  # type: ignore[index]
        reply = httpx.request(method, self.urls[replica] + path, json=body, headers=bearer, timeout=10, trust_env=False)
        assert reply.status_code == 200, reply.text
        found: dict[str, object] = reply.json()
        return found

    def seen(self, name: str) -> list[str]:
        """What each replica says of a name, and each plugin does with it."""
        verdicts = [
            self.call("resolver", replica, "POST", "/v1/verdicts", {"names": [name]})["verdicts"][0]["source"]  # type: ignore[index]
            for replica in range(REPLICAS)
        ]
        replies = [ask(port, name) for port in self.ports]
        return verdicts + ["blocked" if reply is not None and blocked(reply) else "answered" for reply in replies]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    need_go()
    binary = golang.build()
    made = World(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(made.close)
        (tmp_path / "token").write_text(made.setup.tokens["resolver"].text)
        (tmp_path / "Corefile").write_text(COREFILE.format(endpoints=" ".join(made.urls), folder=tmp_path))
        command = f"{binary} -dns.port {{port}} -conf {tmp_path / 'Corefile'}"
        made.ports = [stack.enter_context(running(command))[0] for _ in range(PLUGINS)]
        yield made


def until(reads: Callable[[], list[str]], wanted: list[str], within_s: float) -> None:
    end = time.monotonic() + within_s
    while (last := reads()) != wanted:
        assert time.monotonic() < end, f"read {last}, expected {wanted} within {within_s} s"


@pytest.mark.timeout(600)
def test_a_change_at_any_replica_is_in_force_everywhere_within_two_seconds(world: World) -> None:
    free, listed = ["model"] * REPLICAS + ["answered"] * PLUGINS, ["blocklist"] * REPLICAS + ["blocked"] * PLUGINS
    for replica in range(REPLICAS):
        name, wanted = f"www.n{replica}.org", [{"list": "blocklist", "suffix": f"n{replica}.org"}]
        until(lambda name=name: world.seen(name), free, 30)  # type: ignore[misc]
        for method, then in (("POST", listed), ("DELETE", free)):
            world.call("analyst", replica, method, "/v1/lists", {"entries": wanted})
            until(lambda name=name: world.seen(name), then, WITHIN_S)  # type: ignore[misc]
