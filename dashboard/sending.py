"""What Panel 1.9 holds back while a browser's socket is busy, and would leave unsent.

Messages that meet a busy socket wait for a task of `panel.io.document`. Two such tasks share one mark that messages
wait: the first that is done takes it away, and the other, whose messages still wait, then goes without sending them.
They went with the next change: a page whose answers were known already, told in two messages within a millisecond,
said that it was loading until then.

And what would leave in pieces: each of Bokeh's messages is three frames, each of which went to the system by itself.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from bokeh.document import Document
from bokeh.protocol.message import Message
from bokeh.server.views.ws import WSHandler
from panel.io import document as panel_document
from tornado.iostream import IOStream
from tornado.websocket import WebSocketClosedError

_dispatch = panel_document._dispatch_msgs
_dispatch_message = panel_document.dispatch_tornado


async def _dispatch_all(document: Document) -> None:
    await _dispatch(document)
    if document in panel_document._WRITE_MSGS and document not in panel_document._WRITE_BLOCK:
        panel_document._WRITE_BLOCK[document] = True
        panel_document._dispatch_write_task(document, _dispatch_all, document)


@contextlib.contextmanager
def _one_write(stream: IOStream) -> Iterator[None]:
    stream._connecting = True  # it collects what is written until it is connected
    try:
        yield
    finally:
        stream._connecting = False
        if not stream.closed():
            stream.write(b"")


def _dispatch_whole(conn: Any, events: Any = None, msg: Message[Any] | None = None) -> Sequence[asyncio.Future[None]]:
    connection = conn._socket.ws_connection
    if connection is None or connection.is_closing():
        return []
    with _one_write(connection.stream):
        futures: Sequence[asyncio.Future[None]] = _dispatch_message(conn, events, msg)
    return futures


async def _send_whole(handler: WSHandler, message: Message[Any]) -> None:
    """Instead of a handler's `send_message`; a socket that was closed gets nothing."""
    with await handler.write_lock.acquire():
        sent = _dispatch_whole(SimpleNamespace(_socket=handler), msg=message)
        with contextlib.suppress(WebSocketClosedError):
            await asyncio.gather(*sent)


def send_all() -> None:
    """Have every message sent, and whole, in this process, from now on."""
    panel_document._dispatch_msgs = _dispatch_all
    panel_document.dispatch_tornado = _dispatch_whole
    WSHandler.send_message = _send_whole
