"""What anybody may send to the dashboard: little before a log-in, a list's file after it."""

import asyncio
import base64
import contextlib
import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket
from bokeh.util.paths import bokehjs_path

from dashboard import server
from dashboard.client import Client
from dashboard.connections import BoundedServer
from dashboard.data import Data, reader_of
from dashboard.pages.lists import MAX_FILE
from dashboard.settings import Settings
from dashboard.signin import signin_of
from loadtest.panel_session import opened, receive, session_token
from verdicts.store import open_store

pytestmark = pytest.mark.anyio
SECRET = "a-generated-secret"
PATIENCE_S = 20


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Servers that wait for nobody."""
    for name in ("body_timeout", "idle_connection_timeout"):
        assert server.HTTP_LIMITS[name] <= 75
        monkeypatch.setitem(server.HTTP_LIMITS, name, 0.3)
    yield


@contextlib.asynccontextmanager
async def dashboard(tmp_path: Path, **more: Any) -> AsyncIterator[int]:
    """The port of a dashboard over an empty log."""
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    store.close()
    (tmp_path / "password").write_text(SECRET)
    data, client = Data(reader_of(url)), Client("", lambda: "")
    settings = Settings(store_url=url, port=0, password_file=tmp_path / "password", **more)
    made = server.serve(settings, data, client, signin_of(settings))
    made.start()
    assert made.port is not None
    yield made.port
    made.stop(wait=False)
    made._http.stop()
    data.close()
    await client.close()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with dashboard(tmp_path) as found:
        yield found


async def answered(port: int, request: str) -> bytes:
    """All that is answered to a request whose body does not follow, until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode())
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()


@pytest.mark.parametrize("path", ["/login", "/", "/ws", "/export.csv", "/healthz", "/nowhere"])
async def test_a_stranger_s_large_body_is_refused_before_it_comes(port: int, path: str) -> None:
    said = await answered(port, f"POST {path} HTTP/1.1\nHost: x\nContent-Length: {65 << 10}\n\n")
    assert said.startswith(b"HTTP/1.1 400 ")


async def test_a_body_of_unsaid_length_is_read_no_further_either(port: int) -> None:
    size = 40 << 10
    chunks = f"{size:x}\n{'a' * size}\n{size:x}\n"  # of the second, how long it is
    said = await answered(port, f"POST /login HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n{chunks}")
    assert said.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent", ["POST /login HTTP/1.1\nHost: x\nContent-Length: 9\n\nuser=", "GET /login HTTP/1.1\n", ""]
)
async def test_who_sends_a_part_and_stalls_is_hung_up_on(impatient: None, port: int, sent: str) -> None:
    assert await answered(port, sent) == b""


async def test_of_more_connections_than_a_process_holds_the_one_that_waited_longest_is_hung_up_on(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedServer, "most", 3)
    half = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nuser="
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    async def ask(at: int) -> bytes:
        """What comes back; a request later than the first of another counts as the last of all."""
        reader, writer = opened_[at]
        writer.write(whole)
        await writer.drain()
        said = await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE_S)
        await asyncio.sleep(0.05)
        return said

    opened_ = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    opened_[1][1].write(half)
    await ask(0)  # the one that sent half a body waits longer now
    opened_.append(await asyncio.open_connection("127.0.0.1", port))
    assert b"200 OK" in await ask(2)
    opened_.append(await asyncio.open_connection("127.0.0.1", port))
    assert await asyncio.wait_for(opened_[1][0].read(), 5) == b""  # by itself it would be after 10 s
    for at in (3, 2, 0):
        assert b"200 OK" in await ask(at)
    for _, writer in opened_:
        writer.close()


