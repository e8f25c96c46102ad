"""The locust users, their limits and shapes; locust itself runs headless against a resolver of the test's own."""

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.recorded import RecordedCluster, Recording
from loadtest.shapes import stages
from loadtest.thresholds import Crew, Figures, Limits, broken, verdict
from loadtest.wirecheck import frame_problem, single_problem, verdict_problem
from serve_app.local.ports import free_port
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


@pytest.mark.parametrize("name", ["failed_share", "p99_ms", "min_rps"])
def test_a_limit_that_is_no_number_holds_nothing(name: str) -> None:
    assert verdict(Limits()._replace(**{name: math.nan}), Figures(200, 0, 5, 50)).startswith("BROKEN")


@pytest.mark.parametrize("p99_ms", [5, 5000])
def test_a_verdict_says_that_locust_itself_was_the_limit(p99_ms: float) -> None:
    assert "locust itself was busy" in verdict(Limits(), Figures(200, 0, p99_ms, 50, busy=True))


def test_the_last_line_says_held() -> None:
    assert verdict(Limits(), Figures(200, 0, 5, 50)) == "HELD: 200 requests, 0 failed, p99 5 ms, 50.0/s"


SHAPES = {"ramp": stages.ramp, "steps": stages.steps, "day": stages.day, "flood": stages.flood}


@pytest.mark.parametrize("most", [1, 8, 64, 100])
@pytest.mark.parametrize("shape", SHAPES.values())
def test_a_shape_moves_forward_has_its_most_users_and_ends(shape: stages.Shape, most: int) -> None:
    found = shape(most, 60.0)
    assert all(a.end < b.end for a, b in zip(found, found[1:], strict=False)) and found[-1].end == pytest.approx(60)
    assert max(stage.users for stage in found) == most
    assert all(stage.users >= 1 and stage.rate > 0 for stage in found)
    assert stages.at(found, 0) is not None and stages.at(found, found[-1].end) is None


def test_the_flood_returns_to_what_was_usual() -> None:
    first, peak, last = stages.flood(128, 90)
    assert (first.users, peak.users, last.users) == (4, 128, 4)


def test_steps_double() -> None:
    assert [stage.users for stage in stages.steps(24, 60)] == [1, 2, 4, 8, 16, 24]


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


