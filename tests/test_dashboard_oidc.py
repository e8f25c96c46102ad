"""Logging in at a real OpenID Connect provider: groups become roles, and the control API holds people to them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import panel as pn
import pytest
import websocket
from tornado.web import create_signed_value

from dashboard.app import Session
from dashboard.client import Refused
from dashboard.oauth import NoIssuer, discover
from dashboard.server import serve
from dashboard.settings import Settings
from dashboard.signin import signin_of
from loadtest.panel_session import opened, session_token
from tests.dashboard_stage import Stage
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, jwt

pytestmark = pytest.mark.anyio
OF_PANEL = ("oauth_provider", "oauth_key", "oauth_secret", "oauth_redirect_uri", "oauth_extra_params", "cookie_secret")


@pytest.fixture(autouse=True)
def settings_of_the_process() -> Iterator[None]:
    """Panel keeps these for the whole process."""
    before = {name: getattr(pn.config, name) for name in OF_PANEL}
    yield
    for name, value in before.items():
        setattr(pn.config, name, value)


class House:
    """The dashboard before the real control API, with a provider beside it."""

    def __init__(self, stage: Stage, sessions: list[Session], scheme: str) -> None:
        self.stage, self.sessions, self.scheme = stage, sessions, scheme
        self.provider = Provider()

    async def open(self, folder: Path) -> None:
        (folder / "secret").write_text(CLIENT_SECRET + "\n")
        settings = Settings(
            store_url=self.stage.setup.url, port=0, oauth_issuer=self.provider.issuer, oauth_key=CLIENT_ID,
            oauth_secret_file=folder / "secret", role_groups={"soc": "analyst", "ops": "admin", "all": "viewer"},
            behind_proxy=self.scheme == "https",
        )  # fmt: skip
        # Discovery asks over the network and waits, as at the start of the program: not on the provider's own loop.
        signin = signin_of(settings)
        options = await asyncio.to_thread(signin.server_options)
        self.server = serve(
            settings, self.stage.data, self.stage.client, signin._replace(server_options=lambda: options)
        )
        self.server.start()
        self.address = f"http://127.0.0.1:{self.server.port}"
        self.provider.redirect_uri = pn.config.oauth_redirect_uri = f"{self.address}/login"

    async def close(self) -> None:
        self.server.stop(wait=False)
        self.server._http.stop()
        self.provider.close()

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, trust_env=False, timeout=60, follow_redirects=True)

    async def enter(self, browser: httpx.AsyncClient, path: str = "/", **person: object) -> httpx.Response:
        """Log in at the provider, and begin a session as a browser does: with a socket."""
        self.provider.person = person
        reply = await browser.get(path)
        if reply.status_code == 200 and reply.url.path == path:
            await asyncio.to_thread(self._look, path, reply.text, dict(browser.cookies))
        return reply

    def _look(self, path: str, page: str, cookies: dict[str, str]) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        with opened(self.address, path, session_token(page), cookie):
            pass


@pytest.fixture
async def house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[House]:
    sessions: list[Session] = []
    show = Session.open

    def noted(session: Session) -> object:
        sessions.append(session)
        return show(session)

    monkeypatch.setattr(Session, "open", noted)
    stage = Stage(tmp_path)
    made = House(stage, sessions, getattr(request, "param", "http"))
    await made.open(tmp_path)
    yield made
    await made.close()
    await stage.close()


async def test_a_group_gives_a_role_that_the_control_api_enforces(house: House) -> None:
    async with house.browser() as browser:
        reply = await house.enter(browser, "/lists", email="ann@example.org", groups=["staff", "soc"])
        assert (reply.status_code, reply.url.path) == (200, "/lists")
    assert house.provider.asked[0]["scope"] == "openid email profile"
    session = house.sessions[-1]
    assert (session.router.user, session.router.role) == ("ann@example.org", "analyst")
    control = session._context.control
    await control.add([{"list": "blocklist", "suffix": "one.example.org"}], "seen")
    entry = house.stage.store.get("list", "blocklist/one.example.org")
    assert entry is not None and entry.author == "ann@example.org (the-admin)"
    with pytest.raises(Refused, match="role analyst: expected admin"):
        await control.set_policy({"block_action": "drop"}, "")


async def test_a_viewer_of_the_provider_may_change_nothing(house: House) -> None:
    async with house.browser() as browser:
        await house.enter(browser, email="vic@example.org", groups="all")
    session = house.sessions[-1]
    assert session.router.role == "viewer"
    with pytest.raises(Refused, match="role viewer: expected analyst"):
        await session._context.control.add([{"list": "benign", "suffix": "one.example.org"}], "")
    assert list(house.stage.store.scan("list")) == []


async def test_who_has_no_role_sees_and_downloads_nothing(house: House) -> None:
    async with house.browser() as browser:
        reply = await house.enter(browser, email="eve@example.org", groups=["elsewhere"])
        assert reply.status_code == 200 and house.sessions == []
        for path in ("/export.csv", "/export.json", "/lists/blocklist.csv"):
            assert (await browser.get(path)).status_code == 403


async def test_who_signs_cannot_be_chosen_by_a_cookie_that_nobody_signed(house: House) -> None:
    async with house.browser() as browser:
        await house.enter(browser, email="ann@example.org", groups=["soc"])
        browser.cookies.set("is_guest", "1", domain="127.0.0.1")
        house.sessions.clear()
        await house.enter(browser, email="ann@example.org", groups=["soc"])
    people = [(session.router.user, session.router.role) for session in house.sessions]
    assert people == [("ann@example.org", "analyst")]


async def test_claims_are_good_for_as_long_as_the_log_in(house: House) -> None:
    """Whoever left a group, and kept what the provider said before, is not let in by it."""
    async with house.browser() as browser:
        secret, ops = pn.config.cookie_secret, jwt({"groups": ["ops"]})
        kept = create_signed_value(secret, "id_token", ops, clock=lambda: time.time() - 2 * 86_400)
        await house.enter(browser, email="ann@example.org", groups=["all"])
        browser.cookies.delete("id_token")
        browser.cookies.set("id_token", kept.decode(), domain="127.0.0.1")
        house.sessions.clear()
        await house.enter(browser, email="ann@example.org", groups=["all"])
        assert [session.router.role for session in house.sessions] == []
        assert (await browser.get("/export.csv")).status_code == 403


async def test_who_has_a_role_downloads(house: House) -> None:
    async with house.browser() as browser:
        await house.enter(browser, email="vic@example.org", groups="all")
        reply = await browser.get("/export.csv?range=1h")
        assert reply.status_code == 200 and len(reply.text.splitlines()) > 10


async def test_a_refusal_of_the_provider_is_told_as_text(house: House) -> None:
    async with house.browser() as browser:
        reply = await house.enter(browser)
        assert reply.status_code == 401 and house.sessions == []
        assert "access_denied" in reply.text and "<b>nobody" not in reply.text
        assert "http" not in reply.text  # nothing of it comes from another host


async def test_a_code_that_answers_no_question_of_ours_opens_nothing(house: House) -> None:
    async with house.browser() as browser:
        house.provider.codes["stolen"] = {"email": "ann@example.org", "groups": ["ops"]}
        reply = await browser.get("/login?code=stolen&state=made-up")
        assert reply.status_code == 401 and house.sessions == []


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [("/lists?list=benign", "/lists?list=benign"), ("//evil.example", "/")]
    + [(f"{head}evil.example", "/") for head in ("////", "/\t/", "/\t///", "https://", "/\\")],
)
async def test_a_log_in_at_the_issuer_leads_nowhere_else(house: House, wanted: str, leads_to: str) -> None:
    house.provider.person = {"email": "ann@example.org", "groups": ["soc"]}
    async with house.browser() as browser:
        reply = await browser.get("/login", params={"next": wanted}, follow_redirects=False)
        while reply.has_redirect_location and "user" not in reply.cookies:
            reply = await browser.get(reply.headers["location"], follow_redirects=False)
    assert (reply.status_code, reply.headers.get("location")) == (302, leads_to)


@pytest.mark.parametrize("house", ["http", "https"], indirect=True)
async def test_the_cookies_of_a_log_in_are_for_this_site_alone_and_by_https_where_that_is(house: House) -> None:
    secure = house.scheme == "https"
    house.provider.person = {"email": "ann@example.org", "groups": ["soc"]}
    said: list[str] = []
    sent: dict[str, str] = {}
    where = f"{house.address}/login"
    while not any(line.startswith("user=") for line in said):
        async with httpx.AsyncClient(trust_env=False, timeout=60) as browser:  # sends secure cookies by http too
            headers = {"X-Forwarded-Proto": house.scheme, "Cookie": "; ".join(f"{k}={v}" for k, v in sent.items())}
            reply = await browser.get(where, headers=headers)
        said += (lines := reply.headers.get_list("set-cookie"))
        sent |= dict(line.partition(";")[0].split("=", 1) for line in lines)
        where = reply.headers["location"]
    assert {line.partition("=")[0] for line in said} >= {"user", "id_token", "access_token", "panel-oauth-state"}
    for line in said:
        assert "samesite=lax" in line.lower() and ("secure" in line.lower()) == secure, line


async def test_logging_out_asks_nobody_else(house: House) -> None:
    async with house.browser() as browser:
        await house.enter(browser, email="ann@example.org", groups=["soc"])
        reply = await browser.get("/logout")
        assert "Logged out" in reply.text and "http" not in reply.text
        house.provider.person = {}
        assert (await browser.get("/")).status_code == 401


async def test_copied_cookies_open_nothing_after_a_log_out(house: House) -> None:
    async with house.browser() as browser, house.browser() as thief:
        await house.enter(browser, email="ann@example.org", groups=["soc"])
        thief.cookies.update(browser.cookies)
        page = (await thief.get("/")).text
        await browser.get("/logout")
        house.sessions.clear()
        with pytest.raises(websocket.WebSocketBadStatusException):
            await asyncio.to_thread(house._look, "/", page, dict(thief.cookies))
        house.provider.person = {}  # who is asked anew who they are gets no answer
        for path in ("/", "/export.csv", "/lists/blocklist.csv"):
            assert (await thief.get(path)).status_code == 401
    assert house.sessions == []


async def test_an_issuer_that_does_not_answer_is_named(house: House) -> None:
    with pytest.raises(NoIssuer, match=r"issuer http://127\.0\.0\.1:9: .*openid-configuration"):
        await asyncio.to_thread(discover, "http://127.0.0.1:9")
    with pytest.raises(NoIssuer, match="names another issuer"):
        await asyncio.to_thread(discover, house.provider.issuer.replace("127.0.0.1", "localhost"))