async def test_who_does_not_take_what_they_asked_for_keeps_nobody_out(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedServer, "most", 1)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(b"GET /static/js/bokeh.min.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8)  # more than the system keeps
        said = b""
        async with asyncio.timeout(PATIENCE_S):
            while b"200 OK" not in said:  # the first few may come while the other waits as well, between two answers
                with contextlib.suppress(ConnectionResetError):
                    said = await answered(port, "GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n")

        def rest() -> int:
            """How much comes until the server hangs up."""
            slow.settimeout(PATIENCE_S)
            came = 0
            with contextlib.suppress(ConnectionResetError):
                while part := slow.recv(1 << 16):
                    came += len(part)
            return came

        came = await asyncio.to_thread(rest)
    assert came < 8 * (bokehjs_path() / "js/bokeh.min.js").stat().st_size


async def test_open_pages_take_no_place_of_other_connections(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedServer, "most", 2)
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=PATIENCE_S) as browser:
        await browser.get(f"/login?token={SECRET}")
        tokens = [session_token((await browser.get("/lists")).text) for _ in range(3)]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    def look() -> list[str]:
        with contextlib.ExitStack() as tabs:
            pages = [tabs.enter_context(opened(base, "/lists", token, cookie))[1] for token in tokens]
            for page in pages:
                for part in ({"msgid": uuid.uuid4().hex, "msgtype": "SERVER-INFO-REQ"}, {}, {}):
                    page.send(json.dumps(part))
            return [receive(page)[0] for page in pages]

    assert await asyncio.to_thread(look) == ["SERVER-INFO-REPLY"] * 3


async def test_a_stranger_s_websocket_is_refused_at_its_handshake(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S) as browser:
        await browser.get(f"/login?token={SECRET}")
        token = session_token((await browser.get("/lists")).text)

    def knock() -> None:
        with opened(f"http://127.0.0.1:{port}", "/lists", token, cookie=""):
            pass

    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        await asyncio.to_thread(knock)


async def test_the_largest_file_of_a_list_comes_by_the_websocket_of_who_is_logged_in(
    impatient: None, port: int
) -> None:
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=PATIENCE_S) as browser:
        await browser.get(f"/login?token={SECRET}")
        token = session_token((await browser.get("/lists")).text)
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    file = base64.b64encode(b"a" * MAX_FILE).decode()

    def send() -> str:
        with opened(base, "/lists", token, cookie) as (_, page):
            for part in ({"msgid": uuid.uuid4().hex, "msgtype": "PULL-DOC-REQ"}, {}, {"file": file}):
                page.send(json.dumps(part))
            while (kind := receive(page)[0]) == "PATCH-DOC":
                pass
            return kind

    assert await asyncio.to_thread(send) == "PULL-DOC-REPLY"


async def test_one_page_more_than_a_process_holds_is_refused_in_words_until_another_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNUSED_SESSION_MS", 300)
    async with (
        dashboard(tmp_path, max_tabs=3) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S) as browser,
    ):
        await browser.get(f"/login?token={SECRET}")
        tokens = [session_token((await browser.get("/lists")).text) for _ in range(4)]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        await asyncio.sleep(1)  # the session of the first page's HTML is gone

        def one_more(token: str) -> None:
            with opened(str(browser.base_url).rstrip("/"), "/lists", token, cookie):
                pass

        def fill() -> None:
            with contextlib.ExitStack() as tabs:
                for token in tokens[:3]:
                    tabs.enter_context(opened(str(browser.base_url).rstrip("/"), "/lists", token, cookie))
                with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
                    one_more(tokens[3])
                told.append(httpx.get(f"{browser.base_url}", cookies=dict(browser.cookies), trust_env=False))

        told: list[httpx.Response] = []
        await asyncio.to_thread(fill)
        assert told[0].status_code == 503 and "--max-tabs" in told[0].text and told[0].headers["Retry-After"] == "60"
        assert (await browser.get("/healthz")).status_code == 200
        async with asyncio.timeout(PATIENCE_S):
            while (await browser.get("/")).status_code == 503:
                await asyncio.sleep(0.1)
        await asyncio.to_thread(one_more, tokens[3])
