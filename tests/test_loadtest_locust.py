"""The locust users, their limits and shapes; locust itself runs headless against a resolver of the test's own."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loadtest.panel_session import NotServed, session_token
from loadtest.recorded import RecordedCluster, Recording
from loadtest.shapes import stages
from loadtest.thresholds import Figures, Limits, broken, verdict
from loadtest.wirecheck import frame_problem, single_problem, verdict_problem
from tests.test_loadtest_driver import Resolver, rcode, resolver  # noqa: F401

ROOT = Path(__file__).parent.parent
GOOD = {
    "label": "benign", "score": 0.1, "generated": 0.2, "tier": "none", "action": "passthru", "cache_ttl": 300,
    "source": "model",
}  # fmt: skip


def test_limits_that_hold_are_silent() -> None:
    assert broken(Limits(0.01, 100), Figures(1000, 10, 100, 50)) == []


def test_failures_break_and_are_named() -> None:
    assert broken(Limits(0.01), Figures(1000, 11, 5, 50, ("11x 503 unavailable",))) == [
        "1.10% of requests failed, at most 1.00% allowed (11x 503 unavailable)"
    ]


def test_a_slow_tail_breaks() -> None:
    assert broken(Limits(p99_ms=50), Figures(1000, 0, 51, 50)) == ["p99 is 51 ms, at most 50 ms allowed"]


def test_few_requests_are_not_judged_before_the_end() -> None:
    assert broken(Limits(0.01), Figures(10, 10, 5, 50)) == []
    assert broken(Limits(0.01), Figures(10, 10, 5, 50), final=True)


def test_a_rate_is_judged_only_at_the_end() -> None:
    figures = Figures(1000, 0, 5, 50)
    assert not broken(Limits(min_rps=60), figures) and broken(Limits(min_rps=60), figures, final=True)


def test_a_run_without_requests_is_broken() -> None:
    assert verdict(Limits(), Figures(0, 0, 0, 0)).startswith("BROKEN: no request was made")


def test_the_last_line_says_held() -> None:
    assert verdict(Limits(), Figures(200, 0, 5, 50)) == "HELD: 200 requests, 0 failed, p99 5 ms, 50.0/s"


@pytest.mark.parametrize("shape", [stages.ramp(), stages.steps(), stages.day(), stages.flood()])
def test_a_shape_moves_forward_has_users_and_ends(shape: list[stages.Stage]) -> None:
    assert all(a.end < b.end for a, b in zip(shape, shape[1:], strict=False))
    assert all(stage.users >= 1 and stage.rate > 0 for stage in shape)
    assert stages.at(shape, 0) is not None and stages.at(shape, shape[-1].end) is None


def test_the_flood_returns_to_what_was_usual() -> None:
    first, peak, last = stages.flood()
    assert first.users == last.users < peak.users


def test_a_frame_in_order_is_no_problem() -> None:
    assert frame_problem(200, json.dumps({"epoch": 1, "verdicts": [GOOD, GOOD]}).encode(), 2) == ""


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (503, b'{"code":"unavailable","message":"m"}', "503 unavailable"),
        (502, b"<html>", "502, and no JSON"),
        (200, b'{"epoch":1,"verdicts":[]}', "0 verdicts for 1 names"),
        (200, b'{"epoch":1}', "no verdicts for 1 names"),
        (200, json.dumps({"verdicts": [GOOD]}).encode(), "no epoch"),
        (200, json.dumps({"epoch": 1, "verdicts": [{**GOOD, "score": 1.2}]}).encode(), "score or generated outside"),
        (200, json.dumps({"epoch": 1, "verdicts": [{**GOOD, "tier": "x"}]}).encode(), "tier 'x'"),
        (200, b"[]", "JSON that is no object"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_a_failure(status: int, body: bytes, problem: str) -> None:
    assert problem in frame_problem(status, body, 1)


def test_a_verdict_without_a_field_names_it() -> None:
    assert verdict_problem({k: v for k, v in GOOD.items() if k != "tier"}) == "verdict without tier"


def test_a_single_verdict_is_judged_alike() -> None:
    assert single_problem(200, json.dumps(GOOD).encode()) == ""
    assert single_problem(200, b"{}").startswith("verdict without label")


def test_a_page_without_a_session_is_not_served() -> None:
    assert session_token('{"token": "abc.def"}') == "abc.def"
    with pytest.raises(NotServed):
        session_token("<form>log in</form>")


def run_locust(user: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", user, "--headless", "-u", "5", "-r", "5",
        "-t", "2s", "--names", "200", "--max-p99-ms", "5000", *more,
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def resolver_options(resolver: Resolver, report: Path) -> list[str]:  # noqa: F811
    return ["--dns", f"127.0.0.1:{resolver.address[1]}", "--html", str(report)]


@pytest.mark.parametrize("user", ["Frames", "Single"])
def test_the_wire_users_judge_a_cluster(user: str, tmp_path: Path) -> None:
    with RecordedCluster(Recording({"epoch": 1, "generation": "g", "model": "m"}, {}), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = run_locust(user, "--host", f"http://127.0.0.1:{server.server_address[1]}", "--frame", "16")
        server.shutdown()
        thread.join()
    assert done.returncode == 0 and "HELD:" in done.stdout, done.stdout + done.stderr


def test_a_run_that_holds_says_so_and_writes_its_report(resolver: Resolver, tmp_path: Path) -> None:  # noqa: F811
    done = run_locust("Resolver", *resolver_options(resolver, tmp_path / "report.html"))
    assert done.returncode == 0, done.stderr
    assert "HELD:" in done.stdout and "Resolver" in (tmp_path / "report.html").read_text()


def test_a_run_that_breaks_a_limit_fails_and_says_which(resolver: Resolver, tmp_path: Path) -> None:  # noqa: F811
    resolver.behaviour = lambda q, _: [rcode(q, "SERVFAIL")]
    done = run_locust("Resolver", *resolver_options(resolver, tmp_path / "report.html"))
    assert done.returncode == 1
    assert "BROKEN: 100.00% of requests failed, at most 1.00% allowed" in done.stdout and "SERVFAIL" in done.stdout
