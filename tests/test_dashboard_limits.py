"""What anybody may send to the dashboard: little before a log-in, a list's file after it."""

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

from dashboard import server
from dashboard.client import Client
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
        with opened(base, "/lists", token, cookie) as (_, socket):
            for part in ({"msgid": uuid.uuid4().hex, "msgtype": "PULL-DOC-REQ"}, {}, {"file": file}):
                socket.send(json.dumps(part))
            while (kind := receive(socket)[0]) == "PATCH-DOC":
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
