"""Logging in: accounts, links, roles, and a server that shows nothing to strangers."""

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dashboard.accounts import Account, AccountsFile, BadAccounts, allows, hashed, load, load_or_generate
from dashboard.auth import Attempts, account_of, caller_of, local_path
from dashboard.client import Client
from dashboard.data import Data, reader_of
from dashboard.oauth import role_of_claims
from dashboard.server import serve
from dashboard.settings import Settings
from dashboard.signin import signin_of
from tests.stores import observation, records
from verdicts.store import open_store

pytestmark = pytest.mark.anyio
SECRET = "a-generated-secret"


@pytest.fixture
async def web(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without scripts on a dashboard over one record, or those of these names."""
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    store.append(records([observation(name) for name in getattr(request, "param", ["=cmd.example.org"])]))
    (tmp_path / "password").write_text(SECRET)
    settings = Settings(store_url=url, port=0, password_file=tmp_path / "password")
    data, client = Data(reader_of(url)), Client("", lambda: "")
    server = serve(settings, data, client, signin_of(settings))
    server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as browser:
        yield browser
    server.stop(wait=False)
    server._http.stop()
    data.close()
    await client.close()
    store.close()


@pytest.mark.parametrize("path", ["/", "/queries", "/audit", "/export.csv", "/export.json"])
async def test_a_stranger_is_sent_to_the_log_in(web: httpx.AsyncClient, path: str) -> None:
    reply = await web.get(path)
    assert reply.status_code == 302 and reply.headers["location"].lstrip(".").startswith("/login")


async def test_the_link_logs_in_and_leaves_no_secret_in_the_address(web: httpx.AsyncClient) -> None:
    reply = await web.get(f"/login?token={SECRET}")
    assert (reply.status_code, reply.headers["location"]) == (302, "/")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and SECRET not in cookie
    assert (await web.get("/")).status_code == 200


async def test_the_export_is_safe_and_complete_once_logged_in(web: httpx.AsyncClient) -> None:
    await web.get(f"/login?token={SECRET}")
    reply = await web.get("/export.csv?range=1h")
    assert reply.headers["content-disposition"].startswith("attachment")
    assert len(reply.text.splitlines()) == 2 and "cmd.example.org" in reply.text


LONG = ".".join(["a" * 60] * 3)


@pytest.mark.parametrize("web", [[f"n{number}.{LONG}" for number in range(12_000)]], indirect=True, ids=["many"])
async def test_a_download_that_is_broken_off_is_no_error(
    web: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """More than a socket's buffers take."""
    caplog.set_level("INFO", "tornado.access")
    cookie = (await web.get(f"/login?token={SECRET}")).headers["set-cookie"].split(";")[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", web.base_url.port, limit=1024)
    writer.write(f"GET /export.json?range=1h HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode())
    await reader.readline()
    writer.transport.abort()
    while not any("GET /export" in record.getMessage() for record in caplog.records):
        await asyncio.sleep(0.05)
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("form", [{"user": "admin", "password": "wrong"}, {"user": "x", "password": SECRET}, {}])
async def test_a_wrong_password_is_refused(web: httpx.AsyncClient, form: dict[str, str]) -> None:
    reply = await web.post("/login", data=form)
    assert reply.status_code == 401 and "set-cookie" not in reply.headers


async def test_what_is_typed_is_shown_as_text(web: httpx.AsyncClient) -> None:
    reply = await web.post("/login", data={"user": '"><script>alert(1)</script>', "password": "x"})
    assert "<script>alert" not in reply.text


async def test_guessing_is_slowed(web: httpx.AsyncClient) -> None:
    codes = [(await web.get(f"/login?token=guess{n}")).status_code for n in range(12)]
    assert codes[0] == 401 and codes[-1] == 429
    assert (await web.get(f"/login?token={SECRET}")).status_code == 429


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [("GET", "", 401), ("GET", "&next=%ff", 400), ("PUT", "", 405), ("ODD", "", 405)],
)
async def test_a_password_in_the_address_stands_in_no_log(
    web: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, method: str, query: str, code: int
) -> None:
    caplog.set_level("CRITICAL", "httpx")  # the browser's side
    caplog.set_level("INFO")
    assert (await web.request(method, f"/login?token=nearly-{SECRET}{query}")).status_code == code
    assert f"{method} /login (127.0.0.1)" in caplog.text and SECRET not in caplog.text


async def test_guessing_many_at_once_is_no_faster(web: httpx.AsyncClient) -> None:
    guesses = (web.post("/login", data={"user": "admin", "password": f"guess{n}"}) for n in range(30))
    codes = [reply.status_code for reply in await asyncio.gather(*guesses)]
    assert codes.count(401) == 10 and codes.count(429) == 20


async def test_a_caller_has_few_guesses_judged_at_once_whatever_names_they_are_at(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr("dashboard.auth.account_of", lambda *_: None if go.wait(30) else None)
    guesses = [asyncio.create_task(web.post("/login", data={"user": f"u{n}", "password": "x"})) for n in range(30)]
    refused = [(await reply).status_code for reply in itertools.islice(asyncio.as_completed(guesses), 20)]
    go.set()
    codes = [reply.status_code for reply in await asyncio.gather(*guesses)]
    assert refused == [429] * 20 and codes.count(401) == 10
    assert (await web.post("/login", data={"user": "u29", "password": "x"})).status_code == 401


@pytest.mark.parametrize(
    ("user", "password", "hashes", "opens"),
    [("ada", "of ada", 1, True), ("vic", "of ada", 1, False), ("eve", "of ada", 1, False), (None, "of ada", 2, True)],
)
def test_a_name_that_is_nobody_s_takes_as_long_as_another(
    user: str | None, password: str, hashes: int, opens: bool
) -> None:
    hashed: list[str] = []

    def account(name: str) -> Account:
        return Account(name, "viewer", lambda password: hashed.append(name) or password == f"of {name}", "")

    accounts = [account("ada"), account("vic")]
    assert account_of(accounts, user, password) == (accounts[0] if opens else None)
    assert len(hashed) == hashes


async def test_who_guesses_keeps_out_neither_another_account_nor_another_address(web: httpx.AsyncClient) -> None:
    guesses = [await web.post("/login", data={"user": "admin", "password": f"guess{n}"}) for n in range(12)]
    assert guesses[-1].status_code == 429
    assert (await web.post("/login", data={"user": "admin", "password": SECRET})).status_code == 429
    assert (await web.post("/login", data={"user": "ann", "password": "wrong"})).status_code == 401  # judged, that is
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=web.base_url, transport=elsewhere) as other:
        assert (await other.post("/login", data={"user": "admin", "password": SECRET})).status_code == 302


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),  # one household has as many as it likes
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("unix", "unix", True),
    ],
)
def test_addresses_that_one_caller_may_have_count_together(one: str, other: str, same: bool) -> None:
    assert (caller_of(one) == caller_of(other)) == same


