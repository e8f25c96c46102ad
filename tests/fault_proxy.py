"""A proxy in front of a real Elasticsearch that spoils bulks, or other requests, on demand."""

import http.client
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

HANG_S = 30.0


class Call(NamedTuple):
    """A request as it came."""

    method: str
    path: str  # with its query
    body: bytes


class FaultProxy(ThreadingHTTPServer):
    """Takes one fault from `faults` for each bulk (or request with `spoils` in its path) that passes; an empty list
    lets all pass.

    mixed: of the items, some are stored, some answered 429, 503 or a block, and those that hold `poison` 400.
    reset: the server does what it is asked, and the answer is a connection reset. half: half of the answer arrives.
    hang: no answer at all. An integer: that status for the whole request, which is not passed on.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.faults: list[str | int] = []
        self.spoils = "_bulk"
        self.poison = b""
        self.met: Counter[str] = Counter()  # faults that happened
        self.calls: list[Call] = []
        self.forbidden = ""  # a request whose path holds this is answered as the security module would
        self.released = threading.Event()  # ends every hang
        self.draw = random.Random(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is part of the plan."""


@contextmanager
def proxy_to(upstream: str) -> Iterator[FaultProxy]:
    """A proxy that runs while the block does."""
    proxy = FaultProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.calls.append(Call(self.command, self.path, body))
        fault: str | int = ""
        if self.server.spoils in self.path and self.server.faults:
            fault = self.server.faults.pop(0)
            self.server.met[str(fault)] += 1
        if self.server.forbidden and self.server.forbidden in self.path:
            refusal = {"type": "security_exception", "reason": "action is unauthorized"}
            self._reply(403, {"error": refusal, "status": 403})
        elif fault == "hang":
            self.server.released.wait(HANG_S)
            self.close_connection = True
        elif isinstance(fault, int):
            self._reply(fault, {"error": {"type": "spoiled", "reason": f"status {fault}"}, "status": fault})
        elif fault == "mixed":
            self._mixed(body)
        else:
            self._forward(body, fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() in ("accept", "content-type")}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), raw

    def _forward(self, body: bytes, fault: str) -> None:
        status, headers, raw = self._ask(body)
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)  # closing sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw[: len(raw) // 2] if fault == "half" else raw)
        if fault == "half":
            self.close_connection = True

    def _mixed(self, body: bytes) -> None:
        """Let a part of the items through, and answer for the rest."""
        lines = body.split(b"\n")
        items = list(zip(lines[0::2], lines[1::2], strict=False))
        results: list[dict[str, Any] | None] = []
        passed: list[bytes] = []
        for action, document in items:
            refusal = None
            if self.server.poison and self.server.poison in document:
                refusal = (400, "document_parsing_exception", "poisoned")
            else:
                refusal = self.server.draw.choice([None, None, *_PUT_OFF])
            results.append(None if refusal is None else _result(action, *refusal))
            self.server.met[str(refusal[0] if refusal else 201)] += 1
            if refusal is None:
                passed += [action, document]
        stored: list[dict[str, Any]] = []
        if passed:
            _, _, raw = self._ask(b"\n".join(passed) + b"\n")
            answer = json.loads(raw)
            count = len(passed) // 2
            stored = answer.get("items") or [{"create": {"status": 201}}] * count
        rest = iter(stored)
        self._reply(200, {"errors": True, "items": [result or next(rest) for result in results]})

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        reply_as_elasticsearch(self, status, body)

    def log_message(self, *_: object) -> None: ...


def reply_as_elasticsearch(to: BaseHTTPRequestHandler, status: int, body: Any) -> None:
    """A whole answer in the form that the client takes for Elasticsearch's."""
    raw = json.dumps(body).encode()
    to.send_response(status)
    to.send_header("content-type", "application/vnd.elasticsearch+json;compatible-with=8")
    to.send_header("x-elastic-product", "Elasticsearch")
    to.send_header("content-length", str(len(raw)))
    to.end_headers()
    to.wfile.write(raw)


_PUT_OFF = (
    (429, "es_rejected_execution_exception", "queue is full"),
    (503, "unavailable_shards_exception", "primary is not active"),
    (403, "cluster_block_exception", "index blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage]"),
)


def _result(action: bytes, status: int, kind: str, reason: str) -> dict[str, Any]:
    return {next(iter(json.loads(action))): {"status": status, "error": {"type": kind, "reason": reason}}}
