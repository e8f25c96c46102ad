"""How many connections a process holds of anybody, logged in or not, but for open pages: of one more, the one that has
waited longest for its caller is hung up on. Each costs memory and an open file, and Tornado bounds none of them.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

MOST = 500
OTHER_FILES = 100  # which a process has open: the store's, modules, a log


class BoundedServer(HTTPServer):
    """Tornado's, which forgets a connection once it is an open page's socket."""

    most = MOST

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._open: dict[object, HTTPConnection] = {}  # by the time at which the last one began to wait for a request
        self._waiting: set[object] = set()  # for a request, or the rest of one

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Wait for the next request of a connection."""
        delegate = super().start_request(server_conn, request_conn)
        self._open.pop(server_conn, None)
        if len(self._open) >= self.most:
            self._hang_up()
        self._open[server_conn] = request_conn
        self._waiting.add(server_conn)
        return _Read(delegate, lambda: self._waiting.discard(server_conn))

    def on_close(self, server_conn: object) -> None:
        self._forget(server_conn)
        super().on_close(server_conn)

    def _hang_up(self) -> None:
        # One at work only where all are: that is who does not take what they asked for.
        chosen = next((each for each in self._open if each in self._waiting), next(iter(self._open)))
        connection: Any = self._open[chosen]
        self._forget(chosen)
        if connection.stream is not None:
            connection.stream.close()

    def _forget(self, server_conn: object) -> None:
        self._open.pop(server_conn, None)
        self._waiting.discard(server_conn)


class _Read(HTTPMessageDelegate):
    """Tells when a request was read to its end."""

    def __init__(self, inner: HTTPMessageDelegate, read: Callable[[], None]) -> None:
        self._inner, self._read = inner, read

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._read()
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()