async def test_an_export_of_what_can_match_nothing_says_so_as_data(web: httpx.AsyncClient) -> None:
    await web.get(f"/login?token={SECRET}")
    reply = await web.get("/export.csv", params={"client": "<script>alert(1)</script>/1"})
    assert (
        reply.status_code == 400 and "json" in reply.headers["content-type"] and "expected" in reply.json()["message"]
    )


async def test_a_list_is_downloaded_by_whoever_is_logged_in(web: httpx.AsyncClient) -> None:
    assert (await web.get("/lists/blocklist.csv")).status_code == 302
    await web.get(f"/login?token={SECRET}")
    reply = await web.get("/lists/blocklist.csv")
    assert (reply.status_code, reply.text) == (200, "suffix,note,expires\r\n")


async def test_health_needs_no_log_in(web: httpx.AsyncClient) -> None:
    assert (await web.get("/healthz")).json() == {"status": "ok"}


def test_a_missing_password_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "password"
    account = load_or_generate(file)[0]
    assert (account.role, file.stat().st_mode & 0o777) == ("admin", 0o600)
    assert account.matches(file.read_text().strip()) and len(file.read_text().strip()) >= 24


def test_accounts_have_names_roles_and_salted_hashes(tmp_path: Path) -> None:
    file = tmp_path / "accounts"
    file.write_text(f"# people\nada analyst {hashed('one')}\nvic viewer {hashed('two')}\n")
    ada, vic = load(file)
    assert (ada.role, ada.matches("one"), ada.matches("two"), vic.role) == ("analyst", True, False, "viewer")


