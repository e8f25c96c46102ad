"""`/v1/views`: pages of the dashboard with their filters, kept by a person under a name and seen by everybody."""

from typing import TypedDict, cast

import msgspec

from serve_app.control_calls import Call, Committed
from serve_app.operations import Operation
from serve_app.wire import WireError
from verdicts.names import shown
from verdicts.store import Document

MAX_NAME, MAX_ADDRESS = 60, 2000  # characters
MAX_VIEWS = 100  # of one person


class View(msgspec.Struct, forbid_unknown_fields=True):
    """Where the view leads: a path of the dashboard and its query."""

    address: str


class KeptView(TypedDict):
    """A page of the dashboard that somebody keeps."""

    name: str
    address: str
    author: str
    time: int


class Views(TypedDict):
    views: list[KeptView]


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/views", "viewer", show_views),
        Operation("PUT", "/v1/views/{name}", "viewer", save),
        Operation("DELETE", "/v1/views/{name}", "viewer", forget),
    ]


async def show_views(call: Call) -> Views:
    """Pages of the dashboard that people keep: name, address, author."""
    found = await call.search(lambda store: list(store.scan("view")))
    return {"views": cast(list[KeptView], [document.body for document in found])}


async def save(call: Call, body: View) -> Committed:
    """Keep a view of the caller's; one of that name is replaced."""
    name, address = call.path("name"), body.address
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise WireError("malformed", f"name {shown(name)}: expected 1 to {MAX_NAME} printable characters")
    # A browser passes over tabs and line ends in an address: behind them the name of another host may begin.
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    if not inside or len(address) > MAX_ADDRESS:
        expected = f"a path of the dashboard of at most {MAX_ADDRESS} characters"
        raise WireError("malformed", f"address {shown(address)}: expected {expected}")
    key = _key(call, name)
    others = await call.desk.read(lambda store: set(store.keys("view", _key(call, ""))))
    if len(others - {key}) >= MAX_VIEWS:
        raise WireError("malformed", f"views: {MAX_VIEWS} are kept already; expected that one is removed first")
    kept = {"name": name, "address": address, "author": call.author, "time": call.desk.now()}
    return await call.commit([Document("view", key, kept)])


async def forget(call: Call) -> Committed:
    """Remove a view of the caller's."""
    key = _key(call, call.path("name"))
    if await call.desk.read(lambda store: store.get("view", key)) is None:
        raise WireError("not-found", f"view {shown(call.path('name'))}: you keep none of that name")
    return await call.commit([Document("view", key, None)])


def _key(call: Call, name: str) -> str:
    return f"{call.author}/{name}"
