"""One browser's share of a Panel page, without the browser: log in, load the page, open its document.

A page counts as open when the server has sent the whole document over the websocket, which is what a browser waits
for before it shows anything.
"""

import contextlib
import json
import re
import uuid
from collections.abc import Iterator
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
    where = urlsplit(base)
    scheme = "wss" if where.scheme == "https" else "ws"
    socket = websocket.create_connection(
        f"{scheme}://{where.netloc}/{path.strip('/')}/ws".replace("//ws", "/ws"),
        timeout=timeout, subprotocols=["bokeh", token], cookie=cookie, origin=f"{where.scheme}://{where.netloc}",
    )  # fmt: skip
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


def receive(socket: "websocket.WebSocket") -> tuple[str, int]:
    """One message of Bokeh's protocol: its type and the size of its content and buffers."""
    header = json.loads(socket.recv())
    parts = 2 + 2 * int(header.get("num_buffers", 0))  # metadata, content, then a header and data a buffer
    return str(header["msgtype"]), sum(len(socket.recv()) for _ in range(parts))
