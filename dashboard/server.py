"""The web server: which addresses it answers, who may ask, and where it may be reached."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.server.server import Server
from panel.io.resources import Resources
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketClosedError

from dashboard.app import application
from dashboard.client import Client
from dashboard.data import Data
from dashboard.export import ExportHandler, ListExportHandler
from dashboard.pages import PAGES
from dashboard.settings import Settings
from dashboard.signin import Signin
from verdicts.policy import LIST_NAMES

ASSETS = Path(__file__).parent / "assets"
_EXTRA_RESOURCES = Resources.extra_resources
UNUSED_SESSION_MS = 15_000  # a closed tab's session goes after this


class Health(RequestHandler):
    """Answers while the event loop runs; needs no log-in, tells nothing."""

    def get(self) -> None:
        self.write({"status": "ok"})


class Assets(StaticFileHandler):
    """Our modules and style sheet: asked for again each time, sent only when they changed."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")


def remember_resources() -> None:
    """Let Panel list what its components need from the server once, not for each page: a tenth of opening a page.

    It asks each class of component, and the disk for each of them, although no class comes or goes while we serve.
    """
    listed = Resources.extra_resources
    if listed is not _EXTRA_RESOURCES:
        return
    known: dict[tuple[str, str, str | None], list[str]] = {}

    def extra_resources(self: Resources, resources: list[str], resource_type: str) -> None:
        key = (resource_type, self.mode, pn.state.rel_path)
        if key not in known:
            known[key] = []
            listed(self, known[key], resource_type)
        resources += [each for each in known[key] if each not in resources]

    Resources.extra_resources = extra_resources


def serve(settings: Settings, data: Data, client: Client, signin: Signin) -> Server:
    """Start the server; the caller runs the event loop."""
    # Every text a page shows goes through our components; nothing may come from another host.
    pn.extension(notifications=True)
    remember_resources()
    pages = dict.fromkeys(PAGES, application(data, client, signin.role_of))
    downloads = {"data": data, "role_of": signin.role_of}
    patterns = [
        (r"/healthz", Health),
        (r"/export\.(csv|json)", ExportHandler, downloads),
        (rf"/lists/({'|'.join(LIST_NAMES)})\.csv", ListExportHandler, downloads),
        (r"/assets/(.*)", Assets, {"path": str(ASSETS)}),
    ]
    hosts = settings.allow_hosts or [f"{name}:{settings.port}" for name in ("127.0.0.1", "localhost", settings.address)]
    options: dict[str, Any] = {
        "port": settings.port,
        "address": settings.address,
        "websocket_origin": sorted(set(hosts)),
        "extra_patterns": patterns,
        "title": "Verdict",
        "show": False,
        "start": False,
        "unused_session_lifetime": UNUSED_SESSION_MS,
        "check_unused_sessions": UNUSED_SESSION_MS // 3,
        "cookie_secret": signin.cookie_secret,
        "use_xheaders": settings.behind_proxy,
        "session_token_expiration": 3600,
    }
    server = pn.io.server.get_server(pages, **options, **signin.server_options())
    # Panel collects garbage after each session that ends; the modules that are there now need not be looked at.
    gc.collect()
    gc.freeze()
    return server


def quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's handler of errors, silent about browsers that left while they were written to."""
    if not isinstance(context.get("exception"), (WebSocketClosedError, StreamClosedError)):
        loop.default_exception_handler(context)
