"""One browser's share of a Panel page, without the browser: log in, load the page, open its document.

A page counts as open when the server has sent the whole document over the websocket, which is what a browser waits
for before it shows anything.
"""

import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import websocket

_TOKEN = re.compile(r'"token":\s*"([^"]+)"')


class NotServed(Exception):
    """The page or its document did not come; the message says which step failed."""


def session_token(page: str) -> str:
    """The session token in a page's HTML."""
    match = _TOKEN.search(page)
    if match is None:
        raise NotServed("the page holds no session token: not logged in, or no Panel page")
    return match[1]


@contextlib.contextmanager
def opened(
    base: str, path: str, token: str, cookie: str, timeout: float = 30.0
) -> Iterator[tuple[int, "websocket.WebSocket"]]:
    """The document of a page: yields its size in characters and the open websocket, which brings updates."""
    socket = _connected(base, path, token, cookie, timeout)
    try:
        kind, _ = receive(socket)
        if kind != "ACK":
            raise NotServed(f"websocket answered {kind}, expected ACK")
        header = {"msgid": uuid.uuid4().hex, "msgtype": "PULL-DOC-REQ"}
        for part in (header, {}, {}):
            socket.send(json.dumps(part))
        while True:  # a live page may push changes before the document
            kind, size = receive(socket)
            if kind == "PULL-DOC-REPLY":
                break
            if kind == "ERROR":
                raise NotServed("the server could not make the document")
        yield size, socket
    finally:
        socket.close()


def address(base: str, path: str) -> str:
    """The URL of a page's websocket."""
    where, route = urlsplit(base), urlsplit(path).path.strip("/")
    return f"{where.scheme.replace('http', 'ws')}://{where.netloc}/{f'{route}/' if route else ''}ws"


def _connected(base: str, path: str, token: str, cookie: str, timeout: float) -> "websocket.WebSocket":
    where = urlsplit(base)
    return websocket.create_connection(
        address(base, path), timeout=timeout, subprotocols=["bokeh", token], cookie=cookie,
        origin=f"{where.scheme}://{where.netloc}",
    )  # fmt: skip


def receive(socket: "websocket.WebSocket") -> tuple[str, int]:
    """One message of Bokeh's protocol: its type and the size of its content and buffers."""
    header = json.loads(socket.recv())
    parts = 2 + 2 * int(header.get("num_buffers", 0))  # metadata, content, then a header and data a buffer
    return str(header["msgtype"]), sum(len(socket.recv()) for _ in range(parts))