def test_a_password_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "accounts"
    ada, vic = f"ada analyst {hashed('one')}\n", f"vic viewer {hashed('two')}\n"
    file.write_text(ada + vic)
    accounts = AccountsFile(file)
    assert [account.name for account in accounts()] == ["ada", "vic"]
    (tmp_path / "new").write_text(vic)
    (tmp_path / "new").replace(file)  # as editors do
    assert [account.name for account in accounts()] == ["vic"]
    file.write_text("vic viewer\n")
    assert [account.name for account in accounts()] == ["vic"]
    file.unlink()
    assert [account.name for account in accounts()] == ["vic"]
    assert [f"{file}, line 1: expected NAME" in caplog.messages[0], len(caplog.messages)] == [True, 2]
    file.write_text(ada)
    assert [account.name for account in accounts()] == ["ada"]


def test_a_bad_line_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    """Lines without an account were not counted."""
    path = tmp_path / "accounts"
    path.write_text(f"# who may enter\n\nada analyst {hashed('secret')}\neve analyst\n")
    with pytest.raises(BadAccounts, match="accounts, line 4: expected NAME ROLE"):
        load(path)


@pytest.mark.parametrize("line", ["ada boss scrypt:00:00", "ada analyst plain", "ada analyst scrypt:zz:00", ""])
def test_a_bad_account_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "accounts"
    file.write_text(line)
    with pytest.raises(BadAccounts, match="accounts"):
        load(file)


@pytest.mark.parametrize(
    ("role", "needed", "may"), [("viewer", "analyst", False), ("admin", "analyst", True), (None, "viewer", False)]
)
def test_roles_are_ordered(role: str | None, needed: str, may: bool) -> None:
    assert allows(role, needed) is may  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example", "//evil.example", "////evil.example", "/\t///evil.example", "/\n/evil.example",
        "/\\evil.example", "javascript:alert(1)", "x",
    ],
)  # fmt: skip
def test_a_log_in_leads_nowhere_else(target: str) -> None:
    assert local_path(target) == "/"


def test_a_log_in_leads_back_to_the_page_asked_for() -> None:
    assert local_path("/queries?tier=block") == "/queries?tier=block"


def test_a_claims_highest_group_is_the_role() -> None:
    groups = {"soc": "analyst", "ops": "admin"}
    assert role_of_claims({"groups": ["soc", "ops", "x"]}, "groups", groups, None) == "admin"  # type: ignore[arg-type]
    assert role_of_claims({"groups": "soc"}, "groups", groups, None) == "analyst"  # type: ignore[arg-type]
    nested = {"realm_access": {"roles": ["ops"]}}
    assert role_of_claims(nested, "realm_access.roles", groups, None) == "admin"  # type: ignore[arg-type]
    assert role_of_claims({"groups": 7}, "groups", groups, "viewer") == "viewer"  # type: ignore[arg-type]
    assert role_of_claims({}, "groups", groups, None) is None  # type: ignore[arg-type]


def test_attempts_are_forgotten_after_a_minute() -> None:
    now = [0.0]
    attempts = Attempts(2, lambda: now[0])
    ann, bob = ("192.0.2.1", "ann"), ("192.0.2.1", "bob")
    attempts.begin(ann)
    for _ in range(3):
        begun = attempts.begin(ann)
        assert begun is not None
        attempts.succeed(ann, begun)
    now[0] = 30.0
    assert attempts.begin(ann) == 30.0 and attempts.begin(ann) is None and attempts.begin(bob) == 30.0
    now[0] = 61.0
    assert attempts.kept == 2 and attempts.begin(ann) == 61.0 and attempts.begin(ann) is None
    now[0] = 122.0
    assert attempts.kept == 0


def test_failures_in_all_processes_count_together() -> None:
    attempts, who = Attempts(10), ("192.0.2.1", "ann")
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            os._exit(sum(attempts.begin(who) is not None for _ in range(8)))
        children.append(pid)
    assert sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children) == 10
    assert attempts.begin(who) is None and attempts.kept == 10
