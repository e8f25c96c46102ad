"""loadtest/frames.py: a caller as HTTP/1.1 wants it."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from loadtest.frames import closed_loop, requests

SECONDS = 1.0  # on a busy machine enough for some answers


class Answers(BaseHTTPRequestHandler):
    """The third answer of a connection is its last; `says` whether the answer tells so. None comes after `answers`."""

    protocol_version = "HTTP/1.1"
    says = True
    answers = 3

    def setup(self) -> None:
        super().setup()
        self.given = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.given == self.answers:
            self.rfile.read(1)  # until the caller leaves
            self.close_connection = True
            return
        self.given += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.close_connection = self.given == 3
        if self.close_connection and self.says:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("says", [True, False])
def test_a_connection_that_closes_as_announced_loses_nothing(
    server: ThreadingHTTPServer, says: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "says", says)
    outcome = closed_loop(("127.0.0.1", server.server_port), requests([b"{}"]), 1, 2, SECONDS)
    assert set(outcome.statuses) == {200} and outcome.statuses[200] > 6
    assert (outcome.broken == 0) is says and outcome.unanswered == 0


def test_a_question_that_is_never_answered_is_lost(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "answers", 1)
    address = "127.0.0.1", server.server_port
    outcome = closed_loop(address, requests([b"{}"]), 1, 2, SECONDS, lost_s=SECONDS / 4)
    assert (outcome.statuses[200], outcome.lost) == (2, 2)
    assert outcome.account() == "2 answers 200; 0 connections broken, 2 questions open for 0.25 s and more"


def test_a_question_whose_caller_still_waits_is_not_lost(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "answers", 0)
    address = "127.0.0.1", server.server_port
    assert closed_loop(address, requests([b"{}"]), 1, 2, SECONDS, lost_s=2 * SECONDS).lost == 0
