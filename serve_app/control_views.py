"""`/v1/views`: pages of the dashboard with their filters, kept by a person under a name and seen by everybody."""

from typing import Any

import msgspec
from starlette.routing import BaseRoute

from serve_app.control_calls import Call, Desk, route
from serve_app.wire import WireError
from verdicts.names import shown
from verdicts.store import Document

MAX_NAME, MAX_ADDRESS = 60, 2000  # characters
MAX_VIEWS = 100  # of one person


class View(msgspec.Struct, forbid_unknown_fields=True):
    """Where the view leads: a path of the dashboard and its query."""

    address: str


def routes(desk: Desk) -> list[BaseRoute]:
    return [
        route(desk, "GET", "/v1/views", "viewer", show_views),
        route(desk, "PUT", "/v1/views/{name}", "viewer", save),
        route(desk, "DELETE", "/v1/views/{name}", "viewer", forget),
    ]


async def show_views(call: Call) -> Any:
    found = await call.desk.read(lambda store: list(store.scan("view")))
    return {"views": [document.body for document in found]}


async def save(call: Call) -> Any:
    """Keep a view of the caller's; one of that name is replaced."""
    name, address = call.path("name"), call.body(View).address
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise WireError("malformed", f"name {shown(name)}: expected 1 to {MAX_NAME} printable characters")
    if not address.startswith("/") or address.startswith(("//", "/\\")) or len(address) > MAX_ADDRESS:
        expected = f"a path of the dashboard of at most {MAX_ADDRESS} characters"
        raise WireError("malformed", f"address {shown(address)}: expected {expected}")
    key = _key(call, name)
    others = await call.desk.read(lambda store: set(store.keys("view", _key(call, ""))))
    if len(others - {key}) >= MAX_VIEWS:
        raise WireError("malformed", f"views: {MAX_VIEWS} are kept already; expected that one is removed first")
    body = {"name": name, "address": address, "author": call.author, "time": call.desk.now()}
    return await call.commit([Document("view", key, body)])


async def forget(call: Call) -> Any:
    key = _key(call, call.path("name"))
    if await call.desk.read(lambda store: store.get("view", key)) is None:
        raise WireError("not-found", f"view {shown(call.path('name'))}: you keep none of that name")
    return await call.commit([Document("view", key, None)])


def _key(call: Call, name: str) -> str:
    return f"{call.author}/{name}"
