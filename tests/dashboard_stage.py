"""What the dashboard's tests stand on: a real store with made-up traffic, and the real control API before it."""

import time
from pathlib import Path
from typing import Any

import httpx

from dashboard import sample
from dashboard.accounts import Role
from dashboard.client import Client
from dashboard.data import Data, reader_of
from dashboard.page import Context, Page
from serve_app.routes import application
from tests.control_setup import Setup

MINUTE = 60_000


class Following(httpx.AsyncBaseTransport):
    """The control API in this process; its replica reads the store after each call, as it does by the clock."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._inner = httpx.ASGITransport(application(setup.contexts[0]))
        self.calls: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls.append((request.method, request.url.path))
        reply = await self._inner.handle_async_request(request)
        self._setup.follow()
        return reply


class Stage:
    """A store with a few minutes of traffic, hostile names among it, and a person in front of it."""

    def __init__(self, folder: Path, traffic: bool = True, url: str = "") -> None:
        self.setup = Setup(folder, url=url)
        self.store = self.setup.store
        self.now = int(time.time()) * 1000
        if traffic:
            # As much at each hour: at night a few minutes of few rows now and then held nothing that would be blocked.
            sample.fill(self.store, self.now - 4 * MINUTE, self.now, step=2000, rows=3, hostile=True, daily=False)
        self.data = Data(reader_of(self.setup.url))
        self.transport = Following(self.setup)
        token = self.setup.tokens["admin"].text
        self.client = Client("http://verdict", lambda: token, self.transport)
        self.told: list[tuple[str, str]] = []
        self.went: list[str] = []

    def context(self, role: Role = "admin", user: str = "ada") -> Context:
        """What a page gets for this person."""
        return Context(
            self.data, self.client.as_user(user, role, self.data.decided), user, role, self.went.append,
            lambda text, kind: self.told.append((text, kind)), {},
        )  # fmt: skip

    async def open(self, page: type[Page], role: Role = "admin", **query: str) -> Any:
        """A page, built, shown and read."""
        opened = page(self.context(role), query)
        opened.view()
        await opened.start()
        return opened

    async def close(self) -> None:
        self.data.close()
        await self.client.close()
        self.store.close()
