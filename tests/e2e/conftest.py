"""What `make run` starts, started once for all end-to-end tests, on free ports and without an upstream; a browser,
and a dashboard with made-up traffic for it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import httpx
import pytest

from serve_app import golang
from serve_app.local.ports import free_port
from tests.dashboard_browser import DEMO, chromium, served
from tests.requires import need

START_S = 600  # the first build of CoreDNS fetches and compiles all of it


class Stack:
    """A running `verdict up` and how to reach its parts."""

    def __init__(self, home: Path, process: "subprocess.Popen[str]", dns_port: int, http_port: int, said: str) -> None:
        self.home = home
        self.process = process
        self.dns_port = dns_port
        self.http_port = http_port
        self.said = said
        self.url = f"http://127.0.0.1:{http_port}"
        link = re.search(r"Dashboard:\s+(\S+)", said)
        self.dashboard = link[1] if link else ""

    def dig(self, qname: str, qtype: str = "A", tcp: bool = False, edns: bool = True) -> dns.message.Message:
        """One real DNS question to the resolver."""
        query = dns.message.make_query(qname, qtype, use_edns=0 if edns else False)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(query, "127.0.0.1", port=self.dns_port, timeout=5)

    def api(self, method: str, path: str, token: str = "admin", **request: Any) -> httpx.Response:
        """One request to the cluster with a token of this home; the empty name sends none."""
        headers = {"Authorization": f"Bearer {(self.home / 'tokens' / token).read_text().strip()}"} if token else {}
        return httpx.request(method, self.url + path, headers=headers, timeout=10, trust_env=False, **request)


def start(home: Path, *options: str) -> Stack:
    """Start `verdict up` and wait until it says that it runs."""
    dns_port, http_port, dashboard_port = free_port(), free_port(), free_port()
    log = home.parent / f"{home.name}.out"
    argv = [
        sys.executable, "-m", "serve_app.cli", "up", "--home", str(home), "--upstream", "none",
        "--dns-port", str(dns_port), "--http-port", str(http_port), "--dashboard-port", str(dashboard_port), *options,
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    end = time.monotonic() + START_S
    try:
        while "Ctrl-C stops" not in (said := log.read_text()):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"verdict up did not come up:\n{said}\n{_logs(home)}")
            time.sleep(0.2)
    except BaseException:  # Ctrl-C too, which it is not told of: its session is its own
        stop(Stack(home, process, dns_port, http_port, ""))
        raise
    return Stack(home, process, dns_port, http_port, said)


def stop(stack: Stack, patience_s: float = 60) -> int:
    """Press Ctrl-C once and wait; returns the exit status. Raises `TimeoutExpired` once all of it is killed."""
    if stack.process.poll() is None:
        stack.process.send_signal(signal.SIGINT)
    try:
        return stack.process.wait(patience_s)
    except subprocess.TimeoutExpired:
        os.killpg(stack.process.pid, signal.SIGKILL)
        raise


def _logs(home: Path) -> str:
    return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in (home / "log").glob("*.log"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole of it in enforce mode, for tests that leave it whole."""
    try:
        golang.find()
    except golang.NoGo as error:
        need(golang.binary().exists(), str(error))
    running = start(tmp_path_factory.mktemp("e2e") / "home")
    try:
        yield running
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            stop(running)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The address of a dashboard with made-up traffic."""
    with served("dashboard.demo", "--port", "0", pattern=DEMO) as address:
        yield address
