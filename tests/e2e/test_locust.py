"""Every kind of locust user against what `make run` starts, for seconds each."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serve_app.local.prepare import BLOCKED
from tests.e2e.conftest import Stack

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.cluster, pytest.mark.golang, pytest.mark.timeout(900)]


def run(user: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", user, "--headless", "-r", "5", "-t", "90s",
        "--names", "500", "--max-p99-ms", "30000", *options,
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)


def requests_of(done: "subprocess.CompletedProcess[str]") -> int:
    """How many requests a run made that held."""
    found = re.search(r"HELD: (\d+) requests, 0 failed", done.stdout)
    assert done.returncode == 0 and found, done.stdout + done.stderr
    return int(found[1])


@pytest.mark.parametrize("user", ["Frames", "Single"])
def test_the_wire(user: str, stack: Stack) -> None:
    token = stack.home / "tokens" / "resolver"
    done = run(
        user, "--host", stack.url, "--token-file", str(token), "--frame", "32", "--budget-ms", "10000", "-u", "2"
    )
    assert requests_of(done) > 1


def test_dns_where_blocked_names_must_be_blocked(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "listed").write_text(f"{BLOCKED}\n")
    report = tmp_path / "report.html"
    done = run(
        "Resolver", "--dns", f"127.0.0.1:{stack.dns_port}", "--enforcing", "--listed", str(tmp_path / "listed"),
        "--benign", str(tmp_path / "listed"), "-u", "10", "--max-requests", "500", "--html", str(report),
    )  # fmt: skip
    assert requests_of(done) >= 500
    assert "benign" in report.read_text()


def test_the_dashboard(stack: Stack) -> None:
    link = urlsplit(stack.dashboard)
    password = stack.home / "dashboard.password"
    host = f"{link.scheme}://{link.netloc}"
    done = run("Analyst", "--host", host, "--dashboard-password-file", str(password), "--max-requests", "4", "-u", "1")
    assert requests_of(done) >= 4  # a log-in, a page, and its document over the web socket
