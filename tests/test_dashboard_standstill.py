"""Whether the log stands still: asked once for all open pages, told at the head of each, gone when it is over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from dashboard.app import Session
from dashboard.client import Client
from dashboard.data import Data, reader_of
from dashboard.server import serve
from dashboard.settings import Settings
from dashboard.signin import signin_of
from dashboard.standstill import BEHIND_BYTES, EVERY_S, SILENT_S, Standstill, standstill
from loadtest.panel_session import Visitor
from verdicts.store import open_store

pytestmark = pytest.mark.anyio
SECRET = "a-password-of-the-test"
WAIT_S = 30.0
HEALTHY = {"spool": {"spool_bytes": 4096}, "store": {"state": "healthy", "since": 1.0}}
BLOCKED = {"spool": {"spool_bytes": 4096}, "store": {"state": "unavailable", "error": "index [i] blocked"}}


class Cluster(httpx.AsyncBaseTransport):
    """A control API of which a status is known alone, and that may be away."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = HEALTHY
        self.away, self.asked = False, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += request.url.path == "/v1/status"
        if self.away:
            raise httpx.ConnectError("connection refused")
        return httpx.Response(200, json=self.status)


class Open(NamedTuple):
    """A dashboard that people look at."""

    address: str
    cluster: Cluster
    sessions: list[Session]


@pytest.fixture
async def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    store.close()
    (tmp_path / "password").write_text(SECRET)
    sessions: list[Session] = []
    show = Session.open
    monkeypatch.setattr(Session, "open", lambda session: (sessions.append(session), show(session))[1])
    cluster, data = Cluster(), Data(reader_of(url))
    client = Client("http://verdict", lambda: "made-up", cluster)
    settings = Settings(store_url=url, port=0, allow_hosts=["*"], password_file=tmp_path / "password")
    server = serve(settings, data, client, signin_of(settings))
    server.start()
    yield Open(f"http://127.0.0.1:{server.port}", cluster, sessions)
    server.stop(wait=False)
    server._http.stop()
    data.close()
    await client.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.05)


async def test_every_open_page_tells_it_within_seconds_and_forgets_it_so(shown: Open) -> None:
    async with httpx.AsyncClient(base_url=shown.address, trust_env=False, timeout=WAIT_S) as browser:
        await browser.get(f"/login?token={SECRET}")
        pages = [(await browser.get(path)).text for path in ("/", "/names", "/health")]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    shown.sessions.clear()  # what the HTML was made from
    tabs = [
        await asyncio.to_thread(Visitor, shown.address, path, page, cookie)
        for path, page in zip(("/", "/names", "/health"), pages, strict=True)
    ]
    overview, names, health = shown.sessions
    assert not overview.old.visible
    shown.cluster.status = BLOCKED
    await until(lambda: all(session.old.visible for session in (overview, names)))
    assert "takes nothing" in overview.old.text and overview.old.more[0] == "/health"
    assert not health.old.visible  # it says so itself, with the reason
    overview.go("/queries")
    assert overview.old.visible  # at once
    shown.cluster.status = HEALTHY
    await until(lambda: not any(session.old.visible for session in (overview, names)))
    for tab in tabs:
        await asyncio.to_thread(tab.close)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_however_many_look_it_is_asked_once_in_some_seconds() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), clock)
    for seconds in range(7):
        for _ in range(100):
            log.told()
        await asyncio.sleep(0.01)
        clock.now += 1
        assert cluster.asked == 1 + seconds // EVERY_S


async def test_a_cluster_that_is_silent_for_long_is_told_and_one_question_that_failed_is_not() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), clock)

    async def look(seconds: int) -> str:
        for _ in range(seconds):
            log.told()
            await asyncio.sleep(0.01)
            clock.now += 1
        return log.told()

    cluster.away = True
    assert await look(SILENT_S - 2) == ""
    assert "connection refused" in await look(EVERY_S + 4)
    cluster.away = False
    assert await look(EVERY_S + 1) == ""


async def test_what_was_known_when_somebody_last_looked_is_not_told_of_now() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), clock)
    cluster.status = BLOCKED
    log.told()
    await asyncio.sleep(0.01)
    assert log.told()
    clock.now += 3600
    assert log.told() == ""


async def test_a_dashboard_that_only_reads_asks_nobody() -> None:
    cluster = Cluster()
    log = Standstill(Client("", lambda: "", cluster))
    assert log.told() == ""
    await asyncio.sleep(0.01)
    assert cluster.asked == 0


@pytest.mark.parametrize(
    ("waiting", "store", "told"),
    [
        (4096, {"state": "healthy"}, ""),
        (4096, {"state": "unavailable", "since": 940.0}, "has taken nothing of it for a minute."),
        (4096, {"state": "misconfigured", "since": 990.0}, "has taken nothing of it for less than a minute."),
        (4096, {"state": "unavailable", "since": 1000.0 - 2 * 3600 - 180}, "has taken nothing of it for 2 h 3 min."),
        (None, {"state": "unreachable"}, "does not answer"),
        (BEHIND_BYTES + 1, {"state": "healthy"}, "64.0 MiB of it wait"),
    ],
)
def test_the_sentence_says_since_when(waiting: int | None, store: dict[str, Any], told: str) -> None:
    said = standstill({} if waiting is None else {"spool_bytes": waiting}, store, now=1000.0)
    assert told in said and bool(said) == bool(told)
