"""loadtest/reliability.py: what counts as failed, and who is struck."""

import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import ModuleType

import pytest

from loadtest import log_bench, log_kills, reliability
from loadtest.processes import command_of
from loadtest.reliability import BUDGET_S, REPLICAS, SINGLE, Answer, Load, NoSuchProcess, judged, victim
from tests.waiting import until

CLASSIFIER = REPLICAS[2]


def answers(good: int, bad: int) -> list[Answer]:
    return [Answer(float(n), 0.01, n >= bad) for n in range(good + bad)]


def test_one_failure_in_a_thousand_is_allowed_and_no_more() -> None:
    assert judged(CLASSIFIER, "killed", answers(999, 1), 0.0).kept
    assert not judged(CLASSIFIER, "killed", answers(998, 2), 0.0).kept


def test_what_stands_alone_is_told_and_not_judged() -> None:
    found = judged(SINGLE[0], "killed", answers(10, 10), 0.0)
    assert found.kept and found.row()["failed"] == "10"


def test_it_is_well_again_when_the_last_failure_has_ended() -> None:
    assert judged(CLASSIFIER, "killed", [Answer(5.0, 1.0, False), Answer(7.0, 0.1, True)], 4.0).last_failure == 2.0


class Answers(BaseHTTPRequestHandler):
    """Gives verdicts while it goes on."""

    protocol_version = "HTTP/1.1"
    goes_on = Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.goes_on.wait()
        self.send_response(200)
        self.send_header("Content-Length", "17")
        self.end_headers()
        self.wfile.write(b'{"verdicts":[{}]}')

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_what_was_due_while_nobody_answered_was_asked_and_failed() -> None:
    """Eight connections that each waited for its answer asked sixteen in two seconds, where eighty were due."""
    rate, still_s = 40.0, 2.5
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever).start()
    try:
        Answers.goes_on.set()
        with Load(server.server_port, "token", rate).running() as found:
            began = time.monotonic()
            time.sleep(0.5)
            Answers.goes_on.clear()
            time.sleep(still_s)
            Answers.goes_on.set()
            time.sleep(0.5)
            seconds = time.monotonic() - began
    finally:
        Answers.goes_on.set()
        server.shutdown()
        server.server_close()
    assert len(found) == pytest.approx(rate * seconds, rel=0.05)
    assert sum(not answer.good for answer in found) >= 0.9 * rate * (still_s - BUDGET_S)
    assert all(answer.seconds <= BUDGET_S for answer in found if answer.good)


@pytest.mark.parametrize("arguments", [["--only", "nonsense"], ["--rate", "0"], ["--seconds", "-1"]])
def test_nothing_to_measure_is_no_success(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster was started, nothing was struck, and the exit status said that all was kept."""
    with pytest.raises(SystemExit, match="2"):
        reliability.main(arguments)
    assert arguments[1] in capsys.readouterr().err


def test_more_kills_than_batches_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        log_kills.main(["--rows", "1000", "--kills", "3", "--url", "http://127.0.0.1:1"])
    assert "--kills 3: expected at most one a batch" in capsys.readouterr().err


@pytest.mark.parametrize("bench", [log_bench, log_kills])
def test_a_server_that_does_not_answer_is_named(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main(["--rows", "2000", "--url", "http://127.0.0.1:1", *["--kills", "1"] * (bench is log_kills)])
    assert "--url http://127.0.0.1:1: Elasticsearch: ConnectionError" in capsys.readouterr().err


def test_fewer_rows_than_a_batch_measure_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        log_bench.main(["--rows", "400", "--url", "http://127.0.0.1:1"])
    assert "--rows 400: expected 500 or more" in capsys.readouterr().err


def test_a_process_is_found_by_its_title_or_its_program() -> None:
    with (
        subprocess.Popen(["ray::ServeController.run", "60"], executable="/bin/sleep") as titled,
        subprocess.Popen(["/usr/sbin/haproxy", "60"], executable="/bin/sleep") as run,
    ):
        try:
            until(lambda: command_of(titled.pid) and command_of(run.pid))
            assert victim(os.getpid(), "ray::ServeController") == titled.pid
            assert victim(os.getpid(), "haproxy") == run.pid
        finally:
            titled.kill()
            run.kill()


def test_nobody_of_that_kind_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(NoSuchProcess, match="Classifier"):
            victim(process.pid, CLASSIFIER)
        process.communicate()
