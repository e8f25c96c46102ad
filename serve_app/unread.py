"""A refusal that goes out before the body was read ends the question, here and in HAProxy.

Else whoever sends headers and then stalls keeps its place among the questions at work, of which HAProxy lets in so
many at one time: 256 such callers, without any token, would keep everybody out. HAProxy waits for the end of a body
although its answer is there; so the answer stands in a header too, by which HAProxy gives it itself and hangs up.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.haproxy import REFUSED

BODY = (b"content-length", b"transfer-encoding")  # the headers of a request that has one
MAX_ANSWER = 4096  # octets that a header may hold


class CloseUnread:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name in BODY for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        whole = False
        start: Message | None = None

        async def read() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and not whole:
                start = message
                return
            if start is not None:
                headers, body = [*start.get("headers", ()), (b"connection", b"close")], message.get("body", b"")
                if body.isascii() and len(body) <= MAX_ANSWER and not message.get("more_body", False):
                    headers.append((REFUSED.encode(), body))
                first, start = {**start, "headers": headers}, None
                await send(first)
            await send(message)

        await self._app(scope, read, answer)
