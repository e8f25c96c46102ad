"""The web server: which addresses it answers, who may ask, and where it may be reached."""

import asyncio
import gc
from collections.abc import Sequence
from socket import socket
from typing import Any

import panel as pn
from bokeh.server import server as bokeh_server
from bokeh.server.server import Server
from bokeh.server.util import bind_sockets
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketClosedError

from dashboard.app import application
from dashboard.client import Client
from dashboard.connections import BoundedServer
from dashboard.data import Data
from dashboard.export import ExportHandler, ListExportHandler
from dashboard.opening import lower_the_cost
from dashboard.pages import PAGES
from dashboard.places import KEY, Places
from dashboard.sending import send_all
from dashboard.settings import Settings
from dashboard.sheet import ASSETS, assets_path
from dashboard.signin import Signin
from verdicts.policy import LIST_NAMES

UNUSED_SESSION_MS = 15_000  # a closed tab's session goes after this
# Of anyone's requests, logged in or not: the largest body that any takes is the log-in's form, for a file comes by a
# page's websocket, whose limit is Bokeh's and which needs a log-in. The last is of a connection between two requests.
HTTP_LIMITS: dict[str, float] = {"max_body_size": 64 * 1024, "body_timeout": 10, "idle_connection_timeout": 75}


class Health(RequestHandler):
    """Answers while the event loop runs; needs no log-in, tells nothing."""

    def get(self) -> None:
        self.write({"status": "ok"})

    head = get


class Assets(StaticFileHandler):
    """The log-in page's files: asked for again each time, sent only when they changed."""

    cache = "no-cache"

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", self.cache)


class KeptAssets(Assets):
    """The same under a path that changes with them: never asked for again."""

    cache = "public, max-age=31536000, immutable"


def serve(settings: Settings, data: Data, client: Client, signin: Signin, sockets: Sequence[socket] = ()) -> Server:
    """Start the server, at sockets that listen already where some are given; the caller runs the event loop."""
    bokeh_server.HTTPServer = BoundedServer
    bokeh_server.bind_sockets = (lambda *_: (list(sockets), settings.port)) if sockets else bind_sockets
    # Every text a page shows goes through our components; nothing may come from another host.
    pn.extension(notifications=False, browser_info=False)
    lower_the_cost()
    send_all()
    pages = dict.fromkeys(PAGES, application(data, client, signin))
    downloads = {"data": data, "role_of": signin.role_of}
    patterns = [
        (r"/healthz", Health),
        (r"/export\.(csv|json)", ExportHandler, downloads),
        (rf"/lists/({'|'.join(LIST_NAMES)})\.csv", ListExportHandler, downloads),
        (rf"{assets_path()}/(.*)", KeptAssets, {"path": str(ASSETS)}),
        (r"/assets/(.*)", Assets, {"path": str(ASSETS)}),
    ]
    hosts = settings.allow_hosts or [f"{name}:{settings.port}" for name in ("127.0.0.1", "localhost", settings.address)]
    options: dict[str, Any] = {
        "port": settings.port,
        "address": settings.address,
        "websocket_origin": sorted(set(hosts)),
        "extra_patterns": patterns,
        "title": "Verdict",
        "location": False,
        "show": False,
        "start": False,
        "unused_session_lifetime_milliseconds": UNUSED_SESSION_MS,
        "check_unused_sessions_milliseconds": UNUSED_SESSION_MS // 3,
        "cookie_secret": signin.cookie_secret,
        "use_xheaders": settings.behind_proxy,
        "session_token_expiration": 3600,
        "http_server_kwargs": dict(HTTP_LIMITS),
    }
    server = pn.io.server.get_server(pages, **options, **signin.server_options())
    server._tornado.settings[KEY] = Places(settings.max_tabs)
    # Panel collects garbage after each session that ends; the modules that are there now need not be looked at.
    gc.collect()
    gc.freeze()
    return server


def quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's handler of errors, silent about browsers that left while they were written to."""
    if not isinstance(context.get("exception"), (WebSocketClosedError, StreamClosedError)):
        loop.default_exception_handler(context)
