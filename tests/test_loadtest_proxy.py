"""The proxy misbehaves exactly as told, between a real client and a real server."""

import socket
import threading
import time
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtest.proxy import Behaviour, FaultProxy, corrupted, http_reply

BODY = b'{"verdicts": [1, 2, 3, 4, 5, 6, 7, 8, 9]}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with FaultProxy(("127.0.0.1", server.server_address[1])) as made:
        yield made
    server.shutdown()
    server.server_close()
    thread.join()


def get(proxy: FaultProxy, timeout: float = 2.0) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_passes_what_comes(proxy: FaultProxy) -> None:
    assert get(proxy) == (200, BODY) and proxy.connections == 1


def test_it_is_slow_for_as_long_as_told(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("slow", delay=0.3))
    start = time.monotonic()
    assert get(proxy) == (200, BODY) and 0.3 <= time.monotonic() - start < 1.5


def test_silence_is_an_open_connection_without_an_answer(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("silent"))
    with pytest.raises(TimeoutError):
        get(proxy, timeout=0.3)


def test_refusing_means_nothing_listens_and_it_can_listen_again(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("refuse"))
    with pytest.raises(ConnectionRefusedError):
        get(proxy)
    proxy.set(Behaviour())
    assert get(proxy) == (200, BODY)


def test_a_reset_is_a_reset(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("reset"))
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        get(proxy)


def test_a_cut_reply_ends_in_the_middle(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("cut"))
    with pytest.raises((IncompleteRead, BadStatusLine, RemoteDisconnected)):
        get(proxy)


def test_corruption_keeps_the_length_and_changes_the_body(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("corrupt"))
    status, body = get(proxy)
    assert status == 200 and len(body) == len(BODY) and body != BODY


def test_it_answers_what_it_was_told(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("answer", reply=http_reply(401, b'{"code":"unauthorised"}')))
    assert get(proxy) == (401, b'{"code":"unauthorised"}')


def test_only_the_paths_it_was_told_are_answered(proxy: FaultProxy) -> None:
    proxy.set(Behaviour("answer", reply=http_reply(401, b"{}"), path=b"/v1/verdict"))
    assert get(proxy) == (200, BODY)


def test_a_reset_ends_what_is_open(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=2) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4)
        proxy.set(Behaviour("reset"))
        with pytest.raises(ConnectionResetError):
            while sock.recv(4096):
                pass


def test_a_target_that_is_down_ends_the_connection() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = free.getsockname()
    with FaultProxy(target) as proxy, pytest.raises((RemoteDisconnected, ConnectionResetError)):
        get(proxy)


def test_an_unknown_behaviour_is_refused() -> None:
    with pytest.raises(ValueError, match="mode 'explode': expected one of pass, slow"):
        Behaviour("explode")  # type: ignore[arg-type]


def test_the_head_of_a_corrupted_reply_stays() -> None:
    assert corrupted(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 20).startswith(b"HTTP/1.1 200 OK\r\n\r\naaat")
