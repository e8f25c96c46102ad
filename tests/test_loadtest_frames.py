"""loadtest/frames.py: a caller as HTTP/1.1 wants it."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from loadtest.frames import closed_loop, requests

SECONDS = 1.0  # on a busy machine enough for some answers


class Answers(BaseHTTPRequestHandler):
    """Every third answer of a connection is its last; `says` whether the answer tells so."""

    protocol_version = "HTTP/1.1"
    says = True

    def setup(self) -> None:
        super().setup()
        self.given = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
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
    assert (outcome.lost == 0) is says
