"""That the log stands still, or all blocking: asked once for all pages, told at the head of each, gone when it ends."""

import asyncio
import time
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
from dashboard.standstill import BEHIND_BYTES, EVERY_S, PAUSED, SILENT_S, SOON_S, Standstill, Told, paused, standstill
from loadtest.panel_session import Visitor
from tests.stores import settled
from verdicts.store import Document, Store, Unavailable, open_store

pytestmark = pytest.mark.anyio
SECRET = "a-password-of-the-test"
WAIT_S = 30.0
HEALTHY = {"spool": {"spool_bytes": 4096}, "store": {"state": "healthy", "since": 1.0}}
BLOCKED = {"spool": {"spool_bytes": 4096}, "store": {"state": "unavailable", "error": "index [i] blocked"}}


def nowhere() -> Store:
    raise Unavailable("no store")


STORELESS = Data(nowhere)


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
    store: Store


@pytest.fixture
async def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    (tmp_path / "password").write_text(SECRET)
    sessions: list[Session] = []
    show = Session.open
    monkeypatch.setattr(Session, "open", lambda session: (sessions.append(session), show(session))[1])
    cluster, data = Cluster(), Data(reader_of(url))
    client = Client("http://verdict", lambda: "made-up", cluster)
    settings = Settings(store_url=url, port=0, allow_hosts=["*"], password_file=tmp_path / "password")
    server = serve(settings, data, client, signin_of(settings))
    server.start()
    yield Open(f"http://127.0.0.1:{server.port}", cluster, sessions, store)
    server.stop(wait=False)
    server._http.stop()
    data.close()
    await client.close()
    store.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.05)


async def opened(shown: Open, *paths: str) -> list[Visitor]:
    """Tabs at these pages, whose sessions are then the ones known."""
    async with httpx.AsyncClient(base_url=shown.address, trust_env=False, timeout=WAIT_S) as browser:
        await browser.get(f"/login?token={SECRET}")
        pages = [(await browser.get(path)).text for path in paths]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    shown.sessions.clear()  # what the HTML was made from
    return [
        await asyncio.to_thread(Visitor, shown.address, path, page, cookie)
        for path, page in zip(paths, pages, strict=True)
    ]


async def test_every_open_page_tells_it_within_seconds_and_forgets_it_so(shown: Open) -> None:
    tabs = await opened(shown, "/", "/names", "/health")
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


def pause(store: Store, now: bool, author: str) -> None:
    store.commit([Document("policy", "policy", {"paused": now})], author, "")


async def test_every_open_page_tells_a_pause_by_whom_and_since_when_until_it_ends(shown: Open) -> None:
    tabs = await opened(shown, "/", "/health", "/enforcement")
    overview, _, enforcement = shown.sessions
    assert not overview.paused.visible
    pause(shown.store, True, "ada")
    shown.cluster.status = {**HEALTHY, "paused": True}
    await until(lambda: all(session.paused.since for session in shown.sessions))
    assert overview.paused.visible and overview.paused.text == f"{PAUSED} by ada"
    assert abs(overview.paused.since - time.time() * 1000) < WAIT_S * 1000
    assert overview.paused.more[0] == "/enforcement" and not enforcement.paused.more  # its button stands there
    assert not overview.old.visible
    overview.go("/names")
    assert overview.paused.visible  # at once
    shown.cluster.status = HEALTHY
    await until(lambda: not any(session.paused.visible for session in shown.sessions))
    for tab in tabs:
        await asyncio.to_thread(tab.close)


async def test_what_a_person_decides_is_asked_about_soon(shown: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Standstill] = []
    monkeypatch.setattr(Standstill, "decided", lambda self: told.append(self))
    (tab,) = await opened(shown, "/enforcement")
    await shown.sessions[0]._context.control.pause(True, "")
    assert told
    await asyncio.to_thread(tab.close)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_however_many_look_it_is_asked_once_in_some_seconds() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), STORELESS, clock)
    for seconds in range(7):
        for _ in range(100):
            log.told()
        await asyncio.sleep(0.01)
        clock.now += 1
        assert cluster.asked == 1 + seconds // EVERY_S


async def test_a_cluster_that_is_silent_for_long_is_told_and_one_question_that_failed_is_not() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), STORELESS, clock)

    async def look(seconds: int) -> str:
        for _ in range(seconds):
            log.told()
            await asyncio.sleep(0.01)
            clock.now += 1
        return log.told().log

    cluster.away = True
    assert await look(SILENT_S - 2) == ""
    assert "connection refused" in await look(EVERY_S + 4)
    cluster.away = False
    assert await look(EVERY_S + 1) == ""


async def test_what_was_known_when_somebody_last_looked_is_not_told_of_now() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), STORELESS, clock)
    cluster.status = BLOCKED
    log.told()
    await asyncio.sleep(0.01)
    assert log.told().log
    clock.now += 3600
    assert log.told() == Told()


async def test_a_dashboard_that_only_reads_asks_nobody() -> None:
    cluster = Cluster()
    log = Standstill(Client("", lambda: "", cluster), STORELESS)
    assert log.told() == Told()
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


async def test_a_pause_is_told_also_where_the_store_does_not_say_whose_it_is() -> None:
    cluster = Cluster()
    cluster.status = {**BLOCKED, "paused": True}
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), STORELESS)
    async with asyncio.timeout(WAIT_S):
        while not log.told().pause:
            await asyncio.sleep(0.05)
    assert log.told().pause == PAUSED and not log.told().since and "takes nothing" in log.told().log


async def test_a_decision_while_it_is_asked_is_asked_about_once_more() -> None:
    cluster, clock = Cluster(), Clock()
    log = Standstill(Client("http://verdict", lambda: "made-up", cluster), STORELESS, clock)
    log.told()
    log.decided()
    await asyncio.sleep(0.01)
    clock.now += SOON_S
    log.told()
    await asyncio.sleep(0.01)
    assert cluster.asked == 2


def test_who_changed_the_policy_during_a_pause_did_not_pause(store: Store) -> None:
    for now, author in ((True, "root"), (False, "root"), (True, "ada"), (True, "vic")):
        pause(store, now, author)
    settled(store)
    changes = store.history("policy", "policy")
    assert paused(changes) == (f"{PAUSED} by ada", changes[1].time)
