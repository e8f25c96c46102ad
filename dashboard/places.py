"""How many open pages a process holds at most, and what whoever opens one more is told: each costs memory for as long
as its tab is open."""

import contextlib
from collections.abc import Iterator
from typing import Any

from panel.io.server import WSHandler
from tornado.web import Application, RequestHandler

KEY = "places"  # among a server's settings
FULL = "This dashboard holds as many open pages as it may (--max-tabs): close some, or come back in a minute.\n"


class Places:
    """Those of one server."""

    def __init__(self, most: int) -> None:
        self._most, self._sockets = most, 0

    def full(self, server: Any) -> bool:
        """True where no more may come. A closed tab's session counts until it is discarded, some seconds later."""
        sessions = sum(len(list(context.sessions)) for context in server._applications.values())
        return max(self._sockets, sessions) >= self._most

    @contextlib.contextmanager
    def socket(self) -> Iterator[None]:
        """While a socket is open: its session is made only after the handshake."""
        self._sockets += 1
        try:
            yield
        finally:
            self._sockets -= 1


def refused(handler: RequestHandler) -> bool:
    """Answer 503 where there is no place for one more page."""
    application: Application = handler.application
    if not handler.settings[KEY].full(application):
        return False
    handler.set_status(503)
    handler.set_header("Retry-After", "60")
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    handler.finish(FULL)
    return True


class SocketHandler(WSHandler):  # type: ignore[misc]
    """The socket of an open page."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Until it is closed."""
        if not refused(self):
            with self.settings[KEY].socket():
                await super().get(*args, **kwargs)
