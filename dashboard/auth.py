"""Logging in by password, or by a link that holds it (as Jupyter's)."""

import asyncio
import fcntl
import hashlib
import hmac
import html
import ipaddress
import os
import re
import secrets
import struct
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import panel as pn
from bokeh.server.auth_provider import AuthProvider
from panel.util import decode_token
from tornado.web import RequestHandler, decode_signed_value

from dashboard.accounts import Account, Role
from dashboard.ended import Ended

COOKIE, CLAIMS = "user", "id_token"  # as Panel calls them: who is logged in, what the identity provider said; signed
DAYS = 7
ATTEMPTS = 10  # failed log-ins a minute of one caller at one account: others' guesses lock nobody out
MINUTE_S = 60.0
JUDGES = 2  # threads: a hash takes a tenth of a second and 16 MiB, also for a name that is nobody's
MAX_NAME = 64  # characters of it that are kept
Guesser = tuple[str, str | None]  # who calls, and the account, None: whichever the password opens

_FAILED = struct.Struct("=d16s")  # when, and of whom
_OF_ONE_SLASH = re.compile(r"/(?!/)").match
_PAGE = Path(__file__).parent / "assets" / "login.html"


class Attempts:
    """Counts the failed log-ins of the last minute, of each caller at each account apart.

    In memory that the processes which are forked after its making have in common: the limit is that of all together.
    """

    def __init__(self, limit: int = ATTEMPTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._memory = os.memfd_create("failed log-ins")

    @property
    def kept(self) -> int:
        """How many failures are counted."""
        with self._counted() as (_, failed):
            return len(failed) // _FAILED.size

    def begin(self, who: Guesser) -> float | None:
        """Count one as failed while it is judged: however many come at once, no more are judged than may fail.

        None, and nothing is counted, where as many have failed.
        """
        mark = _mark(who)
        with self._counted() as (now, failed):
            if failed.count(mark) >= self._limit:
                return None
            failed += _FAILED.pack(now, mark)
            return now

    def succeed(self, who: Guesser, begun: float) -> None:
        """Take back what `begin` counted."""
        with self._counted() as (_, failed):
            failed[:] = failed.replace(_FAILED.pack(begun, _mark(who)), b"", 1)

    @contextmanager
    def _counted(self) -> Iterator[tuple[float, bytearray]]:
        """The time, and the failures of the minute before it in their order, which are kept as they are left."""
        fcntl.lockf(self._memory, fcntl.LOCK_EX)  # of a process, and let go with it
        try:
            now, failed = self._clock(), bytearray(os.pread(self._memory, os.fstat(self._memory).st_size, 0))
            places = range(len(failed) // _FAILED.size)
            first = bisect_right(places, now - MINUTE_S, key=lambda n: _FAILED.unpack_from(failed, n * _FAILED.size)[0])
            del failed[: first * _FAILED.size]
            yield now, failed
            os.pwrite(self._memory, failed, 0)
            os.ftruncate(self._memory, len(failed))
        finally:
            fcntl.lockf(self._memory, fcntl.LOCK_UN)


def _mark(who: Guesser) -> bytes:
    return hashlib.blake2b(repr(who).encode(), digest_size=16).digest()


def caller_of(address: str) -> str:
    """What counts as one caller: an address, and of IPv6 the network that one is given whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


class LoginHandler(RequestHandler):
    """The log-in page; `?token=PASSWORD` logs in at once and leaves no secret in the address."""

    accounts: Callable[[], Sequence[Account]]
    attempts: Attempts
    cookie_of: Callable[[Account], str]
    judges: Executor
    judged: Counter[str]  # how many of a caller are judged just now

    def initialize(self) -> None:
        self.request.uri = self.request.path  # what Tornado logs of a request: without its query, read by now

    async def get(self) -> None:
        token = self.get_query_argument("token", "")
        if token:
            await self._try(None, token)
        else:
            self._show()

    def head(self) -> None:
        self._show()

    async def post(self) -> None:
        await self._try(self.get_body_argument("user", ""), self.get_body_argument("password", ""))

    async def _try(self, user: str | None, password: str) -> None:
        who = caller, _ = caller_of(self.request.remote_ip or ""), user and user[:MAX_NAME]
        begun = self.attempts.begin(who) if self.judged[caller] < ATTEMPTS else None
        if begun is None:
            self.set_status(429)
            self.set_header("Retry-After", "60")
            self._show("Too many attempts; wait a minute.")
            return
        account = await self._judged(caller, user, password)
        if account is None:
            self.set_status(401)
            self._show("Unknown user or wrong password.")
            return
        self.attempts.succeed(who, begun)
        self.set_signed_cookie(
            COOKIE,
            self.cookie_of(account),
            expires_days=DAYS,
            httponly=True,
            samesite="Lax",
            secure=self.request.protocol == "https",
        )
        self.redirect(local_path(self.get_argument("next", "/")))

    async def _judged(self, caller: str, user: str | None, password: str) -> Account | None:
        self.judged[caller] += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.judges, account_of, self.accounts(), user, password)
        finally:
            self.judged[caller] -= 1
            if not self.judged[caller]:
                del self.judged[caller]

    def _show(self, error: str = "") -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Frame-Options", "DENY")
        accounts = self.accounts()
        only = accounts[0].name if len(accounts) == 1 else ""
        values = {
            "{error}": f'<p class="error" role="alert">{html.escape(error)}</p>' if error else "",
            "{next}": html.escape(local_path(self.get_argument("next", "/"))),
            "{user}": html.escape(self.get_body_argument("user", "") or only),
        }
        self.finish(re.sub(r"\{(error|next|user)\}", lambda found: values[found[0]], _PAGE.read_text(encoding="utf-8")))


class LogoutHandler(RequestHandler):
    """Ends the log-in, and forgets the user."""

    ended: Ended

    def get(self) -> None:
        end(self, self.ended)
        self.clear_cookie(COOKIE)
        self.redirect("/login")


class PasswordAuth(AuthProvider):  # type: ignore[misc]
    """Bokeh's view of the accounts: every page and websocket needs the signed cookie of a known user.

    The cookie says the name, and by what password it was had, which nobody can read from it: a new one ends what was
    begun under the former. What else it says is no other log-in's.
    """

    def __init__(self, accounts: Callable[[], Sequence[Account]], ended: Ended) -> None:
        self._accounts, self._ended, self._key = accounts, ended, secrets.token_bytes(32)
        own = {"accounts": staticmethod(accounts), "attempts": Attempts(), "cookie_of": staticmethod(self.cookie_of)}
        own |= {"judges": ThreadPoolExecutor(JUDGES), "judged": Counter()}
        self._handler = type("Login", (LoginHandler,), own)
        super().__init__()

    def cookie_of(self, account: Account) -> str:
        return f"{self._known_as(account)} {secrets.token_hex(8)}"

    def _known_as(self, account: Account) -> str:
        mark = hmac.digest(self._key, f"{account.name} {account.kept}".encode(), "sha256")
        return f"{account.name} {mark.hex()}"

    @property
    def get_user(self) -> Callable[[RequestHandler], str | None]:
        return self.user_of

    def user_of(self, handler: RequestHandler) -> str | None:
        """What the cookie says, while its account has that password and nobody logged out."""
        raw = handler.get_signed_cookie(COOKIE, max_age_days=DAYS)
        said = raw.decode() if raw else None
        return said if self.role_of(said) and not has_ended(handler, self._ended) else None

    def role_of(self, said: str | None, claims: Mapping[str, Any] | None = None) -> Role | None:
        known_as = (said or "").rpartition(" ")[0]
        return next((account.role for account in self._accounts() if self._known_as(account) == known_as), None)

    @property
    def login_url(self) -> str:
        return "/login"

    @property
    def login_handler(self) -> type[RequestHandler]:
        return self._handler

    @property
    def logout_url(self) -> str:
        return "/logout"

    @property
    def logout_handler(self) -> type[RequestHandler]:
        return type("Logout", (LogoutHandler,), {"ended": self._ended})

    @property
    def get_user_async(self) -> None:
        return None

    @property
    def get_login_url(self) -> None:
        return None


def account_of(accounts: Sequence[Account], user: str | None, password: str) -> Account | None:
    """The account that this user and password open; without a user, any whose password it is."""
    asked = [account for account in accounts if user in (None, account.name)]
    matching = [account for account in asked if account.matches(password)]
    if not asked:  # takes as long, so that nobody learns which names there are
        accounts[0].matches(password)
    return matching[-1] if matching else None


def end(handler: RequestHandler, ended: Ended) -> None:
    """End the log-in of who asks; of a cookie that nobody signed nothing is kept."""
    if handler.get_signed_cookie(COOKIE, max_age_days=DAYS):
        ended.add(handler.get_cookie(COOKIE, ""))


def has_ended(handler: RequestHandler, ended: Ended) -> bool:
    """Whether who asks has logged out with this cookie."""
    return handler.get_cookie(COOKIE, "") in ended


def name_in(said: str) -> str:
    """The name in what a cookie of `PasswordAuth` says."""
    return said.partition(" ")[0]


def signed(name: str, cookies: Mapping[str, str]) -> str:
    """What a signed cookie says; empty where it is absent, forged, or older than a log-in lasts."""
    days = pn.config.oauth_expiry if pn.config.oauth_provider else DAYS
    said = decode_signed_value(pn.config.cookie_secret or "", name, cookies.get(name), max_age_days=days)
    return "" if said is None else pn.state._decrypt_cookie(said) if name == CLAIMS else said.decode()


def claims_of(token: str) -> dict[str, Any]:
    """What an ID token says of the person; nothing where there is none."""
    return dict(decode_token(token)) if token else {}


def local_path(target: str) -> str:
    """The path and query of a target on this server; anything else becomes `/`."""
    parts = urlsplit(target)  # leaves out tabs and ends of lines, as browsers do
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if parts.scheme or parts.netloc or "\\" in target or target.startswith("//") or not _OF_ONE_SLASH(path):
        return "/"
    return path
