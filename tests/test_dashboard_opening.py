"""What opening a page leaves behind: HTML that fits every process, sessions that go; several processes."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import panel as pn
import pytest
from bokeh.core.has_props import HasProps
from bokeh.core.types import ID
from bokeh.util.token import generate_jwt_token
from tornado.iostream import IOStream

import dashboard.server
from dashboard.accounts import hashed
from dashboard.app import Session
from dashboard.client import Client
from dashboard.data import Data, reader_of
from dashboard.opening import all_values
from dashboard.server import quiet, serve
from dashboard.settings import Settings
from dashboard.signin import signin_of
from loadtest.panel_session import Visitor, opened, session_token
from serve_app.descendants import descendants
from tests.stores import observation, records
from verdicts.store import open_store

pytestmark = pytest.mark.anyio
SECRET = "a-password-of-the-test"
WAIT_S = 30.0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.05)


@pytest.fixture
async def addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Two servers that share what processes of one dashboard share: the secret of the cookies."""
    monkeypatch.setattr(dashboard.server, "UNUSED_SESSION_MS", 600)
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    store.append(records([observation("www.example.org")]))
    (tmp_path / "password").write_text(SECRET)
    settings = Settings(store_url=url, port=0, allow_hosts=["*"], password_file=tmp_path / "password")
    data, client, signin = Data(reader_of(url)), Client("", lambda: ""), signin_of(settings)
    servers = [serve(settings, data, client, signin) for _ in range(2)]
    for server in servers:
        server.start()
    yield [f"http://127.0.0.1:{server.port}" for server in servers]
    for server in servers:
        server.stop(wait=False)
        server._http.stop()
    data.close()
    await client.close()
    store.close()


@asynccontextmanager
async def logged_in(address: str, user: str = "admin", password: str = SECRET) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=WAIT_S) as browser:
        assert (await browser.post("/login", data={"user": user, "password": password})).status_code == 302
        yield browser


def cookie_of(browser: httpx.AsyncClient) -> str:
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


async def test_the_html_of_one_process_fits_the_socket_of_another(addresses: list[str]) -> None:
    one, other = addresses
    async with logged_in(one) as browser:
        pages = [(await browser.get("/queries?tier=block")).text for _ in range(2)]
        assert session_token(pages[0]) != session_token(pages[1])
        assert pages[0].replace(session_token(pages[0]), "") == pages[1].replace(session_token(pages[1]), "")
        assert len(re.findall('"[^"]+":"[^"]+"', re.search('"roots":{(.*?)}', pages[0])[1])) == 1  # type: ignore[index]

        def look() -> int:
            with opened(other, "/queries", session_token(pages[1]), cookie_of(browser)) as (size, _):
                return size

        assert await asyncio.to_thread(look) > 1000


@pytest.mark.parametrize("path", ["/", "/queries?tier=block", "/login", "/healthz"])
async def test_head_is_answered_as_get_without_the_body(addresses: list[str], path: str) -> None:
    async with logged_in(addresses[0]) as browser:
        page, head = await browser.get(path), await browser.head(path)
        assert head.status_code == page.status_code == 200 and head.content == b""
        assert head.headers["Content-Type"] == page.headers["Content-Type"]
        browser.cookies.clear()
        assert (await browser.head("/")).status_code == 302


async def test_head_tries_no_password(addresses: list[str]) -> None:
    async with httpx.AsyncClient(base_url=addresses[0], trust_env=False, timeout=WAIT_S) as browser:
        reply = await browser.head("/login", params={"token": SECRET})
        assert reply.status_code == 200 and not browser.cookies


