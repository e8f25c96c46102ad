"""One session: the frame around the pages, the address bar, and the beat that keeps the page live."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import panel as pn
import panel_material_ui as pmui
from panel.io.resources import LOCAL_DIST

from dashboard.accounts import Role
from dashboard.auth import CLAIMS, COOKIE, claims_of, signed
from dashboard.client import Client
from dashboard.components import READY, Nav, Notice, Notices, Router
from dashboard.data import Data
from dashboard.frame import Frame
from dashboard.page import Context, Page, schedule, stack
from dashboard.pages import NAVIGATION, PAGES
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.health import Health
from dashboard.sheet import Sheet
from dashboard.signin import Signin
from dashboard.standstill import Standstill
from dashboard.typed import BadFilter, client_in
from dashboard.views import SavedViews
from dashboard.visit import last_visit


class Session:
    """What one browser tab sees."""

    def __init__(
        self,
        data: Data,
        client: Client,
        standstill: Standstill,
        user: str,
        role: Role,
        role_now: Callable[[], Role | None],
    ) -> None:
        self._role, self._role_now = role, role_now
        self._standstill = standstill
        self.old = self.paused = Notice()  # that the page shown is old, nothing blocked; of a page, as all components
        self.page: Page | None = None
        since = last_visit(pn.state.cookies, int(time.time() * 1000))

        def decided() -> None:
            data.decided()
            standstill.decided()

        control = client.as_user(user, role, decided)
        self._context = Context(data, control, user, role, self.go, self.tell, {}, since)
        self._narrow = pn.state.cookies.get("narrow") == "1"
        scheme = pn.state.cookies.get("scheme", "")
        self.router = Router(
            url=_address(),
            paths=[item["path"] for item in NAVIGATION],
            dark=scheme == "dark",
            user=user,
            role=role,
            on_message=self._search,
        )
        self._nav = Nav(url=self.router.url, items=[dict(item) for item in NAVIGATION], on_message=self._view)
        self._notices = Notices()
        self.views = SavedViews(self._nav, data, self._context.control, self.tell)
        self.router.param.watch(lambda event: self._nav.param.update(url=event.new), "url")
        self.frame = Frame(
            header=Sheet(self.router, self._notices),
            sidebar=Sheet(self._nav),
            dark=self.router.dark,
            sidebar_open=not self._narrow,
            on_dark=lambda dark: self.router.param.update(dark=dark),
        )
        self.router.param.watch(self._address_changed, "url")

    def open(self) -> None:
        """Show the page of the address and begin to beat."""
        self._enter(self.router.url)
        self.frame.open(pn.state.curdoc)
        pn.state.onload(self._begin)
        pn.state.on_session_destroyed(lambda _: self._close())

    def go(self, address: str) -> None:
        """Go to an address; the page stays when only its filters differ from the present one's."""
        self.router.url = address

    def tell(self, text: str, kind: str) -> None:
        self._notices.tell(text, kind)

    async def _begin(self) -> None:
        pn.state.add_periodic_callback(self._beat, period=1000)  # first: however the page begins, it is tried again
        await self._start()
        await self.views.read()

    async def _beat(self) -> None:
        if self._role_now() != self._role:  # no longer this person's: the tab loads anew, or is sent to the log-in
            _hang_up()
            return
        if self.page is not None and _watched():
            self._tell_standstill()
            schedule(self.page.beat)  # not awaited: this holds the session, and whatever is pressed meanwhile waits

    def _address_changed(self, *_: Any) -> None:
        if self.page is not None and self.page.address() == self.router.url:
            return
        if self._narrow:
            self.frame.fold()
        self._enter(self.router.url)
        schedule(self._start)

    async def _start(self) -> None:
        if self.page is not None:
            await self.page.start()

    def _enter(self, address: str) -> None:
        self._leave()
        parts = urlsplit(address)
        kind = PAGES.get(parts.path, PAGES["/"])
        self.router.title = kind.title
        self.page = kind(self._context, dict(parse_qsl(parts.query)))
        self.old = Notice(kind="warn", status=READY, visible=False, more=[Health.path, Health.title])
        ended = [] if kind is Enforcement else [Enforcement.path, Enforcement.title]
        self.paused = Notice(kind="warn", status=READY, visible=False, more=ended)
        self._tell_standstill()
        self.frame.show(Sheet(stack(self.paused, self.old, self.page.view()), margin=(14, 18)))

    def _tell_standstill(self) -> None:
        told = self._standstill.told()
        if told.log != self.old.text and not isinstance(self.page, Health):  # which says it itself, and more
            self.old.param.update(text=told.log, visible=bool(told.log))
        if (told.pause, told.since) != (self.paused.text, self.paused.since):
            self.paused.param.update(text=told.pause, since=told.since, visible=bool(told.pause))

    def _leave(self) -> None:
        if self.page is not None:
            self.page.stop()
            self.page = None

    def _close(self) -> None:
        self._leave()
        self.frame.close()

    def _view(self, message: dict[str, Any]) -> None:
        name = str(message.get("name", ""))
        if message.get("action") == "save":
            schedule(lambda: self.views.save(name, self.router.url))
        elif message.get("action") == "forget":
            schedule(lambda: self.views.forget(name))

    def _search(self, message: dict[str, Any]) -> None:
        if message.get("action") == "search":
            text = str(message.get("text", ""))[:1100]
            # A client's page at once: the look-up would lead there again from whoever goes back to it.
            try:
                client = client_in(text)
            except BadFilter:
                client = ""  # the look-up tells
            self.go("/clients?" + urlencode({"client": client}) if client else "/lookup?" + urlencode({"q": text}))


def _address() -> str:
    """Path and query of the page; its socket asks for the same path with `/ws` below it, the token holds the query."""
    request = pn.state.curdoc.session_context.request
    path = request.path.removesuffix("/ws") or "/"
    query = urlencode({name: values[-1] for name, values in pn.state.session_args.items()})
    return path + (f"?{query}" if query else "")


def _watched() -> bool:
    """Whether a tab shows this session still: one that was closed leaves it behind for some seconds."""
    session = getattr(getattr(pn.state.curdoc, "session_context", None), "session", None)
    return session is None or session.connection_count > 0


def _hang_up() -> None:
    """Close the sockets of this session."""
    session = getattr(getattr(pn.state.curdoc, "session_context", None), "session", None)
    for connection in list(session._subscribed_connections) if session is not None else ():
        connection._socket.close()


def standing(signin: Signin, cookies: Mapping[str, str]) -> tuple[str, Role | None]:
    """Who the cookies of a tab say is before it, and their role at present; none once the log-in is over."""
    # Not as Panel reads them: it believes a cookie that nobody signed, `is_guest`, and claims of a month ago.
    said, claims = signed(COOKIE, cookies), claims_of(signed(CLAIMS, cookies))
    if cookies.get(COOKIE, "") in signin.ended:
        return "", None
    return signin.name_of(said), signin.role_of(said, claims) if said else None


def application(data: Data, client: Client, signin: Signin) -> Callable[[], Any]:
    """What the server calls for each new tab."""
    standstill = Standstill(client, data)

    def new() -> Any:
        # Where Panel finds its style sheets: without it at a host of its own.
        pn.state.curdoc.template_variables["dist_url"] = LOCAL_DIST
        cookies = pn.state.cookies
        person, role = standing(signin, cookies)
        if role is None:
            return pmui.Page(
                title="Verdict",
                main=[pmui.Alert("Your account has no role here. Ask an administrator.", severity="warning")],
            )
        Session(data, client, standstill, person, role, lambda: standing(signin, cookies)[1]).open()
        return None

    return new