class Visitor:
    """A person before one page: opens it, waits until it shows its data, changes its time range, goes to other pages.

    A page is usable when the server has sent the data of every part that was reading.
    """

    def __init__(self, base: str, path: str, page: str, cookie: str, timeout: float = 60.0) -> None:
        self._socket = _connected(base, path, session_token(page), cookie, timeout)
        self._timeout = timeout
        self._sheets: dict[str, str] = {}  # the model that takes messages, by the one that holds the values
        self._states: dict[tuple[str, str], str] = {}  # of a component: loading or ready
        self._modules: dict[str, tuple[str, str]] = {}  # the last component of a kind
        self._told: list[tuple[tuple[str, str], str]] = []
        self._arrived: set[tuple[str, str]] | None = None  # what the page that came last was reading then
        self._changes = 0
        self._receive()
        self._send("PULL-DOC-REQ", {})
        while True:
            kind, content = self._receive()
            if kind == "PULL-DOC-REPLY":
                break
        self._find(content)
        ready = {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}}
        self._send("PATCH-DOC", {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": ready}]})
        self._wait_for_new()

    @property
    def ranged(self) -> bool:
        """True where the page has a time range."""
        return "timerange" in self._modules

    def look(self, seconds: float) -> None:
        """Look on while the page is live."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(websocket.WebSocketTimeoutException):
                self._socket.settimeout(0.5)
                self._receive()
        self._socket.settimeout(self._timeout)

    def close(self) -> None:
        self._socket.close()

    def choose(self, length: str) -> None:
        """Choose a time range and wait for its data: its parts say first that they read, then that they are ready."""
        self._choose("timerange", "range", length)
        reading: set[tuple[str, str]] = set()
        began = False
        while not began or reading:
            model, state = self._status()
            began = began or state == "loading"
            (reading.add if state == "loading" else reading.discard)(model)

    def go(self, address: str) -> None:
        """Go to another page and wait for its data."""
        self._arrived = None
        self._choose("router", "url", address)
        self._wait_for_new()

    def _wait_for_new(self) -> None:
        """Wait for a page and until its parts are ready; they say so together, or are when the answers were known."""
        end = time.monotonic() + self._timeout
        while self._arrived is None or (self._arrived and not self._any_ready(self._arrived)):
            self._read_on(end)
        self._told.clear()

    def _any_ready(self, parts: set[tuple[str, str]]) -> bool:
        states = {self._states[part] for part in parts}
        if "failed" in states:
            raise NotServed("a part of the page got no answer from the store")
        return "ready" in states

    def _choose(self, module: str, name: str, value: str) -> None:
        model, number = self._modules[module]
        self._changes += 1
        said = {"number": int(number), "set": {name: value}, "count": self._changes}
        values = {"type": "map", "entries": [["model", {"id": self._sheets[model]}], ["data", said]]}
        event = {"type": "event", "name": "data_event", "values": values}
        self._send("PATCH-DOC", {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}]})

    def _status(self) -> tuple[tuple[str, str], str]:
        """The next part whose state changed: which, and `loading` or `ready`."""
        end = time.monotonic() + self._timeout
        while not self._told:
            self._read_on(end)
        key, state = self._told.pop(0)
        if state == "failed":
            raise NotServed("a part of the page got no answer from the store")
        return key, state

    def _read_on(self, end: float) -> None:
        """Read one message, by `end`: the server's pings keep the socket from timing out."""
        if time.monotonic() > end:
            raise NotServed(f"a page's parts were not ready within {self._timeout:g} s")
        kind, content = self._receive()
        if kind == "ERROR":
            raise NotServed(str(content)[:300])
        self._find(content)
        for event in content.get("events", []) if kind == "PATCH-DOC" else []:
            if event.get("model", {}).get("id") in self._sheets and re.fullmatch(r"p\d", event.get("attr", "")):
                self._hear(event["model"]["id"], event["new"])

    def _hear(self, model: str, components: str) -> None:
        for number, said in json.loads(components).items():
            if "status" not in said["values"]:
                continue  # an input
            key, state = (model, number), said["values"]["status"]["kind"]
            if self._states.get(key, state) != state:
                self._told.append((key, state))
            self._states[key] = state

    def _find(self, content: Any) -> None:
        """Note the sheets (`dashboard.sheet`) that come with a document or a change of it."""
        if isinstance(content, list):
            for item in content:
                self._find(item)
        if not isinstance(content, dict):
            return
        attributes = content.get("attributes")
        if isinstance(attributes, dict) and attributes.get("class_name") == "Sheet":
            data = attributes["data"]
            self._sheets[data["id"]] = content["id"]
            for name, value in data["attributes"].items():
                if re.fullmatch(r"p\d", name):
                    self._hear(data["id"], value)
            if parts := {part for part in self._states if part[0] == data["id"]}:
                loading = {part for part in parts if self._states[part] == "loading"}
                self._arrived = (self._arrived or set()) | loading
            self._modules |= {
                module: (data["id"], number) for module, number in modules(json.loads(data["attributes"]["tree"]))
            }
        for item in content.values():
            self._find(item)

    def _send(self, kind: str, content: dict[str, object]) -> None:
        for part in ({"msgid": uuid.uuid4().hex, "msgtype": kind}, {}, content):
            self._socket.send(json.dumps(part))

    def _receive(self) -> tuple[str, Any]:
        header = json.loads(self._socket.recv())
        self._socket.recv()
        content = json.loads(self._socket.recv())
        for _ in range(2 * int(header.get("num_buffers", 0))):
            self._socket.recv()
        return str(header["msgtype"]), content


def modules(tree: Any) -> Iterator[tuple[str, str]]:
    """Kind and number of each component of a sheet."""
    for node in tree:
        if "module" in node:
            yield node["module"], str(node["number"])
        yield from modules(node.get("children", []))