async def test_a_session_is_nobodys_but_whose_page_it_was_made_for(
    addresses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No link makes a session of a chosen name for whoever follows it, to be shared by whoever made the link."""
    people: list[str] = []
    show = Session.open
    monkeypatch.setattr(Session, "open", lambda session: (people.append(session.router.user), show(session))[1])
    (tmp_path / "password").write_text(f"vic viewer {hashed('vic')}\nroot admin {hashed('root')}\n")
    chosen = "c" * 44
    async with logged_in(addresses[0], "root", "root") as root, logged_in(addresses[0], "vic", "vic") as vic:
        token = generate_jwt_token(ID(chosen), expiration=60)
        for link in ("/", "/autoload.js"):
            for named in ({"bokeh-session-id": chosen}, {"bokeh-token": token}):
                reply = await root.get(link, params={"bokeh-autoload-element": "x", **named})
                assert reply.status_code in (400, 404)
        assert (await root.get("/", headers={"Bokeh-Session-Id": chosen})).status_code == 400
        cookies = {"headers": {}, "arguments": {}, "cookies": {k: v.strip('"') for k, v in vic.cookies.items()}}
        token = generate_jwt_token(ID(chosen), expiration=60, extra_payload=cookies)

        def look() -> None:
            with opened(addresses[0], "/", token, cookie_of(vic)):
                pass

        await asyncio.to_thread(look)
        assert people == ["vic"]


async def test_a_session_that_ended_is_in_no_list_of_panels(addresses: list[str]) -> None:
    asyncio.get_running_loop().set_exception_handler(quiet)
    before = set(pn.state._views)  # of servers that were stopped while they had sessions
    async with logged_in(addresses[0]) as browser:
        page = (await browser.get("/?range=1h")).text
        visitor = await asyncio.to_thread(Visitor, addresses[0], "/", page, cookie_of(browser))
        assert set(pn.state._views) - before
        visitor.close()
    await until(lambda: set(pn.state._views) <= before)


@pytest.mark.parametrize("user", ["ada", "admin"])
async def test_who_is_taken_out_of_the_accounts_or_has_another_password_is_out(
    addresses: list[str], tmp_path: Path, user: str
) -> None:
    """A page that is open is closed, and the cookie is good no more, on both servers."""
    async with logged_in(addresses[0]) as browser:
        page = (await browser.get("/?range=1h")).text
        visitor = await asyncio.to_thread(Visitor, addresses[0], "/", page, cookie_of(browser), WAIT_S)
        (tmp_path / "password").write_text(f"{user} admin {hashed('another')}\n")
        assert await asyncio.to_thread(closed, visitor)
        for address in addresses:
            reply = await browser.get(f"{address}/")
            assert reply.status_code == 302 and "/login" in reply.headers["location"]


async def test_a_copied_cookie_opens_nothing_after_a_log_out(addresses: list[str]) -> None:
    """An open page is closed, and every process refuses the cookie; another log-in of the same person goes on."""
    one, other = addresses
    async with logged_in(one) as browser, logged_in(one) as elsewhere:
        copied = dict(browser.cookies)
        page = (await browser.get("/?range=1h")).text
        visitor = await asyncio.to_thread(Visitor, other, "/", page, cookie_of(browser), WAIT_S)
        assert (await browser.get("/logout")).status_code == 302
        assert await asyncio.to_thread(closed, visitor)
        for address in addresses:
            for path in ("/", "/export.csv?range=1h"):
                async with httpx.AsyncClient(cookies=copied, trust_env=False, timeout=WAIT_S) as thief:
                    reply = await thief.get(address + path)
                    assert reply.status_code == 302 and "/login" in reply.headers["location"]
            assert (await elsewhere.get(f"{address}/")).status_code == 200
        assert (await browser.post("/login", data={"user": "admin", "password": SECRET})).status_code == 302
        assert (await browser.get("/")).status_code == 200


def closed(visitor: Visitor) -> bool:
    """Whether the server closes a page that is open."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if visitor._socket.recv() == "":  # the server's frame that closes
            visitor._socket.shutdown()  # its `close` leaves one open that the other side closed
            return True
    return False


async def test_a_page_that_is_open_is_closed_once_its_log_in_has_lasted_as_long_as_it_may(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with logged_in(addresses[0]) as browser:
        page = (await browser.get("/?range=1h")).text
        visitor = await asyncio.to_thread(Visitor, addresses[0], "/", page, cookie_of(browser), WAIT_S)
        monkeypatch.setattr("dashboard.auth.DAYS", 0)  # as if the cookie were older than those it may last
        assert await asyncio.to_thread(closed, visitor)


async def test_a_visitor_sees_a_page_whose_answers_were_known_as_one_that_had_to_read(addresses: list[str]) -> None:
    async with logged_in(addresses[0]) as browser:
        page = (await browser.get("/?range=1h")).text
        visitor = await asyncio.to_thread(Visitor, addresses[0], "/", page, cookie_of(browser), 15.0)
        for _ in range(4):  # within the second for which an answer is kept
            for path in ("/lookup?q=www.example.org&range=1h", "/queries?range=1h", "/lists", "/?range=1h"):
                await asyncio.to_thread(visitor.go, path)
        visitor.close()


async def test_a_page_answers_while_its_beat_waits_for_the_store(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beat's question is not answered before the page has answered."""
    asked, let_go = threading.Event(), threading.Event()
    put = Data._put

    def held(data: Data, question: Any) -> Any:
        asked.set()
        let_go.wait(WAIT_S)
        return put(data, question)

    async with logged_in(addresses[0]) as browser:
        page = (await browser.get("/?range=1h")).text
        visitor = await asyncio.to_thread(Visitor, addresses[0], "/", page, cookie_of(browser), WAIT_S / 3)
        monkeypatch.setattr(Data, "_put", held)
        assert await asyncio.to_thread(asked.wait, WAIT_S)
        try:
            await asyncio.to_thread(visitor.go, "/models")  # reads nothing of the store
        finally:
            let_go.set()
        visitor.close()


async def test_a_model_says_what_it_would_without_the_shortcuts(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[dict[str, Any], dict[str, Any]]] = []
    short = HasProps.query_properties_with_values

    def both(model: Any, query: Any, **how: Any) -> Any:
        seen.append((short(model, query, **how), all_values(model, query, **how)))
        return seen[-1][0]

    monkeypatch.setattr(HasProps, "query_properties_with_values", both)
    assert short is not all_values
    async with logged_in(addresses[0]) as browser:
        for path in ("/", "/lists", "/queries"):
            page = (await browser.get(path)).text
            await asyncio.to_thread(lambda p=page, at=path: Visitor(addresses[0], at, p, cookie_of(browser)).close())
    assert len(seen) > 30
    assert all(list(one.items()) == list(other.items()) for one, other in seen)
    assert {name for one, _ in seen for name in one} >= {"children", "data", "main", "stylesheets", "tree"}


async def test_a_message_leaves_in_one_piece(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = IOStream.write_to_fd
    monkeypatch.setattr(IOStream, "write_to_fd", lambda self, data: (written.append(bytes(data)), write(self, data))[1])
    async with logged_in(addresses[0]) as browser:
        page = (await browser.get("/")).text
        visitor = await asyncio.to_thread(Visitor, addresses[0], "/", page, cookie_of(browser))
        visitor.close()
    for kind in ("ACK", "PULL-DOC-REPLY", "PATCH-DOC"):
        heads = [octets for octets in written if re.search(rf'"msgtype": *"{kind}"'.encode(), octets)]
        assert heads and all(b"}\x81\x02{}" in octets for octets in heads), kind  # the metadata come with the head


@pytest.fixture
def two(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A dashboard of two processes."""
    url = f"sqlite://{tmp_path}/verdict.db"
    open_store(url).initialise()
    (tmp_path / "accounts").write_text(f"ada analyst {hashed(SECRET)}\n")
    command = [sys.executable, "-m", "dashboard", "--store-url", url, "--port", "0", "--processes", "2"]
    command += ["--password-file", str(tmp_path / "accounts")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_processes_share_an_address_and_end_together(two: subprocess.Popen[str]) -> None:
    assert two.stdout is not None
    said = await asyncio.to_thread(two.stdout.readline)
    address = said.split()[1].rstrip("/")
    await until(lambda: len(descendants(two.pid)) == 2)
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=WAIT_S) as browser:
        assert (await browser.post("/login", data={"user": "ada", "password": SECRET})).status_code == 302
        for _ in range(6):  # each page and each socket reaches either
            page = (await browser.get("/lists")).text
            await asyncio.to_thread(lambda p=page: Visitor(address, "/lists", p, cookie_of(browser)).close())
        copied = dict(browser.cookies)
        await browser.get("/logout")
        for _ in range(6):
            async with httpx.AsyncClient(cookies=copied, trust_env=False, timeout=WAIT_S) as thief:
                assert (await thief.get(f"{address}/lists")).status_code == 302
    codes = []
    for number in range(30):  # of a connection each, so that either judges some
        async with httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as guesser:
            reply = await guesser.post(f"{address}/login", data={"user": "ada", "password": f"guess{number}"})
        codes.append(reply.status_code)
    assert codes == [401] * 10 + [429] * 20
    lost = descendants(two.pid)[0]
    await asyncio.sleep(max(0.0, 5.5 - age_of(lost)))  # one that ends at once would end the other too
    os.kill(lost, signal.SIGKILL)
    await until(lambda: lost not in (now := descendants(two.pid)) and len(now) == 2)
    left = descendants(two.pid)
    two.terminate()
    assert await asyncio.to_thread(two.wait, WAIT_S) == 0
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]


def age_of(pid: int) -> float:
    began = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began