def run_locust(user: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", user, "--headless", "-u", "5", "-r", "5",
        "-t", "90s", "--max-requests", "120", "--names", "200", "--max-p99-ms", "5000", *more,
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def locust(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "locust", "--headless", "--names", "200", "--max-p99-ms", "9000", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def resolver_options(resolver: Resolver, report: Path) -> list[str]:  # noqa: F811
    return ["--dns", f"127.0.0.1:{resolver.address[1]}", "--html", str(report)]


@contextmanager
def cluster() -> Iterator[str]:
    with RecordedCluster(Recording({"epoch": 1, "generation": "g", "model": "m"}, {}), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("user", ["Frames", "Single"])
def test_the_wire_users_judge_a_cluster(user: str) -> None:
    with cluster() as host:
        done = run_locust(user, "--host", host, "--frame", "16")
    assert done.returncode == 0 and "HELD:" in done.stdout, done.stdout + done.stderr


def test_a_run_lasts_as_long_as_it_is_told_however_long_its_names_take_to_read(tmp_path: Path) -> None:
    """gevent's clock stands meanwhile: of a run of four seconds whose names took six, two tenths were left."""
    names = tmp_path / "names"
    os.mkfifo(names)
    writer = subprocess.Popen(["sh", "-c", f"sleep 6; seq -f n%g.example-shop.com 50 > {names}"])
    with cluster() as host:
        more = ["--max-requests", "0", "--frame", "8", "--benign", str(names)]
        done = run_locust("Frames", "--host", host, "-t", "4s", "--pace", "0.5", *more)
    writer.wait()
    found = re.search(r"HELD: (\d+) requests", done.stdout)
    assert found and int(found[1]) >= 5 * 5, done.stdout + done.stderr  # of 5 users with 8 each


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--token-file", "/no/such/token"], "/no/such/token"),
        (["--token-file", "/dev/null"], "/dev/null: empty, expected a token"),
        (["--benign", "/no/such/names"], "/no/such/names"),
        (["--listed", "/dev/null"], "/dev/null: expected names"),
        (["--dns", "localhost:1053"], "server 'localhost:1053': expected ADDRESS:PORT"),
        (["--frame", "0"], "--frame: 0: expected a whole number from 1"),
        (["--max-requests", "-5"], "--max-requests: -5: expected a whole number from 0"),
        (["--host", ""], "host '': expected http://ADDRESS:PORT"),
        (["--host", "127.0.0.1:8053"], "host '127.0.0.1:8053': expected http://ADDRESS:PORT"),
        (["--max-failed", "2"], "--max-failed: 2: expected a share from 0 to 1"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_run(arguments: list[str], said: str) -> None:
    done = run_locust("Frames", "--host", "http://127.0.0.1:9", *arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_run_that_holds_says_so_and_writes_its_report(resolver: Resolver, tmp_path: Path) -> None:  # noqa: F811
    done = run_locust("Resolver", *resolver_options(resolver, tmp_path / "report.html"))
    assert done.returncode == 0, done.stderr
    assert "HELD:" in done.stdout and "Resolver" in (tmp_path / "report.html").read_text()


def test_a_run_that_breaks_a_limit_fails_and_says_which(resolver: Resolver, tmp_path: Path) -> None:  # noqa: F811
    resolver.behaviour = lambda q, _: [rcode(q, "SERVFAIL")]
    done = run_locust("Resolver", *resolver_options(resolver, tmp_path / "report.html"))
    assert done.returncode == 1
    line = done.stdout.splitlines()[-1]  # below locust's tables
    assert line.startswith("BROKEN: 100.00% of requests failed, at most 1.00% allowed (")
    assert line.count("SERVFAIL") == 1 and re.search(r"\(1[2-9]\dx ", line), line  # of all kinds of names together


def test_every_shape_runs_to_its_end(resolver: Resolver, tmp_path: Path) -> None:  # noqa: F811
    """All four at one time: each reaches its most users, ends by itself, and judges."""
    running = {
        name: locust(
            "-f", f"loadtest/locustfile.py,loadtest/shapes/{name}.py", "Resolver", "--shape-users", "6",
            "--shape-seconds", "4", *resolver_options(resolver, tmp_path / f"{name}.html"),
        )
        for name in SHAPES
    }  # fmt: skip
    for name, process in running.items():
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and "HELD:" in said and "Shape test" in said, f"{name}: {said}"
        assert re.search(r"(?:to|All) 6 users|\"Resolver\": 6", said), f"{name}: {said}"
        assert (tmp_path / f"{name}.html").exists()


def test_a_master_judges_what_its_worker_asked(resolver: Resolver, tmp_path: Path) -> None:  # noqa: F811
    port = free_port()
    common = ["-f", "loadtest/locustfile.py", "Resolver", *resolver_options(resolver, tmp_path / "report.html")]
    worker = locust(*common, "--worker", "--master-host", "127.0.0.1", "--master-port", str(port))
    master = locust(
        *common, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port),
        "--expect-workers", "1", "--expect-workers-max-wait", "60", "-u", "5", "-r", "5", "-t", "90s",
        "--max-requests", "120",
    )  # fmt: skip
    try:
        said, _ = master.communicate(timeout=120)
        assert master.returncode == 0 and re.search(r"HELD: [1-9]\d* requests, 0 failed", said), said
        assert "Resolver" in (tmp_path / "report.html").read_text()
        assert worker.wait(timeout=30) == 0
    finally:
        for process in (master, worker):
            process.kill()
            process.communicate()


def test_a_worker_that_goes_away_is_remembered() -> None:
    crew = Crew()
    assert all(crew.look(workers, 5, True, 0.0) for workers in (2, 2, 1, 2)) and crew.lost == 1
    assert "1 of the workers went away" in verdict(Limits(), Figures(200, 0, 5, 50, lost=crew.lost))


def test_users_of_whom_no_worker_has_told_yet_have_not_given_up() -> None:
    """Workers tell each three seconds: a master that looked before had no users, and ended without a request."""
    crew = Crew(patience=10.0)
    assert crew.look(2, 0, True, 9.0) and not crew.look(2, 0, True, 11.0)
    assert crew.look(2, 6, True, 12.0) and crew.look(2, 0, False, 12.0) and not crew.look(2, 0, True, 9.0)


def within(seconds: float, ask: Any) -> Any:
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := ask():
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain")


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it had to say until it ended; a second Ctrl-C, as a person's, where gevent lost the first."""
    for patience in (30, 30, 30):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=patience)[0]
    raise AssertionError("three interrupts ended nothing")


def test_on_the_page_runs_follow_each_other_and_each_has_its_verdict() -> None:
    """A broken limit stops its run, not the page; the exit status is that of the last run."""
    port = free_port()
    command = [
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py,loadtest/shapes", "--class-picker",
        "--web-port", str(port), "--names", "200",
    ]  # fmt: skip
    page = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with cluster() as host, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as web:

        def run(**form: Any) -> str:
            """Start a run and give the verdict of it that the page shows."""
            former = len(verdicts())
            common = {"user_classes": "Frames", "user_count": 3, "spawn_rate": 3, "host": host, "frame": 16}
            assert web.post("/swarm", data=common | form).json()["success"]
            return str(within(60, lambda: verdicts()[former:])[0])

        def verdicts() -> list[str]:
            return [line for line in web.get("/logs").json()["master"] if "HELD" in line or "BROKEN" in line]

        try:
            form = within(60, lambda: web.get("/").text)
            assert "max_p99_ms" in form and "enforcing" in form, "options of the project that a run may change"
            assert "token_file" not in form, "what is read from a file is said at the start alone"
            assert "BROKEN: p99 is" in run(max_p99_ms=0.001)
            assert "BROKEN: p99 is" in web.get("/exceptions").text and "BROKEN" in web.get("/stats/report").text
            assert "BROKEN: max_failed: 2.0: expected a share from 0 to 1" in run(max_p99_ms=9000, max_failed=2)
            assert "BROKEN: server 192.0.2.1:53: not this machine" in run(max_failed=0.01, dns="192.0.2.1:53")
            assert "BROKEN: host '127.0.0.1:8053': expected http" in run(dns="127.0.0.1:1053", host="127.0.0.1:8053")
            assert "HELD: " in run(max_requests=100)
            assert "HELD: " in run(shape_class="Ramp", shape_users=2, shape_seconds=2)
            said = interrupted(page)
            assert page.returncode == 0 and "HELD: " in said and f"http://127.0.0.1:{port}" in said, said
        finally:
            page.kill()
            page.communicate()
